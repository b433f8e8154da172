"""Cases of sequences of several lengths: lists, padded and packed ones."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from conformance.strategies.arguments import ArgumentWriter, masks
from conformance.strategies.composing import composite
from conformance.strategies.values import Filler, regimes, seeds
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Call, Case

MAX_SEQUENCES = 6
"""Maximum number of sequences in a list."""
MAX_ORDERS = 6
"""Maximum number of orders of equally long sequences: each order is a right answer."""
# few: few short sequences; many: the maximum; alike: all of one length; long: longer than a vector
# register.
profiles = st.sampled_from(("few", "few", "few", "many", "alike", "long"))
_COUNTS = st.sampled_from((1, 2, 3, 4))
_LENGTHS = st.sampled_from((1, 2, 3, 4, 5))
_LONG_LENGTHS = st.sampled_from((1, 17, 33, 8))
_FEATURES = st.sampled_from(((), (1,), (2,), (3,), (2, 3), (17,)))
_EXTRA_STEPS = st.sampled_from((0, 0, 1, 3))
_PADDINGS = st.sampled_from((0.0, 1.0, -1.0, 0.5, -0.0, -math.inf, math.nan, 1))
_INTEGER_PADDINGS = st.sampled_from((0, 1, -7))
_SIDES = st.sampled_from(("right", "left"))
_SELDOM = st.sampled_from((False,) * 5 + (True,))
yes_no = st.booleans()
# The default comes first: shrinking prefers it.
_SORTED = st.sampled_from((True, False))
DEFAULTS = {
    "batch_first": False,
    "padding_value": 0.0,
    "padding_side": "right",
    "enforce_sorted": True,
    "total_length": None,
}


class _DrawnSequences:
    """Draws the parts that all cases share: lengths, features, numbers.

    Args:
        empty: whether a sequence may have length 0.
    """

    def __init__(self, draw: Draw, dtype: str, *, empty: bool = False) -> None:
        self.draw, self.dtype, self.profile = draw, dtype, draw(profiles)
        count = MAX_SEQUENCES if self.profile == "many" else draw(_COUNTS)
        lengths = _LONG_LENGTHS if self.profile == "long" else _LENGTHS
        first = draw(lengths)
        self.lengths = [first, *(draw(lengths) for _ in range(count - 1))]
        if self.profile == "alike":
            self.lengths = [first] * count
        if empty and count > 1 and draw(_SELDOM):
            self.lengths[-1] = 0
        self.features = draw(_FEATURES)
        self.has_integers = draw(_SELDOM)
        self.written = ArgumentWriter(draw(masks))
        self.regime, self.seed = draw(regimes), draw(seeds)
        self.filler = Filler(
            "integers" if self.has_integers else self.regime, dtype, self.seed, 1, 1
        )

    def numbers(self, *shape: int) -> np.ndarray:
        """Fill an array with numbers of the dtype, or with integers."""
        values = self.filler.operand(*shape)
        return values.astype(np.int64) if self.has_integers else values

    def sort(self, *, decreasing: bool) -> bool:
        """Sort the lengths if `decreasing`; otherwise limit the number of right orders.

        Returns `decreasing`: whether the lengths decrease.
        """
        if decreasing:
            self.lengths.sort(reverse=True)
        elif math.prod(math.factorial(n) for n in Counter(self.lengths).values()) > MAX_ORDERS:
            self.lengths = (1 + np.argsort(np.argsort(self.lengths, kind="stable"))).tolist()
        return decreasing

    def padding_value(self) -> float:
        """Draw the padding value."""
        return float(self.draw(_INTEGER_PADDINGS)) if self.has_integers else self.draw(_PADDINGS)

    def case(self, layer: str, arguments: dict[str, Any], *inputs: np.ndarray | None) -> Case:
        """Build the case; arguments equal to their defaults may be left out."""
        explicit = self.written.explicit_arguments(arguments, DEFAULTS)
        labels = {
            "profile": self.profile,
            "regime": "integers" if self.has_integers else self.regime,
        }
        call = Call(layer, explicit, {}, self.dtype, "cpu")
        return Case(call, inputs, labels=labels, seed=self.seed)


@composite
def padded_lists(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of `pad_sequence`."""
    sequences = _DrawnSequences(draw, dtype, empty=True)
    arguments = {
        "batch_first": draw(yes_no),
        "padding_value": sequences.padding_value(),
        "padding_side": draw(_SIDES),
    }
    arrays = [sequences.numbers(n, *sequences.features) for n in sequences.lengths]
    return sequences.case(layer, arguments, *arrays)


@composite
def packed_lists(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of `pack_sequence`."""
    sequences = _DrawnSequences(draw, dtype)
    enforce = sequences.sort(decreasing=draw(_SORTED))
    arrays = [sequences.numbers(n, *sequences.features) for n in sequences.lengths]
    return sequences.case(layer, {"enforce_sorted": enforce}, *arrays)


def _padded_batch(sequences: _DrawnSequences, first: bool) -> np.ndarray:
    """A padded batch, perhaps with more steps than its longest sequence."""
    sizes = (max(sequences.lengths) + sequences.draw(_EXTRA_STEPS), len(sequences.lengths))
    return sequences.numbers(*(sizes[::-1] if first else sizes), *sequences.features)


@composite
def padded_batches(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of `pack_padded_sequence`."""
    sequences, first = _DrawnSequences(draw, dtype), draw(yes_no)
    enforce = sequences.sort(decreasing=draw(_SORTED))
    arguments = {"batch_first": first, "enforce_sorted": enforce}
    lengths = np.array(sequences.lengths, np.int64)
    return sequences.case(layer, arguments, _padded_batch(sequences, first), lengths)


@composite
def batches_to_unpad(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of `unpad_sequence`."""
    sequences, first = _DrawnSequences(draw, dtype, empty=True), draw(yes_no)
    lengths = np.array(sequences.lengths, np.int64)
    return sequences.case(layer, {"batch_first": first}, _padded_batch(sequences, first), lengths)


def packed_indices(
    lengths: Sequence[int], *, indices: bool
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """batch_sizes, sorted_indices and unsorted_indices of sequences with these lengths.

    Args:
        lengths: lengths of the sequences; decreasing unless `indices`.
        indices: whether to return indices, which allow any order.
    """
    sizes = np.array([sum(n > step for n in lengths) for step in range(max(lengths))], np.int64)
    if not indices:
        return sizes, None, None
    order = np.argsort(-np.array(lengths), kind="stable")
    return sizes, order, np.argsort(order)


@composite
def packed_batches(draw: Draw, layer: str, padded: bool, dtype: str) -> Case:
    """Cases of `pad_packed_sequence` and `unpack_sequence`.

    Args:
        padded: whether the function pads, and has arguments for that.
    """
    sequences, indices = _DrawnSequences(draw, dtype), draw(yes_no)
    if not indices:
        sequences.sort(decreasing=True)
    arguments: dict[str, Any] = {}
    if padded:
        total = max(sequences.lengths) + draw(_EXTRA_STEPS) if draw(yes_no) else None
        first, value = draw(yes_no), sequences.padding_value()
        arguments = {"batch_first": first, "padding_value": value, "total_length": total}
    data = sequences.numbers(sum(sequences.lengths), *sequences.features)
    return sequences.case(
        layer, arguments, data, *packed_indices(sequences.lengths, indices=indices)
    )
