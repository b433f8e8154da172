"""The activations that a module and a function share: oracle, formula, arguments, laws of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from conformance.laws.activation import curves, slopes
from conformance.laws.activation import elementwise as laws
from conformance.oracles.activation import elementwise as oracle
from conformance.oracles.activation import smooth
from conformance.spec.law import Law
from conformance.spec.row import REQUIRED, Argument

_INPLACE = Argument("inplace", False, other=True)
_ALPHA = Argument("alpha", 1.0, other=0.5)
_LAMBD = Argument("lambd", 0.5, other=1.0)


@dataclass(frozen=True)
class Kind:
    """What the module and the function of one activation share.

    Args:
        oracle: of both.
        formula: as documented.
        arguments: of both, in torch's order.
        laws: further ones.
        operations: floating-point operations of an element.
        ends: two arguments, the first of which is less than the second.
        examples: share of the profile's examples.
        in_place: a function of its name and an underscore writes into its input.
        feeds_forward: transformers have it in their wide layers: it is timed at such widths, too.
    """

    oracle: Callable[..., Any]
    formula: str
    arguments: tuple[Argument, ...]
    laws: tuple[Law, ...]
    operations: int = 4
    ends: tuple[str, str] | None = None
    examples: float = 0.2
    in_place: bool = False
    feeds_forward: bool = False


KINDS = {
    ("ReLU", "functional.relu"): Kind(
        oracle.relu,
        "ReLU(x) = max(0, x)",
        (_INPLACE,),
        (laws.doubled,),
        1,
        examples=0.4,
        in_place=True,
    ),
    ("ReLU6", "functional.relu6"): Kind(
        oracle.relu6, "ReLU6(x) = min(max(0, x), 6)", (_INPLACE,), (laws.clipped,), 2
    ),
    ("LeakyReLU", "functional.leaky_relu"): Kind(
        oracle.leaky_relu,
        "LeakyReLU(x) = max(0, x) + negative_slope * min(0, x)",
        (Argument("negative_slope", 0.01, other=0.5), _INPLACE),
        (laws.doubled, laws.slope_zero),
        2,
        examples=0.4,
        in_place=True,
    ),
    ("RReLU", "functional.rrelu"): Kind(
        oracle.rrelu,
        "RReLU(x) = x if x >= 0, else a x; a ~ U(lower, upper), without training their mean",
        (
            Argument("lower", 1 / 8, other=0.25),
            Argument("upper", 1 / 3, other=0.75),
            Argument("training", False, other=True),
            _INPLACE,
        ),
        (slopes.mean_slope,),
        2,
        ends=("lower", "upper"),
        in_place=True,
    ),
    ("Threshold", "functional.threshold"): Kind(
        oracle.threshold,
        "y = x if x > threshold, else value",
        (Argument("threshold", REQUIRED, 0.0), Argument("value", REQUIRED, 0.0), _INPLACE),
        (laws.threshold_zero,),
        1,
        in_place=True,
    ),
    ("Hardtanh", "functional.hardtanh"): Kind(
        oracle.hardtanh,
        "HardTanh(x) = max_val if x > max_val, min_val if x < min_val, else x",
        (Argument("min_val", -1.0, other=-2.0), Argument("max_val", 1.0, other=2.0), _INPLACE),
        (laws.stretched_range, laws.six),
        2,
        ends=("min_val", "max_val"),
        in_place=True,
    ),
    ("Hardshrink", "functional.hardshrink"): Kind(
        oracle.hardshrink,
        "HardShrink(x) = x if x > lambd or x < -lambd, else 0",
        (_LAMBD,),
        (laws.odd, laws.nothing_shrunk),
        2,
    ),
    ("Softshrink", "functional.softshrink"): Kind(
        oracle.softshrink,
        "SoftShrinkage(x) = x - lambd if x > lambd, x + lambd if x < -lambd, else 0",
        (_LAMBD,),
        (laws.odd, laws.nothing_shrunk),
        2,
    ),
    ("Hardsigmoid", "functional.hardsigmoid"): Kind(
        oracle.hardsigmoid,
        "Hardsigmoid(x) = 0 if x <= -3, 1 if x >= 3, else x/6 + 1/2",
        (_INPLACE,),
        (laws.complement,),
        3,
    ),
    ("Hardswish", "functional.hardswish"): Kind(
        oracle.hardswish,
        "Hardswish(x) = 0 if x <= -3, x if x >= 3, else x (x + 3)/6",
        (_INPLACE,),
        (laws.reflected,),
    ),
    ("ELU", "functional.elu"): Kind(
        smooth.elu,
        "ELU(x) = x if x > 0, else alpha (exp(x) - 1)",
        (_ALPHA, _INPLACE),
        (curves.alpha_one, curves.alpha_twice),
        in_place=True,
    ),
    ("SELU", "functional.selu"): Kind(
        smooth.selu,
        "SELU(x) = scale (max(0, x) + min(0, alpha (exp(x) - 1)))",
        (_INPLACE,),
        (curves.scaled_unit,),
        in_place=True,
    ),
    ("CELU", "functional.celu"): Kind(
        smooth.celu,
        "CELU(x) = max(0, x) + min(0, alpha (exp(x/alpha) - 1))",
        (_ALPHA, _INPLACE),
        (curves.alpha_one, curves.alpha_and_operand),
        in_place=True,
    ),
    ("GELU", "functional.gelu"): Kind(
        smooth.gelu,
        "GELU(x) = x Phi(x), or 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))",
        (Argument("approximate", "none", other="tanh"),),
        (laws.reflected, curves.tail),
        8,
        examples=0.4,
        feeds_forward=True,
    ),
    ("SiLU", "functional.silu"): Kind(
        smooth.silu,
        "silu(x) = x * sigmoid(x)",
        (_INPLACE,),
        (laws.reflected,),
        examples=0.4,
        feeds_forward=True,
    ),
    ("Mish", "functional.mish"): Kind(
        smooth.mish, "Mish(x) = x tanh(softplus(x))", (_INPLACE,), (curves.by_sigmoid,), 6
    ),
    ("Sigmoid", "functional.sigmoid"): Kind(
        smooth.sigmoid, "Sigmoid(x) = 1/(1 + exp(-x))", (), (laws.complement,), 3
    ),
    ("Tanh", "functional.tanh"): Kind(
        smooth.tanh, "Tanh(x) = (exp(x) - exp(-x))/(exp(x) + exp(-x))", (), (laws.odd,), 5
    ),
    ("Softplus", "functional.softplus"): Kind(
        smooth.softplus,
        "Softplus(x) = log(1 + exp(beta x))/beta, x where beta x > threshold",
        (Argument("beta", 1.0, other=2.0), Argument("threshold", 20.0, other=1.0)),
        (curves.beta_twice,),
        5,
    ),
    ("LogSigmoid", "functional.logsigmoid"): Kind(
        smooth.logsigmoid, "LogSigmoid(x) = log(1/(1 + exp(-x)))", (), (laws.reflected,)
    ),
    ("Softsign", "functional.softsign"): Kind(
        smooth.softsign, "SoftSign(x) = x/(1 + |x|)", (), (laws.odd,), 3
    ),
    ("Tanhshrink", "functional.tanhshrink"): Kind(
        smooth.tanhshrink, "Tanhshrink(x) = x - tanh(x)", (), (laws.odd, curves.rest_of_tanh), 6
    ),
}
"""(module, function) → what they share, in the order of the rows."""
