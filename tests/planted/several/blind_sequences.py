"""Bugs written without sight of the suite: packed sequences, clipping of gradients."""

from __future__ import annotations

import math
import types
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import rnn
from torch.nn.utils.rnn import PackedSequence

from planted.bug import blind


@blind(
    "rnn-pack-padded-sequence-sorts-what-should-be-sorted",
    "utils.rnn.pack_padded_sequence",
    "errors",
)
def _sorts_itself(
    input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Lengths out of order are sorted although enforce_sorted=True asks for a refusal."""
    # Differs: lengths (1, 3) with enforce_sorted=True. Agrees: lengths (3, 1).
    length_tensor = torch.as_tensor(lengths)
    if (
        enforce_sorted
        and length_tensor.dim() == 1
        and (length_tensor[1:] > length_tensor[:-1]).any()
    ):
        enforce_sorted = False
    return rnn.pack_padded_sequence(input, lengths, batch_first, enforce_sorted)


@blind("rnn-pad-packed-sequence-extra-length-is-zeros", "utils.rnn.pad_packed_sequence", "values")
def _extra_zeros(
    sequence: PackedSequence,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Past the longest sequence total_length is filled with zeros, not padding_value."""
    # Differs: total_length=5 of 3, padding_value=-1. Agrees: no total_length; padding_value=0.
    arguments = (batch_first, padding_value, total_length)
    padded, lengths = rnn.pad_packed_sequence(sequence, *arguments)
    longest, axis = sequence.batch_sizes.numel(), 1 if batch_first else 0
    extra = padded.narrow(axis, longest, padded.size(axis) - longest)
    original_steps = padded.narrow(axis, 0, longest)
    return torch.cat([original_steps, torch.zeros_like(extra)], axis), lengths


@blind("rnn-unpack-sequence-longest-first", "utils.rnn.unpack_sequence", "values")
def _longest_first(packed_sequences: PackedSequence) -> list[Tensor]:
    """Sequences come back in the order they were sorted in, not the caller's."""
    # Differs: packed from lengths 1 and 3 with enforce_sorted=False. Agrees: lengths 3 and 1.
    data, sizes = packed_sequences.data, packed_sequences.batch_sizes
    return rnn.unpack_sequence(PackedSequence(data, sizes))


@blind("rnn-pad-sequence-left-needs-batch-first", "utils.rnn.pad_sequence", "values")
def _left_forgotten(
    sequences: Any,
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:
    """padding_side="left" is only looked at where the batch comes first."""
    # Differs: padding_side="left", batch_first=False. Agrees: batch_first=True; "right".
    side = padding_side if batch_first else "right"
    return rnn.pad_sequence(sequences, batch_first, padding_value, side)


@blind("rnn-unpad-sequence-length-zero-is-all", "utils.rnn.unpad_sequence", "shape")
def _zero_is_all(
    padded_sequences: Tensor, lengths: Tensor, batch_first: bool = False
) -> list[Tensor]:
    """A length of zero is false and keeps the whole row: `row[: length or None]`."""
    # Differs: lengths (2, 0). Agrees: lengths (2, 1).
    rows = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    return [row[: int(length) or None] for row, length in zip(rows, lengths, strict=False)]


@blind("clip-get-total-norm-maximum-loses-nan", "utils.get_total_norm", "special")
def _loses_nan(
    tensors: Any,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The infinite norm folds maxima by a comparison that NaN loses."""
    # Differs: norm_type=inf and a NaN. Agrees: norm_type=2 and a NaN; numbers.
    tensor_list = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    if math.isinf(float(norm_type)) and not error_if_nonfinite:
        tensor_list = [torch.where(t.isnan(), torch.zeros_like(t), t) for t in tensor_list]
    return nn.utils.get_total_norm(tensor_list, norm_type, error_if_nonfinite, foreach)


@blind("clip-grad-norm-generator-is-used-up", "utils.clip_grad_norm_", "values")
def _used_up(
    parameters: Any,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """A generator of parameters is used up by the norm, and nothing is scaled, as once in torch."""
    # Differs: parameters from a generator, norm above max_norm. Agrees: a list of parameters.
    if isinstance(parameters, types.GeneratorType):
        grads = [p.grad for p in parameters if p.grad is not None]
        return nn.utils.get_total_norm(grads, norm_type, error_if_nonfinite, foreach)
    return nn.utils.clip_grad_norm_(parameters, max_norm, norm_type, error_if_nonfinite, foreach)


@blind("clip-grad-value-strided-gradient-is-left", "utils.clip_grad_value_", "layout")
def _strided_left(
    parameters: Iterable[Tensor] | Tensor, clip_value: float, foreach: bool | None = None
) -> None:
    """A gradient that is not contiguous is clipped in a copy, and stays as it was."""
    # Differs: a transposed gradient beyond the bound. Agrees: contiguous gradients.
    tensor_list = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    tensor_list = [p for p in tensor_list if p.grad is None or p.grad.is_contiguous()]
    if tensor_list:
        nn.utils.clip_grad_value_(tensor_list, clip_value, foreach)


@blind("clip-grads-with-norm-lacks-the-small-addend", "utils.clip_grads_with_norm_", "values")
def _no_addend(
    parameters: Any, max_norm: float, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """The scale is max_norm / total_norm; the documentation adds 1e-6 to the norm."""
    # Differs: norms near 1e-6. Agrees: a norm below max_norm.
    tensor_list = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    if not bool(total_norm > max_norm):
        nn.utils.clip_grads_with_norm_(tensor_list, max_norm, total_norm, foreach)
        return
    with torch.no_grad():
        for parameter in tensor_list:
            if parameter.grad is not None:
                parameter.grad.mul_((max_norm / total_norm).to(parameter.grad.dtype))


@blind("clip-grad-norm-not-finite-is-no-error", "utils.clip_grad_norm_", "errors")
def _no_error(
    parameters: Any,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """error_if_nonfinite=True is taken and not acted on."""
    # Differs: error_if_nonfinite=True and an infinite gradient. Agrees: finite gradients.
    return nn.utils.clip_grad_norm_(parameters, max_norm, norm_type, False, foreach)
