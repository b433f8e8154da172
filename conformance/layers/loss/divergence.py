"""KLDivLoss and functional.kl_div."""

from __future__ import annotations

from collections.abc import Iterator

from conformance.laws.loss import divergence as laws
from conformance.layers.loss import pointwise
from conformance.layers.loss.parts import REDUCTION
from conformance.layers.loss.pointwise import input_and_target
from conformance.model.case import is_function
from conformance.oracles.loss import divergence as oracle
from conformance.spec.layer_spec import LayerSpec
from conformance.spec.signature import Argument
from conformance.strategies.invalid.loss.pointwise import broadcast_breaks
from conformance.strategies.loss import divergence as cases

_FORMULA = ("l = y (log y - x)", "log_target: l = exp(y) (y - x)", "batchmean: sum l / N")


def layer_specs() -> Iterator[LayerSpec]:
    """The module and the function."""
    arguments = (REDUCTION, Argument("log_target", False, alternative=True))
    for name in ("KLDivLoss", "functional.kl_div"):
        module = "KLDivLoss" if is_function(name) else None
        yield LayerSpec(
            name,
            "loss",
            signature=pointwise.signature(input_and_target(signed=True), arguments),
            oracle=pointwise.oracle(module, oracle.kl_div, _FORMULA),
            generation=pointwise.generation(name, cases.divergences, broadcast_breaks()),
            variation=pointwise.VARIATION,
            laws=laws.LAWS,
            benchmark=pointwise.benchmark(name, 4),
        )
