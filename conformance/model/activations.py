"""The table of activations: data for their specifications, strategies and laws.

An activation is listed here once, under the name of its module. Formulas are in
`conformance/oracles/`. `conformance/layers/activation/kinds.py` assigns oracles and further laws.
PReLU, whose slopes are weights, has its own specifications.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from conformance.model.case import is_function

_THIS_FILE = "conformance/model/activations.py"

Values = Mapping[str, Any]
Choices = Mapping[tuple[str, ...], tuple[tuple[Any, ...], ...]]


class ActivationError(LookupError):
    """The table and code that uses it disagree, or a layer is not an activation in the table."""


@dataclass(frozen=True)
class Parameter:
    """One argument of an activation.

    Args:
        name: torch's.
        default: torch's; None if there is none.
        simplest: the simplest value, if there is no default.
        alternative: a value to try in place of the default, to find out whether a failure needs it.
    """

    name: str
    default: Any = None
    simplest: Any = None
    alternative: Any = None


def _no_kinks(values: Values) -> tuple[float, ...]:
    return ()


@dataclass(frozen=True)
class Activation:
    """Facts that a module, its function and its in-place function share.

    Args:
        module: the layer name of the module: `"LeakyReLU"`.
        function: the layer name of the function: `"functional.leaky_relu"`.
        formula: as documented.
        parameters: in torch's order, without `inplace` and `training`.
        drawn_values: names of parameters that are drawn together → their values, the simplest
            first.
        kinks: values of the parameters → inputs, besides 0, where the formula changes.
        ordering: condition on two parameters: `"min_val < max_val"`; empty = none.
        inplace: module and function take `inplace`.
        has_underscore_function: the function has an in-place form, whose name ends in an
            underscore.
        nonnegative_parameter: torch refuses to differentiate in place if this parameter is
            negative. It differentiates from the result, which is then ambiguous. Empty = it never
            refuses.
        random: it draws numbers in training; the function takes `training`.
        operations: floating-point operations per element.
        examples_fraction: share of the profile's examples.
        feeds_forward: transformers use it in their wide layers, so it is also timed at such widths.
        in_torch: as in `LayerSpec`.

    Raises:
        ActivationError: if no values of a parameter are drawn, or a name is not a parameter.
    """

    module: str
    function: str
    formula: str
    parameters: tuple[Parameter, ...] = ()
    drawn_values: Choices = field(default_factory=dict)
    kinks: Callable[[Values], tuple[float, ...]] = _no_kinks
    ordering: str = ""
    inplace: bool = False
    has_underscore_function: bool = False
    nonnegative_parameter: str = ""
    random: bool = False
    operations: int = 4
    examples_fraction: float = 0.2
    feeds_forward: bool = False
    in_torch: bool = True

    def __post_init__(self) -> None:
        names = {parameter.name for parameter in self.parameters}
        drawn_names = [name for group in self.drawn_values for name in group]
        for name in sorted(names - set(drawn_names)):
            raise ActivationError(f"activation {self.module!r}: no values of {name!r} are drawn")
        mentioned_names = {
            *drawn_names,
            *self.ordering.split()[::2],
            *filter(None, (self.nonnegative_parameter,)),
        }
        for name in sorted(mentioned_names - names):
            raise ActivationError(f"activation {self.module!r}: no parameter {name!r}")

    @property
    def in_place(self) -> str:
        """The name of the function that always writes into its input; empty if there is none."""
        return f"{self.function}_" if self.has_underscore_function else ""

    @property
    def defaults(self) -> dict[str, Any]:
        """Parameter → torch's default, for parameters that have one."""
        return {p.name: p.default for p in self.parameters if p.default is not None}

    def is_reversible(self, values: Values) -> bool:
        """Whether torch differentiates in place at these values of parameters."""
        return bool(values.get(self.nonnegative_parameter, 0) >= 0)


def _with_default_twice(*choices: tuple[Any, ...]) -> tuple[tuple[Any, ...], ...]:
    """The choices with the first one twice, so that the default is drawn often."""
    return (choices[0], *choices)


def _values_of_one(name: str, *values: Any) -> Choices:
    """The choices for a single parameter, its default first."""
    return {(name,): _with_default_twice(*((value,) for value in values))}


def _symmetric_kinks(name: str) -> Callable[[Values], tuple[float, ...]]:
    return lambda values: (-values[name], values[name])


def _kinks_at_three(values: Values) -> tuple[float, ...]:
    return (-3.0, 3.0, -1.5)


_ALPHA = (Parameter("alpha", 1.0, alternative=0.5),)
_LAMBD = (Parameter("lambd", 0.5, alternative=1.0),)

_ENTRIES = (
    Activation(
        "ReLU", "functional.relu",
        "ReLU(x) = max(0, x)",
        inplace=True, has_underscore_function=True, operations=1, examples_fraction=0.4,
    ),
    Activation(
        "ReLU6", "functional.relu6",
        "ReLU6(x) = min(max(0, x), 6)",
        kinks=lambda values: (6.0,), inplace=True, operations=2,
    ),
    Activation(
        "LeakyReLU", "functional.leaky_relu",
        "LeakyReLU(x) = max(0, x) + negative_slope * min(0, x)",
        (Parameter("negative_slope", 0.01, alternative=0.5),),
        _values_of_one("negative_slope", 0.01, 0.5, 0.2, 0.0, 1.0, 3.0, -0.5),
        inplace=True, has_underscore_function=True, nonnegative_parameter="negative_slope",
        operations=2, examples_fraction=0.4,
    ),
    Activation(
        "RReLU", "functional.rrelu",
        "RReLU(x) = x if x >= 0, else a x; a ~ U(lower, upper), without training their mean",
        (Parameter("lower", 1 / 8, alternative=0.25), Parameter("upper", 1 / 3, alternative=0.75)),
        {("lower", "upper"): _with_default_twice(
            (1 / 8, 1 / 3), (0.25, 0.75), (0.1, 0.1), (0.0, 1.0), (-0.5, 0.5),
        )},
        ordering="lower <= upper", inplace=True, has_underscore_function=True,
        nonnegative_parameter="lower", random=True, operations=2,
    ),
    Activation(
        "Threshold", "functional.threshold",
        "y = x if x > threshold, else value",
        (Parameter("threshold", simplest=0.0), Parameter("value", simplest=0.0)),
        {("threshold", "value"): (
            (0.0, 0.0), (1.0, -2.0), (0.1, 20.0), (-1.0, 0.3), (0.5, 0.5), (2.0, 1.0),
        )},
        kinks=lambda values: (values["threshold"],), inplace=True, has_underscore_function=True,
        operations=1,
    ),
    Activation(
        "Hardtanh", "functional.hardtanh",
        "HardTanh(x) = max_val if x > max_val, min_val if x < min_val, else x",
        (Parameter("min_val", -1.0, alternative=-2.0), Parameter("max_val", 1.0, alternative=2.0)),
        {("min_val", "max_val"): _with_default_twice(
            (-1.0, 1.0), (0.0, 6.0), (-0.3, 0.7), (-2.0, 0.5), (1.0, 3.0), (-3.0, -1.0),
        )},
        kinks=lambda values: (values["min_val"], values["max_val"]), ordering="min_val < max_val",
        inplace=True, has_underscore_function=True, operations=2,
    ),
    Activation(
        "Hardshrink", "functional.hardshrink",
        "HardShrink(x) = x if x > lambd or x < -lambd, else 0",
        _LAMBD, _values_of_one("lambd", 0.5, 1.0, 0.1, 0.0, 2.0),
        kinks=_symmetric_kinks("lambd"), operations=2,
    ),
    Activation(
        "Softshrink", "functional.softshrink",
        "SoftShrinkage(x) = x - lambd if x > lambd, x + lambd if x < -lambd, else 0",
        _LAMBD, _values_of_one("lambd", 0.5, 1.0, 0.1, 0.0, 2.0),
        kinks=_symmetric_kinks("lambd"), operations=2,
    ),
    Activation(
        "Hardsigmoid", "functional.hardsigmoid",
        "Hardsigmoid(x) = 0 if x <= -3, 1 if x >= 3, else x/6 + 1/2",
        kinks=_kinks_at_three, inplace=True, operations=3,
    ),
    Activation(
        "Hardswish", "functional.hardswish",
        "Hardswish(x) = 0 if x <= -3, x if x >= 3, else x (x + 3)/6",
        kinks=_kinks_at_three, inplace=True,
    ),
    Activation(
        "ELU", "functional.elu",
        "ELU(x) = x if x > 0, else alpha (exp(x) - 1)",
        _ALPHA, _values_of_one("alpha", 1.0, 0.5, 2.0, 1.7, 0.1, 0.0, -0.5),
        inplace=True, has_underscore_function=True, nonnegative_parameter="alpha",
    ),
    Activation(
        "SELU", "functional.selu",
        "SELU(x) = scale (max(0, x) + min(0, alpha (exp(x) - 1)))",
        inplace=True, has_underscore_function=True,
    ),
    Activation(
        "CELU", "functional.celu",
        "CELU(x) = max(0, x) + min(0, alpha (exp(x/alpha) - 1))",
        _ALPHA, _values_of_one("alpha", 1.0, 0.5, 2.0, 1.7, 0.1),
        inplace=True, has_underscore_function=True,
    ),
    Activation(
        "GELU", "functional.gelu",
        "GELU(x) = x Phi(x), or 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))",
        (Parameter("approximate", "none", alternative="tanh"),),
        _values_of_one("approximate", "none", "tanh", "tanh"),
        operations=8, examples_fraction=0.4, feeds_forward=True,
    ),
    Activation(
        "SiLU", "functional.silu",
        "silu(x) = x * sigmoid(x)",
        inplace=True, examples_fraction=0.4, feeds_forward=True,
    ),
    Activation(
        "Mish", "functional.mish",
        "Mish(x) = x tanh(softplus(x))",
        inplace=True, operations=6,
    ),
    Activation(
        "Sigmoid", "functional.sigmoid",
        "Sigmoid(x) = 1/(1 + exp(-x))",
        operations=3,
    ),
    Activation(
        "Tanh", "functional.tanh",
        "Tanh(x) = (exp(x) - exp(-x))/(exp(x) + exp(-x))",
        operations=5,
    ),
    Activation(
        "Softplus", "functional.softplus",
        "Softplus(x) = log(1 + exp(beta x))/beta, x where beta x > threshold",
        (Parameter("beta", 1.0, alternative=2.0), Parameter("threshold", 20.0, alternative=1.0)),
        {
            **_values_of_one("beta", 1.0, 2.0, 0.5, 2.5, 0.1, -0.5),
            **_values_of_one("threshold", 20.0, 1.0, 5.0, 0.5, 30.0),
        },
        kinks=lambda values: (values["threshold"] / values["beta"],), operations=5,
    ),
    Activation(
        "LogSigmoid", "functional.logsigmoid",
        "LogSigmoid(x) = log(1/(1 + exp(-x)))",
    ),
    Activation(
        "Softsign", "functional.softsign",
        "SoftSign(x) = x/(1 + |x|)",
        operations=3,
    ),
    Activation(
        "Tanhshrink", "functional.tanhshrink",
        "Tanhshrink(x) = x - tanh(x)",
        operations=6,
    ),
)  # fmt: skip


def _build_table(entries: Iterable[Activation]) -> dict[str, Activation]:
    activations: dict[str, Activation] = {}
    for entry in entries:
        if entry.module in activations:
            raise ActivationError(f"activation {entry.module!r} is listed twice in {_THIS_FILE}")
        activations[entry.module] = entry
    return activations


ACTIVATIONS: Mapping[str, Activation] = _build_table(_ENTRIES)
"""Name of the module → the activation, in the order of the catalogue."""


def is_in_place(layer: str) -> bool:
    """Whether a layer, by its name, is a function that always works in place."""
    return layer.endswith("_")


def activation_of(layer: str) -> Activation:
    """Find the activation of a module or function.

    Args:
        layer: its name: `"ELU"`, `"functional.elu"`, `"functional.elu_"`.

    Raises:
        ActivationError: if the table does not list it.
    """
    if is_function(layer):
        for activation in ACTIVATIONS.values():
            if layer in (activation.function, activation.in_place):
                return activation
    elif layer in ACTIVATIONS:
        return ACTIVATIONS[layer]
    raise ActivationError(f"no activation {layer!r} in {_THIS_FILE}")


def require_known(entries: Collection[str], module_file: str) -> None:
    """Check that the table lists all activations that a module of code names; runs on its import.

    Args:
        entries: names of activations.
        module_file: the path of that code, for the message.

    Raises:
        ActivationError: if the table does not list one.
    """
    for name in entries:
        if name not in ACTIVATIONS:
            raise ActivationError(
                f"{module_file} names an activation {name!r}, which {_THIS_FILE} lacks"
            )


def require_complete(entries: Collection[str], module_file: str) -> None:
    """Check that a module of code names exactly the table's activations; runs on its import.

    Args:
        entries: names of activations.
        module_file: the path of that code, for the message.

    Raises:
        ActivationError: if one is missing, or the table does not list one.
    """
    require_known(entries, module_file)
    for name in ACTIVATIONS:
        if name not in entries:
            raise ActivationError(
                f"activation {name!r} of {_THIS_FILE} has no entry in {module_file}"
            )
