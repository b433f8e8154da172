"""Calls of convolutions and linear layers in one form: the weight is state or an input."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.model.case import is_function
from conformance.oracles.convolution import output_paddings, paddings, per_dimension

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

_SIZES = ("in_channels", "out_channels", "kernel_size", "in_features", "out_features")
# Copying, converting and comparing a number takes as long as this many products, and memory too.
_PRODUCTS_PER_NUMBER = 8
_SIZE_ARGUMENTS = frozenset((*_SIZES, "in1_features", "in2_features", "bias"))


@dataclass(frozen=True, eq=False)
class Operands:
    """The operands of a call.

    Args:
        trial: the case that they were read from.
        layer: name of the layer.
        inputs: the input, or a bilinear layer's two inputs.
        weight, bias: of the layer or function.
        arguments: without `bias` and the sizes, which follow from the arrays.
    """

    trial: Trial
    layer: str
    inputs: tuple[np.ndarray, ...]
    weight: np.ndarray
    bias: np.ndarray | None
    arguments: Mapping[str, Any]

    @classmethod
    def of(cls, trial: Trial) -> Operands:
        """Read a case; an output_size is converted to the output_padding that it implies."""
        call, case_inputs = trial.case.call, trial.case.inputs
        count = 2 if "ilinear" in call.layer else 1
        inputs = tuple(x for x in case_inputs[:count] if x is not None)
        if is_function(call.layer):
            weight, bias = (
                case_inputs[count],
                case_inputs[count + 1] if len(case_inputs) > count + 1 else None,
            )
        else:
            weight, bias = call.state["weight"], call.state.get("bias")
        assert weight is not None
        arguments = {k: v for k, v in call.arguments.items() if k not in _SIZE_ARGUMENTS}
        operands = cls(trial, call.layer, inputs, weight, bias, arguments)
        output_size = trial.case.keywords.get("output_size")
        if output_size is None:
            return operands
        output_padding = output_paddings(
            output_size, inputs[0].shape[-operands.dims :], operands.kernel, operands.stride,
            operands.padding, operands.dilation,
        )  # fmt: skip
        return operands.with_arguments(output_padding=output_padding)

    def with_arguments(self, **arguments: Any) -> Operands:
        """The operands with changed arguments."""
        return replace(self, arguments={**self.arguments, **arguments})

    def call(self) -> Trial:
        """The call on the same backend."""
        case = self.trial.case
        functional = is_function(self.layer)
        arguments = dict(self.arguments) if functional else {**self._sizes(), **self.arguments}
        state: dict[str, np.ndarray] = {}
        inputs: tuple[np.ndarray | None, ...] = self.inputs
        if functional:
            inputs = (*inputs, self.weight, self.bias)
        else:
            state = {"weight": self.weight}
            arguments["bias"] = self.bias is not None
            if self.bias is not None:
                state["bias"] = self.bias
        call = replace(case.call, layer=self.layer, arguments=arguments, state=state, layouts={})
        return self.trial.trial_of(replace(case, call=call, inputs=inputs, keywords={}, layouts=()))

    def _sizes(self) -> dict[str, Any]:
        """The size arguments of the module, from the arrays."""
        shape, lazy = self.weight.shape, self.layer.startswith("Lazy")
        if self.kind == "bilinear":
            return dict(zip(("in1_features", "in2_features", "out_features"),
                            (shape[1], shape[2], shape[0]), strict=True))  # fmt: skip
        if self.kind == "linear":
            sizes: dict[str, Any] = {"in_features": shape[1], "out_features": shape[0]}
        else:
            counts = (shape[0], shape[1] * self.groups)
            outputs, channels = reversed(counts) if self.transposed else counts
            sizes = {
                "in_channels": channels, "out_channels": outputs, "kernel_size": self.kernel
            }  # fmt: skip
        return {k: v for k, v in sizes.items() if not (lazy and k.startswith("in_"))}

    @property
    def kind(self) -> str:
        """`conv`, `transposed`, `linear` or `bilinear`."""
        if "onv" in self.layer:
            return "transposed" if self.transposed else "conv"
        return "bilinear" if "ilinear" in self.layer else "linear"

    @property
    def transposed(self) -> bool:
        """Whether it is a transposed convolution."""
        return "ranspose" in self.layer

    @property
    def x(self) -> np.ndarray:
        """The (first) input."""
        return self.inputs[0]

    @property
    def dims(self) -> int:
        """Spatial dimensions."""
        return self.weight.ndim - 2 if "onv" in self.layer else 0

    @property
    def leading_axes(self) -> int:
        """Number of axes before channels or features: 0 or 1 for a convolution."""
        return self.x.ndim - self.dims - 1

    @property
    def groups(self) -> int:
        """Number of groups."""
        return int(self.arguments.get("groups", 1))

    @property
    def kernel(self) -> tuple[int, ...]:
        """Kernel size."""
        return self.weight.shape[2:]

    @property
    def stride(self) -> tuple[int, ...]:
        """Stride of each dimension."""
        return self._per_dimension("stride", 1)

    @property
    def dilation(self) -> tuple[int, ...]:
        """Dilation of each dimension."""
        return self._per_dimension("dilation", 1)

    @property
    def padding(self) -> tuple[int, ...]:
        """Padding of a transposed convolution."""
        return self._per_dimension("padding", 0)

    @property
    def output_padding(self) -> tuple[int, ...]:
        """Output padding of a transposed convolution."""
        return self._per_dimension("output_padding", 0)

    @property
    def pads(self) -> tuple[tuple[int, int], ...]:
        """Padding of a convolution, before and after each dimension."""
        return paddings(self.arguments.get("padding", 0), self.kernel, self.dilation)

    @property
    def padding_mode(self) -> str:
        """What the padding holds."""
        return str(self.arguments.get("padding_mode", "zeros"))

    @property
    def window_extent(self) -> tuple[int, ...]:
        """Extent of a window in input positions, ends included."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True))

    @property
    def cost(self) -> float:
        """Products for one element of the batch, or the equivalent cost of moving its numbers."""
        outputs = math.prod(self.trial.shapes[0][-self.dims :]) if self.dims else 1
        inputs = math.prod(self.x.shape[-self.dims :]) if self.dims else 1
        middle_axes = math.prod(self.x.shape[1 : self.leading_axes])
        products = self.weight.size * (inputs if self.transposed else outputs) * middle_axes
        return float(max(products, _PRODUCTS_PER_NUMBER * self.numbers_per_row))

    @property
    def numbers_per_row(self) -> float:
        """Number of inputs and outputs of one element of the batch."""
        return (self.x.size + math.prod(self.trial.shapes[0])) / self.batch_size

    @property
    def batch_size(self) -> int:
        """Number of samples, at least 1: an input without a batch axis is one sample."""
        return max(len(self.x), 1) if self.leading_axes else 1

    def _per_dimension(self, name: str, default: int) -> tuple[int, ...]:
        return per_dimension(self.arguments.get(name, default), self.dims)
