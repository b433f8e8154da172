"""Transforms of a `FunctionBackend`'s layer, by what the backend transforms functions with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

    def _outputs_of(
        self, state: Mapping[str, Any], inputs: Sequence[Any], keywords: Mapping[str, Any]
    ) -> tuple[Any, ...]:
        result = self.compute(state, inputs, keywords)
        result = result.outputs if isinstance(result, Updated) else result
        return result if isinstance(result, tuple) else (result,)

    def jvp(
        self,
        inputs: Sequence[Any],
        tangents: Sequence[Any],
        parameter_tangents: Mapping[str, Any],
        **keywords: Any,
    ) -> tuple[Any, ...]:
        """Tangents of the outputs; None for integers and absent outputs."""
        directions = {id(x): (x, v) for x, v in zip(inputs, tangents, strict=True) if v is not None}
        names = tuple(parameter_tangents)
        present: list[bool] = []

        def fn(*primals: Any) -> tuple[Any, ...]:
            leaves = dict(zip(directions, primals, strict=False))
            state = self._state | dict(zip(names, primals[len(directions) :], strict=True))
            outputs = self._outputs_of(state, [leaves.get(id(x), x) for x in inputs], keywords)
            present[:] = [y is not None and not self._is_integer(y) for y in outputs]
            return tuple(y for y, kept in zip(outputs, present, strict=True) if kept)

        primals = [*(x for x, _ in directions.values()), *(self._state[name] for name in names)]
        given = [*(v for _, v in directions.values()), *parameter_tangents.values()]
        found = iter(self._backend.jvp(fn, primals, given))
        result = tuple(next(found) if kept else None for kept in present)
        self._backend.wait([y for y in result if y is not None])
        return result

    def _is_integer(self, native: Any) -> bool:
        return self.dtype(native).startswith(("int", "bool"))

    def double_vjp(
        self,
        inputs: Sequence[Any],
        cotangents: Sequence[Any],
        tangents: Sequence[Any],
        parameter_tangents: Mapping[str, Any],
        **keywords: Any,
    ) -> tuple[tuple[Any, ...], dict[str, Any], tuple[Any, ...]]:
        """Gradients of Σ⟨gradient, tangent⟩ by the inputs, the parameters and the cotangents."""
        directions = {id(x): (x, v) for x, v in zip(inputs, tangents, strict=True) if v is not None}
        names = tuple(parameter_tangents)
        given = [c for c in cotangents if c is not None]
        count = len(directions) + len(names)

        def fn(*primals: Any) -> tuple[Any, ...]:
            leaves = dict(zip(directions, primals, strict=False))
            state = self._state | dict(zip(names, primals[len(directions) :], strict=True))
            outputs = self._outputs_of(state, [leaves.get(id(x), x) for x in inputs], keywords)
            return tuple(y for y, c in zip(outputs, cotangents, strict=True) if c is not None)

        def gradients(*operands: Any) -> tuple[Any, ...]:
            vjp = self._backend.vjp
            return tuple(vjp(fn, list(operands[:count]), list(operands[count:])))

        primals = [*(x for x, _ in directions.values()), *(self._state[name] for name in names)]
        second = list(
            self._backend.vjp(
                gradients,
                [*primals, *given],
                [*(v for _, v in directions.values()), *parameter_tangents.values()],
            )
        )
        self._backend.wait(second)
        by_input = dict(zip(directions, second, strict=False))
        by_cotangent = iter(second[count:])
        return (
            tuple(by_input.get(id(x)) for x in inputs),
            dict(zip(names, second[len(directions) : count], strict=True)),
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
        batched = {k: axis for k, axis in enumerate(in_dims) if axis is not None}
        names = tuple(parameters)
        present: list[bool] = []

        def fn(*operands: Any) -> tuple[Any, ...]:
            given = list(inputs)
            for k, x in zip(batched, operands, strict=False):
                given[k] = x
            state = self._state | dict(zip(names, operands[len(batched) :], strict=True))
            outputs = self._outputs_of(state, given, keywords)
            present[:] = [y is not None for y in outputs]
            return tuple(y for y in outputs if y is not None)

        axes = (*batched.values(), *(parameter_dims[name] for name in names))
        operands = (*(inputs[k] for k in batched), *parameters.values())
        found = iter(self._backend.vmap(fn, axes, out_dim)(*operands))
        result = tuple(next(found) if kept else None for kept in present)
        self._backend.wait([y for y in result if y is not None])
        return result
