"""Cases of the connectionist temporal classification: log-probabilities, targets and lengths."""

from __future__ import annotations

from typing import Any

import numpy as np
from conformance.strategies.arguments import ArgumentWriter, masks
from conformance.strategies.composing import composite
from conformance.strategies.loss.cross_entropy import reductions, saturated_logits
from conformance.strategies.values import seeds
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Call, Case
from conformance.model.formats import round_to

# In each the simplest comes first; extra_steps are added to the steps that a target needs.
forms = st.sampled_from(("padded", "padded", "concatenated", "unbatched"))
length_forms = st.sampled_from(("tensors", "tensors", "tuples"))
batches = st.sampled_from((1, 2, 3, 4, 5))
labels = st.sampled_from((1, 2, 3, 0, 4, 5, 7, 8))
many_labels = st.sampled_from((15, 16, 17, 31, 33))
extra_steps = st.sampled_from((0, 1, 2, 3, 5, 8))
classes = st.sampled_from((2, 3, 4, 5, 8, 17, 1, 33))
profiles = st.sampled_from(("plain", "plain", "plain", "impossible", "long"))
blanks = st.sampled_from(("default", "default", "last", "middle"))
flags = st.sampled_from((False, True))
# `saturated`: one class is certain. `masked`: one class is impossible, its log probability −∞.
REGIMES = ("normal", "even", "saturated", "spread", "masked", "integers")
regimes = st.sampled_from(REGIMES)


def log_probabilities(
    regime: str, dtype: str, shape: tuple[int, ...], generator: np.random.Generator
) -> np.ndarray:
    """Log probabilities of shape (T, N, C), normalised along the last axis."""
    if regime == "saturated":
        return saturated_logits(generator, shape, len(shape) - 1)
    logits = generator.standard_normal(shape) * (8.0 if regime == "spread" else 1.0)
    if regime == "even":
        logits = np.zeros(shape)
    if regime == "integers":
        logits = generator.integers(-3, 3, shape, endpoint=True).astype(np.float64)
    if regime == "masked" and shape[-1] > 1:
        impossible = generator.integers(shape[-1], size=(*shape[:-1], 1))
        np.put_along_axis(logits, impossible, -np.inf, -1)
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return round_to(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)), dtype)


def _draw_targets(
    generator: np.random.Generator, count: int, longest: int, classes: int, blank: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw labels that are not the blank, some repeated, and the lengths of the targets."""
    allowed = np.array([k for k in range(classes) if k != blank] or [blank])
    targets = allowed[generator.integers(len(allowed), size=(count, longest))]
    repeats = generator.random((count, longest)) < 0.25
    for place in range(1, longest):
        targets[:, place] = np.where(repeats[:, place], targets[:, place - 1], targets[:, place])
    lengths = generator.integers(0, longest, count, endpoint=True)
    lengths[generator.integers(count)] = longest
    return targets, lengths


def _min_steps(targets: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Steps of the shortest alignments: one per label, and a blank between equal labels."""
    within_length = np.arange(1, targets.shape[1]) < lengths[:, np.newaxis]
    return np.asarray(lengths + ((targets[:, 1:] == targets[:, :-1]) & within_length).sum(axis=1))


@composite
def ctc_losses(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of the loss.

    Args:
        layer: `"CTCLoss"` or `"functional.ctc_loss"`.
    """
    profile, form, kind = draw(profiles), draw(forms), draw(length_forms)
    count = 1 if form == "unbatched" else draw(batches)
    size = draw(classes)
    longest = draw(many_labels if profile == "long" else labels)
    extra, blank_position = draw(extra_steps), draw(blanks)
    reduction, zero_infinity = draw(reductions), draw(flags)
    writer = ArgumentWriter(draw(masks))
    regime, seed = draw(regimes), draw(seeds)
    if profile == "long":
        count, size = min(count, 2), min(size, 5)
    if size == 1:
        longest = 0  # the only class is the blank
    blank = {"default": 0, "last": size - 1, "middle": size // 2}[blank_position]
    generator = np.random.default_rng(seed)
    targets, target_lengths = _draw_targets(generator, count, longest, size, blank)
    min_steps = _min_steps(targets, target_lengths)
    steps = max(int(min_steps.max()), 1) + extra
    if profile == "impossible":
        steps = max(int(generator.integers(0, min_steps.max(), endpoint=True)), 1)
        input_lengths = generator.integers(0, steps, count, endpoint=True)
    else:
        input_lengths = np.minimum(
            min_steps + generator.integers(0, extra, count, endpoint=True), steps
        )
    x = log_probabilities(regime, dtype, (steps, count, size), generator)
    values = {"blank": blank, "reduction": reduction, "zero_infinity": zero_infinity}
    defaults = {"blank": 0, "reduction": "mean", "zero_infinity": False}
    arguments: dict[str, Any] = writer.explicit_arguments(values, defaults)
    case_labels = {"profile": form, "regime": regime}
    call = Call(layer, arguments, {}, dtype, "cpu")
    if form == "unbatched":
        x, targets = x[:, 0], targets[0, : target_lengths[0]]
    elif form == "concatenated":
        targets = np.concatenate([row[:n] for row, n in zip(targets, target_lengths, strict=True)])
    if kind == "tuples":
        lengths_by_name = {"input_lengths": input_lengths, "target_lengths": target_lengths}
        keywords = {name: tuple(map(int, array)) for name, array in lengths_by_name.items()}
        return Case(call, (x, targets), keywords=keywords, labels=case_labels, seed=seed)
    if form == "unbatched":
        input_lengths, target_lengths = input_lengths[0], target_lengths[0]
    length_tensors = (np.asarray(input_lengths, np.int64), np.asarray(target_lengths, np.int64))
    return Case(call, (x, targets, *length_tensors), labels=case_labels, seed=seed)
