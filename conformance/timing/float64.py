"""The oracle of large calls: torch's float64 computes the sums, the suite derives their bound.

At these sizes NumPy takes too long: minutes with gradients. The bound is derived as everywhere
else (`conformance.arithmetic.rounded.multilinear`). Only the contraction itself, of the values and
of their absolute values, is computed by torch in float64. The results mark such timings, because
they compare torch with itself in a wider format.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from conformance.arithmetic.rounded import Rounded, multilinear
from conformance.model.case import Call
from conformance.model.protocols import Backend
from conformance.spec.layer_spec import LayerSpec


def through_torch(spec: LayerSpec, arguments: Any, torch: Backend) -> LayerSpec:
    """The specification of a convolution, Linear or Bilinear, with an oracle that uses torch.

    Args:
        spec: the layer's specification in the catalogue.
        arguments: arguments of the call.
        torch: the backend of torch itself.
    """
    contraction = _Contraction(spec, dict(arguments), torch)

    @functools.wraps(spec.oracle.values)
    def values(state: Any, *inputs: Any, **ignored: Any) -> Rounded:
        if spec.is_function:
            *data, weight, bias = inputs
        else:
            data, weight, bias = list(inputs), state["weight"], state.get("bias")
        return contraction.sums([*data, weight], bias)

    return replace(spec, oracle=replace(spec.oracle, values=values))


@dataclass(frozen=True)
class _Contraction:
    """A layer without its bias, as a multilinear function of data and weight."""

    spec: LayerSpec
    arguments: dict[str, Any]
    torch: Backend

    def sums(self, operands: Sequence[Rounded], bias: Rounded | None) -> Rounded:
        """The layer's values and bounds."""
        dims = self.spec.signature.dims
        shaped_bias = bias
        if bias is not None and dims:
            shaped_bias = bias.map(lambda b: b.reshape(-1, *(1,) * dims))
        ones = [np.ones(operand.shape) for operand in operands]
        # A product of three factors rounds twice, a product of two factors once.
        terms = int(self(*ones).max()) + len(operands) - 2
        return multilinear(
            self,
            *operands,
            addend=shaped_bias,
            terms=terms,
            wide=self.spec.traits.wide_sums,
            wide_adjoints=self.spec.benchmark.filling.wide_adjoints,
            adjoints=[self._adjoint(k, operands) for k in range(len(operands))],
        )

    def __call__(self, *arrays: np.ndarray) -> np.ndarray:
        layer, inputs = self._build(arrays)
        return np.asarray(layer.get(layer(*inputs)))

    def _adjoint(self, k: int, operands: Sequence[Rounded]) -> Callable[..., np.ndarray]:
        shape, last = operands[k].shape, k == len(operands) - 1

        def adjoint(cotangent: np.ndarray, *others: np.ndarray) -> np.ndarray:
            arrays = [*others[:k], np.zeros(shape), *others[k:]]
            layer, inputs = self._build(arrays)
            input_gradients, parameters = layer.vjp(inputs, [layer.put(cotangent)])
            return np.asarray(
                layer.get(
                    parameters["weight"]
                    if last and not self.spec.is_function
                    else input_gradients[k]
                )
            )

        return adjoint

    def _build(self, arrays: Sequence[np.ndarray]) -> tuple[Any, tuple[Any, ...]]:
        arguments, state, inputs = dict(self.arguments), {}, list(arrays)
        if not self.spec.is_function:
            arguments["bias"], state["weight"] = False, inputs.pop()
        layer = self.torch.build(Call(self.spec.name, arguments, state, "float64", "cpu"))
        return layer, tuple(layer.put(array) for array in inputs)
