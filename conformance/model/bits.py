"""On what the bits of an answer depend, besides its operands: counts of cases, by cause."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

Bits = Mapping[str, tuple[int, int]]
"""Cause → number of cases in which the bits are the same, and of those compared."""

CAUSES = {
    "run": "in every run",
    "threads": "with any number of threads",
    "batch": "alone and in a batch",
}
"""What may change the bits → when they are the same, in words."""


def add_bits(first: Bits, second: Bits) -> Bits:
    """The counts of both together."""
    if not (first and second):
        return first or second
    zero = (0, 0)
    return {
        cause: (
            first.get(cause, zero)[0] + second.get(cause, zero)[0],
            first.get(cause, zero)[1] + second.get(cause, zero)[1],
        )
        for cause in dict.fromkeys((*first, *second))
    }


def sum_bits(all_bits: Iterable[Bits]) -> Bits:
    """The counts of all together, in the order of `CAUSES`."""
    total: Bits = {}
    for bits in all_bits:
        total = add_bits(total, bits)
    return {cause: total[cause] for cause in CAUSES if cause in total}


def describe_bits(bits: Bits) -> str:
    """When the bits of an answer are the same, as a clause; empty if nothing was compared."""
    parts = []
    for cause, (same, compared) in bits.items():
        if compared:
            share = "" if same == compared else f" in {same:,} of {compared:,} cases"
            parts.append(f"{CAUSES.get(cause, cause)}{share}")
    return f"bits are the same {', '.join(parts)}" if parts else ""


def differing_bits(bits: Bits) -> str:
    """The causes that change bits, with counts; empty if none does."""
    return ", ".join(
        f"{cause}: other bits in {compared - same:,} of {compared:,} cases"
        for cause, (same, compared) in bits.items()
        if same < compared
    )
