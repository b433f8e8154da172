"""Shared by laws: a sample, a plane or a vector gives the same result alone and among others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from conformance.spec.law import Claim, Generator, equality_claim, get_input, large_size, trial_with

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial


def among_many(trial: Trial, generator: Generator, axis: int) -> Claim:
    """17 to 65 slices of the input along an axis, drawn from the case's, keep their results.

    Args:
        trial: a case with at least one slice.
        generator: draws the slices.
        axis: the axis of the input and of every output.
    """
    x = get_input(trial)
    chosen = generator.integers(x.shape[axis], size=large_size(generator))
    large = trial_with(trial, x.take(chosen, axis))
    return equality_claim(large, trial, wanted_moves=lambda y: y.take(chosen, axis))


def each_alone(
    trial: Trial, generator: Generator, *, batched: bool, max_samples: int = 3
) -> Iterator[Claim]:
    """Single samples of a batch without the batch axis; an unbatched case as a batch of one.

    Args:
        generator: draws the samples.
        batched: whether the first axis is the batch.
    """
    x = get_input(trial)
    if not batched:
        yield equality_claim(trial_with(trial, x[np.newaxis]), trial, got_moves=lambda y: y[0])
        return
    for row in generator.permutation(len(x))[:max_samples]:
        alone = trial_with(trial, x[row])
        yield equality_claim(alone, trial, wanted_moves=lambda y, at=row: y[at])  # type: ignore[misc]
