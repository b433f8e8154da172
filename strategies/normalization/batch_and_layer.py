"""Cases of LayerNorm and BatchNorm: modules and functions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from conformance.strategies.arguments import ArgumentWriter, masks
from conformance.strategies.composing import composite
from conformance.strategies.values import seeds, with_outliers
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Call, Case, is_function
from conformance.model.formats import round_to

EPS = 1e-5
MOMENTUM = 0.1
# The simplest first. `offset`: a mean far from 0; `close`: a variance that is small relative to ε;
# `pairs`: m ± 1.5, whose variance is 9/4, to which ε = 1.75 is added to make 4; `constant`: one
# number throughout each group; `outliers`: few elements are about 10⁶ times as large as the others.
regimes = st.sampled_from(
    (
        *("ramp", "integers", "normal", "offset", "close", "pairs", "mixed", "large", "constant"),
        "outliers",
    )
)
epsilons = st.sampled_from((EPS, EPS, 0.1, 1.75, 1e-12))
# With 0, for statistics within a sample; batch_norm refuses 0 in training.
own_epsilons = st.sampled_from((EPS, EPS, 0.1, 1.75, 1e-12, 0.0))
# Sizes that are normalised: few numbers, which show most bugs; and blocks of kernels with tails.
sizes = st.sampled_from((1, 2, 3, 4, 5, 8, 17, 64, 0))
blocks = st.sampled_from((15, 16, 31, 33, 63, 65, 127, 129, 257, 511, 513, 1025))
ranks = st.sampled_from((1, 1, 2, 3))
leading_shapes = st.sampled_from(
    ((1,), (), (2,), (3,), (5,), (2, 3), (2, 1, 3), (0,), (2, 0), (17,), (67,))
)
few_leading_shapes = st.sampled_from(((1,), (), (2,), (3,)))
batches = st.sampled_from((1, 2, 3, 4, 5, 1, 2, 3, 2, 0))
channels = st.sampled_from((1, 2, 3, 4, 5, 8, 17, 33))
lengths = st.sampled_from((1, 2, 3, 4, 5, 7, 9))
long_lengths = st.sampled_from((1, 16, 17, 31, 65))
spatial_ranks = st.sampled_from((2, 0, 1, 3))
flat_ranks = st.sampled_from((1, 0, 1))
momenta = st.sampled_from((MOMENTUM, 0.5, 0.25, 0.0, 1.0))
module_momenta = st.sampled_from((MOMENTUM, 0.5, None, 0.25, 0.0, 1.0))
yes_no = st.booleans()
seldom = st.sampled_from((False, False, False, True))
# The default comes first: shrinking prefers it.
mostly = st.sampled_from((True, True, True, False))
affines = st.sampled_from(("none", "both", "both", "weight", "bias"))

# Largest exponent of an offset: a deviation of 1 still has several steps at that size.
_OFFSET_BITS = {"float32": 10, "float64": 20, "bfloat16": 4, "float16": 6}
_MIXED_EXPONENTS = {"float16": 4, "bfloat16": 12, "float32": 12, "float64": 40}
# Sums of 2¹⁰ squares of numbers of this size do not overflow the format of the computation.
_LARGE_EXPONENTS = {"float16": 6, "bfloat16": 50, "float32": 50, "float64": 400}


class NormFiller:
    """Fills the arrays of one case, every element exactly representable in its dtype.

    Args:
        regime: one of `regimes`.
    """

    def __init__(self, regime: str, dtype: str, seed: int) -> None:
        self.regime, self.dtype = regime, dtype
        self.generator = np.random.default_rng(seed)

    def draw_groups(self, rows: int, count: int) -> np.ndarray:
        """Fill an array (rows, count), each row of which is normalised by itself."""
        g, shape, regime = self.generator, (rows, count), self.regime
        if regime == "ramp":
            values = np.arange(rows * count).reshape(shape) % 9 + 1.0
        elif regime == "integers":
            values = g.integers(-3, 3, shape, endpoint=True).astype(np.float64)
        elif regime == "pairs":
            signs = 1.0 - 2.0 * (np.arange(count) % 2)
            values = 1.5 * signs + g.choice([0.0, 0.0, 16.0, -32.0], (rows, 1))
        elif regime == "constant":
            values = np.broadcast_to(g.standard_normal((rows, 1)) * 8.0, shape)
        else:
            values = g.standard_normal(shape)
        if regime == "offset":
            bits = _OFFSET_BITS[self.dtype]
            offsets = 2.0 ** g.integers(bits // 2, bits, (rows, 1), endpoint=True)
            values = values + offsets * g.choice([-1.0, 1.0], (rows, 1))
        elif regime == "close":
            values = values * 2.0 ** g.integers(-9, -5, (rows, 1), endpoint=True)
        elif regime == "mixed":
            spread = _MIXED_EXPONENTS[self.dtype]
            values = np.ldexp(values, g.integers(-spread, spread, shape, endpoint=True))
        elif regime == "large":
            values = np.ldexp(values, _LARGE_EXPONENTS[self.dtype])
        elif regime == "outliers":
            values = with_outliers(values, self.dtype, g)
        return round_to(values, self.dtype)

    def draw_weight(self, *shape: int) -> np.ndarray:
        """Fill a weight, a bias or a running mean."""
        if self.regime in ("ramp", "integers", "pairs"):
            low = 1 if self.regime == "ramp" else -3
            return self.generator.integers(low, 3, shape, endpoint=True).astype(np.float64)
        return round_to(self.generator.standard_normal(shape), self.dtype)

    def draw_variance(self, *shape: int) -> np.ndarray:
        """Fill a running variance, which is positive."""
        if self.regime in ("ramp", "integers", "pairs"):
            return self.generator.choice([1.0, 2.0, 0.25, 2.25], shape)
        scale = 2.0**-16 if self.regime == "close" else 1.0
        return round_to(self.generator.uniform(0.125, 4.0, shape) * scale, self.dtype)

    def draw_parameters(
        self, present: str, *shape: int
    ) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Fill weight and bias.

        Args:
            present: `"both"`, `"weight"`, `"bias"` or `"none"`.
        """
        weight = self.draw_weight(*shape) if present in ("both", "weight") else None
        return weight, self.draw_weight(*shape) if present in ("both", "bias") else None


def present_parameters(affine: bool, bias: bool) -> str:
    """Which parameters a module has, as `NormFiller.draw_parameters` takes it."""
    return "none" if not affine else "both" if bias else "weight"


def drop_missing(**arrays: np.ndarray | None) -> dict[str, np.ndarray]:
    """The arrays that are not None, by name."""
    return {name: array for name, array in arrays.items() if array is not None}


@composite
def layer_norms(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of a layer normalisation.

    Args:
        layer: `"LayerNorm"` or `"functional.layer_norm"`.
    """
    functional = is_function(layer)
    profile = draw(st.sampled_from(("plain", "plain", "plain", "block")))
    if profile == "block":
        leading, shape = draw(few_leading_shapes), (draw(blocks),)
    else:
        rank = draw(ranks)
        leading, shape = draw(leading_shapes), tuple(draw(sizes) for _ in range(rank))
        if math.prod(shape) * math.prod(leading) > 6000:
            shape = shape[:1]
    eps = draw(own_epsilons)
    affine, bias = draw(mostly), draw(mostly)
    present = draw(affines) if functional else present_parameters(affine, bias)
    writer = ArgumentWriter(draw(masks))
    regime, seed = draw(regimes), draw(seeds)
    eps = 1.75 if regime == "pairs" else eps
    filler = NormFiller(regime, dtype, seed)
    x = filler.draw_groups(math.prod(leading), math.prod(shape)).reshape(*leading, *shape)
    weight, shift = filler.draw_parameters(present, *shape)
    labels = {"profile": profile, "regime": regime}
    optional: dict[str, Any] = {"eps": eps}
    if functional:
        arguments = {"normalized_shape": shape} | writer.explicit_arguments(optional, {"eps": EPS})
        call = Call(layer, arguments, {}, dtype, "cpu")
        return Case(call, (x, weight, shift), labels=labels, seed=seed)
    optional |= {"elementwise_affine": affine, "bias": bias}
    defaults = {"eps": EPS, "elementwise_affine": True, "bias": True}
    size = writer.size_argument(shape) if len(shape) == 1 else shape
    arguments = {"normalized_shape": size} | writer.explicit_arguments(optional, defaults)
    call = Call(layer, arguments, drop_missing(weight=weight, bias=shift), dtype, "cpu")
    return Case(call, (x,), labels=labels, seed=seed)


def _draw_shape(draw: Draw, rank: int, *, needs_variance: bool) -> tuple[str, tuple[int, ...]]:
    """Draw a profile, and the shape of an input with `rank` spatial dimensions.

    Args:
        needs_variance: a channel needs more than one number.
    """
    profile = draw(st.sampled_from(("plain", "plain", "plain", "block")))
    long = profile == "block"
    batch, features = draw(batches), draw(channels)
    spatial = [draw(long_lengths if long and not k else lengths) for k in range(rank)]
    features = min(features, 3) if long or rank > 2 else features
    if needs_variance and batch * math.prod(spatial) == 1:
        batch = 2
    return profile, (batch, features, *spatial)


def _draw_by_channel(filler: NormFiller, shape: tuple[int, ...]) -> np.ndarray:
    """Fill an input (N, C, …) whose groups are the channels."""
    batch, features, *spatial = shape
    groups = filler.draw_groups(features, batch * math.prod(spatial))
    return np.ascontiguousarray(np.moveaxis(groups.reshape(features, batch, *spatial), 0, 1))


@composite
def batch_norm_modules(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of a batch norm module, in train mode and in eval mode.

    Args:
        layer: `"BatchNorm1d"`, `"LazyBatchNorm3d"`, …
    """
    training, tracked = draw(yes_no), draw(mostly)
    digit = layer[-2]
    rank = int(digit) if digit.isdigit() else draw(spatial_ranks)
    rank = draw(flat_ranks) if digit == "1" else rank
    profile, shape = _draw_shape(draw, rank, needs_variance=training or not tracked)
    eps, momentum = draw(epsilons), draw(module_momenta)
    affine, bias = draw(mostly), draw(mostly)
    count = draw(st.sampled_from((0, 1, 2, 7)))
    writer = ArgumentWriter(draw(masks))
    regime, seed = draw(regimes), draw(seeds)
    eps = 1.75 if regime == "pairs" else eps
    filler = NormFiller(regime, dtype, seed)
    x, features = _draw_by_channel(filler, shape), shape[1]
    weight, shift = filler.draw_parameters(present_parameters(affine, bias), features)
    state = drop_missing(weight=weight, bias=shift)
    if tracked:
        state["running_mean"] = filler.draw_weight(features)
        state["running_var"] = filler.draw_variance(features)
        state["num_batches_tracked"] = np.array(count, np.int64)
    optional = {"eps": eps, "momentum": momentum, "affine": affine, "bias": bias}
    optional["track_running_stats"] = tracked
    defaults = {"eps": EPS, "momentum": MOMENTUM, "affine": True, "bias": True}
    defaults["track_running_stats"] = True
    required = {} if layer.startswith("Lazy") else {"num_features": features}
    arguments = required | writer.explicit_arguments(optional, defaults)
    call = Call(layer, arguments, state, dtype, "cpu", training)
    labels = {"profile": profile, "regime": regime}
    return Case(call, (x,), labels=labels, seed=seed)


@composite
def batch_norms(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of functional.batch_norm, of any number of spatial dimensions."""
    training = draw(yes_no)
    profile, shape = _draw_shape(draw, draw(spatial_ranks), needs_variance=training)
    tracked = not (training and draw(seldom))
    eps, momentum, present = draw(epsilons), draw(momenta), draw(affines)
    writer = ArgumentWriter(draw(masks))
    regime, seed = draw(regimes), draw(seeds)
    eps = 1.75 if regime == "pairs" else eps
    filler = NormFiller(regime, dtype, seed)
    x, features = _draw_by_channel(filler, shape), shape[1]
    centre = filler.draw_weight(features) if tracked else None
    spread = filler.draw_variance(features) if tracked else None
    weight, shift = filler.draw_parameters(present, features)
    optional = {"training": training, "momentum": momentum, "eps": eps}
    defaults = {"training": False, "momentum": MOMENTUM, "eps": EPS}
    arguments = writer.explicit_arguments(optional, defaults)
    call = Call(layer, arguments, {}, dtype, "cpu")
    labels = {"profile": profile, "regime": regime}
    return Case(call, (x, centre, spread, weight, shift), labels=labels, seed=seed)
