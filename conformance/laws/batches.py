"""Shared by laws: a sample, a plane or a vector gives the same result alone and among others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from conformance.spec.law import Claim, Generator, called, input_of, many, same

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial


def among_many(trial: Trial, generator: Generator, axis: int) -> Claim:
    """17 to 65 slices of the input along an axis, drawn from the case's, keep their results.

    Args:
        trial: a case with at least one slice.
        generator: draws the slices.
        axis: the axis of the input and of every output.
    """
    x = input_of(trial)
    chosen = generator.integers(x.shape[axis], size=many(generator))
    large = called(trial, x.take(chosen, axis))
    return same(large, trial, wanted_moves=lambda y: y.take(chosen, axis))


def each_alone(
    trial: Trial, generator: Generator, *, batched: bool, most: int = 3
) -> Iterator[Claim]:
    """Single samples of a batch without the batch axis; an unbatched case as a batch of one.

    Args:
        generator: draws the samples.
        batched: whether the first axis is the batch.
    """
    x = input_of(trial)
    if not batched:
        yield same(called(trial, x[np.newaxis]), trial, got_moves=lambda y: y[0])
        return
    for row in generator.permutation(len(x))[:most]:
        alone = called(trial, x[row])
        yield same(alone, trial, wanted_moves=lambda y, at=row: y[at])  # type: ignore[misc]
