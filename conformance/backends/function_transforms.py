"""Transforms of a `FunctionBackend`'s layer, by what the backend transforms functions with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from conformance.model.case import Updated


class FunctionTransforms:
    """Members of a layer of a backend that defines `jvp` and `vmap` besides `vjp`.

    `vjp` of such a backend differentiates itself, too.
    """

    _backend: Any
    _state: dict[str, Any]

    def compute(
        self, state: Mapping[str, Any], inputs: Sequence[Any], keywords: Mapping[str, Any]
    ) -> Any:
        raise NotImplementedError

    def dtype(self, native: Any) -> str:
        raise NotImplementedError

    def jvp(
        self,
        inputs: Sequence[Any],
        tangents: Sequence[Any],
        parameter_tangents: Mapping[str, Any],
        **keywords: Any,
    ) -> tuple[Any, ...]:
        """Tangents of the outputs; None for integers and absent outputs."""
        call, primals, directions = self._bind(inputs, tangents, parameter_tangents, keywords)
        is_kept = list[bool]()

        def float_outputs(*primals: Any) -> tuple[Any, ...]:
            outputs = call(*primals)
            is_kept[:] = [y is not None and not self._is_integer(y) for y in outputs]
            return tuple(y for y, kept in zip(outputs, is_kept, strict=True) if kept)

        kept_tangents = self._backend.jvp(float_outputs, primals, directions)
        return self._restore_absent(kept_tangents, is_kept)

    def double_vjp(
        self,
        inputs: Sequence[Any],
        cotangents: Sequence[Any],
        tangents: Sequence[Any],
        parameter_tangents: Mapping[str, Any],
        **keywords: Any,
    ) -> tuple[tuple[Any, ...], dict[str, Any], tuple[Any, ...]]:
        """Gradients of Σ⟨gradient, tangent⟩ by the inputs, the parameters and the cotangents."""
        call, primals, directions = self._bind(inputs, tangents, parameter_tangents, keywords)
        present_cotangents = [c for c in cotangents if c is not None]

        def outputs_with_cotangent(*primals: Any) -> tuple[Any, ...]:
            pairs = zip(call(*primals), cotangents, strict=True)
            return tuple(y for y, c in pairs if c is not None)

        def gradients(*operands: Any) -> tuple[Any, ...]:
            own_primals, own_cotangents = operands[: len(primals)], operands[len(primals) :]
            return tuple(
                self._backend.vjp(outputs_with_cotangent, list(own_primals), list(own_cotangents))
            )

        second = list(self._backend.vjp(gradients, [*primals, *present_cotangents], directions))
        self._backend.wait(second)
        differentiated = {
            id(x): None for x, v in zip(inputs, tangents, strict=True) if v is not None
        }
        by_input = dict(zip(differentiated, second, strict=False))
        by_cotangent = iter(second[len(primals) :])
        return (
            tuple(by_input.get(id(x)) for x in inputs),
            dict(zip(parameter_tangents, second[len(by_input) : len(primals)], strict=True)),
            tuple(None if c is None else next(by_cotangent) for c in cotangents),
        )

    def vmap(
        self,
        inputs: Sequence[Any],
        in_dims: Sequence[int | None],
        parameters: Mapping[str, Any],
        parameter_dims: Mapping[str, int],
        out_dim: int,
        **keywords: Any,
    ) -> tuple[Any, ...]:
        """The outputs of a call over a batch of some inputs and parameters."""
        places = [k for k, axis in enumerate(in_dims) if axis is not None]
        is_present = list[bool]()

        def present_outputs(*operands: Any) -> tuple[Any, ...]:
            arguments = list(inputs)
            for k, x in zip(places, operands, strict=False):
                arguments[k] = x
            state = self._state | dict(zip(parameters, operands[len(places) :], strict=True))
            outputs = self._outputs_of(state, arguments, keywords)
            is_present[:] = [y is not None for y in outputs]
            return tuple(y for y in outputs if y is not None)

        axes = (*(in_dims[k] for k in places), *(parameter_dims[name] for name in parameters))
        operands = (*(inputs[k] for k in places), *parameters.values())
        outputs = self._backend.vmap(present_outputs, axes, out_dim)(*operands)
        return self._restore_absent(outputs, is_present)

    def _bind(
        self,
        inputs: Sequence[Any],
        tangents: Sequence[Any],
        parameter_tangents: Mapping[str, Any],
        keywords: Mapping[str, Any],
    ) -> tuple[Callable[..., tuple[Any, ...]], list[Any], list[Any]]:
        """A function of the operands that have a tangent, these operands, and their tangents.

        An object that is passed twice is one operand.
        """
        pairs = {id(x): (x, v) for x, v in zip(inputs, tangents, strict=True) if v is not None}

        def call(*primals: Any) -> tuple[Any, ...]:
            leaves = dict(zip(pairs, primals, strict=False))
            parameters = zip(parameter_tangents, primals[len(pairs) :], strict=True)
            arguments = [leaves.get(id(x), x) for x in inputs]
            return self._outputs_of(self._state | dict(parameters), arguments, keywords)

        primals = [x for x, _ in pairs.values()]
        primals += [self._state[name] for name in parameter_tangents]
        return call, primals, [*(v for _, v in pairs.values()), *parameter_tangents.values()]

    def _outputs_of(
        self, state: Mapping[str, Any], inputs: Sequence[Any], keywords: Mapping[str, Any]
    ) -> tuple[Any, ...]:
        result = self.compute(state, inputs, keywords)
        result = result.outputs if isinstance(result, Updated) else result
        return result if isinstance(result, tuple) else (result,)

    def _is_integer(self, native: Any) -> bool:
        return self.dtype(native).startswith(("int", "bool"))

    def _restore_absent(self, results: Sequence[Any], is_kept: Sequence[bool]) -> tuple[Any, ...]:
        """The results, with None where an output was left out, computed to the end."""
        self._backend.wait(list(results))
        remaining = iter(results)
        return tuple(next(remaining) if kept else None for kept in is_kept)
