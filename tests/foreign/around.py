"""Bugs that the adapter of any framework can have: a layer of it, one thing done otherwise."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from conformance.model.case import Call, Unsupported


class LayerWrapper:
    """A layer that does as another does.

    Args:
        inner: the other.
        call: its call.
        backend: which built it.
    """

    def __init__(self, inner: Any, call: Call, backend: Any) -> None:
        self.inner, self.case_call, self.backend = inner, call, backend

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def __call__(self, *inputs: Any, **keywords: Any) -> Any:
        """As the other does."""
        return self.inner(*inputs, **keywords)


class WrapsLayers:
    """Mixed into an adapter: its layers are put into another class."""

    layer: ClassVar[type[LayerWrapper]]

    def __init__(self) -> None:
        # An adapter is made with or without a name.
        takes_name = "name" in inspect.signature(super().__init__).parameters
        super().__init__(*([type(self).__name__] if takes_name else []))  # type: ignore[call-arg]

    def build(self, call: Call) -> LayerWrapper:
        """The adapter's layer within the other class."""
        return self.layer(super().build(call), call, self)  # type: ignore[misc]


class FirstAnswerKept(WrapsLayers):
    """Inputs of a shape that was there before get the answer that was given then."""

    class layer(LayerWrapper):  # noqa: N801 - the name is the mixin's
        """Keeps answers by the shapes of the inputs."""

        def __call__(self, *inputs: Any, **keywords: Any) -> Any:
            """An earlier answer, or a new one."""
            answers = self.__dict__.setdefault("kept", {})
            key = (*(None if x is None else tuple(x.shape) for x in inputs), repr(keywords))
            if key not in answers:
                answers[key] = self.inner(*inputs, **keywords)
            return answers[key]


class StateLacksItsLast(WrapsLayers):
    """The last name of the state is not saved."""

    class layer(LayerWrapper):  # noqa: N801
        """Says less than it holds."""

        def state(self) -> Mapping[str, Any]:
            """All but the last."""
            return dict(list(self.inner.state().items())[:-1])


class LoadForgotten(WrapsLayers):
    """What is loaded after a call is not used."""

    class layer(LayerWrapper):  # noqa: N801
        """Loads before the first call only."""

        def __call__(self, *inputs: Any, **keywords: Any) -> Any:
            """The call is remembered."""
            self.called = True
            return self.inner(*inputs, **keywords)

        def load(self, *arguments: Any) -> None:
            """Nothing after a call."""
            if "called" not in self.__dict__:
                self.inner.load(*arguments)


class LayoutsMisread(WrapsLayers):
    """Memory with exchanged axes is read as if it were contiguous."""

    class layer(LayerWrapper):  # noqa: N801
        """Puts the elements of such an array in another order."""

        def put(self, array: np.ndarray, layout: str = "contiguous", *options: Any) -> Any:
            """In the wrong order, where the layout is made."""
            if layout in ("transposed", "channels_last") and array.ndim > 1:
                self.inner.put(array, layout, *options)
                return self.inner.put(array.T.copy().reshape(array.shape), "contiguous", *options)
            return self.inner.put(array, layout, *options)


class GradientDoubled(WrapsLayers):
    """The gradient of the first input comes twice."""

    class layer(LayerWrapper):  # noqa: N801
        """Adds it to itself."""

        def vjp(self, *arguments: Any, **keywords: Any) -> Any:
            """Gradients, the first doubled."""
            (first, *others), state = self.inner.vjp(*arguments, **keywords)
            return (None if first is None else first + first, *others), state


class GradientsLackOne(WrapsLayers):
    """The state's last tensor gets no gradient."""

    class layer(LayerWrapper):  # noqa: N801
        """Leaves it out."""

        def vjp(self, *arguments: Any, **keywords: Any) -> Any:
            """Gradients, one less."""
            inputs, state = self.inner.vjp(*arguments, **keywords)
            return inputs, dict(list(state.items())[:-1])


class Drifts(WrapsLayers):
    """Every call after the first adds one to what the call before gave."""

    class layer(LayerWrapper):  # noqa: N801
        """Counts its calls."""

        def __call__(self, *inputs: Any, **keywords: Any) -> Any:
            """The answer and the number of calls before."""
            calls = self.__dict__.setdefault("calls", [])
            calls.append(1)
            y = self.inner(*inputs, **keywords)
            drift = self.inner.put(np.array(float(len(calls) - 1)))
            return tuple(part + drift for part in y) if isinstance(y, tuple) else y + drift


class DtypeWidened(WrapsLayers):
    """float32 comes out as float64."""

    class layer(LayerWrapper):  # noqa: N801
        """Says another dtype of what it computes."""

        def __call__(self, *inputs: Any, **keywords: Any) -> Any:
            """The outputs are remembered."""
            y = self.inner(*inputs, **keywords)
            self.given = y if isinstance(y, tuple) else (y,)
            return y

        def dtype(self, native: Any) -> str:
            """float64 of an output."""
            widened = any(native is x for x in self.__dict__.get("given", ()))
            return "float64" if widened else str(self.inner.dtype(native))


class BatchOfOneDropped(WrapsLayers):
    """A leading dimension of one goes away."""

    class layer(LayerWrapper):  # noqa: N801
        """Takes it off the first output."""

        def __call__(self, *inputs: Any, **keywords: Any) -> Any:
            """The answer without it."""
            y = self.inner(*inputs, **keywords)
            first = y[0] if isinstance(y, tuple) else y
            if len(first.shape) > 1 and first.shape[0] == 1:
                first = first[0]
            return (first, *y[1:]) if isinstance(y, tuple) else first


class NanIsZero(WrapsLayers):
    """NaN in an input counts as 0."""

    class layer(LayerWrapper):  # noqa: N801
        """Puts other numbers."""

        def put(self, array: np.ndarray, *options: Any) -> Any:
            """The array without NaN."""
            return self.inner.put(np.where(np.isnan(array), 0, array), *options)


class OddLengthsRaise(WrapsLayers):
    """A last dimension of five raises."""

    class layer(LayerWrapper):  # noqa: N801
        """Refuses what it should take."""

        def __call__(self, *inputs: Any, **keywords: Any) -> Any:
            """Raise, or answer."""
            if inputs[0].shape[-1:] == (5,):
                raise ZeroDivisionError("a length of 5")
            return self.inner(*inputs, **keywords)


class InvalidGetsZeros(WrapsLayers):
    """What is refused elsewhere gets zeros."""

    class layer(LayerWrapper):  # noqa: N801
        """Refuses nothing."""

        def __call__(self, *inputs: Any, **keywords: Any) -> Any:
            """An answer whatever comes."""
            try:
                return self.inner(*inputs, **keywords)
            except Unsupported:
                raise
            except Exception:
                return self.inner.put(np.zeros(3))


class InputOverwritten(WrapsLayers):
    """A call leaves zeros in its input."""

    class layer(LayerWrapper):  # noqa: N801
        """Writes where it should only read."""

        def __call__(self, *inputs: Any, **keywords: Any) -> Any:
            """The answer; the input is gone."""
            y = self.inner(*inputs, **keywords)
            inputs[0][...] = 0
            return y


class BufferShared(WrapsLayers):
    """Outputs of one shape are one buffer, whichever call they come from."""

    class layer(LayerWrapper):  # noqa: N801
        """Writes each answer into the memory of the one before."""

        def __call__(self, *inputs: Any, **keywords: Any) -> Any:
            """The answer in the old memory."""
            y = self.inner(*inputs, **keywords)
            if isinstance(y, tuple):
                return y
            buffers = self.__dict__.setdefault("kept", {})
            buffer = buffers.setdefault((y.shape, y.dtype), np.array(y))
            buffer[...] = y
            return buffer
