"""Functions of one variable that are defined piece by piece.

At an edge any number between the slopes of the two sides is a right slope. An implementation may
round an edge that the dtype cannot represent. For an operand between the edge and its rounding
either piece is right. The same holds for a subnormal operand next to an edge at zero, where the
backend may read it as zero.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from conformance.arithmetic.choices import between
from conformance.arithmetic.derivatives import pull_back
from conformance.arithmetic.elementary import known
from conformance.arithmetic.rounded import OWN, Node, Rounded, choose, traced
from conformance.model.formats import FORMATS, round_to

Piece = Callable[[Rounded], Rounded]


def itself(x: Rounded) -> Rounded:
    """The operand itself, as a piece."""
    return x


def level(value: float) -> Piece:
    """A piece that is constant, whatever the operand."""
    return lambda x: known(np.full(x.shape, float(value)), x)


def pieces(
    x: Rounded,
    edges: Sequence[float],
    functions: Sequence[Piece],
    *,
    above: Sequence[float] = (),
) -> Rounded:
    """A function with a piece between each two neighbouring edges; NaN where the operand is NaN.

    Args:
        edges: where the piece changes, in ascending order.
        functions: the pieces, lowest first: one more than there are edges.
        above: edges that belong to the piece above them, which matters where the function jumps.
    """
    given, x = x, x.flushed if x.precision.flushes else x
    place = np.zeros(x.shape, np.intp)
    kinks = []
    for edge in edges:
        over = x.value >= edge if edge in above else x.value > edge
        place += over
        kinks.append(np.abs(x.value - edge) <= _doubt(edge, x))
    with np.errstate(all="ignore"):
        parts = [function(x.bare) for function in functions]
        result = _chosen(place, parts)
        for k, (edge, kink) in enumerate(zip(edges, kinks, strict=True)):
            # The piece is certain where both the edge and the operand are exact.
            torn = kink & ((x.error != 0) | (x.value != edge) | (_doubt(edge, x) != 0))
            if torn.any():
                low, high = parts[k], parts[k + 1]
                apart = np.abs(high.value - low.value)
                error = apart + np.maximum(low.error, high.error)
                result = result.with_error(np.where(torn, error, result.error))
        missing = np.isnan(x.value)
        value = np.where(missing, np.nan, result.value)
        error = np.where(missing, x.error, result.error)

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        with np.errstate(all="ignore"):
            slopes = [_pulled(function, x, cotangent) for function in functions]
            found = _chosen(place, slopes)
            for k, kink in enumerate(kinks):
                if kink.any():
                    found = choose(kink, between(slopes[k], slopes[k + 1]), found)
        return [found]

    return traced(Rounded(value, error, x.precision), [given], pull)


def _doubt(edge: float, x: Rounded) -> np.ndarray:
    """Distance from an edge within which the piece is uncertain: operand's error plus rounding."""
    dtype = x.precision.store or x.precision.dtype
    rounded = float(round_to(np.array(edge), dtype))
    moved = 0.0 if rounded == edge else (FORMATS[dtype].unit + OWN) * abs(edge)
    return np.asarray(x.error + moved)


def _chosen(place: np.ndarray, parts: Sequence[Rounded]) -> Rounded:
    result = parts[0].bare
    for k, part in enumerate(parts[1:], 1):
        result = choose(place >= k, part.bare, result)
    return result


def _pulled(function: Piece, x: Rounded, cotangent: Rounded) -> Rounded:
    """The operand's cotangent through one piece, for all elements."""
    leaf = Rounded(x.value, x.error, x.precision, node=Node((), lambda cotangent: []))
    return pull_back([function(leaf)], [cotangent], [leaf])[0]
