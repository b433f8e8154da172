"""Cases of norms within each sample: modules, lazy modules and functions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from conformance.strategies.arguments import ArgumentWriter, masks
from conformance.strategies.composing import composite
from conformance.strategies.normalization.batch_and_layer import (
    EPS,
    MOMENTUM,
    NormFiller,
    affines,
    batches,
    blocks,
    channels,
    drop_missing,
    few_leading_shapes,
    leading_shapes,
    lengths,
    long_lengths,
    momenta,
    mostly,
    own_epsilons,
    present_parameters,
    ranks,
    regimes,
    seldom,
    sizes,
    spatial_ranks,
    yes_no,
)
from conformance.strategies.values import seeds
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Call, Case, is_function

profiles = st.sampled_from(("plain", "plain", "plain", "block"))
# deep: a window has more than 32 channels.
response_profiles = st.sampled_from(("plain", "plain", "plain", "block", "deep"))
space_ranks = st.sampled_from((1, 2, 3, 1, 2))
group_counts = st.sampled_from((1, 2, 3, 4, 5, 8))
group_sizes = st.sampled_from((1, 2, 3, 4, 5, 8, 17))
optional_epsilons = st.sampled_from((None, None, EPS, 0.1, 1.75, 1e-12, 0.0))
# Mostly 1: in half precision torch has no kernel for more dimensions.
mostly_one = st.sampled_from((1, 1, 2, 1, 3))
windows = st.sampled_from((1, 2, 3, 4, 5, 7, 12, 71))
deep_windows = st.sampled_from((33, 40, 71))
alphas = st.sampled_from((1e-4, 1.0, 0.25, 2.0))
betas = st.sampled_from((0.75, 0.5, 1.0, 2.0))
constants = st.sampled_from((1.0, 2.0, 0.5))
odd_windows = st.sampled_from((1, 3, 5, 7, 9, 13, 71))


def _draw_lengths(draw: Draw, rank: int, profile: str) -> list[int]:
    long = profile == "block"
    return [draw(long_lengths if long and not k else lengths) for k in range(rank)]


def _draw_by_instance(filler: NormFiller, shape: tuple[int, ...]) -> np.ndarray:
    """Fill an input (N, C, …) whose groups are the channels of each sample."""
    batch, features, *spatial = shape
    return filler.draw_groups(batch * features, math.prod(spatial)).reshape(shape)


@composite
def instance_norm_modules(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of an instance norm module, in train mode and in eval mode.

    Args:
        layer: `"InstanceNorm1d"`, `"LazyInstanceNorm3d"`, …
    """
    lazy, dims = layer.startswith("Lazy"), int(layer[-2])
    # The default comes first. Lazy layers mostly have no weight: torch refuses to load one.
    tracks = st.sampled_from((True, True, False) if lazy else (False, True))
    affines = st.sampled_from((True, False, False) if lazy else (False, True))
    training, tracked, affine, bias = draw(yes_no), draw(tracks), draw(affines), draw(mostly)
    profile, has_no_batch = draw(profiles), draw(seldom)
    batch, features = 1 if has_no_batch else draw(batches), draw(channels)
    spatial = _draw_lengths(draw, dims, profile)
    if (training or not tracked) and math.prod(spatial) == 1:
        spatial[-1] = 2
    features = min(features, 3) if profile == "block" or dims > 2 else features
    eps, momentum = draw(own_epsilons), draw(momenta)
    count = draw(st.sampled_from((0, 1, 7)))
    writer = ArgumentWriter(draw(masks))
    regime, seed = draw(regimes), draw(seeds)
    eps = 1.75 if regime == "pairs" else eps
    filler = NormFiller(regime, dtype, seed)
    x = _draw_by_instance(filler, (batch, features, *spatial))
    weight, shift = filler.draw_parameters(present_parameters(affine, bias), features)
    state = drop_missing(weight=weight, bias=shift)
    if tracked:
        state["running_mean"] = filler.draw_weight(features)
        state["running_var"] = filler.draw_variance(features)
        state["num_batches_tracked"] = np.array(count, np.int64)
    optional = {"eps": eps, "momentum": momentum, "affine": affine, "bias": bias}
    optional["track_running_stats"] = tracked
    defaults = {"eps": EPS, "momentum": MOMENTUM, "affine": lazy, "bias": True}
    defaults["track_running_stats"] = lazy
    required = {} if lazy else {"num_features": features}
    arguments = required | writer.explicit_arguments(optional, defaults)
    call = Call(layer, arguments, state, dtype, "cpu", training)
    labels = {"profile": profile, "regime": regime}
    return Case(call, (x[0] if has_no_batch else x,), labels=labels, seed=seed)


@composite
def instance_norms(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of functional.instance_norm."""
    uses_input_stats = draw(mostly)
    tracked = not uses_input_stats or draw(yes_no)
    profile, rank = draw(profiles), draw(space_ranks)
    batch, features = draw(batches), draw(channels)
    spatial = _draw_lengths(draw, rank, profile)
    if uses_input_stats and math.prod(spatial) == 1:
        spatial[-1] = 2
    features = min(features, 3) if profile == "block" or rank > 2 else features
    eps, momentum, present = draw(own_epsilons), draw(momenta), draw(affines)
    writer = ArgumentWriter(draw(masks))
    regime, seed = draw(regimes), draw(seeds)
    eps = 1.75 if regime == "pairs" else eps
    filler = NormFiller(regime, dtype, seed)
    x = _draw_by_instance(filler, (batch, features, *spatial))
    centre = filler.draw_weight(features) if tracked else None
    spread = filler.draw_variance(features) if tracked else None
    weight, shift = filler.draw_parameters(present, features)
    optional = {"use_input_stats": uses_input_stats, "momentum": momentum, "eps": eps}
    defaults = {"use_input_stats": True, "momentum": MOMENTUM, "eps": EPS}
    call = Call(layer, writer.explicit_arguments(optional, defaults), {}, dtype, "cpu")
    labels = {"profile": profile, "regime": regime}
    return Case(call, (x, centre, spread, weight, shift), labels=labels, seed=seed)


@composite
def group_norms(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of a group normalisation.

    Args:
        layer: `"GroupNorm"` or `"functional.group_norm"`.
    """
    functional = is_function(layer)
    profile, rank = draw(profiles), draw(spatial_ranks)
    batch, groups, size = draw(batches), draw(group_counts), draw(group_sizes)
    spatial = _draw_lengths(draw, rank, profile)
    if profile == "block" or rank > 2:
        groups, size = min(groups, 3), min(size, 2)
    if batch * size * math.prod(spatial) == 1:
        size = 2  # torch refuses a single number per group, if there is a single sample
    features = groups * size
    eps, affine, bias = draw(own_epsilons), draw(mostly), draw(mostly)
    present = draw(affines) if functional else present_parameters(affine, bias)
    writer = ArgumentWriter(draw(masks))
    regime, seed = draw(regimes), draw(seeds)
    eps = 1.75 if regime == "pairs" else eps
    filler = NormFiller(regime, dtype, seed)
    x = filler.draw_groups(batch * groups, size * math.prod(spatial))
    x = x.reshape(batch, features, *spatial)
    weight, shift = filler.draw_parameters(present, features)
    labels = {"profile": profile, "regime": regime}
    optional: dict[str, Any] = {"eps": eps}
    if functional:
        arguments = {"num_groups": groups} | writer.explicit_arguments(optional, {"eps": EPS})
        call = Call(layer, arguments, {}, dtype, "cpu")
        return Case(call, (x, weight, shift), labels=labels, seed=seed)
    optional |= {"affine": affine, "bias": bias}
    defaults = {"eps": EPS, "affine": True, "bias": True}
    arguments = {"num_groups": groups, "num_channels": features}
    arguments |= writer.explicit_arguments(optional, defaults)
    call = Call(layer, arguments, drop_missing(weight=weight, bias=shift), dtype, "cpu")
    return Case(call, (x,), labels=labels, seed=seed)


@composite
def rms_norms(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of a normalisation by the root of the mean square.

    Args:
        layer: `"RMSNorm"` or `"functional.rms_norm"`.
    """
    functional, profile = is_function(layer), draw(profiles)
    if profile == "block":
        leading, shape = draw(few_leading_shapes), (draw(blocks),)
    else:
        rank = draw(ranks)
        leading, shape = draw(leading_shapes), tuple(draw(sizes) for _ in range(rank))
        if math.prod(shape) * math.prod(leading) > 6000:
            shape = shape[:1]
    eps, affine = draw(optional_epsilons), draw(mostly)
    writer = ArgumentWriter(draw(masks))
    regime, seed = draw(regimes), draw(seeds)
    filler = NormFiller(regime, dtype, seed)
    rows = filler.draw_groups(math.prod(leading), math.prod(shape))
    if regime == "pairs":
        # ± 1.5 without an offset: a mean square of 9/4, and ε = 1.75 makes it 4.
        eps, rows = 1.75, np.where(rows % 2 == 1.5, -1.5, 1.5)
    x = rows.reshape(*leading, *shape)
    weight = filler.draw_weight(*shape) if affine else None
    labels = {"profile": profile, "regime": regime}
    optional: dict[str, Any] = {"eps": eps}
    if functional:
        arguments = {"normalized_shape": shape} | writer.explicit_arguments(optional, {"eps": None})
        call = Call(layer, arguments, {}, dtype, "cpu")
        return Case(call, (x, weight), labels=labels, seed=seed)
    optional |= {"elementwise_affine": affine}
    size = writer.size_argument(shape) if len(shape) == 1 else shape
    arguments = {"normalized_shape": size}
    arguments |= writer.explicit_arguments(optional, {"eps": None, "elementwise_affine": True})
    call = Call(layer, arguments, drop_missing(weight=weight), dtype, "cpu")
    return Case(call, (x,), labels=labels, seed=seed)


@composite
def response_norms(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of a local response normalisation.

    Args:
        layer: `"LocalResponseNorm"` or `"functional.local_response_norm"`.
    """
    profile, rank = draw(response_profiles), draw(mostly_one)
    batch, features = draw(batches), draw(channels)
    spatial = _draw_lengths(draw, rank, profile)
    features = min(features, 5) if profile == "block" or rank > 2 else features
    size = draw(windows)
    if profile == "deep":
        features, size, spatial = 48, draw(deep_windows), spatial[:1]
    optional = {"alpha": draw(alphas), "beta": draw(betas), "k": draw(constants)}
    writer = ArgumentWriter(draw(masks))
    regime, seed = draw(regimes), draw(seeds)
    filler = NormFiller(regime, dtype, seed)
    x = _draw_by_instance(filler, (batch, features, *spatial))
    defaults = {"alpha": 1e-4, "beta": 0.75, "k": 1.0}
    call = Call(
        layer, {"size": size} | writer.explicit_arguments(optional, defaults), {}, dtype, "cpu"
    )
    return Case(call, (x,), labels={"profile": profile, "regime": regime}, seed=seed)


@composite
def cross_map_norms(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of CrossMapLRN2d, with odd windows only: what even ones mean is not documented."""
    profile, batch, features = draw(profiles), draw(batches), draw(channels)
    height, width = _draw_lengths(draw, 2, "plain")
    size = draw(odd_windows)
    # Often every window holds all channels.
    size = max(size, 2 * features - 1) if draw(yes_no) else size
    optional = {"alpha": draw(alphas), "beta": draw(betas), "k": draw(constants)}
    writer = ArgumentWriter(draw(masks))
    regime, seed = draw(regimes), draw(seeds)
    x = _draw_by_instance(NormFiller(regime, dtype, seed), (batch, features, height, width))
    defaults = {"alpha": 1e-4, "beta": 0.75, "k": 1.0}
    call = Call(
        layer, {"size": size} | writer.explicit_arguments(optional, defaults), {}, dtype, "cpu"
    )
    return Case(call, (x,), labels={"profile": profile, "regime": regime}, seed=seed)
