"""KLDivLoss and functional.kl_div."""

from __future__ import annotations

from collections.abc import Iterator

from conformance.laws import loss_divergence as laws
from conformance.layers.loss_parts import REDUCTION
from conformance.layers.loss_pointwise import pair, pointwise
from conformance.oracles import loss_divergence as oracle
from conformance.spec.row import Argument, Row
from conformance.strategies import loss_divergence as cases
from conformance.strategies.invalid.loss_pointwise import broadcast_breaks

_FORMULA = ("l = y (log y - x)", "log_target: l = exp(y) (y - x)", "batchmean: sum l / N")


def rows() -> Iterator[Row]:
    """The module and the function."""
    for name in ("KLDivLoss", "functional.kl_div"):
        yield pointwise(
            name,
            "KLDivLoss",
            cases.divergences,
            broadcast_breaks(),
            values=oracle.kl_div,
            shapes=oracle.kl_div_shape,
            formula=_FORMULA,
            laws=laws.LAWS,
            arguments=(REDUCTION, Argument("log_target", False, other=True)),
            inputs=pair(signed=True),
            operations=4,
        )
