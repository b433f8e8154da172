"""Which arguments a user would write out, and in which form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

masks = st.integers(0, 2**12 - 1)


class Written:
    """Decides, bit by bit of one drawn integer, what is written although it could be left out.

    Args:
        mask: the drawn integer; 0 writes nothing that could be left out.
    """

    def __init__(self, mask: int) -> None:
        self.mask = mask

    def bit(self) -> bool:
        """The next decision."""
        bit = self.mask & 1
        self.mask >>= 1
        return bool(bit)

    def optional(self, values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments that are written out.

        Args:
            values: what each argument shall be.
            defaults: torch's default of each.
        """
        return {
            name: value
            for name, value in values.items()
            if self.bit() or value != defaults[name] or type(value) is not type(defaults[name])
        }

    def size(self, numbers: Sequence[int]) -> int | tuple[int, ...]:
        """One number for all dimensions where it can be, or a tuple."""
        plain = not self.bit()
        return numbers[0] if plain and len(set(numbers)) == 1 else tuple(numbers)
