"""CTCLoss, module and function: forward and backward over all alignments.

An alignment assigns a class to each step. Its labels remain when each run of one class is merged
and the blanks are removed. The loss is −log of the total probability of the alignments whose labels
are the target. Let l′ be the target with a blank before, between and after its labels (Graves et
al., 2006, §4.1):

    α_t(s) = log_probs_t(l′_s) + log(e^α_{t−1}(s) + e^α_{t−1}(s−1) + e^α_{t−1}(s−2))

where the last term exists only if l′_s is neither a blank nor l′_{s−2}.

The page leaves two points open. The mean divides the loss of a target of length 0 by 1, as torch
does. An input of length 0 has one alignment, that of the empty target.

The derivative by log_probs_t(c) is −p_t(c), where p_t(c) is the probability of class c at step t
given the target. torch (#52241) and the paper's equation 16 have e^log_probs_t(c) − p_t(c) instead,
the derivative by the scores from which a log_softmax makes log_probs. The two differ by a multiple
of e^log_probs, whose sum is 1, so that the gradient of the scores is the same. Either is right.

Sources: the pages torch.nn.CTCLoss and torch.nn.functional.ctc_loss of the PyTorch documentation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from conformance.arithmetic.choices import Choices
from conformance.arithmetic.elementary import constants, exp
from conformance.arithmetic.half_precision import stored, widened
from conformance.arithmetic.precision import Precision
from conformance.arithmetic.reductions import divide_by_count, total
from conformance.arithmetic.rounded import ORACLE_UNIT, Node, Rounded, with_node

Shape = tuple[int, ...]
State = Mapping[str, Rounded]
Lengths = Rounded | Sequence[int]


@dataclass(frozen=True, eq=False)
class Logs:
    """Logarithms of sums of probabilities, −∞ among them, and how far each may be off.

    Args:
        value: float64 array.
        error: of the same shape.
    """

    value: np.ndarray
    error: np.ndarray

    def __getitem__(self, index: Any) -> Logs:
        return Logs(self.value[index], self.error[index])

    def plus(self, other: Logs, unit: float) -> Logs:
        """The logarithm of a product; a probability of 0 stays 0, whatever the other factor."""
        with np.errstate(invalid="ignore"):
            value = np.where(np.isneginf(self.value), -np.inf, self.value + other.value)
            error = self.error + other.error + unit * np.abs(value)
        return Logs(value, np.where(np.isinf(value), 0.0, error))


def log_sum(terms: Sequence[Logs], precision: Precision) -> Logs:
    """log Σeˣ of a few terms, computed at once or pairwise.

    The terms' errors, and the rounding of x − max, are weighted by the terms' shares of the sum.
    Exponential and logarithm err by their units in the last place, each addition by one rounding.
    Pairwise there are as many logarithms as additions. A partial sum v′ < v counts by its share
    e^(v′−v), which makes at most |v| + 1.

    Args:
        terms: arrays of one shape.
        precision: how an implementation rounds.
    """
    unit = precision.unit + ORACLE_UNIT
    value, error = np.stack([x.value for x in terms]), np.stack([x.error for x in terms])
    largest = value.max(axis=0)
    shift = np.where(np.isneginf(largest), 0.0, largest)
    with np.errstate(all="ignore"):
        exponentials = np.exp(value - shift)
        exponential_sum = exponentials.sum(axis=0)
        share = exponentials / np.where(exponential_sum == 0, 1.0, exponential_sum)
        log_of_sum = np.log(exponential_sum)
        result = shift + log_of_sum
        inherited = np.log1p((share * np.expm1(error)).sum(axis=0))
        weighted_distance = (share * np.where(share > 0, shift - value, 0.0)).sum(axis=0)
        steps = len(terms) - 1
        rounding = weighted_distance + 2 * precision.ulp("exp") + steps * (2 + np.abs(result))
        rounding = rounding + steps * 2 * precision.ulp("log") * np.abs(log_of_sum)
        # An exponential below the normal numbers may be 0.
        underflow = 2 * len(terms) * precision.normal
    # One possible term alone is copied.
    single_term = (value > -np.inf).sum(axis=0) == 1
    rounding_error = np.where(single_term, unit * (np.abs(result) + 1), unit * rounding + underflow)
    return Logs(result, np.where(np.isneginf(result), 0.0, inherited + rounding_error))


@dataclass(frozen=True, eq=False)
class Alignments:
    """All alignments of a batch: the labels with blanks, and the possible transitions.

    Args:
        labels: (N, 2S + 1), l′ of each sample; blanks beyond its end.
        ends: (N), index of the last blank.
        steps: (N), lengths of the inputs.
        jumps: (N, 2S + 1), whether s may follow s − 2.
        classes: number of classes.
    """

    labels: np.ndarray
    ends: np.ndarray
    steps: np.ndarray
    jumps: np.ndarray
    classes: int

    @classmethod
    def of(
        cls, targets: np.ndarray, lengths: np.ndarray, steps: np.ndarray, blank: int, classes: int
    ) -> Alignments:
        """The alignments for padded targets (N, S)."""
        count, max_length = targets.shape
        inside = np.arange(max_length) < lengths[:, np.newaxis]
        labels = np.full((count, 2 * max_length + 1), blank)
        labels[:, 1::2] = np.where(inside, targets, blank)
        jumps = np.zeros(labels.shape, bool)
        jumps[:, 3::2] = labels[:, 3::2] != labels[:, 1:-2:2]
        return cls(labels, 2 * lengths, steps, jumps, classes)

    def emissions(self, logs: Rounded, step: int) -> Logs:
        """log_probs of the labels at a step, (N, 2S + 1)."""
        value = np.take_along_axis(logs.value[step], self.labels, 1)
        return Logs(value, np.take_along_axis(logs.error[step], self.labels, 1))

    def is_running(self, step: int) -> np.ndarray:
        """(N, 1): whether the input still runs at a step."""
        return (step < self.steps)[:, np.newaxis]

    def forward(self, logs: Rounded) -> list[Logs]:
        """α before the first step and after each."""
        start = np.full(self.labels.shape, -np.inf)
        start[:, 0] = 0.0
        alphas = [Logs(start, np.zeros(start.shape))]
        for step in range(int(self.steps.max(initial=0))):
            previous = alphas[-1]
            from_before, from_two_before = _shift(previous, 1), _shift(previous, 2)
            from_two_before = Logs(
                np.where(self.jumps, from_two_before.value, -np.inf), from_two_before.error
            )
            reached = log_sum([previous, from_before, from_two_before], logs.precision)
            current = reached.plus(self.emissions(logs, step), logs.precision.unit + ORACLE_UNIT)
            alphas.append(_where(self.is_running(step), current, previous))
        return alphas

    def backward(self, logs: Rounded) -> list[Logs]:
        """β before the first step and after each: the log probability of the remaining steps."""
        states = np.arange(self.labels.shape[1])
        ends = self.ends[:, np.newaxis]
        final = np.where((states == ends) | (states == ends - 1), 0.0, -np.inf)
        betas = [Logs(final, np.zeros(final.shape))]
        jumps = _shift(Logs(self.jumps, self.jumps), -2).value == 1
        for step in reversed(range(int(self.steps.max(initial=0)))):
            following = betas[-1]
            emitting = following.plus(self.emissions(logs, step), logs.precision.unit + ORACLE_UNIT)
            to_next, to_second = _shift(emitting, -1), _shift(emitting, -2)
            to_second = Logs(np.where(jumps, to_second.value, -np.inf), to_second.error)
            betas.append(
                _where(
                    self.is_running(step),
                    log_sum([emitting, to_next, to_second], logs.precision),
                    following,
                )
            )
        return betas[::-1]

    def likelihoods(self, logs: Rounded, alpha: Logs) -> Logs:
        """log p of each sample: alignments end in the last blank or in the last label."""
        rows = np.arange(len(self.ends))
        last, label = alpha[rows, self.ends], alpha[rows, np.maximum(self.ends - 1, 0)]
        label = Logs(np.where(self.ends > 0, label.value, -np.inf), label.error)
        return log_sum([last, label], logs.precision)


def _shift(x: Logs, places: int) -> Logs:
    """x(s − places), −∞ outside."""

    def shift_array(array: np.ndarray, fill: float) -> np.ndarray:
        result = np.full(array.shape, fill)
        size = array.shape[1]
        if abs(places) < size:
            target = slice(places, None) if places > 0 else slice(None, size + places)
            source = slice(None, size - places) if places > 0 else slice(-places, None)
            result[:, target] = array[:, source]
        return result

    return Logs(shift_array(x.value, -np.inf), shift_array(x.error, 0.0))


def _where(condition: np.ndarray, a: Logs, b: Logs) -> Logs:
    return Logs(np.where(condition, a.value, b.value), np.where(condition, a.error, b.error))


def posteriors(
    logs: Rounded, alignments: Alignments, alpha: list[Logs], log_likelihood: Logs
) -> Rounded:
    """p_t(c) of each class at each step: e^(α + β − log p) over the states with that label.

    Implementations sum the states of a class as logarithms, with log_probs counted once or twice.
    Each addition rounds numbers up to |α| + |β| + |log_probs|, as do the subtractions of log_probs
    and log p.

    Args:
        logs: log_probs (T, N, C).
        alignments: those of the batch.
        alpha: result of `forward`.
        log_likelihood: log p of each sample.
    """
    precision = logs.precision
    unit, beta = precision.unit + ORACLE_UNIT, alignments.backward(logs)
    steps, count, _ = logs.shape
    value, error = np.zeros(logs.shape), np.zeros(logs.shape)
    rows = np.broadcast_to(np.arange(count)[:, np.newaxis], alignments.labels.shape)
    for step in range(min(steps, len(beta) - 1)):
        a, b, emission = alpha[step + 1], beta[step + 1], alignments.emissions(logs, step)
        total = log_likelihood.value[:, np.newaxis]
        with np.errstate(all="ignore"):
            probability = np.exp(a.value + b.value - total)
            probability = np.where(np.isneginf(a.value) | np.isneginf(b.value), 0.0, probability)
            size = np.abs(a.value) + np.abs(b.value) + 2 * np.abs(emission.value) + np.abs(total)
            # A class has at most S + 1 states, each added to a logarithm of a sum. Six more
            # roundings: α + β, subtracting log_probs, log p and the maximum, adding it, the final
            # logarithm.
            additions = (alignments.labels.shape[1] + 1) // 2 + 6
            exponent = a.error + b.error + log_likelihood.error[:, np.newaxis]
            exponent = exponent + unit * additions * (size + 2 * precision.ulp("log"))
            probability_error = probability * (
                np.expm1(exponent) + unit * (2 * precision.ulp("exp") + additions)
            )
            probability_error = (
                np.where(probability == 0, 0.0, probability_error) + precision.normal
            )
        running = alignments.is_running(step)
        np.add.at(value[step], (rows, alignments.labels), np.where(running, probability, 0.0))
        np.add.at(error[step], (rows, alignments.labels), np.where(running, probability_error, 0.0))
    return Rounded(value, error, precision)


def losses(logs: Rounded, alignments: Alignments, zero_infinity: bool) -> Rounded | Choices:
    """−log p of each sample, with either of its two derivatives (see the module).

    Args:
        logs: log_probs (T, N, C).
        alignments: those of the batch.
        zero_infinity: a sample without possible alignment has the loss 0 and no gradient.
    """
    precision = logs.precision
    with np.errstate(all="ignore"):
        alpha = alignments.forward(logs)
        log_likelihood = alignments.likelihoods(logs, alpha[-1])
        value, error = -log_likelihood.value, log_likelihood.error
        impossible = np.isposinf(value)
        error = np.where(np.isnan(value), 0.0, error)
        error = np.where(_is_undecided(logs, alignments, value), np.inf, error)
    if zero_infinity:
        value = np.where(impossible, 0.0, value)
    result = Rounded(value, error, precision)
    if logs.node is None:
        return result
    posterior = posteriors(logs, alignments, alpha, log_likelihood)
    running = np.arange(logs.shape[0])[:, np.newaxis] < alignments.steps
    exponentials = exp(logs.detached)
    probabilities = Rounded(
        np.where(running[..., np.newaxis], exponentials.value, 0.0),
        np.where(running[..., np.newaxis], exponentials.error, 0.0),
        precision,
    )
    undefined = (impossible & ~zero_infinity)[:, np.newaxis] & running[..., np.newaxis]

    def with_slope(slope: Rounded) -> Rounded:
        def pull(cotangent: Rounded) -> list[Rounded | None]:
            zeroed = zero_infinity & impossible
            c = Rounded(
                np.where(zeroed, 0.0, cotangent.value),
                np.where(zeroed, 0.0, cotangent.error),
                precision,
            )
            product = c.map(lambda array: array[np.newaxis, :, np.newaxis]) * slope
            no_gradient = np.broadcast_to(
                ~running[..., np.newaxis] | zeroed[:, np.newaxis], logs.shape
            )
            value = np.where(no_gradient, 0.0, product.value)
            gradient_error = np.where(no_gradient, 0.0, np.where(undefined, np.inf, product.error))
            return [Rounded(np.where(undefined, 0.0, value), gradient_error, precision)]

        return with_node(result, Node([logs], pull))

    return Choices((with_slope(-posterior), with_slope(probabilities - posterior)))


def _is_undecided(logs: Rounded, alignments: Alignments, value: np.ndarray) -> np.ndarray:
    """Where the loss is left open: +∞, sums beyond the range, NaN in an unreachable state.

    NaN in a reachable state makes the loss NaN.
    """
    steps = int(alignments.steps.max(initial=0))
    # α, β, their sum and log p: each adds one logarithm a step, and that of the sum.
    limit = logs.precision.largest / (4 * (steps + 1))
    undecided = np.zeros(value.shape, bool)
    inside = np.arange(alignments.labels.shape[1]) <= alignments.ends[:, np.newaxis]
    for step in range(steps):
        x = np.where(
            inside & alignments.is_running(step), alignments.emissions(logs, step).value, 0.0
        )
        out_of_range = np.isposinf(x) | (np.isfinite(x) & (np.abs(x) > limit))
        undecided |= (out_of_range | (np.isnan(x) & ~np.isnan(value)[:, np.newaxis])).any(axis=1)
    return undecided


def ctc_loss(
    state: State,
    log_probs: Rounded,
    targets: Rounded,
    input_lengths: Lengths,
    target_lengths: Lengths,
    *,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Rounded | Choices:
    """−log p(target | log_probs); the mean first divides each loss by its target's length."""
    batched = len(log_probs.shape) == 3
    wide_log_probs = widened(log_probs)
    logs = wide_log_probs if batched else wide_log_probs.map(lambda array: array[:, np.newaxis])
    steps, lengths = _as_lengths(input_lengths), _as_lengths(target_lengths)
    labels = pad_targets(np.asarray(targets.value, np.int64), lengths)
    alignments = Alignments.of(labels, lengths, steps, blank, logs.shape[2])
    unreduced = losses(logs, alignments, zero_infinity)
    alternatives = unreduced.alternatives if isinstance(unreduced, Choices) else (unreduced,)
    reduced = tuple(
        _reduce_losses(x, lengths, reduction, batched, log_probs.precision) for x in alternatives
    )
    return Choices(reduced) if len(reduced) > 1 else reduced[0]


def _reduce_losses(
    sample_losses: Rounded, lengths: np.ndarray, reduction: str, batched: bool, precision: Precision
) -> Rounded:
    if reduction == "none":
        return stored(sample_losses if batched else sample_losses[0], precision)
    if reduction == "mean":
        sample_losses = sample_losses / constants(
            np.maximum(lengths, 1).astype(np.float64), sample_losses
        )
    result = total(sample_losses)
    # If all losses are finite or +∞, one +∞ determines the sum in any order.
    is_infinite = np.isposinf(sample_losses.value) & (sample_losses.error == 0)
    if (
        is_infinite.any()
        and not np.isnan(sample_losses.value).any()
        and np.isfinite(sample_losses.error).all()
    ):
        result = with_node(
            Rounded(np.array(np.inf), np.zeros(()), sample_losses.precision), result.node
        )
    elif (np.isnan(sample_losses.value) & (sample_losses.error == 0)).any():
        result = with_node(
            Rounded(np.array(np.nan), np.zeros(()), sample_losses.precision), result.node
        )
    return stored(
        divide_by_count(result, sample_losses.value.size) if reduction == "mean" else result,
        precision,
    )


def _as_lengths(lengths: Lengths) -> np.ndarray:
    """Lengths (N) from a tensor or a tuple; () becomes (1)."""
    array = lengths.value if isinstance(lengths, Rounded) else np.array(lengths)
    return np.atleast_1d(np.asarray(array, np.int64))


def pad_targets(targets: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Targets as (N, S); concatenated targets (Σ lengths) are split into padded rows."""
    if targets.ndim == 2:
        return targets
    rows = np.zeros((len(lengths), int(lengths.max(initial=0))), np.int64)
    ends = np.cumsum(lengths)
    for row, (end, length) in enumerate(zip(ends.tolist(), lengths.tolist(), strict=True)):
        rows[row, :length] = targets[end - length : end]
    return rows


def ctc_loss_shape(
    log_probs: Shape,
    targets: Shape,
    input_lengths: Shape | Sequence[int] = (),
    target_lengths: Shape | Sequence[int] = (),
    *,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> tuple[Shape, ...]:
    """(); without reduction (N) for (T, N, C), () for (T, C)."""
    return (log_probs[1:-1] if reduction == "none" else (),)
