"""Cases of layers whose weight is computed: cases of the layer, its weight decomposed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from conformance.strategies.arguments import ArgumentWriter, masks
from conformance.strategies.composing import composite
from conformance.strategies.values import Filler, seeds, sum_regimes
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Call, Case
from conformance.model.formats import round_to

# Layer → the axis of its weight that counts the outputs.
OUTPUT_AXES = {
    "Linear": 0,
    "Conv1d": 0,
    "Conv2d": 0,
    "Conv3d": 0,
    "ConvTranspose1d": 1,
    "ConvTranspose2d": 1,
    "ConvTranspose3d": 1,
    "Bilinear": 0,
}
LayerCases = Callable[[str, str], st.SearchStrategy[Case]]
"""Name of a layer with a weight, dtype → its cases."""

_layers = st.sampled_from(tuple(OUTPUT_AXES))
_yes_no = st.booleans()
_seldom = st.sampled_from((False, False, False, False, True))
_steps = st.sampled_from((1, 1, 2, 3))
# Even, and no kernel longer than its input: other convolutions meet bugs of torch's convolutions,
# which the convolution's own cases show.
_channels = st.sampled_from((2, 4))
_kernels = st.sampled_from((1, 2, 3))
_extra_lengths = st.integers(0, 2)
# An empty batch is rare: its outputs have no elements to compare.
_batches = st.sampled_from(((1,), (), (2,), (3,), (1,), (2,), (3,), (), (2,), (0,)))
_biases = st.sampled_from((True, False))
_epsilons = st.sampled_from((1e-12, 1e-12, 1e-6))


def _layer_case(draw: Draw, dtype: str, layer_cases: LayerCases) -> Case:
    """Draw a case of a layer with a weight that has elements."""
    name = draw(_layers)
    if "Conv" in name:
        return _convolution(draw, name, dtype)
    case: Case = draw(layer_cases(name, dtype))
    if not case.call.state["weight"].size:
        case = _convolution(draw, "Conv1d", dtype)
    return replace(case, layouts=(), cotangent_layouts=())


def _convolution(draw: Draw, name: str, dtype: str) -> Case:
    """Draw a plain convolution: channels, kernel and lengths; its own family varies the rest."""
    transposed, dims = "Transpose" in name, int(name[-2])
    inputs, outputs = draw(_channels), draw(_channels)
    kernel = tuple(draw(_kernels) for _ in range(dims))
    lengths = tuple(k + draw(_extra_lengths) for k in kernel)
    batch = draw(_batches)
    bias = draw(_biases)
    writer = ArgumentWriter(draw(masks))
    regime, seed = draw(sum_regimes), draw(seeds)
    terms = max(inputs, outputs) * math.prod(kernel) + max(batch, default=1) * math.prod(lengths)
    filler = Filler(regime, dtype, seed, terms)
    x = filler.operand(*batch, inputs, *lengths)
    order = (inputs, outputs) if transposed else (outputs, inputs)
    state = {"weight": filler.operand(*order, *kernel)}
    if bias:
        state["bias"] = filler.addend(outputs)
    arguments = {
        "in_channels": inputs,
        "out_channels": outputs,
        "kernel_size": writer.size_argument(kernel),
    }
    arguments |= writer.explicit_arguments({"bias": bias}, {"bias": True})
    call = Call(name, arguments, state, dtype, "cpu")
    return Case(call, (x,), labels={"profile": "plain", "regime": regime}, seed=seed)


def _module_argument(case: Case) -> tuple[str, tuple[tuple[str, Any], ...]]:
    return case.call.layer, tuple(case.call.arguments.items())


def _parametrized_case(
    layer: str, case: Case, arguments: dict[str, Any], state: dict[str, np.ndarray], training: bool
) -> Case:
    call = replace(case.call, layer=layer, arguments=arguments, state=state, training=training)
    labels = {**case.labels, "profile": case.call.layer}
    return replace(case, call=call, labels=labels)


def _tensor_name(draw: Draw, case: Case) -> str:
    is_bias = "bias" in case.call.state and draw(_seldom)
    return "bias" if is_bias else "weight"


def _other_tensors(case: Case, name: str) -> dict[str, np.ndarray]:
    return {key: x for key, x in case.call.state.items() if key != name}


@composite
def weight_norms(draw: Draw, layer: str, dtype: str, cases_of: LayerCases) -> Case:
    """Cases of weight_norm: nonzero directions v, magnitudes g of either sign."""
    case = _layer_case(draw, dtype, cases_of)
    name = _tensor_name(draw, case)
    writer = ArgumentWriter(draw(masks))
    v = case.call.state[name].copy()
    # -1 is left out: torch's code uses it for None.
    dims: tuple[Any, ...] = (0, 0, None, *range(v.ndim), *range(-v.ndim, -1))
    dim = draw(st.sampled_from(dims))
    rows = v.reshape(1, -1) if dim is None else np.moveaxis(v, dim, 0).reshape(v.shape[dim], -1)
    if not rows.any(1).all():  # a direction of length 0
        v = np.where(v == 0, 1.0, v)
    regime = str(case.labels["regime"])
    lengths = [1] * v.ndim
    if dim is not None:
        lengths[dim] = v.shape[dim]
    g = Filler(regime, dtype, case.seed ^ 1, 4).operand(*(() if dim is None else lengths))
    stem = f"parametrizations.{name}"
    parts = {f"{stem}.original0": np.where(g == 0, 2.0, g), f"{stem}.original1": v}
    state = {**_other_tensors(case, name), **parts}
    values, defaults = {"name": name, "dim": dim}, {"name": "weight", "dim": 0}
    arguments = {"module": _module_argument(case), **writer.explicit_arguments(values, defaults)}
    return _parametrized_case(layer, case, arguments, state, training=False)


@composite
def spectral_norms(draw: Draw, layer: str, dtype: str, cases_of: LayerCases) -> Case:
    """Cases of spectral_norm: u and v close to the singular vectors, or arbitrary."""
    case = _layer_case(draw, dtype, cases_of)
    name = _tensor_name(draw, case)
    training, near = draw(_yes_no), not draw(_seldom)
    output_axis = OUTPUT_AXES[case.call.layer]
    writer = ArgumentWriter(draw(masks))
    weight = case.call.state[name].copy()
    dims = (*range(weight.ndim), *range(-weight.ndim, 0))
    # None stands for the second axis of some layers, which a vector does not have.
    dim = draw(st.sampled_from((None, None, *dims) if output_axis < weight.ndim else dims))
    if not weight.any():
        weight = np.ones(weight.shape)
    stem = f"parametrizations.{name}"
    state = {**_other_tensors(case, name), f"{stem}.original": weight}
    if weight.ndim > 1:
        axis = output_axis if dim is None else dim
        matrix = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)
        left, right = _singular_vectors(matrix, case.seed, near=near)
        state |= {f"{stem}.0._u": round_to(left, dtype), f"{stem}.0._v": round_to(right, dtype)}
    values: dict[str, Any] = {
        "name": name, "n_power_iterations": draw(_steps), "eps": draw(_epsilons), "dim": dim
    }  # fmt: skip
    defaults = {"name": "weight", "n_power_iterations": 1, "eps": 1e-12, "dim": None}
    arguments = {"module": _module_argument(case), **writer.explicit_arguments(values, defaults)}
    return _parametrized_case(layer, case, arguments, state, training=training)


def _singular_vectors(
    matrix: np.ndarray, seed: int, *, near: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors: from a step of the power method, or drawn with positive components."""
    generator = np.random.default_rng((seed, 3))
    scaled = matrix / np.abs(matrix).max()
    if near:
        _, _, rows = np.linalg.svd(scaled, full_matrices=False)
        v = rows[0]
        u = scaled @ v
    else:
        u, v = (np.abs(generator.standard_normal(n)) + 0.1 for n in scaled.shape)
    return u / np.linalg.norm(u), v / np.linalg.norm(v)
