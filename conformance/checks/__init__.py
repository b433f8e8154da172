"""The checks, one module for each property; a check listed here applies to every layer.

The declarations of the checks are in `conformance.model.checks`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from conformance.checks import (
    autocast,
    errors,
    gradients,
    laws,
    layout,
    module,
    random,
    related_cases,
    repeat,
    shape,
    special,
    state,
    support,
    threads,
    transforms,
    values,
)
from conformance.checks.trial import Evidence, Trial
from conformance.model.case import Case
from conformance.model.checks import CHECK_FACTS, CheckFacts, Sampling
from conformance.spec.layer_spec import LayerSpec


def _every_layer(spec: LayerSpec) -> bool:
    return True


def _has_state(spec: LayerSpec) -> bool:
    return not spec.is_function


def _has_certain_calls(spec: LayerSpec) -> bool:
    """Whether some calls draw no random numbers."""
    return not related_cases.always_draws(spec)


def _takes_floats(spec: LayerSpec) -> bool:
    """Whether an operand may hold floating-point numbers: an index is never NaN or infinite."""
    return not spec.is_function or any(x.role != "index" for x in spec.signature.inputs)


@dataclass(frozen=True)
class Check:
    """The declaration and the code of a check.

    Args:
        facts: the declaration.
        run: checks one case; raises `Failure`, `Unsupported`, or `Inapplicable`.
        applies: whether the check applies to a layer.
        layout_variant: case → the case as the check lays it out in memory, and the layout of each
            operand by name; None if the check does not choose layouts.
        size_variant: case → the case of another size that the check also calls; None if there is
            none.
        conclude: answers to all cases → conclusion, for what no single case shows.
    """

    facts: CheckFacts
    run: Callable[[Trial], Evidence]
    applies: Callable[[LayerSpec], bool] = _every_layer
    layout_variant: Callable[[Case], tuple[Case, Mapping[str, str]]] | None = None
    size_variant: Callable[[Case], Case | None] | None = None
    conclude: Callable[[Sequence[support.Answer]], support.Conclusion] | None = None

    @property
    def invalid(self) -> bool:
        """Whether the check gets invalid calls instead of valid ones."""
        return self.facts.invalid

    @property
    def sampling(self) -> Sampling:
        """How many of the cases the check gets."""
        return self.facts.sampling


_CHECKS_WITH_CODE = (
    Check(CHECK_FACTS["shape"], shape.check),
    Check(CHECK_FACTS["values"], values.check),
    Check(CHECK_FACTS["gradients"], gradients.check),
    Check(CHECK_FACTS["laws"], laws.check, applies=lambda spec: bool(spec.laws)),
    Check(CHECK_FACTS["layout"], layout.check, layout_variant=layout.layout_variant),
    Check(CHECK_FACTS["special"], special.check, applies=_takes_floats),
    Check(CHECK_FACTS["state"], state.check, applies=_has_state),
    Check(
        CHECK_FACTS["random"], random.check, applies=lambda spec: spec.randomness.draws is not None
    ),
    Check(CHECK_FACTS["repeat"], repeat.check, size_variant=related_cases.enlarge_case),
    Check(CHECK_FACTS["errors"], errors.check, applies=errors.applies_to),
    Check(CHECK_FACTS["threads"], threads.check),
    Check(CHECK_FACTS["transforms"], transforms.check, applies=_has_certain_calls),
    Check(
        CHECK_FACTS["module"],
        module.check,
        applies=lambda spec: _has_state(spec) and _has_certain_calls(spec),
    ),
    Check(CHECK_FACTS["autocast"], autocast.check, applies=_has_certain_calls),
    Check(CHECK_FACTS["support"], support.check, conclude=support.conclude),
)

EVERY_CHECK: dict[str, Check] = {check.facts.name: check for check in _CHECKS_WITH_CODE}
CHECKS = {name: check for name, check in EVERY_CHECK.items() if not check.facts.on_request}
"""The columns of the matrix; other checks run only on request."""
