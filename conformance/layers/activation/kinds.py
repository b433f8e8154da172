"""The oracle of each activation, and the laws that hold of it alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from conformance.laws.activation import curves, slopes
from conformance.laws.activation import elementwise as laws
from conformance.model.activations import require_complete
from conformance.oracles.activation import elementwise as oracle
from conformance.oracles.activation import smooth
from conformance.spec.law import Law


@dataclass(frozen=True)
class Kind:
    """The parts of an activation that its table in `conformance.model.activations` cannot hold.

    Args:
        oracle: oracle of the module and its functions.
        laws: laws besides those of the family.
    """

    oracle: Callable[..., Any]
    laws: tuple[Law, ...]


KINDS: Mapping[str, Kind] = {
    "ReLU": Kind(oracle.relu, (laws.doubled,)),
    "ReLU6": Kind(oracle.relu6, (laws.clipped,)),
    "LeakyReLU": Kind(oracle.leaky_relu, (laws.doubled, laws.slope_zero)),
    "RReLU": Kind(oracle.rrelu, (slopes.mean_slope,)),
    "Threshold": Kind(oracle.threshold, (laws.threshold_zero,)),
    "Hardtanh": Kind(oracle.hardtanh, (laws.stretched_range, laws.six)),
    "Hardshrink": Kind(oracle.hardshrink, (laws.odd, laws.nothing_shrunk)),
    "Softshrink": Kind(oracle.softshrink, (laws.odd, laws.nothing_shrunk)),
    "Hardsigmoid": Kind(oracle.hardsigmoid, (laws.complement,)),
    "Hardswish": Kind(oracle.hardswish, (laws.reflected,)),
    "ELU": Kind(smooth.elu, (curves.alpha_one, curves.alpha_twice)),
    "SELU": Kind(smooth.selu, (curves.scaled_unit,)),
    "CELU": Kind(smooth.celu, (curves.alpha_one, curves.alpha_and_operand)),
    "GELU": Kind(smooth.gelu, (laws.reflected, curves.tail)),
    "SiLU": Kind(smooth.silu, (laws.reflected,)),
    "Mish": Kind(smooth.mish, (curves.by_sigmoid,)),
    "Sigmoid": Kind(smooth.sigmoid, (laws.complement,)),
    "Tanh": Kind(smooth.tanh, (laws.odd,)),
    "Softplus": Kind(smooth.softplus, (curves.beta_twice,)),
    "LogSigmoid": Kind(smooth.logsigmoid, (laws.reflected,)),
    "Softsign": Kind(smooth.softsign, (laws.odd,)),
    "Tanhshrink": Kind(smooth.tanhshrink, (laws.odd, curves.rest_of_tanh)),
}
"""Name of the module → its `Kind`, for each entry of `conformance.model.activations`."""
require_complete(KINDS, "conformance/layers/activation/kinds.py")
