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
from conformance.arithmetic.elementary import exp, known
from conformance.arithmetic.half_precision import stored, widened
from conformance.arithmetic.precision import Precision
from conformance.arithmetic.reductions import over, total
from conformance.arithmetic.rounded import OWN, Node, Rounded, with_node

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


def summed(terms: Sequence[Logs], precision: Precision) -> Logs:
    """log Σeˣ of a few terms, computed at once or pairwise.

    The terms' errors, and the rounding of x − max, are weighted by the terms' shares of the sum.
    Exponential and logarithm err by their units in the last place, each addition by one rounding.
    Pairwise there are as many logarithms as additions. A partial sum v′ < v counts by its share
    e^(v′−v), which makes at most |v| + 1.

    Args:
        terms: arrays of one shape.
        precision: how an implementation rounds.
    """
    unit = precision.unit + OWN
    value, error = np.stack([x.value for x in terms]), np.stack([x.error for x in terms])
    most = value.max(axis=0)
    shift = np.where(np.isneginf(most), 0.0, most)
    with np.errstate(all="ignore"):
        raised = np.exp(value - shift)
        whole = raised.sum(axis=0)
        share = raised / np.where(whole == 0, 1.0, whole)
        rest = np.log(whole)
        result = shift + rest
        inherited = np.log1p((share * np.expm1(error)).sum(axis=0))
        far = (share * np.where(share > 0, shift - value, 0.0)).sum(axis=0)
        steps = len(terms) - 1
        rounding = far + 2 * precision.ulp("exp") + steps * (2 + np.abs(result))
        rounding = rounding + steps * 2 * precision.ulp("log") * np.abs(rest)
        # An exponential below the normal numbers may be 0.
        lost = 2 * len(terms) * precision.normal
    # One possible term alone is copied.
    alone = (value > -np.inf).sum(axis=0) == 1
    own = np.where(alone, unit * (np.abs(result) + 1), unit * rounding + lost)
    return Logs(result, np.where(np.isneginf(result), 0.0, inherited + own))


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
        count, longest = targets.shape
        inside = np.arange(longest) < lengths[:, np.newaxis]
        labels = np.full((count, 2 * longest + 1), blank)
        labels[:, 1::2] = np.where(inside, targets, blank)
        jumps = np.zeros(labels.shape, bool)
        jumps[:, 3::2] = labels[:, 3::2] != labels[:, 1:-2:2]
        return cls(labels, 2 * lengths, steps, jumps, classes)

    def emitted(self, logs: Rounded, step: int) -> Logs:
        """log_probs of the labels at a step, (N, 2S + 1)."""
        value = np.take_along_axis(logs.value[step], self.labels, 1)
        return Logs(value, np.take_along_axis(logs.error[step], self.labels, 1))

    def runs(self, step: int) -> np.ndarray:
        """(N, 1): whether the input still runs at a step."""
        return (step < self.steps)[:, np.newaxis]

    def forward(self, logs: Rounded) -> list[Logs]:
        """α before the first step and after each."""
        start = np.full(self.labels.shape, -np.inf)
        start[:, 0] = 0.0
        found = [Logs(start, np.zeros(start.shape))]
        for step in range(int(self.steps.max(initial=0))):
            before = found[-1]
            one, two = _shifted(before, 1), _shifted(before, 2)
            two = Logs(np.where(self.jumps, two.value, -np.inf), two.error)
            come = summed([before, one, two], logs.precision)
            now = come.plus(self.emitted(logs, step), logs.precision.unit + OWN)
            found.append(_where(self.runs(step), now, before))
        return found

    def backward(self, logs: Rounded) -> list[Logs]:
        """β before the first step and after each: the log probability of the remaining steps."""
        places = np.arange(self.labels.shape[1])
        ends = self.ends[:, np.newaxis]
        final = np.where((places == ends) | (places == ends - 1), 0.0, -np.inf)
        found = [Logs(final, np.zeros(final.shape))]
        jumps = _shifted(Logs(self.jumps, self.jumps), -2).value == 1
        for step in reversed(range(int(self.steps.max(initial=0)))):
            after = found[-1]
            come = after.plus(self.emitted(logs, step), logs.precision.unit + OWN)
            one, two = _shifted(come, -1), _shifted(come, -2)
            two = Logs(np.where(jumps, two.value, -np.inf), two.error)
            found.append(_where(self.runs(step), summed([come, one, two], logs.precision), after))
        return found[::-1]

    def likelihoods(self, logs: Rounded, alpha: Logs) -> Logs:
        """log p of each sample: alignments end in the last blank or in the last label."""
        rows = np.arange(len(self.ends))
        last, label = alpha[rows, self.ends], alpha[rows, np.maximum(self.ends - 1, 0)]
        label = Logs(np.where(self.ends > 0, label.value, -np.inf), label.error)
        return summed([last, label], logs.precision)


def _shifted(x: Logs, places: int) -> Logs:
    """x(s − places), −∞ outside."""

    def moved(array: np.ndarray, fill: float) -> np.ndarray:
        result = np.full(array.shape, fill)
        size = array.shape[1]
        if abs(places) < size:
            into = slice(places, None) if places > 0 else slice(None, size + places)
            out_of = slice(None, size - places) if places > 0 else slice(-places, None)
            result[:, into] = array[:, out_of]
        return result

    return Logs(moved(x.value, -np.inf), moved(x.error, 0.0))


def _where(condition: np.ndarray, a: Logs, b: Logs) -> Logs:
    return Logs(np.where(condition, a.value, b.value), np.where(condition, a.error, b.error))


def shares(logs: Rounded, alignments: Alignments, alpha: list[Logs], likely: Logs) -> Rounded:
    """p_t(c) of each class at each step: e^(α + β − log p) over the states with that label.

    Implementations sum the states of a class as logarithms, with log_probs counted once or twice.
    Each addition rounds numbers up to |α| + |β| + |log_probs|, as do the subtractions of log_probs
    and log p.

    Args:
        logs: log_probs (T, N, C).
        alignments: those of the batch.
        alpha: result of `forward`.
        likely: log p of each sample.
    """
    precision = logs.precision
    unit, beta = precision.unit + OWN, alignments.backward(logs)
    steps, count, _ = logs.shape
    value, error = np.zeros(logs.shape), np.zeros(logs.shape)
    rows = np.broadcast_to(np.arange(count)[:, np.newaxis], alignments.labels.shape)
    for step in range(min(steps, len(beta) - 1)):
        a, b, own = alpha[step + 1], beta[step + 1], alignments.emitted(logs, step)
        whole = likely.value[:, np.newaxis]
        with np.errstate(all="ignore"):
            given = np.exp(a.value + b.value - whole)
            given = np.where(np.isneginf(a.value) | np.isneginf(b.value), 0.0, given)
            size = np.abs(a.value) + np.abs(b.value) + 2 * np.abs(own.value) + np.abs(whole)
            # A class has at most S + 1 states, each added to a logarithm of a sum. Six more
            # roundings: α + β, subtracting log_probs, log p and the maximum, adding it, the final
            # logarithm.
            additions = (alignments.labels.shape[1] + 1) // 2 + 6
            exponent = a.error + b.error + likely.error[:, np.newaxis]
            exponent = exponent + unit * additions * (size + 2 * precision.ulp("log"))
            off = given * (np.expm1(exponent) + unit * (2 * precision.ulp("exp") + additions))
            off = np.where(given == 0, 0.0, off) + precision.normal
        live = alignments.runs(step)
        np.add.at(value[step], (rows, alignments.labels), np.where(live, given, 0.0))
        np.add.at(error[step], (rows, alignments.labels), np.where(live, off, 0.0))
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
        likely = alignments.likelihoods(logs, alpha[-1])
        value, error = -likely.value, likely.error
        impossible = np.isposinf(value)
        error = np.where(np.isnan(value), 0.0, error)
        error = np.where(_open(logs, alignments, value), np.inf, error)
    if zero_infinity:
        value = np.where(impossible, 0.0, value)
    result = Rounded(value, error, precision)
    if logs.node is None:
        return result
    at_all = shares(logs, alignments, alpha, likely)
    live = np.arange(logs.shape[0])[:, np.newaxis] < alignments.steps
    raised = exp(logs.bare)
    present = Rounded(
        np.where(live[..., np.newaxis], raised.value, 0.0),
        np.where(live[..., np.newaxis], raised.error, 0.0),
        precision,
    )
    undefined = (impossible & ~zero_infinity)[:, np.newaxis] & live[..., np.newaxis]

    def pulled(slope: Rounded) -> Rounded:
        def pull(cotangent: Rounded) -> list[Rounded | None]:
            none = zero_infinity & impossible
            c = Rounded(
                np.where(none, 0.0, cotangent.value),
                np.where(none, 0.0, cotangent.error),
                precision,
            )
            product = c.map(lambda array: array[np.newaxis, :, np.newaxis]) * slope
            zero = np.broadcast_to(~live[..., np.newaxis] | none[:, np.newaxis], logs.shape)
            value = np.where(zero, 0.0, product.value)
            off = np.where(zero, 0.0, np.where(undefined, np.inf, product.error))
            return [Rounded(np.where(undefined, 0.0, value), off, precision)]

        return with_node(result, Node([logs], pull))

    return Choices((pulled(-at_all), pulled(present - at_all)))


def _open(logs: Rounded, alignments: Alignments, value: np.ndarray) -> np.ndarray:
    """Where the loss is left open: +∞, sums beyond the range, NaN in an unreachable state.

    NaN in a reachable state makes the loss NaN.
    """
    steps = int(alignments.steps.max(initial=0))
    # α, β, their sum and log p: each adds one logarithm a step, and that of the sum.
    limit = logs.precision.largest / (4 * (steps + 1))
    found = np.zeros(value.shape, bool)
    inside = np.arange(alignments.labels.shape[1]) <= alignments.ends[:, np.newaxis]
    for step in range(steps):
        x = np.where(inside & alignments.runs(step), alignments.emitted(logs, step).value, 0.0)
        wild = np.isposinf(x) | (np.isfinite(x) & (np.abs(x) > limit))
        found |= (wild | (np.isnan(x) & ~np.isnan(value)[:, np.newaxis])).any(axis=1)
    return found


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
    whole = widened(log_probs)
    logs = whole if batched else whole.map(lambda array: array[:, np.newaxis])
    steps, lengths = _numbers(input_lengths), _numbers(target_lengths)
    labels = padded(np.asarray(targets.value, np.int64), lengths)
    alignments = Alignments.of(labels, lengths, steps, blank, logs.shape[2])
    found = losses(logs, alignments, zero_infinity)
    several = found.alternatives if isinstance(found, Choices) else (found,)
    ways = tuple(_reduced(x, lengths, reduction, batched, log_probs.precision) for x in several)
    return Choices(ways) if len(ways) > 1 else ways[0]


def _reduced(
    each: Rounded, lengths: np.ndarray, reduction: str, batched: bool, precision: Precision
) -> Rounded:
    if reduction == "none":
        return stored(each if batched else each[0], precision)
    if reduction == "mean":
        each = each / known(np.maximum(lengths, 1).astype(np.float64), each)
    result = total(each)
    # If all losses are finite or +∞, one +∞ determines the sum in any order.
    endless = np.isposinf(each.value) & (each.error == 0)
    if endless.any() and not np.isnan(each.value).any() and np.isfinite(each.error).all():
        result = with_node(Rounded(np.array(np.inf), np.zeros(()), each.precision), result.node)
    elif (np.isnan(each.value) & (each.error == 0)).any():
        result = with_node(Rounded(np.array(np.nan), np.zeros(()), each.precision), result.node)
    return stored(over(result, each.value.size) if reduction == "mean" else result, precision)


def _numbers(lengths: Lengths) -> np.ndarray:
    """Lengths (N) from a tensor or a tuple; () becomes (1)."""
    array = lengths.value if isinstance(lengths, Rounded) else np.array(lengths)
    return np.atleast_1d(np.asarray(array, np.int64))


def padded(targets: np.ndarray, lengths: np.ndarray) -> np.ndarray:
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
