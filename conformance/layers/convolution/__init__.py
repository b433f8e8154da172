"""Conv1d to Conv3d and ConvTranspose1d to ConvTranspose3d: modules, lazy modules and functions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from conformance.laws import multilinear
from conformance.laws.convolution import convolution as laws
from conformance.layers.convolution.facts import DERIVED, TRANSPOSED, channels, kernel_of, refit
from conformance.layers.convolution.workloads import flops, flops_transposed, workloads
from conformance.model.case import Case
from conformance.oracles import convolution as oracle
from conformance.spec.axes import batched, no_axes
from conformance.spec.law import Law
from conformance.spec.layer_spec import LayerSpec, Variation
from conformance.spec.parts import (
    Benchmark,
    Conditions,
    Generation,
    Lazy,
    Oracle,
    State,
    Traits,
    stateless,
)
from conformance.spec.signature import Argument, Input, Output, Signature, Ties
from conformance.spec.sizes import per_dimension
from conformance.spec.state import Shape, StateTensor, products, uniform, with_bias
from conformance.spec.workload import Filling
from conformance.strategies import convolution as cases
from conformance.strategies.invalid.breaks import invalid_cases
from conformance.strategies.invalid.convolution import convolution as invalid

_STRIDE = Argument("stride", 1, other=2, per_dimension=True, window=True)
_PADDING = Argument("padding", 0, other=1, per_dimension=True, window=True)
_DILATION = Argument("dilation", 1, other=2, per_dimension=True, window=True)
_OUTPUT_PADDING = Argument("output_padding", 0, per_dimension=True, window=True)
_OUTPUT_SIZE = Argument("output_size", None, keyword=True, ties=Ties(fixes_sizes=True))
_SIZES = (Argument("in_channels", plain=1, size=True), Argument("out_channels", plain=1, size=True))
_KERNEL = Argument("kernel_size", plain=1, per_dimension=True, size=True, window=True)
_GROUPS = Argument("groups", 1)
_BIAS = Argument("bias", True, other=False)
_MODE = Argument("padding_mode", "zeros")

_LAWS: tuple[Law, ...] = (
    multilinear.rows,
    multilinear.additive,
    multilinear.scaled,
    multilinear.outputs,
    multilinear.inputs,
    multilinear.function,
    multilinear.singles,
    multilinear.unbatched,
    laws.groups,
    laws.copies,
    laws.stride,
    laws.adjoint,
    laws.padding,
    laws.translation,
    laws.flip,
)
_FORMULA = (
    "out(N_i, C_out_j) = bias(C_out_j) + Σ_{k = 0}^{C_in − 1} weight(C_out_j, k) ⋆ input(N_i, k)",
    "where ⋆ is the valid cross-correlation operator",
)
_TRANSPOSED_FORMULA = (
    "the gradient of the convolution with respect to its input; it is not an actual",
    "deconvolution operation as it does not compute a true inverse of convolution",
)
_AXES = {1: ("L",), 2: ("H", "W"), 3: ("D", "H", "W")}


def _length(axis: str, k: int, dims: int, transposed: bool) -> str:
    at = "" if dims == 1 else f"[{k}]"
    kernel = f"dilation{at} × (kernel_size{at} − 1)"
    if transposed:
        return (
            f"{axis}_out = ({axis}_in − 1) × stride{at} − 2 × padding{at} + {kernel} "
            f"+ output_padding{at} + 1"
        )
    return f"{axis}_out = ⌊({axis}_in + 2 × padding{at} − {kernel} − 1) / stride{at} + 1⌋"


def _inferred(dims: int, input: Shape) -> Mapping[str, Any]:
    return {"in_channels": input[-1 - dims]}


def _state(
    dims: int, transposed: bool, arguments: Mapping[str, Any], input: Shape
) -> tuple[StateTensor, ...]:
    """A weight (out_channels, in_channels/groups, *kernel_size), a bias (out_channels).

    Of a transposed convolution the weight is (in_channels, out_channels/groups, *kernel_size).
    """
    inputs, outputs = arguments["in_channels"], arguments["out_channels"]
    groups, kernel = arguments.get("groups", 1), per_dimension(arguments["kernel_size"], dims)
    rows, columns = (inputs, outputs) if transposed else (outputs, inputs)
    weight = (rows, columns // groups, *kernel)
    return uniform(with_bias(weight, outputs, arguments.get("bias", True)), products(weight))


def _every_weight_counts(case: Case) -> bool:
    """No element of the padding is multiplied: one algorithm does that, another leaves it out."""
    arguments = case.call.arguments
    if arguments.get("padding_mode", "zeros") != "zeros":
        return True
    padding = arguments.get("padding", 0)
    return padding == "valid" or (padding != "same" and not np.any(padding))


def _never(case: Case) -> bool:
    """Between the elements that a transposed convolution spreads, products are left out or not."""
    return False


def _terms_transposed(weight: Shape) -> int:
    return weight[0] * math.prod(weight[2:])


def _arguments(form: str, transposed: bool) -> tuple[Argument, ...]:
    windows = (_STRIDE, _PADDING)
    if form == "functional.":
        if transposed:
            return (*windows, _OUTPUT_PADDING, _GROUPS, _DILATION)
        return (*windows, _DILATION, _GROUPS)
    required = (*(_SIZES[1:] if form == "Lazy" else _SIZES), _KERNEL)
    if transposed:
        return (
            *(*required, *windows, _OUTPUT_PADDING, _GROUPS, _BIAS, _DILATION, _MODE),
            _OUTPUT_SIZE,
        )
    return (*required, *windows, _DILATION, _GROUPS, _BIAS, _MODE)


def _row(form: str, dims: int, transposed: bool) -> LayerSpec:
    function, lazy = form == "functional.", form == "Lazy"
    stem = (
        ("conv_transpose" if transposed else "conv")
        if function
        else ("ConvTranspose" if transposed else "Conv")
    )
    name = f"{form}{stem}{dims}d"
    batch = batched(dims + 2)
    inputs = [Input("input", batch_axis=batch)]
    if function:
        inputs += [Input("weight", "weight"), Input("bias", "bias", optional=True)]
    values: dict[tuple[str, bool], Any] = {
        ("", False): oracle.conv,
        ("Lazy", False): oracle.lazy_conv,
        ("functional.", False): oracle.functional_conv,
        ("", True): oracle.conv_transpose,
        ("Lazy", True): oracle.lazy_conv_transpose,
        ("functional.", True): oracle.functional_conv_transpose,
    }
    shape: dict[tuple[bool, bool], Any] = {
        (False, False): oracle.conv_shape,
        (True, False): oracle.functional_conv_shape,
        (False, True): oracle.conv_transpose_shape,
        (True, True): oracle.functional_conv_transpose_shape,
    }
    draw = cases.transposed_convolutions if transposed else cases.convolutions
    valid = partial(draw, name, dims)
    lengths = (_length(axis, k, dims, transposed) for k, axis in enumerate(_AXES[dims]))
    return LayerSpec(
        name,
        "convolution",
        signature=Signature(
            _arguments(form, transposed), tuple(inputs), (Output("output", batch),), dims=dims
        ),
        oracle=Oracle(
            values=values[form, transposed],
            shapes=partial(shape[function, transposed], dims),
            formula=(*(_TRANSPOSED_FORMULA if transposed else _FORMULA), *lengths),
            module=f"{'ConvTranspose' if transposed else 'Conv'}{dims}d" if function else None,
        ),
        generation=Generation(
            cases=valid,
            invalid=invalid_cases(valid, invalid.breaks(name)),
            # The kernels are the eager module's.
            examples=0.3 if lazy else 0.6 if function else 1.0,
        ),
        variation=Variation(
            refit=refit, shared=partial(channels, transposed) if function else no_axes
        ),
        state=State(stateless if function else partial(_state, dims, transposed)),
        traits=Traits(
            wide_sums=not transposed,
            every_weight_counts=_never if transposed else _every_weight_counts,
        ),
        conditions=Conditions(
            derived=TRANSPOSED if transposed else DERIVED,
            numbers={"padding": "pads"},
            shown=kernel_of,
        ),
        laws=_LAWS if function else (*_LAWS, multilinear.lazy_equals_eager),
        benchmark=Benchmark(
            workloads=workloads(name, dims, transposed=transposed),
            filling=Filling(terms=_terms_transposed) if transposed else Filling(),
            flops=flops_transposed if transposed else flops,
        ),
        lazy=Lazy(f"{stem}{dims}d", partial(_inferred, dims)) if lazy else None,
    )


def rows() -> Iterator[LayerSpec]:
    """The rows, in the order of torch's documentation."""
    for transposed in (False, True):
        for form in ("", "Lazy", "functional."):
            for dims in (1, 2, 3):
                yield _row(form, dims, transposed)
