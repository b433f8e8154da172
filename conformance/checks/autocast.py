"""`autocast`: mixed precision computes in the documented dtypes, and gradients keep theirs.

In a region each operator of torch's lists casts its operands to one dtype, computes in that, and
answers in it. So the oracle's answer is that of the same call in that dtype, on rounded operands.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from conformance.arithmetic.choices import Choices
from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import Rounded
from conformance.backends.guard import GuardedLayer
from conformance.checks import cotangents, gradients, shape, values
from conformance.checks.answers import Expected, ExpectedGradients
from conformance.checks.related_cases import load_state, updates_state, with_other_weights
from conformance.checks.trial import Evidence, Trial
from conformance.layers.autocast import computed_dtype
from conformance.model.case import Case, NotOffered, Unsupported
from conformance.model.failure import Failure, Inapplicable
from conformance.model.finding import fact_mismatch
from conformance.model.formats import round_to

_Regions = tuple[str | None, ...]
REGIONS: tuple[_Regions, ...] = (
    ("bfloat16",), ("float16",), ("bfloat16", None), ("float16", "bfloat16"), ("bfloat16",),
    (None, "bfloat16"), ("bfloat16", "float16"), ("float16", None),
)  # fmt: skip
"""Nested regions, from the outermost; None = disabled. Each case has one of these."""


def check(trial: Trial) -> Evidence:
    """Compare outputs and gradients in regions, with other weights, and after the regions.

    Of a layer whose operators have several dtypes, only shapes and the gradients' dtypes are known.

    Raises:
        Failure: if a dtype is not the documented one, or a number is beyond the bound of the dtype
            in which the documentation computes it.
        Unsupported: if the backend offers no regions.
        Inapplicable: where the call draws random numbers.
    """
    if getattr(trial.layer, "autocast", None) is None:
        raise NotOffered("autocast not offered")
    if trial.spec.randomness.is_used(trial.case.call):
        raise Inapplicable("random numbers")
    regions = REGIONS[trial.case.seed // 2 % len(REGIONS)]
    call = trial.case.call
    dtype = computed_dtype(call.layer, call.device.partition(":")[0], call.dtype, regions[-1])
    if trial.spec.lazy is not None:
        trial.outputs  # noqa: B018 - its first call makes the parameters
        load_state(trial, trial.layer, call.state)
    if dtype is None:
        return _compare_shapes(trial, regions) + _compare_afterwards(trial, regions)
    inside = _trial_inside(trial, trial.case, dtype)
    inside.layer, inside.natives = _in_regions(trial, regions), trial.natives
    if not updates_state(trial):
        _call_in_another_region(trial, regions[-1])
    try:
        evidence = shape.check(inside) + values.compare_outputs(inside)
        evidence += values.compare_state(inside)
        if not updates_state(trial):
            with suppress(Unsupported):
                evidence += _compare_gradients(trial, inside) + _compare_recorded(inside)
            evidence += _compare_with_other_weights(trial, inside)
    except Failure as failure:
        raise Failure(failure.finding.in_part(_text(regions)), failure.proof) from failure
    return evidence + _compare_afterwards(trial, regions)


def _call_in_another_region(trial: Trial, dtype: str | None) -> None:
    """Call the layer in a region of another dtype, whose casts end with it."""
    regions = ("float16" if dtype == "bfloat16" else "bfloat16",)
    try:
        layer = _in_regions(trial, regions)
        trial.run_step("call", layer, *trial.natives, **trial.case.keywords)
    except Unsupported:
        pass  # the dtype may have no kernel
    except Failure as failure:
        raise Failure(failure.finding.in_part(_text(regions)), failure.proof) from failure


def _in_regions(trial: Trial, regions: _Regions) -> GuardedLayer:
    autocast = trial.layer.autocast  # type: ignore[attr-defined]
    return GuardedLayer(trial.run_step("autocast", autocast, regions))


def _text(regions: _Regions) -> str:
    names = ("disabled" if dtype is None else dtype for dtype in regions)
    return f"in autocast({') and in that in autocast('.join(names)})"


def _trial_inside(trial: Trial, case: Case, dtype: str) -> Trial:
    """A trial of the case in the dtype in which it is computed, on operands rounded to that.

    Raises:
        Inapplicable: if an operand is beyond the range of that dtype.
    """
    call = case.call
    if dtype == call.dtype:
        return trial.trial_of(case)
    rounded: dict[int, np.ndarray] = {}
    for x in (*case.inputs, *call.state.values()):
        if x is not None and x.dtype.kind == "f" and id(x) not in rounded:
            rounded[id(x)] = round_to(x, dtype)
            if not np.array_equal(np.isfinite(x), np.isfinite(rounded[id(x)])):
                raise Inapplicable(f"operands beyond the range of {dtype}")
    state = {name: rounded.get(id(x), x) for name, x in call.state.items()}
    inputs = tuple(None if x is None else rounded.get(id(x), x) for x in case.inputs)
    inside_call = replace(call, dtype=dtype, state=state)
    return trial.in_dtype(replace(case, inputs=inputs, call=inside_call))


def _compare_gradients(trial: Trial, inside: Trial) -> Evidence:
    """Compare gradients, which are stored in the dtypes of their operands."""
    if getattr(inside.layer, "vjp", None) is None:
        return Evidence()
    own, computed = trial.precision, inside.precision
    if own.unit > computed.unit and _adds_gradients(trial.case):
        return Evidence()
    expected = cotangents.expected_gradients(inside)
    natives = cotangents.put_cotangents(inside, expected.cotangents, own.dtype)
    result = gradients.call_vjp(inside, natives)
    stored = expected if own.dtype == computed.dtype else _stored(expected, own)
    evidence = gradients.compare_gradients(inside, result, stored)
    return evidence + _compare_gradient_dtypes(trial, inside, result)


def _compare_gradient_dtypes(trial: Trial, inside: Trial, result: Any) -> Evidence:
    evidence = Evidence()
    inputs, parameters = result
    named = dict(zip(trial.spec.signature.input_names, inputs, strict=False)) | parameters
    for name, native in named.items():
        if native is not None:
            got, wanted = trial.run_step("dtype", inside.layer.dtype, native), trial.case.call.dtype
            if got != wanted:
                raise Failure(fact_mismatch("dtype", f"gradient of {name}", got, wanted))
            evidence += Evidence(1)
    return evidence


def _adds_gradients(case: Case) -> bool:
    """Whether a gradient may be a sum of several that were rounded before; the oracle rounds once.

    That is so for an operand at two places, and for one that is broadcast to the other's shape.
    """
    operands = [x for x in (*case.inputs, *case.call.state.values()) if x is not None]
    shapes = {x.shape for x in case.inputs if x is not None and x.dtype.kind == "f"}
    return len({id(x) for x in operands}) < len(operands) or len(shapes) > 1


def _compare_recorded(inside: Trial) -> Evidence:
    """Compare the outputs of a call that records gradients, after another one in the region."""
    forward = getattr(inside.layer, "forward_grad", None)
    if forward is None:
        return Evidence()
    recorded = inside.on_same_layer()
    recorded.numerics = inside.numerics
    result = inside.run_step("forward_grad", forward, *inside.natives, **inside.case.keywords)
    recorded.outputs = recorded.unpack_outputs(result)
    try:
        return shape.check(recorded) + values.compare_outputs(recorded)
    except Failure as failure:
        finding = failure.finding.in_part("after another call in it")
        raise Failure(finding, failure.proof) from failure


def _compare_shapes(trial: Trial, regions: _Regions) -> Evidence:
    """Compare shapes, and dtypes of gradients, of a call whose numbers are not known."""
    inside = trial.on_same_layer()
    inside.layer, inside.natives = _in_regions(trial, regions), trial.natives
    evidence = Evidence()
    try:
        for name, native, wanted in zip(inside.names, inside.outputs, inside.shapes, strict=True):
            got = inside.get(native).shape
            if got != wanted:
                raise Failure(fact_mismatch("shape", name, got, wanted))
            evidence += Evidence(1)
        if getattr(inside.layer, "vjp", None) is not None and not updates_state(trial):
            cotangents_drawn = [
                None if c is None else np.zeros_like(c) for c in cotangents.draw_cotangents(trial)
            ]
            natives = cotangents.put_cotangents(inside, cotangents_drawn)
            result = gradients.call_vjp(inside, natives)
            evidence += _compare_gradient_dtypes(trial, inside, result)
    except Failure as failure:
        raise Failure(failure.finding.in_part(_text(regions)), failure.proof) from failure
    return evidence


def _stored(expected: ExpectedGradients, precision: Precision) -> ExpectedGradients:
    inputs = [None if x is None else _rounded(x, precision) for x in expected.inputs]
    parameters: Mapping[str, Expected] = {
        name: _rounded(x, precision) for name, x in expected.parameters.items()
    }
    return ExpectedGradients(expected.cotangents, inputs, parameters)


def _rounded(x: Expected, precision: Precision) -> Expected:
    """The numbers after they were stored in another dtype."""
    if isinstance(x, Choices):
        return Choices(tuple(_rounded_once(y, precision) for y in x.alternatives))
    return _rounded_once(x, precision)


def _rounded_once(x: Rounded, precision: Precision) -> Rounded:
    size = np.abs(x.value) + x.error
    error = x.error + precision.unit * size + precision.underflow
    error = np.where(size > precision.largest, np.inf, error)
    is_kept = (x.error == 0) & (round_to(x.value, precision.dtype) == x.value)
    return x.with_error(np.where(is_kept, 0.0, error))


def _compare_with_other_weights(trial: Trial, inside: Trial) -> Evidence:
    """Compare the outputs after the weights changed: a cast of the former ones is stale."""
    if not trial.case.call.state:
        return Evidence()
    other = with_other_weights(trial).case
    changed = _trial_inside(trial, other, inside.case.call.dtype)
    changed.layer, changed.natives = inside.layer, inside.natives
    load_state(trial, trial.layer, other.call.state)
    try:
        return values.compare_outputs(changed)
    except Failure as failure:
        finding = failure.finding.in_part("with weights loaded after a call")
        raise Failure(finding, failure.proof) from failure
    finally:
        load_state(trial, trial.layer, trial.case.call.state)


def _compare_afterwards(trial: Trial, regions: _Regions) -> Evidence:
    """Compare a call outside of the regions: nothing of them is left."""
    after = trial.trial_of(trial.case) if updates_state(trial) else trial.on_same_layer()
    try:
        return shape.check(after) + values.compare_outputs(after)
    except Failure as failure:
        finding = failure.finding.in_part(f"after a call {_text(regions)}")
        raise Failure(finding, failure.proof) from failure
