"""`transforms`: forward mode, gradients of gradients, and vmap of both agree with the formula."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from conformance.arithmetic.rounded import Rounded
from conformance.checks import cotangents as drawn_cotangents
from conformance.checks.recorded_call import Direction, RecordedCall, record_call
from conformance.checks.tangents import (
    draw_direction,
    expected_product,
    expected_second_derivatives,
    has_moderate_operands,
    with_moderate_operands,
)
from conformance.checks.trial import Evidence, Trial
from conformance.checks.values import compare
from conformance.checks.vmap import NOTHING_KNOWN, compare_vmap, has_finite_outputs, put
from conformance.layers.describe import operands_text
from conformance.model.case import NotOffered, Unsupported
from conformance.model.failure import Failure, Inapplicable
from conformance.model.finding import count_mismatch, fact_mismatch

_MAX_ELEMENTS = 4096
"""Of the operands: the oracle computes gradients eight times."""


def check(trial: Trial) -> Evidence:
    """Make a transform that the layer offers: the seed chooses it, or the next if it shows nothing.

    Raises:
        Failure: if a number is beyond its bound.
        Unsupported: if the layer offers no transform, or not this one of the case.
        Inapplicable: where the call draws random numbers.
    """
    if trial.spec.randomness.is_used(trial.case.call):
        raise Inapplicable("random numbers")
    if trial.precision.is_half and trial.spec.oracle.steps is not None:
        raise NotOffered(NOTHING_KNOWN)  # each step widens the bound
    # In half precision the bound of a derivative along a direction is as large as the numbers.
    members = ("vmap",) if trial.precision.is_half else tuple(_TRANSFORMS)
    offered = [x for x in members if getattr(trial.layer, x, None) is not None]
    if not offered:
        raise NotOffered("transforms not offered")
    if trial.spec.lazy is not None:
        trial.outputs  # noqa: B018 - its first call makes the parameters
    first = trial.case.seed // 2 % len(offered)
    order = [*offered[first:], *offered[:first]]
    if order[0] == "jvp" and "double_vjp" in order:
        # Gradients of gradients come with forward mode.
        order.insert(0, "double_vjp")
    evidence, reason, subject = Evidence(), None, trial
    for member in dict.fromkeys(order):
        try:
            evidence = _call_transform(member, subject)
        except (Inapplicable, Unsupported) as error:
            # Another transform costs less than another case.
            reason = error if reason is None or isinstance(error, Unsupported) else reason
        subject = trial.with_original_operands()
        if evidence.comparisons:
            return evidence
    if reason is not None and trial.precision.is_half and isinstance(reason, Unsupported):
        raise NotOffered(str(reason)) from reason  # plainer calls are tried in wider dtypes
    if reason is not None:
        raise reason
    return evidence


def _call_transform(member: str, trial: Trial) -> Evidence:
    """Make a transform of the case; derivatives of most cases are those of scaled operands.

    Every fourth case keeps its operands, since a derivative may be wrong for large numbers alone.
    """
    keeps_operands = trial.case.seed % 4 == 0 and has_moderate_operands(trial.case)
    moderate_case = with_moderate_operands(trial.case)
    is_lazy = trial.spec.lazy is not None  # another layer would have no parameters yet
    if member == "vmap" or keeps_operands or is_lazy or moderate_case is trial.case:
        return _TRANSFORMS[member](trial)
    try:
        return _TRANSFORMS[member](trial.trial_of(moderate_case))
    except Failure as failure:
        operands = operands_text(moderate_case)
        context = "with scaled operands" + (f": {operands}" if operands else "")
        raise Failure(failure.finding.in_context(context)) from failure


@dataclass(frozen=True)
class _Derivatives:
    """What derivatives of a case are compared with.

    Args:
        call: the oracle's call.
        direction: of the operands.
        cotangents: of the outputs.
        product: of the outputs' derivative along the direction with the cotangents; None if
            unknown.
    """

    call: RecordedCall
    direction: Direction
    cotangents: list[np.ndarray | None]
    product: Rounded | None


def _compare_forward_mode(trial: Trial) -> Evidence:
    return _compare_tangents(trial, _prepare_derivatives(trial))


def _compare_tangents(trial: Trial, prepared: _Derivatives) -> Evidence:
    """Compare ⟨u, Jv⟩ with ⟨Jᵀu, v⟩ of the oracle."""
    if prepared.product is None:
        return Evidence()
    tangents = trial.run_step(
        "jvp",
        trial.layer.jvp,  # type: ignore[attr-defined]
        trial.natives,
        *_put_direction(trial, prepared.direction),
        **trial.case.keywords,
    )
    present = _present(trial, tangents)
    return _compare_product(trial, "tangents", present, prepared.cotangents, prepared.product)


def _prepare_derivatives(trial: Trial) -> _Derivatives:
    """The oracle's call and its derivative; Inapplicable where derivatives say little."""
    if trial.precision.complex:
        raise Inapplicable("complex numbers")
    if trial.spec.traits.overrides_derivative(trial.case):
        raise Inapplicable("documented gradients other than the derivative")
    if not has_moderate_operands(trial.case):
        raise Inapplicable("products of operands may underflow or overflow")
    if sum(x.size for x in trial.case.inputs if x is not None) > _MAX_ELEMENTS:
        raise Inapplicable("too many elements")
    call = record_call(trial)
    if not has_finite_outputs(call.outputs):
        raise Inapplicable("an output without a derivative")
    direction, cotangents = draw_direction(trial, call), drawn_cotangents.draw_cotangents(trial)
    return _Derivatives(call, direction, cotangents, expected_product(call, direction, cotangents))


def _put_direction(trial: Trial, direction: Direction) -> tuple[list[Any], dict[str, Any]]:
    return (
        [put(trial, v) for v in direction.inputs],
        {name: put(trial, v) for name, v in direction.parameters.items()},
    )


def _present(trial: Trial, natives: Sequence[Any]) -> list[Any]:
    """Those of the outputs that are present."""
    shapes = trial.spec.output_shapes(trial.case)
    if len(natives) != len(shapes):
        raise Failure(count_mismatch("tangents", len(natives), len(shapes)))
    return [x for x, shape in zip(natives, shapes, strict=True) if shape is not None]


def _compare_product(
    trial: Trial,
    name: str,
    natives: Sequence[Any],
    cotangents: Sequence[np.ndarray | None],
    expected: Rounded,
) -> Evidence:
    total = 0.0
    for native, cotangent in zip(natives, cotangents, strict=True):
        if native is None or cotangent is None:
            continue
        array = trial.get(native)
        if array.shape != cotangent.shape:
            raise Failure(fact_mismatch("shape", name, array.shape, cotangent.shape))
        total += float(np.sum(array * cotangent))
    return compare(f"inner product of cotangents and {name}", np.array(total), expected)


def _compare_second_derivatives(trial: Trial) -> Evidence:
    """Compare gradients of Σ⟨gradient, v⟩: Hv for the operands, and Jv for the cotangents.

    Hv is known in float64. Where Jv is known, forward mode is compared, too.
    """
    prepared = _prepare_derivatives(trial)
    cotangents, product = prepared.cotangents, prepared.product
    second = (
        expected_second_derivatives(trial, prepared.call, prepared.direction, cotangents)
        if trial.case.call.dtype == "float64"
        else None
    )
    if product is None and second is None:
        return Evidence()
    evidence = Evidence()
    if getattr(trial.layer, "jvp", None) is not None:
        with suppress(Unsupported):
            evidence += _compare_tangents(trial.with_original_operands(), prepared)
    try:
        inputs, parameters, by_cotangent = trial.run_step(
            "double_vjp",
            trial.layer.double_vjp,  # type: ignore[attr-defined]
            trial.natives,
            drawn_cotangents.put_cotangents(trial, cotangents),
            *_put_direction(trial, prepared.direction),
            **trial.case.keywords,
        )
    except Unsupported:
        if evidence.comparisons:
            return evidence
        raise
    evidence += _compare_products(trial, "second derivative by {}", inputs, parameters, second)
    evidence += _compare_forward_over_reverse(trial.with_original_operands(), prepared, second)
    if product is not None:
        present = _present(trial, by_cotangent)
        evidence += _compare_product(
            trial, "the second derivatives by the cotangents", present, cotangents, product
        )
    return evidence


def _compare_products(
    trial: Trial,
    name: str,
    by_input: Sequence[Any],
    by_parameter: Mapping[str, Any],
    expected: Mapping[str, Rounded] | None,
) -> Evidence:
    got = {**dict(zip(trial.spec.signature.input_names, by_input, strict=False)), **by_parameter}
    evidence = Evidence()
    for operand, wanted in (expected or {}).items():
        evidence += compare(name.format(operand), trial.get(got[operand]), wanted)
    return evidence


def _compare_forward_over_reverse(
    trial: Trial, prepared: _Derivatives, expected: Mapping[str, Rounded] | None
) -> Evidence:
    """Compare Hv of forward mode over a backward pass, in every second case where it is known."""
    jvp_vjp = getattr(trial.layer, "jvp_vjp", None)
    if expected is None or jvp_vjp is None or trial.case.seed // 8 % 2:
        return Evidence()
    with suppress(Unsupported):
        by_input, by_parameter = trial.run_step(
            "jvp_vjp",
            jvp_vjp,
            trial.natives,
            drawn_cotangents.put_cotangents(trial, prepared.cotangents),
            *_put_direction(trial, prepared.direction),
            **trial.case.keywords,
        )
        name = "tangent of the gradient of {}"
        return _compare_products(trial, name, by_input, by_parameter, expected)
    return Evidence()


_TRANSFORMS = {
    "vmap": compare_vmap,
    "jvp": _compare_forward_mode,
    "double_vjp": _compare_second_derivatives,
}
"""Member of a layer → the comparison that calls it."""
