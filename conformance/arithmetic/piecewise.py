"""Functions of one variable that are defined piece by piece.

At an edge any number between the slopes of the two sides is a right slope. An implementation may
round an edge that the dtype cannot represent. For an operand between the edge and its rounding
either piece is right. The same holds for a subnormal operand next to an edge at zero, where the
backend may read it as zero.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from conformance.arithmetic.choices import interval
from conformance.arithmetic.derivatives import pull_back
from conformance.arithmetic.elementary import constants
from conformance.arithmetic.rounded import ORACLE_UNIT, Node, Rounded, choose, with_pullback
from conformance.model.formats import FORMATS, round_to

Piece = Callable[[Rounded], Rounded]


def identity(x: Rounded) -> Rounded:
    """The operand itself, as a piece."""
    return x


def constant_piece(value: float) -> Piece:
    """A piece that is constant, whatever the operand."""
    return lambda x: constants(np.full(x.shape, float(value)), x)


def piecewise(
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
    operand, x = x, x.flushed if x.precision.flushes else x
    piece_index = np.zeros(x.shape, np.intp)
    kinks = []
    for edge in edges:
        is_above = x.value >= edge if edge in above else x.value > edge
        piece_index += is_above
        kinks.append(np.abs(x.value - edge) <= _edge_uncertainty(edge, x))
    with np.errstate(all="ignore"):
        parts = [function(x.detached) for function in functions]
        result = _select_pieces(piece_index, parts)
        for k, (edge, kink) in enumerate(zip(edges, kinks, strict=True)):
            # The piece is certain where both the edge and the operand are exact.
            ambiguous = kink & (
                (x.error != 0) | (x.value != edge) | (_edge_uncertainty(edge, x) != 0)
            )
            if ambiguous.any():
                low, high = parts[k], parts[k + 1]
                jump = np.abs(high.value - low.value)
                error = jump + np.maximum(low.error, high.error)
                result = result.with_error(np.where(ambiguous, error, result.error))
        is_nan = np.isnan(x.value)
        value = np.where(is_nan, np.nan, result.value)
        error = np.where(is_nan, x.error, result.error)

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        with np.errstate(all="ignore"):
            slopes = [_pull_through(function, x, cotangent) for function in functions]
            slope = _select_pieces(piece_index, slopes)
            for k, kink in enumerate(kinks):
                if kink.any():
                    slope = choose(kink, interval(slopes[k], slopes[k + 1]), slope)
        # NaN is in no piece: its slope is that of any.
        return [slope.with_error(np.where(is_nan, np.inf, slope.error)) if is_nan.any() else slope]

    return with_pullback(Rounded(value, error, x.precision), [operand], pull)


def _edge_uncertainty(edge: float, x: Rounded) -> np.ndarray:
    """Distance from an edge within which the piece is uncertain: operand's error plus rounding."""
    dtype = x.precision.store or x.precision.dtype
    rounded = float(round_to(np.array(edge), dtype))
    rounding = 0.0 if rounded == edge else (FORMATS[dtype].unit + ORACLE_UNIT) * abs(edge)
    return np.asarray(x.error + rounding)


def _select_pieces(piece_index: np.ndarray, parts: Sequence[Rounded]) -> Rounded:
    result = parts[0].detached
    for k, part in enumerate(parts[1:], 1):
        result = choose(piece_index >= k, part.detached, result)
    return result


def _pull_through(function: Piece, x: Rounded, cotangent: Rounded) -> Rounded:
    """The operand's cotangent through one piece, for all elements."""
    leaf = Rounded(x.value, x.error, x.precision, node=Node((), lambda cotangent: []))
    return pull_back([function(leaf)], [cotangent], [leaf])[0]
