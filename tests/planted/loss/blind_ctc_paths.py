"""Bugs of CTC's paths, written without sight of the checks that are to find them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from planted.bug import blind, graft
from planted.loss.blind_parts import length_list, reduce_ctc


def _split_samples(
    log_probs: Tensor, targets: Tensor, input_lengths: Any, target_lengths: Any
) -> list[tuple[Tensor, list[int]]]:
    """Of each sample its log-probabilities and its labels."""
    long = log_probs if log_probs.dim() == 3 else log_probs.unsqueeze(1)
    frames, lengths = length_list(input_lengths), length_list(target_lengths)
    samples, start = [], 0
    for n, (frame, length) in enumerate(zip(frames, lengths, strict=True)):
        row = targets[n] if targets.dim() == 2 else targets[start:]
        samples.append((long[:frame, n], row[:length].tolist()))
        start += length
    return samples


def _loss(frames: Tensor, labels: list[int], blank: int, may_skip: Callable[..., bool]) -> Tensor:
    """-log p of all paths; `may_skip` says whether the blank between two labels can be left out."""
    states = [blank, *(x for label in labels for x in (label, blank))]
    impossible = torch.full((), -torch.inf, dtype=frames.dtype)
    if len(frames) == 0:
        return torch.full((), 0.0 if not labels else torch.inf, dtype=frames.dtype)
    alpha = [frames[0, states[s]] if s < 2 else impossible for s in range(len(states))]
    for frame in frames[1:]:
        before, alpha = alpha, []
        for s, state in enumerate(states):
            paths = [before[s]] + [before[s - 1]] * (s > 0)
            if s > 1 and state != blank and may_skip(states[s - 2], state):
                paths.append(before[s - 2])
            alpha.append(torch.stack(paths).logsumexp(0) + frame[state])
    return -torch.stack(alpha[-2:]).logsumexp(0)


@blind("ctcloss-repeated-labels-need-no-blank", "CTCLoss", "values")
class CTCLossRepeatedLabelsNeedNoBlank(nn.CTCLoss):
    """The blank between two labels can be left out also if these are equal."""

    # Differs: labels (1, 1). Agrees: labels (1, 2).
    def forward(
        self, log_probs: Tensor, targets: Tensor, input_lengths: Any, target_lengths: Any
    ) -> Tensor:
        arguments = (log_probs, targets, input_lengths, target_lengths)
        result = super().forward(*arguments)
        samples = _split_samples(*arguments)
        if not any(a == b for _, labels in samples for a, b in pairwise(labels)):
            return result
        losses = [_loss(x, labels, self.blank, lambda a, b: True) for x, labels in samples]
        wrong = torch.stack(losses)
        if self.zero_infinity:
            wrong = torch.where(wrong.isinf(), 0.0, wrong)
        wrong = reduce_ctc(wrong.detach(), target_lengths, self.reduction, result)
        return graft(wrong.to(result.dtype), result)


@blind("ctcloss-paths-begin-with-a-blank", "CTCLoss", "values")
class CTCLossPathsBeginWithBlank(nn.CTCLoss):
    """Every path begins with a blank: of the two first states one is set."""

    # Differs: any label. Agrees: no labels.
    def forward(
        self, log_probs: Tensor, targets: Tensor, input_lengths: Any, target_lengths: Any
    ) -> Tensor:
        arguments = (log_probs, targets, input_lengths, target_lengths)
        result = super().forward(*arguments)
        losses = []
        for frames, labels in _split_samples(*arguments):
            first = torch.full_like(frames[:1], -torch.inf)
            first[:, self.blank] = frames[:1, self.blank]
            losses.append(
                _loss(torch.cat([first, frames[1:]]), labels, self.blank, lambda a, b: a != b)
            )
        if not losses or not any(labels for _, labels in _split_samples(*arguments)):
            return result
        wrong = torch.stack(losses).detach()
        if self.zero_infinity:
            wrong = torch.where(wrong.isinf(), 0.0, wrong)
        wrong = reduce_ctc(wrong, target_lengths, self.reduction, result)
        return graft(wrong.to(result.dtype), result)


@blind("functional-ctc-loss-paths-end-with-a-blank", "functional.ctc_loss", "values")
def functional_ctc_loss_ends_with_blank(
    log_probs,
    targets,
    input_lengths,
    target_lengths,
    blank=0,
    reduction="mean",
    zero_infinity=False,
):
    """Paths end with a blank: of the two last states only the very last is read.

    Labels that fill all their frames do not fit then.
    """
    # Differs: any label. Agrees: no labels.
    arguments = (log_probs, targets, input_lengths, target_lengths)
    result = functional.ctc_loss(*arguments, blank, reduction, zero_infinity)
    samples = _split_samples(*arguments)
    if not any(labels for _, labels in samples):
        return result
    losses = []
    for frames, labels in samples:
        last = torch.full_like(frames[-1:], -torch.inf)
        last[:, blank] = frames[-1:, blank]
        losses.append(_loss(torch.cat([frames[:-1], last]), labels, blank, lambda a, b: a != b))
    wrong = torch.stack(losses).detach()
    if zero_infinity:
        wrong = torch.where(wrong.isinf(), 0.0, wrong)
    return graft(reduce_ctc(wrong, target_lengths, reduction, result).to(result.dtype), result)
