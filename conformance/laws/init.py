"""Laws of initial values: they are written into the returned tensor, whatever it held before.

Drawn values are compared with their distribution, on a probe tensor with as many axes as the
case's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import Rounded, exact_operand
from conformance.model.formats import format_of
from conformance.oracles import init as oracle
from conformance.spec.distributions import Distribution, Normal, Uniform, find_median
from conformance.spec.draws import Draws, MaskedOutput, Sample
from conformance.spec.law import (
    Claims,
    Generator,
    Side,
    claim,
    equality_claim,
    get_input,
    in_float64,
    law,
    trial_with,
)
from conformance.spec.state import FALSE_ALARM

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

EXACT = "always equal: nothing is computed"
_LARGE_PROBE_PERIOD, _HUGE_PROBE_PERIOD = (
    8,
    64,
)  # one case in this many has a large probe, or a huge one
# log(2/α), where α is the probability that a fair draw fails a test.
_LOG_ODDS = math.log(2 / FALSE_ALARM)

DistributionOf = Callable[
    [tuple[int, ...], "Trial"], tuple[Distribution, tuple[float, float]] | None
]
"""(shape, trial) → the distribution of a case's numbers and their range; None = none drawn."""


def _argument(trial: Trial, name: str) -> Any:
    spec = trial.spec
    return trial.case.call.arguments.get(name, spec.signature.defaults.get(name))


def of_uniform(shape: tuple[int, ...], trial: Trial) -> Any:
    """U(a, b)."""
    return _uniform(_argument(trial, "a"), _argument(trial, "b"), trial)


def of_normal(shape: tuple[int, ...], trial: Trial) -> Any:
    """N(mean, std²)."""
    return _normal(_argument(trial, "mean"), _argument(trial, "std"), trial)


def of_truncated(shape: tuple[int, ...], trial: Trial) -> Any:
    """N(mean, std²) from a to b."""
    mean, std, low, high = (_argument(trial, name) for name in ("mean", "std", "a", "b"))
    ends = oracle.truncated_ends(low, high, trial.case.call.dtype)
    return Normal(mean, std, low, high), ends


def of_xavier(normal: bool, shape: tuple[int, ...], trial: Trial) -> Any:
    """N(0, std²) or U(−√3·std, √3·std), with std from the gain and both fans."""
    return _by_std(normal, oracle.xavier_std(shape, _argument(trial, "gain")), trial)


def of_kaiming(normal: bool, shape: tuple[int, ...], trial: Trial) -> Any:
    """N(0, std²) or U(−√3·std, √3·std), with std from the nonlinearity and one fan."""
    a, mode, name = (_argument(trial, argument) for argument in ("a", "mode", "nonlinearity"))
    return _by_std(normal, oracle.kaiming_std(shape, a, mode, name), trial)


def _by_std(normal: bool, std: float, trial: Trial) -> Any:
    limit = math.sqrt(3) * std
    return _normal(0.0, std, trial) if normal else _uniform(-limit, limit, trial)


def _uniform(low: float, high: float, trial: Trial) -> Any:
    if low == high:
        return None
    return Uniform(low, high), oracle.uniform_ends(low, high, trial.precision.unit)


def _normal(mean: float, std: float, trial: Trial) -> Any:
    if std == 0:
        return None
    return Normal(mean, std), oracle.normal_ends(mean, std, trial.precision.unit)


def _call_on_shape(trial: Trial, shape: tuple[int, ...]) -> Trial:
    """The call on a tensor of another shape, filled with 2, which no case has."""
    return trial_with(trial, np.full(shape, 2.0))


def _probe_shape(trial: Trial, generator: Generator) -> tuple[int, ...]:
    """A shape of some thousands of numbers, with one fan several times the other."""
    x = get_input(trial)
    large, huge = (
        generator.integers(_LARGE_PROBE_PERIOD) == 0,
        generator.integers(_HUGE_PROBE_PERIOD) == 0,
    )
    count = 2**19 if huge else 2**15 if large else 2**12
    if x.ndim < 2:
        return (count + int(generator.integers(4)),)
    kernel = [int(generator.integers(2, 4)) for _ in range(x.ndim - 2)]
    ratio = 4 if generator.integers(2) else 0.25
    first = max(round(math.sqrt(count / math.prod(kernel) * ratio)), 3)
    second = -(-count // (first * math.prod(kernel)))
    return (first + int(generator.integers(3)), second + int(generator.integers(3)), *kernel)


def draws(distribution_of: DistributionOf, trial: Trial, generator: Generator) -> Draws:
    """Numbers are independent, follow the case's distribution, and are new in each call."""
    shape = _probe_shape(trial, generator)
    distribution_and_ends = distribution_of(shape, trial)
    if distribution_and_ends is None:
        return
    distribution, ends = distribution_and_ends
    got, again = (_call_on_shape(trial, shape).answer[0] for _ in range(2))
    yield from _independent_draws(trial, distribution, ends, got, again)


def _independent_draws(
    trial: Trial,
    distribution: Distribution,
    ends: tuple[float, float],
    got: np.ndarray,
    again: np.ndarray | None,
) -> Draws:
    description = trial.text()
    slack = distribution.slack(trial.precision.unit)
    yield Sample(description, "tensor", got, distribution, slack, ends, again)
    median = find_median(distribution)
    share_above = 1 - float(distribution.cdf(np.array([median]))[0])
    above = (got > median).astype(float)
    ones = exact_operand(np.ones(got.shape), trial.precision)
    text = f"{description}: above {median:.6g}"
    yield MaskedOutput(
        text, "tensor", above, ones, 0.0, np.ones(got.shape, bool), share_above, slack=slack
    )


@law("returned", "what comes back is the tensor that was written into", EXACT)
def returned(trial: Trial, generator: Generator) -> Claims:
    """The returned numbers, compared with the tensor after the call."""
    other = _call_on_shape(trial, get_input(trial).shape)
    got = other.answer[0]
    after_call = other.updated_tensor(trial.spec.signature.input_names[0])
    wanted = Side("the tensor after the call", (exact_operand(after_call, trial.precision),))
    yield claim(other, (exact_operand(got, trial.precision),), wanted)


@law("overwritten", "what the tensor held before means nothing", EXACT)
def overwritten(trial: Trial, generator: Generator) -> Claims:
    """The call on a tensor with NaN and infinities, compared with one of zeros."""
    shape = get_input(trial).shape
    before_call = generator.choice([0.5, -3.0, np.nan, np.inf, -np.inf], shape)
    yield equality_claim(trial_with(trial, before_call), trial_with(trial, np.zeros(shape)))


def _equals_layer(trial: Trial, layer: str, **arguments: Any) -> Claims:
    x = get_input(trial)
    yield equality_claim(
        trial_with(trial, x, layer=layer, arguments=arguments), trial_with(trial, x)
    )


@law("constants", "ones and zeros are constants", EXACT)
def constants(trial: Trial, generator: Generator) -> Claims:
    """`ones_` and `zeros_` give what `constant_` gives for 1 and 0."""
    value = 1.0 if trial.case.call.layer == "init.ones_" else 0.0
    yield from _equals_layer(trial, "init.constant_", val=value)


@law("flat", "any number of axes holds the same constant", EXACT)
def flat(trial: Trial, generator: Generator) -> Claims:
    """The call on a tensor of the same size with one axis."""
    shape = get_input(trial).shape
    single_axis = trial_with(trial, np.zeros(math.prod(shape)))
    yield equality_claim(
        single_axis,
        trial_with(trial, np.zeros(shape)),
        got_moves=lambda array: array.reshape(shape),
    )


@law("transposed", "the identity transposed is the identity", EXACT)
def transposed(trial: Trial, generator: Generator) -> Claims:
    """The call on a tensor of transposed shape."""
    shape = get_input(trial).shape
    other = trial_with(trial, np.ones(shape[::-1]))
    yield equality_claim(other, trial_with(trial, np.ones(shape)), got_moves=np.transpose)


@law("groups", "each group of channels is initialised as a tensor by itself", EXACT)
def groups(trial: Trial, generator: Generator) -> Claims:
    """The call on the tensor of one group, repeated for all groups."""
    shape, count = get_input(trial).shape, int(_argument(trial, "groups"))
    single_group = trial_with(trial, np.ones((shape[0] // count, *shape[1:])), groups=1)
    all_groups = trial_with(trial, np.ones(shape))

    def repeat_group(array: np.ndarray) -> np.ndarray:
        return np.concatenate([array] * count)

    yield equality_claim(all_groups, single_group, wanted_moves=repeat_group)


def evenly(distribution_of: DistributionOf) -> Any:
    """The law that a layer's numbers lie above and below the median equally often.

    Args:
        distribution_of: see `DistributionOf`.
    """
    statement = "as many numbers are above the middle of the distribution as below it"
    exact = "within what is exceeded by a chance of 1e-12 (Hoeffding)"

    @law("even", statement, exact)
    def even(trial: Trial, generator: Generator) -> Claims:
        """The mean of n signs is 0 to within √(2 ln(2/α)/n), except with probability α."""
        shape = _probe_shape(trial, generator)
        distribution_and_ends = distribution_of(shape, trial)
        if distribution_and_ends is None:
            return
        other = _call_on_shape(trial, shape)
        got, median = other.answer[0], find_median(distribution_and_ends[0])
        slack = distribution_and_ends[0].slack(trial.precision.unit)
        float64 = Precision.of("float64")
        mean = np.array(np.sign(got - median).mean())
        error = np.array(math.sqrt(2 * _LOG_ODDS / got.size) + 4 * slack)
        wanted = Side("as many above as below", (Rounded(np.zeros(()), error, float64),))
        yield claim(other, (exact_operand(mean, float64),), wanted)

    return even


def zero_scale_law(name: str) -> Any:
    """The law that an argument of 0 makes all numbers 0."""

    @law("nothing", f"with {name} = 0 all numbers are 0", EXACT)
    def nothing(trial: Trial, generator: Generator) -> Claims:
        """The call on a tensor of ones, with the argument 0."""
        arguments = {**trial.case.call.arguments, name: 0.0}
        other = trial_with(trial, np.ones(get_input(trial).shape), arguments=arguments)
        zeros = exact_operand(np.zeros(get_input(trial).shape), trial.precision)
        yield claim(
            other, (exact_operand(other.answer[0], trial.precision),), Side("zeros", (zeros,))
        )

    return nothing


@law("fixed", "with std = 0 all numbers are the mean", "equal but for one rounding")
def fixed(trial: Trial, generator: Generator) -> Claims:
    """constant_ with the mean."""
    x, mean = get_input(trial), _argument(trial, "mean")
    constant = trial_with(trial, x, layer="init.constant_", arguments={"val": mean})
    yield equality_claim(trial_with(trial, x, std=0.0), constant)


def _gram(array: np.ndarray) -> np.ndarray:
    """QᵀQ for at least as many rows as columns, else QQᵀ."""
    flat = array.reshape(array.shape[0], -1)
    flat = flat if flat.shape[0] >= flat.shape[1] else flat.T
    return np.asarray(flat.T @ flat)


def orthonormal_claim(trial: Trial, shape: tuple[int, ...]) -> Claims:
    """The claim that rows or columns, whichever are fewer, are orthogonal and of length gain.

    Args:
        shape: the tensor's shape.
    """
    other, gain = _call_on_shape(trial, shape), float(_argument(trial, "gain"))
    got, unit = other.answer[0], trial.precision.unit
    gram = _gram(got)
    # The product with gain rounds, as do this law's own products.
    deviation = oracle.orthogonality_error(shape, unit) + 3 * unit + got.size * 2.0**-52
    scaled_identity = gain**2 * np.eye(len(gram))
    wide_gram = in_float64(exact_operand(gram, trial.precision))
    wanted = Rounded(
        scaled_identity, np.full(scaled_identity.shape, gain**2 * deviation), wide_gram.precision
    )
    yield claim(other, (wide_gram,), Side("gain² times the identity", (wanted,)))


@law("orthonormal", "rows or columns are orthogonal and gain long", "within what Householder's"
     " reflections round")  # fmt: skip
def orthonormal(trial: Trial, generator: Generator) -> Claims:
    """The case's shape, and a larger one."""
    shape = get_input(trial).shape
    if math.prod(shape):
        yield from orthonormal_claim(trial, shape)
    yield from orthonormal_claim(trial, _larger_shape(trial, generator))


def _larger_shape(trial: Trial, generator: Generator) -> tuple[int, ...]:
    """A shape with 17 to 39 rows and up to as many columns."""
    kernel = [int(generator.integers(1, 3)) for _ in range(get_input(trial).ndim - 2)]
    sizes = [int(generator.integers(17, 40)) for _ in range(2)]
    return (sizes[0], max(sizes[1] // math.prod(kernel), 1), *kernel)


def draws_orthogonal(trial: Trial, generator: Generator) -> Draws:
    """The matrix is drawn anew each time, and no direction is preferred.

    Negating any row or column keeps the distribution, so the signs of the diagonal are independent
    fair coins.
    """
    if not _argument(trial, "gain"):
        return
    shape = (128, 128, *[1] * (get_input(trial).ndim - 2))
    got, again = (_call_on_shape(trial, shape).answer[0].reshape(128, 128) for _ in range(2))
    yield from orthonormal_claim(trial, _larger_shape(trial, generator))
    above, other = ((np.diagonal(x) > 0).astype(float) for x in (got, again))
    ones = exact_operand(np.ones(above.shape), trial.precision)
    description = f"{trial.text()}: elements of the diagonal above 0"
    yield MaskedOutput(
        description, "tensor", above, ones, 0.0, np.ones(128, bool), 0.5, second_call=other
    )


@law("zeros", "each column has as many zeros as sparsity says", "always equal; of float16 but for"
     " numbers that are too small for it")  # fmt: skip
def zeros(trial: Trial, generator: Generator) -> Claims:
    """The call on a tensor of the case's shape."""
    x = get_input(trial)
    if x.size and _argument(trial, "std"):
        yield from _zero_counts(trial, trial_with(trial, x))


def _zero_counts(trial: Trial, other: Trial) -> Claims:
    """The claim about the number of zeros in each column."""
    got = other.answer[0]
    rows, columns = got.shape
    std, float64 = float(_argument(trial, "std")), Precision.of("float64")
    count = oracle.zeros_in_column(rows, float(_argument(trial, "sparsity")))
    # A number below the smallest one may be 0: k of n are with probability (n·p)^k at most.
    underflow_chance = rows * 0.8 * format_of(trial.case.call.dtype).tiny / std
    extra_zeros = 0
    while columns * underflow_chance ** (extra_zeros + 1) > FALSE_ALARM:
        extra_zeros += 1
    # Leave out only as many columns with more zeros as numbers drawn as 0 can explain.
    untested_columns = 2 * _pairs_of_zeros(
        got.size, 53 if trial.case.call.dtype == "float64" else 24
    )
    zero_counts = np.sort((got == 0).sum(0).astype(float))[: max(columns - untested_columns, 1)]
    extra_zeros += untested_columns if columns <= untested_columns else 0
    wanted = Rounded(
        np.full(len(zero_counts), float(count)),
        np.full(len(zero_counts), float(extra_zeros)),
        float64,
    )
    yield claim(
        other,
        (exact_operand(zero_counts, float64),),
        Side(f"{count} zeros in each column", (wanted,)),
    )


def _pairs_of_zeros(size: int, bits: int) -> int:
    """Largest number of pairs of normal numbers that are 0, except with probability `FALSE_ALARM`.

    The Box-Muller transform makes a pair from a radius √(−2 ln u). A uniform u of that many bits is
    1, and the radius 0, once in 2^bits. Of n pairs, k are 0 with probability at most λ^k/k!, λ =
    n/2^bits.
    """
    mean, pairs = size / 2 * 2.0**-bits, 0
    while mean ** (pairs + 1) / math.factorial(pairs + 1) > FALSE_ALARM:
        pairs += 1
    return pairs


def draws_sparse(trial: Trial, generator: Generator) -> Draws:
    """Random zeros in each column; the other numbers are from N(0, std²)."""
    std, sparsity = float(_argument(trial, "std")), float(_argument(trial, "sparsity"))
    rows, columns = rows_for(sparsity, int(generator.integers(5, 40))), 512
    distribution_and_ends = _normal(0.0, std, trial)
    share_of_zeros = oracle.zeros_in_column(rows, sparsity) / rows
    if distribution_and_ends is None or share_of_zeros == 1:
        return
    other = _call_on_shape(trial, (rows, columns))
    yield from _zero_counts(trial, other)
    got = other.answer[0]
    distribution, ends = distribution_and_ends
    slack = distribution.slack(trial.precision.unit)
    description = f"{trial.text()}: what is not 0"
    yield Sample(description, "tensor", got[got != 0], distribution, slack, ends)
    ones, every_column = exact_operand(np.ones(columns), trial.precision), np.ones(columns, bool)
    row = int(generator.integers(rows))
    nonzero = (got[row] != 0).astype(float)
    again = (_call_on_shape(trial, (rows, columns)).answer[0][row] != 0).astype(float)
    text = f"{trial.text()}: row {row} not 0"
    # Numbers that underflow to 0 shift the rate by this.
    underflow_chance = 0.8 * format_of(trial.case.call.dtype).tiny / std
    yield MaskedOutput(
        text,
        "tensor",
        nonzero,
        ones,
        0.0,
        every_column,
        1 - share_of_zeros,
        second_call=again,
        slack=underflow_chance,
    )


def rows_for(sparsity: float, least: int) -> int:
    """A number of rows, at least `least`, for which rounding cannot change ⌈sparsity·rows⌉.

    Args:
        sparsity: a fraction that float64 may not represent exactly.
    """
    rows = least
    while sparsity * 64 % 1 and not 0.01 < sparsity * rows % 1 < 0.99:
        rows += 1
    return rows


SPARSE = (returned, zeros)
ORTHOGONAL = (returned, orthonormal, zero_scale_law("gain"))
