"""The one door between the suite and a backend: what comes through it is bounded and plain.

A backend's members are read, and called, here only. What it raises becomes an exception of which
the suite knows that it is the backend's; what it returns becomes objects of the builtin types, and
arrays that the suite made itself. Before a run whatever is wrong is a `BackendError`, in it a
`Failure`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

import numpy as np

from conformance.model.case import Call, Unsupported
from conformance.model.failure import Failure, Inapplicable
from conformance.model.finding import raised, returned
from conformance.model.foreign import (
    bases_of,
    elements,
    exact_text,
    is_mapping,
    of_type,
    shown,
    type_name,
    written,
)

NAME = 100
"""Characters that the name of a backend, a device or a dtype may have."""
TOLD = 1000
"""Characters of an exception in a usage error."""
MANY = 10_000
"""Things by name of which a layer has fewer."""
_NAMED = "a mapping by name"
_PAIR = "a pair: the inputs' gradients, and a mapping of the parameters' by name"


class BackendError(Exception):
    """A backend that cannot be found, loaded or used; the message tells its author what to mend."""


class Foreign(Exception):  # noqa: N818 - it carries what is no error of the suite
    """An exception of the backend's that the suite must not act on as on its own.

    One of the suite's classes, or one that is no `Exception`, such as `SystemExit`.

    Args:
        error: as raised.
    """

    def __init__(self, error: BaseException) -> None:
        super().__init__(written(error))
        self.error = error


def not_interrupted() -> bool:
    """Nobody has pressed Ctrl-C."""
    return False


class Asking:
    """Tells which member is asked for, so that one that never answers can be named.

    Attributes:
        told: called with the member's name before it is read or called.
    """

    told: Callable[[str], None] | None = None


class Pressed:
    """Whether Ctrl-C was pressed, where the backend runs in pytest's own process.

    Attributes:
        asked: says so.
    """

    asked: Callable[[], bool] = staticmethod(not_interrupted)


def call(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
    """Call something of the backend's.

    Raises:
        Foreign: for one of the suite's exceptions, or one that is no `Exception`.
        Exception: any other as it was raised, `Unsupported` among them.
    """
    try:
        return function(*arguments, **keywords)
    except BaseException as error:
        plain = of_type(error, Exception) and not of_type(error, Failure, Inapplicable)
        if plain or (of_type(error, KeyboardInterrupt) and Pressed.asked()):
            raise
        raise Foreign(error) from error


def original(error: BaseException) -> BaseException:
    """What the backend raised.

    Args:
        error: as it came through the door.
    """
    return error.error if isinstance(error, Foreign) else error


def told(error: BaseException) -> str:
    """An exception of the backend's in a line or more: its class, and what it says.

    Args:
        error: as it came through the door.
    """
    met = original(error)
    return f"{type_name(met)}: {written(met, TOLD) or 'no message'}"


def _defines(value: Any, name: str) -> bool:
    """Whether the type of a value has a member, whatever reading it does."""
    members = type.__dict__["__dict__"]
    return any(name in members.__get__(base) for base in bases_of(type(value)))


def member(value: Any, name: str) -> Any:
    """A member of an object of the backend's; None where it has none.

    Args:
        value: the object.
        name: of the member.

    Raises:
        Exception: what reading it raises, an AttributeError too where its type defines it.
    """
    if Asking.told is not None:
        Asking.told(name)
    try:
        return call(getattr, value, name)
    except AttributeError:
        # A property that fails so would count as not offered.
        if _defines(value, name):
            raise
        return None


# --- what members return, made plain ---


def _array(value: Any) -> np.ndarray:
    if type(value) is not np.ndarray:
        other = "a subclass, " if of_type(value, np.ndarray) else ""
        raise Failure(returned("get", other + type_name(value), "a numpy.ndarray itself"))
    if value.dtype.kind not in "fciub":
        raise Failure(returned("get", f"an array of dtype {value.dtype}", "numbers"))
    # What the backend still holds may change.
    return np.array(value, dtype=value.dtype.newbyteorder("="), order="C")


def _name(what: str, expected: str) -> Callable[[Any], str]:
    def plain(value: Any) -> str:
        text = exact_text(value)
        if text is None or len(text) > NAME:
            raise Failure(returned(what, shown(value), expected))
        return text

    return plain


def _shape(value: Any) -> tuple[int, ...]:
    found = elements(value)
    sizes = [operator.index(size) for size in found or () if of_type(size, int, np.integer)]
    if found is None or len(sizes) != len(found):
        raise Failure(returned("shape", shown(value), "a tuple of integers"))
    return tuple(map(int, sizes))


def _mapping(what: str, value: Any, expected: str = _NAMED) -> dict[str, Any]:
    if not is_mapping(value):
        raise Failure(returned(what, shown(value), expected))
    try:
        pairs = call(lambda: [(key, value[key]) for key in islice(value, MANY)])
    except Exception as error:
        raise Failure(returned(what, f"a {type_name(value)}", expected)) from error
    names = [exact_text(key) for key, _ in pairs]
    if len(names) == MANY or any(name is None for name in names):
        raise Failure(returned(what, shown(value), expected))
    return {str(name): part for name, (_, part) in zip(names, pairs, strict=True)}


def _state(value: Any) -> dict[str, Any]:
    return _mapping("state", value)


def _attributes(value: Any) -> dict[str, Any]:
    return {name: _plain(part) for name, part in _mapping("attributes", value).items()}


def _plain(value: Any) -> Any:
    """A value of builtin types as those give it; what is shown of another."""
    found = elements(value)
    if found is not None:
        parts = map(_plain, found)
        return tuple(parts) if of_type(value, tuple) else list(parts)
    if of_type(value, str):
        return str.__str__(value)
    if type(value) in (bool, type(None), complex):
        return value
    if not of_type(value, int, float):
        return shown(value)
    return int.__int__(value) if of_type(value, int) else float.__float__(value)


def _truth(value: Any) -> bool:
    if type(value) not in (bool, np.bool_):
        raise Failure(returned("aliases", shown(value), "True or False"))
    return bool(value)


def _natives(value: Any) -> Any:
    found = elements(value)
    return value if found is None else found


def _gradients(what: str) -> Callable[[Any], Any]:
    def plain(value: Any) -> Any:
        found = elements(value)
        inputs = elements(found[0]) if found is not None and len(found) == 2 else None
        if found is None or inputs is None:
            raise Failure(returned(what, _form(value), _PAIR))
        return inputs, _mapping(what, found[1], _PAIR)

    return plain


def _outputs_and_gradients(value: Any) -> Any:
    found = elements(value)
    if found is None or len(found) != 3:
        expected = f"three: the outputs, then {_PAIR.removeprefix('a pair: ')}"
        raise Failure(returned("value_and_vjp", _form(value), expected))
    return (_natives(found[0]), *_gradients("value_and_vjp")(found[1:]))


def _form(value: Any) -> str:
    found = elements(value)
    return f"a {type_name(value)}" + ("" if found is None else f" of {len(found)}")


def _as_it_is(value: Any) -> Any:
    return value


_COMPUTE = ("call", "forward_grad", "vjp", "vjp_of", "value_and_vjp")
"""Members after which a layer says what ran elsewhere."""
_RESULTS: Mapping[str, Callable[[Any], Any]] = {
    "put": _as_it_is, "get": _array, "call": _natives, "forward_grad": _natives,
    "dtype": _name("dtype", "torch's name of a dtype, such as 'float32'"),
    "device": _name("device", "the name of a device, such as 'cpu'"),
    "shape": _shape, "state": _state, "attributes": _attributes, "aliases": _truth,
    "vjp": _gradients("vjp"), "vjp_of": _gradients("vjp_of"),
    "value_and_vjp": _outputs_and_gradients,
    "load": _as_it_is, "train": _as_it_is, "sync": _as_it_is, "stopwatch": _as_it_is,
    "copy": _as_it_is, "fallbacks": _as_it_is,
}  # fmt: skip
"""Methods of a layer, and what makes their results plain."""


class Member:
    """A method of a layer's.

    Args:
        layer: whose.
        name: of the method.
        function: what it is.
    """

    def __init__(self, layer: Any, name: str, function: Any) -> None:
        self._layer, self._name, self._function = layer, name, function

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        result = call(self._function, *arguments, **keywords)
        if self._name in _COMPUTE:
            _refuse_fallbacks(self._layer)
        return _RESULTS[self._name](result)


def _refuse_fallbacks(layer: Any) -> None:
    """What another implementation computed is no answer of this one."""
    fallbacks = member(layer, "fallbacks")
    if fallbacks is None:
        return
    ran = call(fallbacks)
    try:
        names = None if of_type(ran, str) else call(lambda: tuple(islice(ran, MANY)))
    except Exception:
        names = None
    if names is None:
        raise Failure(returned("fallbacks", shown(ran), "names of operations"))
    if names:
        told = (exact_text(name) or shown(name) for name in names[:10])
        raise Unsupported(f"fell back: {', '.join(told)}")


class GuardedLayer:
    """A layer as the suite sees it.

    Args:
        layer: of the backend.

    Raises:
        Failure: if it is no layer.
    """

    def __init__(self, layer: Any) -> None:
        self._layer = layer
        lacks = [name for name in ("put", "get", "dtype") if not callable(self._read(name))]
        if lacks or not callable(layer):
            expected = "a Layer, callable and with put, get and dtype; missing "
            expected += ", ".join(lacks) or "__call__"
            raise Failure(returned("build", type_name(layer), expected))

    def __call__(self, *inputs: Any, **keywords: Any) -> Any:
        return Member(self._layer, "call", self._layer)(*inputs, **keywords)

    def _read(self, name: str) -> Any:
        try:
            return member(self._layer, name)
        except Exception as error:
            met = original(error)
            finding = raised(f"the attribute {name}", met, written(met))
            raise Failure(finding) from error

    def __getattr__(self, name: str) -> Any:
        found = self._read(name) if name == "updated" or name in _RESULTS else None
        if found is None:
            raise AttributeError(name)
        if name == "updated":
            return _mapping(name, found)
        if not callable(found):
            raise Failure(returned(f"the attribute {name}", shown(found), "a method"))
        return Member(self._layer, name, found)


def itself(layer: Any) -> Any:
    """The layer itself, for calls whose time is taken.

    Args:
        layer: as the suite sees it.
    """
    return layer._layer if isinstance(layer, GuardedLayer) else layer


class Admitted:
    """Marks a backend that needs no guard: one that has it, or a class of the suite's."""


class GuardedBackend(Admitted):
    """A backend as the suite sees it; made by `guarded`.

    Args:
        backend: the implementation under test.
        where: how it was named, for messages.

    Raises:
        BackendError: if it has no name, or one that is none.
    """

    def __init__(self, backend: Any, where: str) -> None:
        self.inner, self._where = backend, where
        name = self.read("name")
        text = exact_text(name)
        if not text or len(text) > NAME or not text.isprintable() or text != text.strip():
            raise BackendError(
                f"{where}: expected name to be a printable string of up to {NAME} characters, "
                f"got {shown(name)}"
            )
        self.name = text
        self._where = f"backend {text!r}"

    def error(self, problem: str) -> BackendError:
        """What is wrong with the backend.

        Args:
            problem: of what member, and what was expected.
        """
        return BackendError(f"{self._where}: {problem}")

    def expected(self, member: str, what: str, got: Any) -> BackendError:
        """A member is not what it should be.

        Args:
            member: `"name"`, or a call: `"devices()"`.
            what: it should be.
            got: in its place.
        """
        return self.error(f"expected {member} to be {what}, got {shown(got)}")

    def read(self, name: str) -> Any:
        """A member, None where there is none.

        Args:
            name: of the member.

        Raises:
            BackendError: if reading it raises.
        """
        try:
            return member(self.inner, name)
        except Exception as error:
            raise self.error(f"reading {name} raised {told(error)}") from error

    def ask(self, name: str, *arguments: Any) -> Any:
        """What a method returns.

        Args:
            name: of the method.
            arguments: that it takes.

        Raises:
            BackendError: if it is no method, or raises.
        """
        method = self.read(name)
        if not callable(method):
            raise self.expected(name, "a method", method)
        try:
            return call(method, *arguments)
        except Exception as error:
            given = ", ".join(map(shown, arguments))
            raise self.error(f"{name}({given}) raised {told(error)}") from error

    def build(self, layer: Call) -> GuardedLayer:
        """Build the layer of a call.

        Args:
            layer: the call.

        Raises:
            Unsupported: if the backend declines it.
            Failure: if what is built is no layer.
        """
        return GuardedLayer(call(member(self.inner, "build"), layer))


def guarded(backend: Any, where: str = "backend") -> Any:
    """A backend as the suite sees it; one that is already is given back.

    Args:
        backend: the implementation under test.
        where: how it was named, for messages.

    Raises:
        BackendError: if it is no backend.
    """
    return backend if isinstance(backend, Admitted) else GuardedBackend(backend, where)


def inner(backend: Any) -> Any:
    """The backend itself, of which the suite asks only whether it is one that it brings.

    Args:
        backend: as the suite sees it, or itself.
    """
    return backend.inner if isinstance(backend, GuardedBackend) else backend
