"""Probes of a network's output: random signs of all elements, and single elements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

SIGN_PROBES, RANKED_ELEMENTS, DRAWN_ELEMENTS = 16, 8, 4
"""Numbers of probes of signs, of elements by each ranking, and of elements that are drawn."""


@dataclass(frozen=True)
class Margin:
    """How far an answer is from the true value, in bounds.

    Args:
        ratio: largest error ÷ worst-case bound over all probes; above 1 the answer is wrong.
        suspicion: largest error ÷ probabilistic bound; above 1 the answer is suspicious.
        output, place: the element with the largest ratio among the element probes.
        got, wanted, bound: at that element.
        probes: number of probes.
    """

    ratio: float
    suspicion: float
    output: int
    place: tuple[int, ...]
    got: float
    wanted: float
    bound: float
    probes: int


@dataclass(frozen=True)
class Probe:
    """A vector u, one array for each output: the error of an answer along it is |u·δ|.

    Args:
        weights: u.
        output, place: the element, if u is one element.
    """

    weights: Sequence[np.ndarray]
    output: int = 0
    place: tuple[int, ...] | None = None


def sign_probes(values: Sequence[np.ndarray], seed: int) -> Iterator[Probe]:
    """Random signs of all elements whose true value is finite; the same for every answer."""
    generator = np.random.default_rng(seed)
    for _ in range(SIGN_PROBES):
        yield Probe([generator.choice([-1.0, 1.0], x.shape) * np.isfinite(x) for x in values])


def element_probe(values: Sequence[np.ndarray], output: int, place: tuple[int, ...]) -> Probe:
    """One element."""
    weights = [np.zeros(x.shape) for x in values]
    weights[output][place] = 1.0
    return Probe(weights, output, place)


def element_probes(
    values: Sequence[np.ndarray],
    errors: Sequence[np.ndarray],
    scales: Sequence[np.ndarray],
    seed: int,
) -> Iterator[Probe]:
    """The elements with the largest errors, of a slice that errs throughout, and a few drawn ones.

    Three rankings choose: the error itself, the error relative to the value, and the error relative
    to how far a correct answer strays there. An element that must be exact comes first in the last.
    A few elements with errors within wide bounds could take all these places. So of each axis the
    slice with the largest median in the last ranking gives its median element, too.

    Args:
        values: the true values of the outputs.
        errors: those of an answer.
        scales: how far correct answers stray, roughly.
        seed: of the elements that are drawn.
    """
    generator = np.random.default_rng((seed, 1))
    places: dict[tuple[int, int], None] = {}
    for k, (value, error, scale) in enumerate(zip(values, errors, scales, strict=True)):
        size = np.where(np.isfinite(value), np.abs(value), 0.0)
        typical = float(np.sqrt(np.mean(np.square(size)))) if size.size else 0.0
        # The constants only choose which elements are looked at: not always those nearest to 0.
        relative = np.abs(error) / (size + 1e-3 * typical + 1e-300)
        strayed = np.abs(error) / (scale + 1e-300)
        for score in (np.abs(error), relative, strayed):
            order = np.argsort(-score, axis=None, kind="stable")[:RANKED_ELEMENTS]
            places |= {(k, int(flat)): None for flat in order}
        places |= {(k, flat): None for flat in _medians_of_worst_slices(strayed)}
        if value.size:
            drawn = generator.integers(0, value.size, DRAWN_ELEMENTS)
            places |= {(k, int(flat)): None for flat in drawn}
    for k, flat in places:
        place = np.unravel_index(flat, values[k].shape)
        yield element_probe(values, k, tuple(int(i) for i in place))


def _medians_of_worst_slices(scores: np.ndarray) -> Iterator[int]:
    """Of each axis the slice whose median score is largest: the place of that median."""
    if not scores.size:
        return
    places = np.arange(scores.size).reshape(scores.shape)
    for axis, length in enumerate(scores.shape):
        slices = np.moveaxis(scores, axis, 0).reshape(length, -1)
        order = np.argsort(slices, axis=1, kind="stable")
        middle = order[:, slices.shape[1] // 2]
        medians = slices[np.arange(length), middle]
        worst = int(np.argmax(medians))
        yield int(np.moveaxis(places, axis, 0).reshape(length, -1)[worst, middle[worst]])
