"""Choose which optional arguments a call writes out, and in which form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

masks = st.integers(0, 2**12 - 1)


class ArgumentWriter:
    """Decide whether a call writes out arguments that it could leave out.

    Args:
        mask: a drawn integer, one bit per decision; 0 leaves out all that can be left out.
    """

    def __init__(self, mask: int) -> None:
        self.mask = mask

    def next_bit(self) -> bool:
        """Take the next decision from the mask."""
        bit = self.mask & 1
        self.mask >>= 1
        return bool(bit)

    def explicit_arguments(
        self, values: Mapping[str, Any], defaults: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the arguments to write out: all that differ from torch's defaults, some others."""
        return {
            name: value
            for name, value in values.items()
            if self.next_bit() or value != defaults[name] or type(value) is not type(defaults[name])
        }

    def size_argument(self, numbers: Sequence[int]) -> int | tuple[int, ...]:
        """Return one number if all dimensions have the same and the mask says so, else a tuple."""
        one_number = not self.next_bit()
        return numbers[0] if one_number and len(set(numbers)) == 1 else tuple(numbers)
