"""EmbeddingBag: sums, means and maxima of bags of embeddings; and one-hot rows.

Sources: the pages torch.nn.EmbeddingBag, torch.nn.functional.embedding_bag and
torch.nn.functional.one_hot of the PyTorch documentation.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from conformance.arithmetic.choices import Choices, take
from conformance.arithmetic.elementary import constants
from conformance.arithmetic.half_precision import is_stored, stored, stored_if_declared, widened
from conformance.arithmetic.reductions import maximum
from conformance.arithmetic.rounded import (
    ORACLE_UNIT,
    Rounded,
    choose,
    exact_operand,
    move_cotangent,
    multilinear,
    with_pullback,
)
from conformance.model.case import Updated
from conformance.oracles.embedding.embedding import gradient_scale, look_up_rows, renormalise_rows
from conformance.oracles.forms import module_oracle

Shape = tuple[int, ...]
State = Mapping[str, Rounded]


def functional_embedding_bag(
    state: State,
    input: Rounded,
    weight: Rounded,
    offsets: Rounded | None = None,
    per_sample_weights: Rounded | None = None,
    *,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Rounded | Updated:
    """Σ, mean or maximum of the rows in each bag, without `padding_idx`; 0 for an empty bag."""
    index = input.value.astype(np.int64)
    bag, count = bags(index, None if offsets is None else offsets.value, include_last_offset)
    flat = index.reshape(-1)
    scale = gradient_scale(flat, weight, padding_idx, by_frequency=scale_grad_by_freq)
    counted = np.ones(flat.shape, bool)
    if padding_idx is not None:
        counted = flat != padding_idx % max(len(weight.value), 1)
    factors = None
    if per_sample_weights is not None:
        factors = per_sample_weights.map(lambda array: array.reshape(-1)[counted])

    def reduce_table(table: Rounded) -> Rounded:
        if mode == "max":
            # A row that a bag contains twice is one candidate.
            pairs = np.unique(np.stack([bag[counted], flat[counted]]), axis=1)
            return _max_of_bags(take(table, pairs[1]), pairs[0], count)
        rows = look_up_rows(table, flat[counted], scale[counted])
        reduced = _sum_bags(widened(rows), factors and widened(factors), bag[counted], count)
        if mode == "mean":
            reduced = _divide_by_sizes(
                stored_if_declared(reduced, "bag_sum"), np.bincount(bag[counted], minlength=count)
            )
        return stored(
            _with_special_sums(reduced, rows, factors, bag[counted], count), table.precision
        )

    if max_norm is None:
        return reduce_table(weight)
    tables = renormalise_rows(weight, flat, max_norm, norm_type)
    return Updated(Choices(tuple(map(reduce_table, tables))), {"weight": Choices(tables)})


def embedding_bag_shape(
    input: Shape,
    offsets: Shape | None = None,
    per_sample_weights: Shape | None = None,
    *,
    embedding_dim: int,
    include_last_offset: bool = False,
    **others: object,
) -> tuple[Shape, ...]:
    """(B, N), or (N) and offsets (B) or (B + 1) → (B, embedding_dim)."""
    if len(input) == 2:
        return ((input[0], embedding_dim),)
    assert offsets is not None
    return ((offsets[0] - include_last_offset, embedding_dim),)


def functional_embedding_bag_shape(
    input: Shape,
    weight: Shape,
    offsets: Shape | None = None,
    per_sample_weights: Shape | None = None,
    *,
    include_last_offset: bool = False,
    **others: object,
) -> tuple[Shape, ...]:
    """(B, N), or (N) and offsets (B) or (B + 1), and a weight (V, D) → (B, D)."""
    return embedding_bag_shape(
        input, offsets, embedding_dim=weight[1], include_last_offset=include_last_offset
    )


embedding_bag = module_oracle(functional_embedding_bag, "weight", after=1)


def one_hot(state: State, tensor: Rounded, *, num_classes: int = -1) -> Rounded:
    """1 at the class and 0 elsewhere; num_classes = −1 is the largest class plus 1."""
    index = tensor.value.astype(np.int64)
    classes = int(index.max(initial=-1)) + 1 if num_classes == -1 else num_classes
    hot = index[..., np.newaxis] == np.arange(classes)
    return exact_operand(hot.astype(float), tensor.precision)


def one_hot_shape(tensor: Shape, *, num_classes: int) -> tuple[Shape, ...]:
    """(*) → (*, num_classes)."""
    return ((*tensor, num_classes),)


def bags(
    index: np.ndarray, offsets: np.ndarray | None, include_last_offset: bool
) -> tuple[np.ndarray, int]:
    """The bag of each index, flat, and the number of bags.

    Args:
        index: (B, N), or (N) with offsets.
        offsets: where each bag starts; None for an index (B, N).
        include_last_offset: the last offset is the end of the last bag.
    """
    if offsets is None:
        return np.repeat(np.arange(index.shape[0]), index.shape[1]), index.shape[0]
    starts = offsets[:-1] if include_last_offset else offsets
    positions = np.arange(index.size)
    return np.searchsorted(starts, positions, side="right") - 1, len(starts)


def _sum_bags(rows: Rounded, factors: Rounded | None, bag: np.ndarray, count: int) -> Rounded:
    """Σ over each bag, (bags, features); the sum of one row does not round."""
    width = rows.shape[1]
    largest_bag = int(np.bincount(bag, minlength=count).max(initial=1))

    def sum_rows(values: np.ndarray, *scales: np.ndarray) -> np.ndarray:
        sums = np.zeros((count, width))
        np.add.at(sums, bag, values * scales[0][:, np.newaxis] if scales else values)
        return sums

    def grain(x: Rounded, *scales: Rounded) -> np.ndarray:
        smallest = np.full((count, width), np.inf)
        np.minimum.at(
            smallest, bag, x.quanta * scales[0].quanta[:, np.newaxis] if scales else x.quanta
        )
        return smallest

    if factors is None:
        # A plain sum rounds once less than it has terms.
        return multilinear(
            sum_rows, rows, terms=max(largest_bag - 1, 1), grain=grain, adjoints=[lambda c: c[bag]]
        )
    return multilinear(
        sum_rows,
        rows,
        factors,
        terms=largest_bag,
        grain=grain,
        adjoints=[
            lambda c, by: c[bag] * by[:, np.newaxis],
            lambda c, values: (c[bag] * values).sum(1),
        ],
    )


def _divide_by_sizes(summed: Rounded, sizes: np.ndarray) -> Rounded:
    """Sums divided by sizes, or times rounded reciprocals; a size of 0 or 1 changes nothing."""
    divisors = np.maximum(sizes, 1)[:, np.newaxis].astype(float)
    quotient = summed.detached * stored_if_declared(constants(1.0 / divisors, summed), "bag_sum")
    if not is_stored(summed.precision, "bag_sum"):
        quotient = summed.detached / constants(divisors, summed)
    reciprocal_error = (summed.precision.unit + ORACLE_UNIT) * quotient.abs_bound
    rounds_twice = (np.frexp(divisors)[0] != 0.5) & (quotient.error > 0)
    quotient = quotient.with_error(quotient.error + np.where(rounds_twice, reciprocal_error, 0.0))
    return with_pullback(quotient, [summed], lambda cotangent: [_divide_by_sizes(cotangent, sizes)])


def _with_special_sums(
    sums: Rounded, rows: Rounded, factors: Rounded | None, bag: np.ndarray, count: int
) -> Rounded:
    """Set exact NaN and ∞ in the sums of bags that contain such numbers, whatever the order."""
    operands = [rows] if factors is None else [rows, factors]
    if all(np.isfinite(x.value).all() for x in operands):
        return sums
    normal = rows.precision.normal if rows.precision.flushes else 0.0
    if any(x.any_inexact or ((x.abs_value > 0) & (x.abs_value < normal)).any() for x in operands):
        return sums  # some factor of ∞ may be 0
    signs = [np.where(np.isfinite(x.value), np.sign(x.value), x.value) for x in operands]
    with np.errstate(invalid="ignore"):
        products = signs[0] * (signs[1][:, np.newaxis] if factors is not None else 1.0)
        special_sums = np.zeros(sums.shape)
        np.add.at(special_sums, bag, products)
    certain = ~np.isfinite(special_sums)
    value, error = np.where(certain, special_sums, sums.value), np.where(certain, 0.0, sums.error)
    result = Rounded(value, error, sums.precision)
    return with_pullback(result, [sums], lambda cotangent: [cotangent])


def _max_of_bags(rows: Rounded, bag: np.ndarray, count: int) -> Rounded:
    """The maximum of each feature over each bag, copied; 0 for an empty bag."""
    sizes = np.bincount(bag, minlength=count)
    zeros = exact_operand(np.zeros((count, rows.shape[1])), rows.precision)
    if not len(bag):
        return zeros
    starts = np.cumsum(sizes) - sizes
    inside = np.arange(sizes.max()) < sizes[:, np.newaxis]
    row_index = np.where(inside, starts[:, np.newaxis] + np.arange(sizes.max()), 0)
    table = take(rows, row_index, inside=inside[..., np.newaxis], fill=-np.inf)
    largest = maximum(table, 1)

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        return [move_cotangent(cotangent, lambda array: np.where(nonempty, array, 0.0))]

    nonempty = (sizes > 0)[:, np.newaxis]
    chosen = choose(np.broadcast_to(nonempty, zeros.shape), largest.detached, zeros)
    return with_pullback(Rounded(chosen.value, chosen.error, rows.precision), [largest], pull)
