"""Cases of initialisations: a tensor with numbers to overwrite, and arguments."""

from __future__ import annotations

import math
from typing import Any

from conformance.strategies.arguments import ArgumentWriter, masks
from conformance.strategies.composing import composite
from conformance.strategies.dropout import shapes as any_shapes
from conformance.strategies.values import Filler, regimes, seeds
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Call, Case, bare_name

_sizes = st.sampled_from((1, 2, 3, 1, 5, 4, 7))
_matrix_shapes = st.sampled_from(
    ((1, 1), (3, 5), (5, 3), (2, 1), (1, 4), (0, 3), (3, 0), (4, 4), (17, 2))
)
_nonempty_matrix_shapes = st.sampled_from(((1, 1), (3, 5), (5, 3), (2, 1), (1, 4), (4, 4), (17, 2)))
_kernel_sizes = st.integers(1, 5)
_kernel_weight_shapes = st.integers(1, 3).flatmap(
    lambda dims: st.tuples(_sizes, _sizes, *[_kernel_sizes] * dims)
)
_weight_shapes = _matrix_shapes | _kernel_weight_shapes
_groups = st.sampled_from((1, 1, 2, 3))

_values = st.sampled_from((1.0, 0.3, 0.0, -2.5, 1e-3, 7.0))
_intervals = st.sampled_from(
    ((0.0, 1.0), (-1.0, 1.0), (-0.3, 0.4), (2.5, 3.5), (-8.0, -6.0), (0.0, 0.1), (2.0, 2.0))
)
_means = st.sampled_from((0.0, 0.0, 1.5, -0.3, 4.0))
_stds = st.sampled_from((1.0, 1.0, 0.5, 2.0, 0.01, 0.0))
_truncations = st.sampled_from(
    (
        (0.0, 1.0, -2.0, 2.0), (0.0, 1.0, -1.0, 1.0), (0.0, 0.02, -2.0, 2.0),
        (0.0, 0.02, -0.04, 0.04), (0.0, 1.0, 0.5, 2.0), (0.3, 2.0, -0.3, 0.4),
        (1.0, 0.5, 0.0, 0.75), (0.0, 1.0, 1.3, 2.7), (-1.0, 1.0, -2.0, 2.0),
    )
)  # fmt: skip
_gains = st.sampled_from((1.0, 5 / 3, math.sqrt(2), 0.5, 2.0, 0.0))
_slopes = st.sampled_from((0, 0.01, 0.2, 1, math.sqrt(5)))
_modes = st.sampled_from(("fan_in", "fan_out"))
# Twice the one that is the default, and that alone depends on the slope.
_nonlinearities = st.sampled_from(
    (
        "leaky_relu", "relu", "leaky_relu", "tanh", "selu", "sigmoid", "linear",
        "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
    )
)  # fmt: skip
_sparsities = st.sampled_from((0.5, 0.25, 0.1, 0.3, 0.75, 0.0, 1.0))
_sparse_stds = st.sampled_from((0.01, 1.0, 0.1))

_SHAPES = {
    "eye_": _matrix_shapes,
    "sparse_": _matrix_shapes,
    # No empty shapes: torch accepts them even in dtypes that orthogonal_ does not support.
    "orthogonal_": _nonempty_matrix_shapes | _kernel_weight_shapes,
    **dict.fromkeys(("constant_", "ones_", "zeros_", "uniform_", "normal_", "trunc_normal_"),
                    any_shapes),
}  # fmt: skip


def _draw_arguments(draw: Draw, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Draw values of the optional arguments; return them and their defaults."""
    if name == "uniform_":
        a, b = draw(_intervals)
        return {"a": a, "b": b}, {"a": 0.0, "b": 1.0}
    if name == "normal_":
        return {"mean": draw(_means), "std": draw(_stds)}, {"mean": 0.0, "std": 1.0}
    if name == "trunc_normal_":
        names = ("mean", "std", "a", "b")
        defaults = dict(zip(names, (0.0, 1.0, -2.0, 2.0), strict=True))
        return dict(zip(names, draw(_truncations), strict=True)), defaults
    if name.startswith("xavier"):
        return {"gain": draw(_gains)}, {"gain": 1.0}
    if name == "orthogonal_":
        gain = draw(_gains)
        return {"gain": 1 if gain == 1 else gain}, {"gain": 1}
    if name.startswith("kaiming"):
        values = {"a": draw(_slopes), "mode": draw(_modes), "nonlinearity": draw(_nonlinearities)}
        return values, {"a": 0, "mode": "fan_in", "nonlinearity": "leaky_relu"}
    if name == "sparse_":
        return {"std": draw(_sparse_stds)}, {"std": 0.01}
    return {}, {}


@composite
def inits(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of an initialisation.

    Args:
        layer: `"init.ones_"`, or another name of the family.
    """
    name = bare_name(layer)
    required: dict[str, Any] = {}
    values, defaults = _draw_arguments(draw, name)
    if name == "dirac_":
        groups = draw(_groups)
        shape = (groups * draw(_sizes), draw(_sizes), *draw(st.lists(_kernel_sizes, min_size=1,
                                                                     max_size=3)))  # fmt: skip
        values, defaults = {"groups": groups}, {"groups": 1}
    else:
        shape = draw(_SHAPES.get(name, _weight_shapes))
    if name == "constant_":
        required["val"] = draw(_values)
    if name == "sparse_":
        required["sparsity"] = draw(_sparsities)
    writer = ArgumentWriter(draw(masks))
    regime, seed = draw(regimes), draw(seeds)
    x = Filler(regime, dtype, seed, 1, factors=1).operand(*shape)
    arguments = {**required, **writer.explicit_arguments(values, defaults)}
    call = Call(layer, arguments, {}, dtype, "cpu")
    return Case(call, (x,), labels={"profile": f"{x.ndim} axes", "regime": regime}, seed=seed)
