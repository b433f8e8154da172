"""Cases of activations."""

from __future__ import annotations

from typing import Any

import numpy as np
from conformance.strategies.arguments import ArgumentWriter, masks
from conformance.strategies.composing import composite
from conformance.strategies.values import Filler, regimes, seeds
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.activations import activation_of, is_in_place
from conformance.model.case import Call, Case, is_function
from conformance.model.formats import FORMATS, round_to

# Vector code reads 8, 16 or 64 elements at a time, and a tail.
vectors = st.sampled_from(((1,), (), (2,), (3,), (67,), (129,), (0,), (257,)))
blocks = st.lists(st.integers(0, 5), min_size=2, max_size=4).map(tuple)
# around: magnitudes at which a sigmoid bends, saturates, and vanishes in each format.
# kinks: where a function changes, exactly and one number of the dtype away.
# tails: every magnitude of the dtype, the smallest and the largest number among them.
profiles = st.sampled_from(("vector", "block", "around", "kinks", "tails"))
yes_no = st.booleans()
# Mostly in training: a random slope is drawn there only.
modes = st.sampled_from((False, True, True))
_AROUND = (0.0, 1.0, 4.0, 16.0, 40.0, 90.0, 110.0, 710.0, 750.0)


@composite
def activations(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of an elementwise function or module, by its name in the catalogue."""
    activation, always_in_place = activation_of(layer), is_in_place(layer)
    profile = draw(profiles)
    shape = draw(blocks if profile == "block" else vectors)
    values: dict[str, Any] = {}
    for names, choices in activation.drawn_values.items():
        candidates = [dict(zip(names, choice, strict=True)) for choice in choices]
        allowed = [
            candidate
            for candidate in candidates
            if not always_in_place or activation.is_reversible(candidate)
        ]
        values |= draw(st.sampled_from(allowed))
    kinks = (0.0, *activation.kinks(values))
    defaults, training = activation.defaults, False
    if activation.random:
        training = draw(modes)
        if is_function(layer):
            values["training"], defaults["training"], training = training, False, False
    if activation.inplace and not always_in_place:
        values["inplace"] = draw(yes_no) and activation.is_reversible(values)
        defaults["inplace"] = False
    writer = ArgumentWriter(draw(masks))
    arguments = {k: v for k, v in values.items() if k not in defaults}
    arguments |= writer.explicit_arguments({k: values[k] for k in defaults}, defaults)
    regime, seed = draw(regimes), draw(seeds)
    x = _input(profile, regime, shape, kinks, dtype, seed)
    labels = {"profile": profile, "regime": regime}
    call = Call(layer, arguments, {}, dtype, "cpu", training=training)
    return Case(call, (x,), labels=labels, seed=seed)


# Shape of the weight: one slope for all channels as (1,) or (), or one for each channel.
weights = st.sampled_from(("one", "each", "each", "number"))


@composite
def prelus(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of `"PReLU"` or `"functional.prelu"`: a slope for each channel, or one for all."""
    profile, kind, init = draw(profiles), draw(weights), draw(st.sampled_from((0.25, 0.25, 0.5)))
    shape = draw(blocks if profile == "block" or kind == "each" else vectors)
    writer = ArgumentWriter(draw(masks))
    regime, seed = draw(regimes), draw(seeds)
    channels = shape[1] if kind == "each" else 1
    filler = Filler(regime, dtype, seed, max(int(np.prod(shape)), 1))
    slopes = filler.operand(channels)
    x = filler.operand(*shape) * np.random.default_rng(seed).choice([-1.0, 1.0], shape)
    if profile in ("around", "kinks", "tails"):
        # The weight stays of ordinary size beside such an input.
        x = _input(profile, regime, shape, (0.0,), dtype, seed)
        slopes = Filler("normal", dtype, seed, 1).operand(channels)
    labels = {"profile": profile, "regime": regime}
    if is_function(layer):
        weight = slopes.reshape(()) if kind == "number" and channels == 1 else slopes
        return Case(Call(layer, {}, {}, dtype, "cpu"), (x, weight), labels=labels, seed=seed)
    arguments = writer.explicit_arguments(
        {"num_parameters": channels, "init": init}, {"num_parameters": 1, "init": 0.25}
    )
    call = Call(layer, arguments, {"weight": slopes}, dtype, "cpu")
    return Case(call, (np.asarray(x),), labels=labels, seed=seed)


def _input(
    profile: str,
    regime: str,
    shape: tuple[int, ...],
    kinks: tuple[float, ...],
    dtype: str,
    seed: int,
) -> np.ndarray:
    """Draw the input that a profile describes."""
    if profile not in ("around", "kinks", "tails"):
        return Filler(regime, dtype, seed, 1, factors=1).operand(*shape)
    generator, form = np.random.default_rng(seed), FORMATS[dtype]
    sign = generator.choice([-1.0, 1.0], shape)
    if profile == "around":
        size = generator.choice(_AROUND, shape) + generator.standard_normal(shape)
        return round_to(np.asarray(size * sign), dtype)
    if profile == "tails":
        powers = np.log2(form.tiny), np.log2(form.largest)
        size = np.minimum(np.exp2(generator.uniform(*powers, shape)), form.largest)
        ends = generator.choice([form.largest, form.largest / 4, form.normal, form.tiny], shape)
        size = np.where(generator.integers(8, size=shape) == 0, ends, size)
        return round_to(np.asarray(size * sign), dtype)
    kink = round_to(generator.choice(kinks, shape), dtype)
    steps = generator.choice([-4.0, -2.0, -1.0, 0.0, 0.0, 1.0, 2.0, 4.0], shape)
    # Two units roundoff are one or two steps to the next numbers of the format.
    distance = np.where(kink == 0, form.normal, 2 * form.unit * np.abs(kink))
    near = kink + steps * distance
    # One in four lies well between two kinks.
    between = kink + generator.standard_normal(shape)
    return round_to(
        np.asarray(np.where(generator.integers(4, size=shape) == 0, between, near)), dtype
    )
