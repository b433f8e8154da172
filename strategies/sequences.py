"""Cases of sequences of several lengths: lists, padded and packed ones."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from conformance.strategies.arguments import Written, masks
from conformance.strategies.composing import composite
from conformance.strategies.values import Filler, regimes, seeds
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Call, Case

MOST = 6
"""Maximum number of sequences in a list."""
ORDERS = 6
"""Maximum number of orders of equally long sequences: each order is a right answer."""
# few: few short sequences; many: the maximum; alike: all of one length; long: longer than a vector
# register.
profiles = st.sampled_from(("few", "few", "few", "many", "alike", "long"))
_COUNTS = st.sampled_from((1, 2, 3, 4))
_LENGTHS = st.sampled_from((1, 2, 3, 4, 5))
_LONG_LENGTHS = st.sampled_from((1, 17, 33, 8))
_FEATURES = st.sampled_from(((), (1,), (2,), (3,), (2, 3), (17,)))
_MORE = st.sampled_from((0, 0, 1, 3))
_PADDINGS = st.sampled_from((0.0, 1.0, -1.0, 0.5, -0.0, -math.inf, math.nan, 1))
_WHOLE = st.sampled_from((0, 1, -7))
_SIDES = st.sampled_from(("right", "left"))
_SELDOM = st.sampled_from((False,) * 5 + (True,))
yes_no = st.booleans()
# The default comes first: shrinking prefers it.
_ALWAYS = st.sampled_from((True, False))
DEFAULTS = {
    "batch_first": False,
    "padding_value": 0.0,
    "padding_side": "right",
    "enforce_sorted": True,
    "total_length": None,
}


class _Drawn:
    """Draws the parts that all cases share: lengths, features, numbers.

    Args:
        empty: whether a sequence may have length 0.
    """

    def __init__(self, draw: Draw, dtype: str, *, empty: bool = False) -> None:
        self.draw, self.dtype, self.profile = draw, dtype, draw(profiles)
        count = MOST if self.profile == "many" else draw(_COUNTS)
        lengths = _LONG_LENGTHS if self.profile == "long" else _LENGTHS
        first = draw(lengths)
        self.lengths = [first, *(draw(lengths) for _ in range(count - 1))]
        if self.profile == "alike":
            self.lengths = [first] * count
        if empty and count > 1 and draw(_SELDOM):
            self.lengths[-1] = 0
        self.features = draw(_FEATURES)
        self.whole = draw(_SELDOM)
        self.written = Written(draw(masks))
        self.regime, self.seed = draw(regimes), draw(seeds)
        self.filler = Filler("integers" if self.whole else self.regime, dtype, self.seed, 1, 1)

    def numbers(self, *shape: int) -> np.ndarray:
        """Fill an array with numbers of the dtype, or with integers."""
        found = self.filler.operand(*shape)
        return found.astype(np.int64) if self.whole else found

    def sort(self, *, always: bool) -> bool:
        """Sort the lengths if `always`; otherwise limit the number of right orders.

        Returns `always`: whether the lengths decrease.
        """
        if always:
            self.lengths.sort(reverse=True)
        elif math.prod(math.factorial(n) for n in Counter(self.lengths).values()) > ORDERS:
            self.lengths = (1 + np.argsort(np.argsort(self.lengths, kind="stable"))).tolist()
        return always

    def padding(self) -> float:
        """Draw the padding value."""
        return float(self.draw(_WHOLE)) if self.whole else self.draw(_PADDINGS)

    def case(self, layer: str, arguments: dict[str, Any], *inputs: np.ndarray | None) -> Case:
        """Build the case; arguments equal to their defaults may be left out."""
        given = self.written.optional(arguments, DEFAULTS)
        labels = {"profile": self.profile, "regime": "integers" if self.whole else self.regime}
        call = Call(layer, given, {}, self.dtype, "cpu")
        return Case(call, inputs, labels=labels, seed=self.seed)


@composite
def padded_lists(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of `pad_sequence`."""
    drawn = _Drawn(draw, dtype, empty=True)
    arguments = {
        "batch_first": draw(yes_no),
        "padding_value": drawn.padding(),
        "padding_side": draw(_SIDES),
    }
    arrays = [drawn.numbers(n, *drawn.features) for n in drawn.lengths]
    return drawn.case(layer, arguments, *arrays)


@composite
def packed_lists(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of `pack_sequence`."""
    drawn = _Drawn(draw, dtype)
    enforce = drawn.sort(always=draw(_ALWAYS))
    arrays = [drawn.numbers(n, *drawn.features) for n in drawn.lengths]
    return drawn.case(layer, {"enforce_sorted": enforce}, *arrays)


def _batch(drawn: _Drawn, first: bool) -> np.ndarray:
    """A padded batch, perhaps with more steps than its longest sequence."""
    sizes = (max(drawn.lengths) + drawn.draw(_MORE), len(drawn.lengths))
    return drawn.numbers(*(sizes[::-1] if first else sizes), *drawn.features)


@composite
def padded_batches(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of `pack_padded_sequence`."""
    drawn, first = _Drawn(draw, dtype), draw(yes_no)
    enforce = drawn.sort(always=draw(_ALWAYS))
    arguments = {"batch_first": first, "enforce_sorted": enforce}
    lengths = np.array(drawn.lengths, np.int64)
    return drawn.case(layer, arguments, _batch(drawn, first), lengths)


@composite
def batches_to_unpad(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of `unpad_sequence`."""
    drawn, first = _Drawn(draw, dtype, empty=True), draw(yes_no)
    lengths = np.array(drawn.lengths, np.int64)
    return drawn.case(layer, {"batch_first": first}, _batch(drawn, first), lengths)


def packed_parts(
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
    drawn, indices = _Drawn(draw, dtype), draw(yes_no)
    if not indices:
        drawn.sort(always=True)
    arguments: dict[str, Any] = {}
    if padded:
        total = max(drawn.lengths) + draw(_MORE) if draw(yes_no) else None
        first, value = draw(yes_no), drawn.padding()
        arguments = {"batch_first": first, "padding_value": value, "total_length": total}
    data = drawn.numbers(sum(drawn.lengths), *drawn.features)
    return drawn.case(layer, arguments, data, *packed_parts(drawn.lengths, indices=indices))
