"""Sequences of different lengths: in a list, padded to one length, or packed step by step.

Each oracle takes `(state, *inputs, **arguments)`; its keyword parameters and their defaults are
those of the documentation page. `*_shape` functions take shapes instead of arrays, and by name the
array values that determine shapes.

Sources: the pages torch.nn.utils.rnn.pad_sequence, pack_padded_sequence, pad_packed_sequence,
pack_sequence, unpad_sequence, unpack_sequence and PackedSequence of the PyTorch documentation.
The pages do not order sequences of equal length: any order is right.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations, product

import numpy as np

from conformance.arithmetic.choices import Choices, take
from conformance.arithmetic.rounded import Rounded, exact_operand, join

Shape = tuple[int, ...]
State = Mapping[str, Rounded]


def pad_sequence(
    state: State,
    *sequences: Rounded,
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Rounded:
    """T×B×*, or B×T×*: each sequence with the padding value after or before it."""
    longest = max(x.shape[0] for x in sequences)
    columns = []
    for x in sequences:
        shape = (longest - x.shape[0], *x.shape[1:])
        padding = exact_operand(np.full(shape, padding_value, x.value.dtype), x.precision)
        columns.append(join([x, padding] if padding_side == "right" else [padding, x], 0))
    return join(columns, 0 if batch_first else 1, new_axis=True)


def pad_sequence_shape(
    *sequences: Shape, batch_first: bool = False, **others: object
) -> tuple[Shape, ...]:
    """T×B×*, or B×T×*: T is the length of the longest."""
    sizes = (max(x[0] for x in sequences), len(sequences))
    return ((*(sizes[::-1] if batch_first else sizes), *sequences[0][1:]),)


def batch_sizes(lengths: Sequence[int]) -> list[int]:
    """Number of sequences that run at each step."""
    return [sum(n > step for n in lengths) for step in range(max(lengths))]


def valid_orders(lengths: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Every order of the sequences by decreasing length."""
    equal_lengths = [
        [k for k, n in enumerate(lengths) if n == length]
        for length in sorted(set(lengths), reverse=True)
    ]
    for parts in product(*(permutations(indices) for indices in equal_lengths)):
        yield tuple(k for part in parts for k in part)


def count_valid_orders(lengths: Sequence[int]) -> int:
    """The number of `valid_orders`."""
    return math.prod(math.factorial(n) for n in Counter(lengths).values())


def _pack(
    x: Rounded, lengths: Sequence[int], enforce_sorted: bool
) -> tuple[Rounded | Choices | None, ...]:
    """B×T×* → the data, batch_sizes, sorted_indices, unsorted_indices."""
    sizes = batch_sizes(lengths)
    orderings = [tuple(range(len(lengths)))] if enforce_sorted else list(valid_orders(lengths))
    steps = [step for step, size in enumerate(sizes) for _ in range(size)]
    packed_data = [
        x[[order[k] for size in sizes for k in range(size)], steps] for order in orderings
    ]

    def as_choices(parts: Sequence[Rounded]) -> Rounded | Choices:
        return parts[0] if len(parts) == 1 else Choices(tuple(parts))

    def as_integers(numbers: Sequence[int]) -> Rounded:
        return exact_operand(np.array(numbers, np.int64), x.precision)

    indices: tuple[Rounded | Choices | None, ...] = (None, None)
    if not enforce_sorted:
        inverse_orders = [np.argsort(order).tolist() for order in orderings]
        indices = (
            as_choices([as_integers(order) for order in orderings]),
            as_choices([as_integers(b) for b in inverse_orders]),
        )
    return as_choices(packed_data), as_integers(sizes), *indices


def pack_padded_sequence(
    state: State,
    input: Rounded,
    lengths: Rounded,
    *,
    batch_first: bool = False,
    enforce_sorted: bool = True,
) -> tuple[Rounded | Choices | None, ...]:
    """For each step the elements of the sequences that still run, longest sequence first."""
    x = input if batch_first else input.map(lambda array: array.swapaxes(0, 1))
    return _pack(x, [int(n) for n in lengths.value], enforce_sorted)


def pack_sequence(
    state: State, *sequences: Rounded, enforce_sorted: bool = True
) -> tuple[Rounded | Choices | None, ...]:
    """The sequences of a list, padded and packed."""
    lengths = [x.shape[0] for x in sequences]
    return _pack(pad_sequence({}, *sequences, batch_first=True), lengths, enforce_sorted)


def pack_sequence_shape(*sequences: Shape, enforce_sorted: bool = True) -> tuple[Shape | None, ...]:
    """Σ lengths × *; the length of the longest; indices (B) unless sorted."""
    lengths = [x[0] for x in sequences]
    indices = None if enforce_sorted else (len(lengths),)
    return ((sum(lengths), *sequences[0][1:]), (max(lengths),), indices, indices)


def packed_lengths(sizes: Sequence[int], unsorted_indices: Sequence[int] | None) -> list[int]:
    """The lengths of packed sequences, in their order before sorting.

    Args:
        sizes: number of sequences at each step.
        unsorted_indices: position of each sequence in the sorted order; None = the same order.
    """
    order = range(sizes[0]) if unsorted_indices is None else unsorted_indices
    return [sum(size > position for size in sizes) for position in order]


def _row_index(
    batch_sizes: Rounded, unsorted_indices: Rounded | None
) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """For each sequence and step the row of the data and whether it exists; and the lengths."""
    sizes = [int(n) for n in batch_sizes.value]
    order = np.arange(sizes[0])
    if unsorted_indices is not None:
        order = unsorted_indices.value.astype(np.int64)
    starts = np.cumsum([0, *sizes[:-1]])
    inside = order[:, np.newaxis] < np.array(sizes)
    row_index = np.where(inside, order[:, np.newaxis] + starts, 0)
    return row_index, inside, packed_lengths(sizes, order.tolist())


def pad_packed_sequence(
    state: State,
    data: Rounded,
    batch_sizes: Rounded,
    sorted_indices: Rounded | None = None,
    unsorted_indices: Rounded | None = None,
    *,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Rounded, Rounded]:
    """(T×B×* or B×T×*, lengths), the sequences in their order before sorting."""
    rows, inside, lengths = _row_index(batch_sizes, unsorted_indices)
    extra_steps = ((0, 0), (0, (total_length or rows.shape[1]) - rows.shape[1]))
    rows, inside = np.pad(rows, extra_steps), np.pad(inside, extra_steps)
    if not batch_first:
        rows, inside = rows.T, inside.T
    is_element = inside.reshape(*inside.shape, *(1,) * (len(data.shape) - 1))
    padded = take(data, rows, 0, inside=is_element, fill=padding_value)
    return padded, exact_operand(np.array(lengths, np.int64), data.precision)


def unpad_sequence(
    state: State, padded_sequences: Rounded, lengths: Rounded, *, batch_first: bool = False
) -> tuple[Rounded, ...]:
    """Each sequence without its padding."""
    padded = padded_sequences
    x = padded if batch_first else padded.map(lambda array: array.swapaxes(0, 1))
    return tuple(x[k, : int(n)] for k, n in enumerate(lengths.value))


def unpad_sequence_shape(
    padded_sequences: Shape, lengths: Shape, *, each: Sequence[int], **others: object
) -> tuple[Shape, ...]:
    """L×* for each sequence.

    Args:
        padded_sequences, lengths: shapes.
        each: the lengths.
        others: arguments of the call.
    """
    return tuple((n, *padded_sequences[2:]) for n in each)


def unpack_sequence(
    state: State,
    data: Rounded,
    batch_sizes: Rounded,
    sorted_indices: Rounded | None = None,
    unsorted_indices: Rounded | None = None,
) -> tuple[Rounded, ...]:
    """The sequences, in their order before sorting."""
    rows, _, lengths = _row_index(batch_sizes, unsorted_indices)
    return tuple(data[rows[k, :n]] for k, n in enumerate(lengths))


def unpack_sequence_shape(
    data: Shape, *others: Shape | None, each: Sequence[int]
) -> tuple[Shape, ...]:
    """L×* for each sequence.

    Args:
        others: shapes of the other inputs.
        each: the lengths.
    """
    return tuple((n, *data[1:]) for n in each)
