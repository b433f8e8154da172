"""Padding and packing as plain loops, from the documentation alone."""

from __future__ import annotations

import numpy as np

from conformance.model.case import Case


def reference(case: Case) -> tuple[np.ndarray, ...]:
    """A case's outputs that are there."""
    arrays = [x for x in case.inputs if x is not None]
    arguments, name = dict(case.call.arguments), case.call.layer.rpartition(".")[2]
    if name == "pad_sequence":
        return (pad_sequence(arrays, **arguments),)
    if name == "pack_sequence":
        return pack_sequence(arrays, bool(arguments.get("enforce_sorted", True)))
    if name in ("pack_padded_sequence", "unpad_sequence"):
        parts = unpad_sequence(arrays[0], arrays[1], bool(arguments.get("batch_first", False)))
        if name == "unpad_sequence":
            return tuple(parts)
        return pack_sequence(parts, bool(arguments.get("enforce_sorted", True)))
    parts = unpack_sequence(*arrays)
    if name == "unpack_sequence":
        return tuple(parts)
    return pad_packed_sequence(parts, **arguments)


def pad_sequence(
    sequences: list[np.ndarray],
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
    total: int | None = None,
) -> np.ndarray:
    """Element by element."""
    longest = max(len(x) for x in sequences) if total is None else total
    step_shape = sequences[0].shape[1:]
    output = np.zeros((longest, len(sequences), *step_shape))
    for b, x in enumerate(sequences):
        for t in range(longest):
            step = t if padding_side == "right" else t - (longest - len(x))
            output[t, b] = x[step] if 0 <= step < len(x) else padding_value
    return np.swapaxes(output, 0, 1) if batch_first else output


def pack_sequence(sequences: list[np.ndarray], enforce_sorted: bool) -> tuple[np.ndarray, ...]:
    """Step by step; of sequences of one length the first comes first."""
    order = list(range(len(sequences)))
    if not enforce_sorted:
        order.sort(key=lambda k: -len(sequences[k]))
    data, sizes = [], []
    for t in range(max(len(x) for x in sequences)):
        present = [k for k in order if len(sequences[k]) > t]
        sizes.append(len(present))
        data += [sequences[k][t] for k in present]
    packed_data = np.array(data).reshape(len(data), *sequences[0].shape[1:])
    if enforce_sorted:
        return packed_data, np.array(sizes)
    unsorted_indices = [order.index(k) for k in range(len(order))]
    return packed_data, np.array(sizes), np.array(order), np.array(unsorted_indices)


def unpad_sequence(x: np.ndarray, lengths: np.ndarray, batch_first: bool) -> list[np.ndarray]:
    """The first steps of each sequence."""
    batches = x if batch_first else np.swapaxes(x, 0, 1)
    return [batches[b][: int(n)] for b, n in enumerate(lengths)]


def unpack_sequence(
    data: np.ndarray,
    batch_sizes: np.ndarray,
    sorted_indices: np.ndarray | None = None,
    unsorted_indices: np.ndarray | None = None,
) -> list[np.ndarray]:
    """Row by row."""
    steps: list[list[np.ndarray]] = [[] for _ in range(int(batch_sizes[0]))]
    row = 0
    for size in batch_sizes:
        for place in range(int(size)):
            steps[place].append(data[row])
            row += 1
    parts = [np.array(x).reshape(len(x), *data.shape[1:]) for x in steps]
    if sorted_indices is None:
        return parts
    restored = [parts[0]] * len(parts)
    for place, k in enumerate(sorted_indices):
        restored[int(k)] = parts[place]
    return restored


def pad_packed_sequence(
    parts: list[np.ndarray],
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The batch and the lengths."""
    batch = pad_sequence(parts, batch_first, padding_value, total=total_length)
    return batch, np.array([len(x) for x in parts])
