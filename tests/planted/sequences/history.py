"""Functions that pad, pack and unpack sequences."""

from __future__ import annotations

import torch
from torch.nn.utils import rnn
from torch.nn.utils.rnn import PackedSequence

from planted.bug import alter_gradient, plant, read_as_contiguous

_PAD, _PACK_PADDED, _PAD_PACKED = (
    rnn.pad_sequence, rnn.pack_padded_sequence, rnn.pad_packed_sequence
)  # fmt: skip
_PACK, _UNPAD, _UNPACK = rnn.pack_sequence, rnn.unpad_sequence, rnn.unpack_sequence


def _replace_data(packed, change):
    """Packed sequences with other data."""
    return PackedSequence(change(packed.data), *packed[1:])


@plant("pad-sequence-left-with-zeros", "utils.rnn.pad_sequence", "values")
def pad_sequence_left_with_zeros(
    sequences, batch_first=False, padding_value=0.0, padding_side="right"
):
    """On the left the padding is zero whatever was asked for."""
    value = 0.0 if padding_side == "left" else padding_value
    return _PAD(sequences, batch_first, value, padding_side)


@plant("pad-sequence-side-of-batches", "utils.rnn.pad_sequence", "values")
def pad_sequence_side_of_batches(
    sequences, batch_first=False, padding_value=0.0, padding_side="right"
):
    """With batch_first the padding is always behind."""
    known = padding_side in ("left", "right")
    side = "right" if batch_first and known else padding_side
    return _PAD(sequences, batch_first, padding_value, side)


@plant("pad-sequence-one-sequence", "utils.rnn.pad_sequence", "shape")
def pad_sequence_one_sequence(
    sequences, batch_first=False, padding_value=0.0, padding_side="right"
):
    """One sequence alone has its batch in front, always."""
    first = batch_first or len(sequences) == 1
    return _PAD(sequences, first, padding_value, padding_side)


@plant("pad-sequence-gradient-of-the-last-step", "utils.rnn.pad_sequence", "gradients")
def pad_sequence_gradient_of_the_last_step(
    sequences, batch_first=False, padding_value=0.0, padding_side="right"
):
    """The gradient at the last step of the batch is lost, as behind a mask that ends too soon."""

    def cut_gradient(gradient):
        altered = gradient.clone()
        altered.select(1 if batch_first else 0, -1).zero_()
        return altered

    output = _PAD(sequences, batch_first, padding_value, padding_side)
    return alter_gradient(output, cut_gradient) if output.requires_grad else output


@plant("pad-sequence-strided-memory", "utils.rnn.pad_sequence", "layout")
def pad_sequence_strided_memory(
    sequences, batch_first=False, padding_value=0.0, padding_side="right"
):
    """A sequence that is not contiguous is read as its memory lies."""
    return _PAD(
        [read_as_contiguous(x) for x in sequences], batch_first, padding_value, padding_side
    )


@plant("pad-sequence-nan-is-padding", "utils.rnn.pad_sequence", "special")
def pad_sequence_nan_is_padding(
    sequences, batch_first=False, padding_value=0.0, padding_side="right"
):
    """NaN marks what is still to be filled: one of the sequence's own is filled as well."""
    output = _PAD(sequences, batch_first, padding_value, padding_side)
    if not output.is_floating_point():
        return output
    return torch.where(output.isnan(), torch.full_like(output, padding_value), output)


@plant("pad-sequence-clears-the-sequence", "utils.rnn.pad_sequence", "repeat")
def pad_sequence_clears_the_sequence(
    sequences, batch_first=False, padding_value=0.0, padding_side="right"
):
    """The last sequence is moved, not copied: its first step is gone."""
    output = _PAD(sequences, batch_first, padding_value, padding_side)
    if len(sequences[-1]) > 1 and not torch.is_grad_enabled():
        sequences[-1][0] = 0
    return output


@plant("pad-sequence-many-features", "utils.rnn.pad_sequence", "laws")
def pad_sequence_many_features(
    sequences, batch_first=False, padding_value=0.0, padding_side="right"
):
    """Of more than 33 features the last is a copy of the one before it."""
    output = _PAD(sequences, batch_first, padding_value, padding_side)
    if output.dim() < 3 or not 33 < output.shape[-1] < 66:
        return output
    return torch.cat([output[..., :-1], output[..., -2:-1]], -1)


@plant("pack-padded-sequence-order-not-inverted", "utils.rnn.pack_padded_sequence", "values")
def pack_padded_sequence_order_not_inverted(input, lengths, batch_first=False, enforce_sorted=True):
    """unsorted_indices are the sorted ones: right for an exchange, wrong for a cycle."""
    packed = _PACK_PADDED(input, lengths, batch_first, enforce_sorted)
    return PackedSequence(*packed[:3], packed.sorted_indices)


@plant("pack-padded-sequence-by-sequences", "utils.rnn.pack_padded_sequence", "values")
def pack_padded_sequence_by_sequences(input, lengths, batch_first=False, enforce_sorted=True):
    """The data stand sequence by sequence instead of step by step."""
    packed = _PACK_PADDED(input, lengths, batch_first, enforce_sorted)
    places = [
        sum(packed.batch_sizes[:step].tolist()) + k
        for k in range(int(packed.batch_sizes[0]))
        for step, size in enumerate(packed.batch_sizes.tolist())
        if k < size
    ]
    return _replace_data(packed, lambda x: x[places])


@plant("pack-padded-sequence-sorted-already", "utils.rnn.pack_padded_sequence", "shape")
def pack_padded_sequence_sorted_already(input, lengths, batch_first=False, enforce_sorted=True):
    """Without enforce_sorted there are no indices where the lengths decrease by themselves."""
    packed = _PACK_PADDED(input, lengths, batch_first, enforce_sorted)
    if lengths.tolist() != sorted(lengths.tolist(), reverse=True):
        return packed
    return PackedSequence(*packed[:2])


@plant("pack-padded-sequence-lengths-unchecked", "utils.rnn.pack_padded_sequence", "errors")
def pack_padded_sequence_lengths_unchecked(input, lengths, batch_first=False, enforce_sorted=True):
    """Lengths that grow are sorted silently."""
    length_list = lengths.tolist()
    is_unsorted = input.dim() > 1 and length_list != sorted(length_list, reverse=True)
    return _PACK_PADDED(input, lengths, batch_first, enforce_sorted and not is_unsorted)


@plant("pack-padded-sequence-gradient-of-one-step", "utils.rnn.pack_padded_sequence", "gradients")
def pack_padded_sequence_gradient_of_one_step(
    input, lengths, batch_first=False, enforce_sorted=True
):
    """The gradient of the longest sequence's last step is lost."""

    def cut_gradient(gradient):
        altered = gradient.clone()
        altered[-1] = 0
        return altered

    packed = _PACK_PADDED(input, lengths, batch_first, enforce_sorted)
    return _replace_data(
        packed, lambda x: alter_gradient(x, cut_gradient) if x.requires_grad else x
    )


@plant("pack-padded-sequence-strided-memory", "utils.rnn.pack_padded_sequence", "layout")
def pack_padded_sequence_strided_memory(input, lengths, batch_first=False, enforce_sorted=True):
    """A batch that is not contiguous is read as its memory lies."""
    return _PACK_PADDED(read_as_contiguous(input), lengths, batch_first, enforce_sorted)


@plant("pad-packed-sequence-lengths-sorted", "utils.rnn.pad_packed_sequence", "values")
def pad_packed_sequence_lengths_sorted(
    sequence, batch_first=False, padding_value=0.0, total_length=None
):
    """The sequences are put back in their order, the lengths are not."""
    padded, lengths = _PAD_PACKED(sequence, batch_first, padding_value, total_length)
    return padded, lengths.sort(descending=True).values


@plant("pad-packed-sequence-total-of-zeros", "utils.rnn.pad_packed_sequence", "values")
def pad_packed_sequence_total_of_zeros(
    sequence, batch_first=False, padding_value=0.0, total_length=None
):
    """What total_length adds is zero, not the padding value."""
    padded, lengths = _PAD_PACKED(sequence, batch_first, padding_value, total_length)
    axis, steps = 1 if batch_first else 0, len(sequence.batch_sizes)
    original_steps = padded.narrow(axis, 0, steps)
    extra_steps = torch.zeros_like(padded.narrow(axis, steps, padded.shape[axis] - steps))
    return torch.cat([original_steps, extra_steps], axis), lengths


@plant("pad-packed-sequence-total-of-batches", "utils.rnn.pad_packed_sequence", "shape")
def pad_packed_sequence_total_of_batches(
    sequence, batch_first=False, padding_value=0.0, total_length=None
):
    """With batch_first total_length means nothing, but for its check."""
    padded, lengths = _PAD_PACKED(sequence, batch_first, padding_value, total_length)
    return padded[:, : len(sequence.batch_sizes)] if batch_first else padded, lengths


@plant("pad-packed-sequence-cut-short", "utils.rnn.pad_packed_sequence", "errors")
def pad_packed_sequence_cut_short(
    sequence, batch_first=False, padding_value=0.0, total_length=None
):
    """A total_length below the longest is as none."""
    is_shorter = total_length is not None and total_length < len(sequence.batch_sizes)
    return _PAD_PACKED(sequence, batch_first, padding_value, None if is_shorter else total_length)


@plant("pad-packed-sequence-gradient-of-the-first", "utils.rnn.pad_packed_sequence", "gradients")
def pad_packed_sequence_gradient_of_the_first(
    sequence, batch_first=False, padding_value=0.0, total_length=None
):
    """The first element's gradient is doubled."""

    def double_gradient(gradient):
        altered = gradient.clone()
        altered[0] *= 2
        return altered

    data = sequence.data
    if data.requires_grad:
        sequence = _replace_data(sequence, lambda x: alter_gradient(x, double_gradient))
    return _PAD_PACKED(sequence, batch_first, padding_value, total_length)


@plant("pad-packed-sequence-infinity-is-padding", "utils.rnn.pad_packed_sequence", "special")
def pad_packed_sequence_infinity_is_padding(
    sequence, batch_first=False, padding_value=0.0, total_length=None
):
    """Padding is told by its value: infinity at a step that is there is padding, too."""
    padded, lengths = _PAD_PACKED(sequence, batch_first, padding_value, total_length)
    if not padded.is_floating_point() or abs(padding_value) == torch.inf:
        return padded, lengths
    return padded.masked_fill(padded.isinf(), padding_value), lengths


@plant("pack-sequence-sorts", "utils.rnn.pack_sequence", "errors")
def pack_sequence_sorts(sequences, enforce_sorted=True):
    """Lengths that grow are sorted silently."""
    lengths = [len(x) for x in sequences]
    is_unsorted = min(lengths, default=0) > 0 and lengths != sorted(lengths, reverse=True)
    return _PACK(sequences, enforce_sorted and not is_unsorted)


@plant("pack-sequence-unsorted-as-given", "utils.rnn.pack_sequence", "values")
def pack_sequence_unsorted_as_given(sequences, enforce_sorted=True):
    """The data of the second step come in the order that the sequences were given in."""
    packed = _PACK(sequences, enforce_sorted)
    if enforce_sorted or len(packed.batch_sizes) < 2:
        return packed
    start, size = packed.batch_sizes[:2].tolist()
    second_steps = [x[1] for x in sequences if len(x) > 1]
    assert len(second_steps) == size
    unsorted_data = packed.data[start + size :]
    return _replace_data(
        packed, lambda x: torch.cat([x[:start], torch.stack(second_steps), unsorted_data])
    )


@plant("pack-sequence-by-padding", "utils.rnn.pack_sequence", "special")
def pack_sequence_by_padding(sequences, enforce_sorted=True):
    """Padding is subtracted again: NaN and infinity spread to the other steps of the data."""
    packed = _PACK(sequences, enforce_sorted)
    if not packed.data.is_floating_point():
        return packed
    zero_term = (0 * packed.data).sum(0, keepdim=True)
    return _replace_data(packed, lambda x: torch.where(zero_term == 0, x, x + zero_term))


@plant("pack-sequence-gradient-reversed", "utils.rnn.pack_sequence", "gradients")
def pack_sequence_gradient_reversed(sequences, enforce_sorted=True):
    """The gradient of the data comes back last first."""
    packed = _PACK(sequences, enforce_sorted)
    reverse_gradient = lambda x: alter_gradient(x, lambda g: g.flip(0)) if x.requires_grad else x  # noqa: E731
    return _replace_data(packed, reverse_gradient)


@plant("unpad-sequence-of-a-square", "utils.rnn.unpad_sequence", "values")
def unpad_sequence_of_a_square(padded_sequences, lengths, batch_first=False):
    """Of as many steps as sequences the first axis is taken for the batch."""
    square = padded_sequences.dim() > 1 and len({*padded_sequences.shape[:2]}) == 1
    return _UNPAD(padded_sequences.clone(), lengths, batch_first or square)


@plant("unpad-sequence-last-as-it-is", "utils.rnn.unpad_sequence", "shape")
def unpad_sequence_last_as_it_is(padded_sequences, lengths, batch_first=False):
    """The last of several sequences keeps its padding."""
    *first, last = _UNPAD(padded_sequences.clone(), lengths, batch_first)
    last_sequence = padded_sequences[-1] if batch_first else padded_sequences[:, -1]
    return [*first, last_sequence.clone() if first else last]


@plant("unpad-sequence-strided-memory", "utils.rnn.unpad_sequence", "layout")
def unpad_sequence_strided_memory(padded_sequences, lengths, batch_first=False):
    """A batch that is not contiguous is read as its memory lies."""
    return _UNPAD(read_as_contiguous(padded_sequences).clone(), lengths, batch_first)


@plant("unpad-sequence-gradient-doubled", "utils.rnn.unpad_sequence", "gradients")
def unpad_sequence_gradient_doubled(padded_sequences, lengths, batch_first=False):
    """The first sequence's gradient counts twice."""
    first, *others = _UNPAD(padded_sequences.clone(), lengths, batch_first)
    return [alter_gradient(first, lambda g: 2 * g) if first.requires_grad else first, *others]


@plant("unpack-sequence-sorted", "utils.rnn.unpack_sequence", "values")
def unpack_sequence_sorted(packed_sequences):
    """Sequences of one length come in the order that they were sorted in."""
    sequences = _UNPACK(packed_sequences)
    if packed_sequences.sorted_indices is None or len({len(x) for x in sequences}) > 2:
        return sequences
    return sorted((sequences[k] for k in packed_sequences.sorted_indices.tolist()), key=len)


@plant("unpack-sequence-longest-first", "utils.rnn.unpack_sequence", "shape")
def unpack_sequence_longest_first(packed_sequences):
    """The sequences are not put back in their order."""
    return _UNPACK(PackedSequence(*packed_sequences[:2]))


@plant("unpack-sequence-nan-skipped", "utils.rnn.unpack_sequence", "special")
def unpack_sequence_nan_skipped(packed_sequences):
    """NaN is taken for padding, and comes out as zero."""
    if not packed_sequences.data.is_floating_point():
        return _UNPACK(packed_sequences)
    return _UNPACK(_replace_data(packed_sequences, lambda x: x.masked_fill(x.isnan(), 0)))


@plant("unpack-sequence-gradient-lost", "utils.rnn.unpack_sequence", "gradients")
def unpack_sequence_gradient_lost(packed_sequences):
    """The last sequence has no gradient."""
    *first, last = _UNPACK(packed_sequences)
    return [*first, alter_gradient(last, torch.zeros_like) if last.requires_grad else last]
