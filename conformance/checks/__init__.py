"""The checks, one module for each property; a check listed here applies to every layer.

The declarations of the checks are in `conformance.model.checks`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from conformance.checks import (
    errors,
    gradients,
    laws,
    layout,
    random,
    related_cases,
    repeat,
    shape,
    special,
    state,
    support,
    values,
)
from conformance.checks.trial import Evidence, Trial
from conformance.model.case import Case
from conformance.model.checks import CHECK_FACTS, CheckFacts, Sampling
from conformance.spec.layer_spec import LayerSpec


def _every_layer(row: LayerSpec) -> bool:
    return True


def _has_state(row: LayerSpec) -> bool:
    return not row.function


def _takes_numbers(row: LayerSpec) -> bool:
    """Whether an operand may hold floating-point numbers: an index is never NaN or infinite."""
    return not row.function or any(x.role != "index" for x in row.signature.inputs)


@dataclass(frozen=True)
class Check:
    """The declaration and the code of a check.

    Args:
        facts: the declaration.
        run: checks one case; raises `Failure`, `Unsupported`, or `Inapplicable`.
        applies: whether the check applies to a layer.
        relaid: case → the case as the check lays it out in memory, and the layout of each operand
            by name; None if the check does not choose layouts.
        larger: case → the case of another size that the check also calls; None if there is none.
        conclude: answers to all cases → conclusion, for what no single case shows.
    """

    facts: CheckFacts
    run: Callable[[Trial], Evidence]
    applies: Callable[[LayerSpec], bool] = _every_layer
    relaid: Callable[[Case], tuple[Case, Mapping[str, str]]] | None = None
    larger: Callable[[Case], Case | None] | None = None
    conclude: Callable[[Sequence[support.Answer]], support.Conclusion] | None = None

    @property
    def invalid(self) -> bool:
        """Whether the check gets invalid calls instead of valid ones."""
        return self.facts.invalid

    @property
    def sampling(self) -> Sampling:
        """How many of the cases the check gets."""
        return self.facts.sampling


_CODE = (
    Check(CHECK_FACTS["shape"], shape.check),
    Check(CHECK_FACTS["values"], values.check),
    Check(CHECK_FACTS["gradients"], gradients.check),
    Check(CHECK_FACTS["laws"], laws.check, applies=lambda row: bool(row.laws)),
    Check(CHECK_FACTS["layout"], layout.check, relaid=layout.relaid),
    Check(CHECK_FACTS["special"], special.check, applies=_takes_numbers),
    Check(CHECK_FACTS["state"], state.check, applies=_has_state),
    Check(
        CHECK_FACTS["random"], random.check, applies=lambda row: row.randomness.draws is not None
    ),
    Check(CHECK_FACTS["repeat"], repeat.check, larger=related_cases.larger),
    Check(
        CHECK_FACTS["errors"], errors.check, applies=lambda row: row.generation.invalid is not None
    ),
    Check(CHECK_FACTS["support"], support.check, conclude=support.conclude),
)

EVERY_CHECK: dict[str, Check] = {check.facts.name: check for check in _CODE}
CHECKS = {name: check for name, check in EVERY_CHECK.items() if not check.facts.on_request}
"""The columns of the matrix; other checks run only on request."""
