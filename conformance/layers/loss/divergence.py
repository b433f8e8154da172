"""KLDivLoss and functional.kl_div."""

from __future__ import annotations

from collections.abc import Iterator

from conformance.laws.loss import divergence as laws
from conformance.layers.loss.parts import REDUCTION
from conformance.layers.loss.pointwise import pair, pointwise
from conformance.oracles.loss import divergence as oracle
from conformance.spec.layer_spec import Argument, LayerSpec
from conformance.strategies.invalid.loss.pointwise import broadcast_breaks
from conformance.strategies.loss import divergence as cases

_FORMULA = ("l = y (log y - x)", "log_target: l = exp(y) (y - x)", "batchmean: sum l / N")


def rows() -> Iterator[LayerSpec]:
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
