"""Initial values of torch.nn.init: the written constants, or the range of drawn numbers.

A drawn number is represented by the middle of its range, with half the width as its error. The
range is that of the distribution; for a normal one it is 10 standard deviations, which a number
exceeds with a probability of 2e-23. `laws/init.py` checks how the numbers are distributed.

Source: the page torch.nn.init of the PyTorch documentation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from conformance.arithmetic.half_precision import converted
from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import Rounded, exact_operand
from conformance.model.case import Updated
from conformance.model.formats import round_to

Shape = tuple[int, ...]
State = Mapping[str, Rounded]

MAX_DEVIATIONS = 10.0
"""No drawn number is as many standard deviations away from the mean."""
_UNIT_GAIN = ("linear", "sigmoid", *(f"conv{n}d" for n in (1, 2, 3)),
          *(f"conv_transpose{n}d" for n in (1, 2, 3)))  # fmt: skip


def calculate_gain(nonlinearity: str, slope: float) -> float:
    """The table of `calculate_gain`.

    Args:
        slope: leaky_relu's slope for negative numbers.
    """
    if nonlinearity == "leaky_relu":
        return math.sqrt(2 / (1 + slope**2))
    gains = {"tanh": 5 / 3, "relu": math.sqrt(2), "selu": 3 / 4, **dict.fromkeys(_UNIT_GAIN, 1.0)}
    return gains[nonlinearity]


def fans(shape: Sequence[int]) -> tuple[int, int]:
    """fan_in and fan_out of a weight (out, in, *kernel)."""
    kernel = math.prod(shape[2:])
    return shape[1] * kernel, shape[0] * kernel


def xavier_std(shape: Sequence[int], gain: float) -> float:
    """gain·√(2/(fan_in + fan_out)); 0 for an empty tensor."""
    fan_sum = sum(fans(shape))
    return gain * math.sqrt(2 / fan_sum) if fan_sum else 0.0


def kaiming_std(shape: Sequence[int], a: float, mode: str, nonlinearity: str) -> float:
    """gain/√fan; 0 for an empty tensor."""
    fan = fans(shape)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(fan) if fan else 0.0


def uniform_ends(low: float, high: float, unit: float) -> tuple[float, float]:
    """The smallest and the largest possible number of U(low, high), computed as low + x·(high −
    low).

    The two ends, the difference, the product and the sum round once each: 6u of the larger end.
    """
    margin = 6 * unit * max(abs(low), abs(high))
    return low - margin, high + margin


def truncated_ends(low: float, high: float, dtype: str) -> tuple[float, float]:
    """The ends rounded to the dtype: numbers are compared with the ends, and equal ones are kept.

    Args:
        low, high: the ends as written in the call.
        dtype: torch's name; half precision is rounded from float64 or from float32.
    """

    def rounded_values(end: float) -> list[float]:
        return [float(round_to(np.array(x), dtype))
                for x in (end, float(round_to(np.array(end), "float32")))]  # fmt: skip

    if dtype == "float64":
        return low, high
    return min(rounded_values(low)), max(rounded_values(high))


def zeros_in_column(rows: int, sparsity: float) -> int:
    """⌈sparsity·rows⌉."""
    return math.ceil(sparsity * rows)


def constant_(state: State, tensor: Rounded, *, val: float) -> Updated:
    """val everywhere."""
    return _constant_update(np.full(tensor.shape, val), tensor)


def ones_(state: State, tensor: Rounded) -> Updated:
    """1 everywhere."""
    return _constant_update(np.ones(tensor.shape), tensor)


def zeros_(state: State, tensor: Rounded) -> Updated:
    """0 everywhere."""
    return _constant_update(np.zeros(tensor.shape), tensor)


def eye_(state: State, tensor: Rounded) -> Updated:
    """1 where the row is the column, else 0."""
    rows, columns = tensor.shape
    return _constant_update(np.eye(rows, columns), tensor)


def dirac_(state: State, tensor: Rounded, *, groups: int = 1) -> Updated:
    """In each group output channel k copies input channel k: 1 at the kernel's centre ⌊n/2⌋."""
    values = np.zeros(tensor.shape)
    outputs, inputs, *kernel = tensor.shape
    group_size = outputs // groups
    centre = tuple(n // 2 for n in kernel)
    for group in range(groups):
        for k in range(min(group_size, inputs)):
            values[(group * group_size + k, k, *centre)] = 1.0
    return _constant_update(values, tensor)


def uniform_(state: State, tensor: Rounded, *, a: float = 0.0, b: float = 1.0) -> Updated:
    """U(a, b)."""
    return _interval_update(*uniform_ends(a, b, tensor.precision.unit), tensor)


def normal_(state: State, tensor: Rounded, *, mean: float = 0.0, std: float = 1.0) -> Updated:
    """N(mean, std²)."""
    if std == 0:
        return _constant_update(np.full(tensor.shape, mean), tensor)
    return _normal_interval(mean, std, tensor)


def trunc_normal_(
    state: State, tensor: Rounded, *,
    mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0,
) -> Updated:  # fmt: skip
    """N(mean, std²), redrawn until it is from a to b."""
    return _interval_update(*truncated_ends(a, b, tensor.precision.dtype), tensor)


def xavier_uniform_(state: State, tensor: Rounded, *, gain: float = 1.0) -> Updated:
    """U(−√3·std, √3·std)."""
    return _symmetric_uniform(xavier_std(tensor.shape, gain), tensor)


def xavier_normal_(state: State, tensor: Rounded, *, gain: float = 1.0) -> Updated:
    """N(0, std²)."""
    return _normal_interval(0.0, xavier_std(tensor.shape, gain), tensor)


def kaiming_uniform_(
    state: State, tensor: Rounded, *,
    a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu",
) -> Updated:  # fmt: skip
    """U(−√3·std, √3·std)."""
    return _symmetric_uniform(kaiming_std(tensor.shape, a, mode, nonlinearity), tensor)


def kaiming_normal_(
    state: State, tensor: Rounded, *,
    a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu",
) -> Updated:  # fmt: skip
    """N(0, std²)."""
    return _normal_interval(0.0, kaiming_std(tensor.shape, a, mode, nonlinearity), tensor)


def orthogonality_error(shape: Sequence[int], unit: float) -> float:
    """Largest error of an element of QᵀQ − I, Q of m rows and n columns, m ≥ n.

    A Householder vector v of m numbers and its factor β are known to within (m + 8)u. vᵀx adds m·u,
    β(vᵀx)v and the subtraction 4u. So a reflection errs by (4m + 20)u of the norm (Higham,
    *Accuracy and Stability of Numerical Algorithms*, 2002, §19.3). A column is a product of n
    reflections, and an element of QᵀQ is a product of two columns.

    Args:
        unit: unit roundoff of the dtype.
    """
    rows = shape[0]
    columns = math.prod(shape[1:])
    long, short = max(rows, columns), min(rows, columns)
    return 2 * short * (4 * long + 20) * unit


def orthogonal_(state: State, tensor: Rounded, *, gain: float = 1) -> Updated:
    """gain·Q: no element is larger than gain."""
    limit = abs(gain) * (1 + orthogonality_error(tensor.shape, tensor.precision.unit))
    return _interval_update(-limit, limit, tensor)


def sparse_(state: State, tensor: Rounded, *, sparsity: float, std: float = 0.01) -> Updated:
    """Each element is 0 or from N(0, std²)."""
    rows = tensor.shape[0]
    return _normal_interval(0.0, std if zeros_in_column(rows, sparsity) < rows else 0.0, tensor)


def _constant_update(values: np.ndarray, tensor: Rounded) -> Updated:
    """An update to constants, rounded to the dtype directly or by way of float32."""
    precision = tensor.precision
    stored_values = converted(exact_operand(values, Precision.of("float64")), precision.dtype)
    output = Rounded(stored_values.value, stored_values.error, precision)
    return Updated(output, {"tensor": output})


def _interval_update(low: float, high: float, tensor: Rounded) -> Updated:
    centre = (low + high) / 2
    # The distance to the ends is rounded, too.
    error = max(high - centre, centre - low) * (1 + 2.0**-50)
    interval = np.full(tensor.shape, centre), np.full(tensor.shape, error)
    output = Rounded(*interval, tensor.precision)
    return Updated(output, {"tensor": output})


def _symmetric_uniform(std: float, tensor: Rounded) -> Updated:
    limit = math.sqrt(3) * std
    return _interval_update(*uniform_ends(-limit, limit, tensor.precision.unit), tensor)


def _normal_interval(mean: float, std: float, tensor: Rounded) -> Updated:
    low, high = normal_ends(mean, std, tensor.precision.unit)
    return _interval_update(low, high, tensor)


def normal_ends(mean: float, std: float, unit: float) -> tuple[float, float]:
    """The range of all numbers of N(mean, std²), including a few roundings of each.

    Args:
        mean, std: of the distribution.
        unit: unit roundoff of the dtype.
    """
    margin = MAX_DEVIATIONS * std * (1 + 9 * unit) + 2 * unit * abs(mean)
    return mean - margin, mean + margin
