"""Defaults of torch that other frameworks have by another number, or not at all."""

from __future__ import annotations

from conformance.model.formats import format_of


def own_epsilon(dtype: str) -> float:
    """RMSNorm's eps where it is None: that of the dtype which it computes in.

    Args:
        dtype: of the call; in half precision float32 is computed in.
    """
    return 2 * format_of("float64" if dtype == "float64" else "float32").unit
