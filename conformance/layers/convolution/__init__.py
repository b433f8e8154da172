"""Conv1d to Conv3d and ConvTranspose1d to ConvTranspose3d: modules, lazy modules and functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from conformance.laws import multilinear
from conformance.laws.convolution import convolution as laws
from conformance.layers.convolution.facts import DERIVED, TRANSPOSED, allows, implied_arguments
from conformance.layers.convolution.workloads import flops, transposed_flops, workloads
from conformance.model.case import Case
from conformance.oracles import convolution as oracle
from conformance.oracles.forms import module_oracle
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
)
from conformance.spec.shapes import Shapes
from conformance.spec.signature import Argument, Arguments, Input, Output, Signature, Ties
from conformance.spec.state import Shape, StateTensor, products_per_sum, uniform_parameters
from conformance.spec.workload import Filling
from conformance.strategies import convolution as cases
from conformance.strategies.invalid.breaks import invalid_cases
from conformance.strategies.invalid.convolution import convolution as invalid

_STRIDE = Argument("stride", 1, alternative=2, per_dimension=True, window=True)
_PADDING = Argument("padding", 0, alternative=1, per_dimension=True, window=True)
_DILATION = Argument("dilation", 1, alternative=2, per_dimension=True, window=True)
_OUTPUT_PADDING = Argument("output_padding", 0, per_dimension=True, window=True)
_OUTPUT_SIZE = Argument("output_size", None, keyword=True, ties=Ties(fixes_sizes=True))
_SIZES = (
    Argument("in_channels", simplest=1, size=True),
    Argument("out_channels", simplest=1, size=True),
)
_KERNEL = Argument("kernel_size", simplest=1, per_dimension=True, size=True, window=True)
_GROUPS = Argument("groups", 1)
_BIAS = Argument("bias", True, alternative=False)
_MODE = Argument("padding_mode", "zeros")

_DIVISIBLE = ("in_channels % groups == 0", "out_channels % groups == 0")
_TOTAL_PADDING = (
    "0 if padding == 'valid' else dilation*(kernel_size - 1) if padding == 'same' else 2*padding"
)
_CONV = Shapes(
    {
        "input": "batch? in_channels *space",
        "weight": "out_channels in_channels//groups *kernel_size",
        "bias": "out_channels if bias",
        "output": "batch? out_channels *out",
    },
    where=_DIVISIBLE,
    let={
        "added": _TOTAL_PADDING,
        "out": "(space + added - dilation*(kernel_size - 1) - 1)//stride + 1",
    },
)
_FUNCTIONAL_CONV = Shapes(
    {
        "input": "batch? in_channels *space",
        "weight": "out_channels per_group *kernel_size",
        "bias": "out_channels",
        "output": "batch? out_channels *out",
    },
    where=_DIVISIBLE,
    fixed=("kernel_size",),
    let={**_CONV.let, "per_group": "in_channels//groups"},
)
_TRANSPOSED_OUT = "(space - 1)*stride - 2*padding + dilation*(kernel_size - 1) + output_padding + 1"
_CONV_TRANSPOSE = Shapes(
    {
        "input": "batch? in_channels *space",
        "weight": "in_channels out_channels//groups *kernel_size",
        "bias": "out_channels if bias",
        "output": "batch? out_channels *out",
    },
    where=_DIVISIBLE,
    let={"out": f"{_TRANSPOSED_OUT} if output_size is None else output_size"},
)
_FUNCTIONAL_CONV_TRANSPOSE = Shapes(
    {
        "input": "batch? in_channels *space",
        "weight": "in_channels per_group *kernel_size",
        "bias": "out_channels",
        "output": "batch? out_channels *out",
    },
    where=_DIVISIBLE[:1],
    fixed=("kernel_size",),
    let={"out_channels": "per_group*groups", "out": _TRANSPOSED_OUT},
)

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


def _length_formula(axis: str, k: int, dims: int, transposed: bool) -> str:
    index = "" if dims == 1 else f"[{k}]"
    kernel = f"dilation{index} × (kernel_size{index} − 1)"
    if transposed:
        return (
            f"{axis}_out = ({axis}_in − 1) × stride{index} − 2 × padding{index} + {kernel} "
            f"+ output_padding{index} + 1"
        )
    return f"{axis}_out = ⌊({axis}_in + 2 × padding{index} − {kernel} − 1) / stride{index} + 1⌋"


def _inferred_arguments(dims: int, input: Shape) -> Mapping[str, Any]:
    return {"in_channels": input[-1 - dims]}


def _initial_tensors(arguments: Arguments, shapes: Mapping[str, Shape]) -> tuple[StateTensor, ...]:
    """Tensors drawn uniformly; the bound depends on the number of products in a sum."""
    return uniform_parameters(shapes, products_per_sum(shapes["weight"]))


def _every_weight_counts(case: Case) -> bool:
    """Whether no zero of a padding can meet a weight: algorithms multiply those or skip them."""
    arguments = case.call.arguments
    if arguments.get("padding_mode", "zeros") != "zeros":
        return True
    padding = arguments.get("padding", 0)
    return padding == "valid" or (padding != "same" and not np.any(padding))


def _no_weight_counts(case: Case) -> bool:
    """Never: algorithms of a transposed convolution multiply or skip the zeros of its stride."""
    return False


def _transposed_terms(weight: Shape) -> int:
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


def _layer_spec(form: str, dims: int, transposed: bool) -> LayerSpec:
    function, lazy = form == "functional.", form == "Lazy"
    stem = (
        ("conv_transpose" if transposed else "conv")
        if function
        else ("ConvTranspose" if transposed else "Conv")
    )
    name = f"{form}{stem}{dims}d"
    inputs = [Input("input")]
    if function:
        inputs += [Input("weight", "weight"), Input("bias", "bias", optional=True)]
    signature = Signature(
        _arguments(form, transposed), tuple(inputs), (Output("output"),), dims=dims
    )
    values: Callable[..., Any]
    if transposed:
        shapes = _FUNCTIONAL_CONV_TRANSPOSE if function else _CONV_TRANSPOSE
        values, draw = oracle.conv_transpose, cases.transposed_convolutions
    else:
        shapes = _FUNCTIONAL_CONV if function else _CONV
        values, draw = oracle.conv, cases.convolutions
    valid = partial(draw, name, dims)
    lengths = (_length_formula(axis, k, dims, transposed) for k, axis in enumerate(_AXES[dims]))
    return LayerSpec(
        name,
        "convolution",
        signature=signature,
        shapes=shapes,
        oracle=Oracle(
            values=values if function else module_oracle(values, "weight", "bias"),
            formula=(*(_TRANSPOSED_FORMULA if transposed else _FORMULA), *lengths),
            equivalent_module=f"{'ConvTranspose' if transposed else 'Conv'}{dims}d"
            if function
            else None,
        ),
        generation=Generation(
            cases=valid,
            invalid=invalid_cases(valid, invalid.breaks(name, signature, shapes)),
            # A lazy module runs the eager module's kernels.
            examples_fraction=0.3 if lazy else 0.6 if function else 1.0,
        ),
        variation=Variation(allows=allows),
        state=State() if function else State(tensors_from_shapes=_initial_tensors),
        traits=Traits(
            wide_sums=not transposed,
            every_weight_counts=_no_weight_counts if transposed else _every_weight_counts,
        ),
        conditions=Conditions(
            derived_facts=TRANSPOSED if transposed else DERIVED,
            numeric_facts={"padding": "pads"},
            implied_arguments=implied_arguments,
        ),
        laws=_LAWS if function else (*_LAWS, multilinear.lazy_equals_eager),
        benchmark=Benchmark(
            workloads=workloads(name, dims, transposed=transposed),
            filling=Filling(terms=_transposed_terms) if transposed else Filling(),
            flops=transposed_flops if transposed else flops,
        ),
        lazy=Lazy(f"{stem}{dims}d", partial(_inferred_arguments, dims)) if lazy else None,
    )


def layer_specs() -> Iterator[LayerSpec]:
    """The family's layers, in the order of torch's documentation."""
    for transposed in (False, True):
        for form in ("", "Lazy", "functional."):
            for dims in (1, 2, 3):
                yield _layer_spec(form, dims, transposed)
