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

    def places_with_gradient(self, inputs: Sequence[Any]) -> list[int]:
        raise NotImplementedError

    def find_parameters(self, inputs: Sequence[Any]) -> tuple[str, ...]:
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
        gradients = self._gradients_of(call, len(primals), cotangents)
        second = list(self._backend.vjp(gradients, [*primals, *present_cotangents], directions))
        self._backend.wait(second)
        by_cotangent = iter(second[len(primals) :])
        return (
            *self._by_operand(second[: len(primals)], inputs, tangents, parameter_tangents),
            tuple(None if c is None else next(by_cotangent) for c in cotangents),
        )

    def jvp_vjp(
        self,
        inputs: Sequence[Any],
        cotangents: Sequence[Any],
        tangents: Sequence[Any],
        parameter_tangents: Mapping[str, Any],
        **keywords: Any,
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Tangents of the gradients, in forward mode over a backward pass."""
        call, primals, directions = self._bind(inputs, tangents, parameter_tangents, keywords)
        gradients = self._gradients_of(call, len(primals), cotangents)
        present_cotangents = [c for c in cotangents if c is not None]
        second = list(
            self._backend.jvp(lambda *x: gradients(*x, *present_cotangents), primals, directions)
        )
        self._backend.wait(second)
        return self._by_operand(second, inputs, tangents, parameter_tangents)

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

    def vmap_vjp(
        self,
        inputs: Sequence[Any],
        in_dims: Sequence[int | None],
        parameters: Mapping[str, Any],
        parameter_dims: Mapping[str, int],
        cotangents: Sequence[Any],
        **keywords: Any,
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Gradients of each call of a batch; the batch axis comes first, as in the cotangents."""
        batched_places = [k for k, axis in enumerate(in_dims) if axis is not None]
        places = self.places_with_gradient(inputs)
        names = self.find_parameters(inputs)

        def gradients(*operands: Any) -> tuple[Any, ...]:
            given, rest = list(inputs), operands[len(batched_places) :]
            for k, x in zip(batched_places, operands, strict=False):
                given[k] = x
            tensors = self._state | dict(zip(parameters, rest, strict=False))

            def outputs(*primals: Any) -> tuple[Any, ...]:
                arguments = list(given)
                for k, x in zip(places, primals, strict=False):
                    arguments[k] = x
                state = self._state | dict(zip(names, primals[len(places) :], strict=True))
                pairs = zip(self._outputs_of(state, arguments, keywords), cotangents, strict=True)
                return tuple(y for y, c in pairs if c is not None)

            primals = [*(given[k] for k in places), *(tensors[name] for name in names)]
            return tuple(self._backend.vjp(outputs, primals, list(rest[len(parameters) :])))

        given_cotangents = [c for c in cotangents if c is not None]
        axes = (
            *(in_dims[k] for k in batched_places),
            *(parameter_dims[name] for name in parameters),
            *[0] * len(given_cotangents),
        )
        operands = (*(inputs[k] for k in batched_places), *parameters.values(), *given_cotangents)
        result = list(self._backend.vmap(gradients, axes, 0)(*operands))
        self._backend.wait(result)
        by_place = dict(zip(places, result, strict=False))
        return (
            tuple(by_place.get(k) for k in range(len(inputs))),
            dict(zip(names, result[len(places) :], strict=True)),
        )

    def _gradients_of(
        self, call: Callable[..., tuple[Any, ...]], count: int, cotangents: Sequence[Any]
    ) -> Callable[..., tuple[Any, ...]]:
        """A function of `count` operands and the present cotangents: the operands' gradients."""

        def outputs_with_cotangent(*primals: Any) -> tuple[Any, ...]:
            pairs = zip(call(*primals), cotangents, strict=True)
            return tuple(y for y, c in pairs if c is not None)

        def gradients(*operands: Any) -> tuple[Any, ...]:
            primals, own_cotangents = list(operands[:count]), list(operands[count:])
            return tuple(self._backend.vjp(outputs_with_cotangent, primals, own_cotangents))

        return gradients

    def _by_operand(
        self,
        results: Sequence[Any],
        inputs: Sequence[Any],
        tangents: Sequence[Any],
        parameter_tangents: Mapping[str, Any],
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The results for the operands that `_bind` binds: by input, and by parameter."""
        bound = {id(x): None for x, v in zip(inputs, tangents, strict=True) if v is not None}
        by_input = dict(zip(bound, results, strict=False))
        return (
            tuple(by_input.get(id(x)) for x in inputs),
            dict(zip(parameter_tangents, results[len(bound) :], strict=True)),
        )

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
