"""Where tanh and the logistic function equal their limits in any implementation.

In exact arithmetic they never do; in a format they do where the difference to the limit is lost. An
implementation may compute in a wider format than the call's and round what it returns. oneDNN's
bfloat16 LSTM keeps gates and cell state in float32: tanh 7.4 = 1 − 7e-7 there, and c = −1 + 1·g
shows it. So the widest format counts, float64 (u = 2⁻⁵³), whatever the dtype. The implementation's
exponential adds an error, a factor 1 + 2k·u for k ULP. A factor of 2 covers any exponential that is
no worse than `Numerics` by default, in any dtype. A backend that declares less accuracy may use
another form (a table that ends short of 1), which need not be exact (`Precision.saturates`).

The usual forms: 1/(1 + e⁻ˣ); eˣ/(1 + eˣ); 1 − 2/(e²ˣ + 1); each of the two functions computed from
the other; rational forms and tables, which are cut off where they reach the limit.
"""

from __future__ import annotations

import math

from conformance.model.formats import FORMATS

_UNIT, _TINY = FORMATS["float64"].unit, FORMATS["float64"].tiny

# 1 − σ(x) < e⁻ˣ; twice that must be below u/2, half the distance from 1 to the number before it.
SIGMOID_ONE = math.log(4 / _UNIT)  # 38.1
# σ(x) < eˣ; twice that must be below half the smallest subnormal number. (float32 alone: 104.)
SIGMOID_ZERO = -math.log(4) + math.log(_TINY)  # -745.8
# 1 − tanh x < 2e⁻²ˣ; twice that must be below u/2.
TANH_ONE = math.log(8 / _UNIT) / 2  # 19.4
# 1 − erf 6 = erfc 6 = 2.2e-17; twice that is below u/2 as well.
ERF_ONE = 6.0
