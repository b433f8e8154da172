"""`transforms`: forward mode, gradients of gradients, and vmap of both agree with the formula."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from conformance.arithmetic.choices import Choices
from conformance.arithmetic.rounded import Rounded
from conformance.checks import cotangents as drawn_cotangents
from conformance.checks.recorded_call import Direction, RecordedCall, record_call
from conformance.checks.related_cases import updates_state, varied_inputs, with_other_weights
from conformance.checks.tangents import (
    draw_direction,
    expected_product,
    expected_second_derivatives,
    has_moderate_operands,
    with_moderate_operands,
)
from conformance.checks.trial import Evidence, Trial
from conformance.checks.values import compare
from conformance.layers.describe import operands_text
from conformance.model.case import Case, NotOffered, Numerics, Unsupported
from conformance.model.failure import Failure, Inapplicable
from conformance.model.finding import count_mismatch, fact_mismatch

_STREAM = 0x766D
_NOTHING_KNOWN = "a composition of which nothing is known in half precision"
_MAX_ELEMENTS = 4096
"""Of the operands: the oracle computes gradients eight times."""
_SLICES = 3
"""Calls in a batch of vmap."""


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
        raise NotOffered(_NOTHING_KNOWN)  # each step widens the bound
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
    if reason is not None:
        raise reason
    return evidence


def _call_transform(member: str, trial: Trial) -> Evidence:
    """Make a transform; derivatives of most cases with large numbers are of moderate ones."""
    is_large = trial.case.seed % 4 == 0 and has_moderate_operands(trial.case)
    moderate_case = with_moderate_operands(trial.case)
    is_lazy = trial.spec.lazy is not None
    if member == "vmap" or is_large or is_lazy or moderate_case is trial.case:
        return _TRANSFORMS[member](trial)
    try:
        return _TRANSFORMS[member](trial.trial_of(moderate_case))
    except Failure as failure:
        scaled = operands_text(moderate_case) or "to sizes at which functions bend"
        raise Failure(failure.finding.in_context(f"with operands scaled: {scaled}")) from failure


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
    if not _has_finite_outputs(trial):
        raise Inapplicable("an output without a derivative")
    call = record_call(trial)
    direction, cotangents = draw_direction(trial, call), drawn_cotangents.draw_cotangents(trial)
    return _Derivatives(call, direction, cotangents, expected_product(call, direction, cotangents))


def _has_finite_outputs(trial: Trial) -> bool:
    return all(np.isfinite(x.value).all() for x in trial.expected if isinstance(x, Rounded))


def _put_direction(trial: Trial, direction: Direction) -> tuple[list[Any], dict[str, Any]]:
    return (
        [_put(trial, v) for v in direction.inputs],
        {name: _put(trial, v) for name, v in direction.parameters.items()},
    )


def _put(trial: Trial, array: np.ndarray | None) -> Any:
    return None if array is None else trial.run_step("put", trial.layer.put, array.copy())


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


def _compare_vmap(trial: Trial) -> Evidence:
    """Compare the middle one of three slices with the oracle; the others have other numbers."""
    if updates_state(trial):
        raise Unsupported("vmap of a call that changes its operands")
    generator = np.random.default_rng((trial.case.seed, _STREAM))
    batch = _make_batch(trial, generator)
    out_dim = int(generator.integers(min(map(len, trial.shapes)) + 1))
    result = trial.run_step(
        "vmap",
        trial.layer.vmap,  # type: ignore[attr-defined]
        *batch.operands,
        out_dim,
        **trial.case.keywords,
    )
    evidence = Evidence()
    when = f"in a slice of vmap over {batch.names}"
    for place, native in enumerate(trial.unpack_outputs(result)):
        array, name, shape = trial.get(native), trial.names[place], trial.shapes[place]
        batched_shape = (*shape[:out_dim], _SLICES, *shape[out_dim:])
        if array.shape != batched_shape:
            raise Failure(fact_mismatch("shape", f"{name} of vmap", array.shape, batched_shape))
        evidence += _compare_slice(trial, place, np.take(array, 1, axis=out_dim), when)
    if trial.precision.is_half and not evidence.comparisons:
        raise Unsupported(_NOTHING_KNOWN)
    return evidence + _compare_gradients_under_vmap(trial.with_original_operands())


def _compare_slice(trial: Trial, place: int, got: np.ndarray, when: str) -> Evidence:
    """Compare an output with that of the layer, or else of a composition of operators.

    vmap may call operators in place of a kernel. In half precision each stores its result, so
    either bound may be the wider one; most answers are within the first.
    """
    expected = trial.expected[place]
    try:
        return compare(trial.names[place], got, expected, when=when)
    except Failure:
        if not trial.precision.is_half:
            raise
    composed = _evaluate_composition(trial)[place]
    if not isinstance(expected, Choices) and not isinstance(composed, Choices):
        expected = expected.with_error(np.maximum(expected.error, composed.error))
    return compare(trial.names[place], got, expected, when=when)


def _evaluate_composition(trial: Trial) -> tuple[Rounded | Choices, ...]:
    """The outputs of the layer if each of its operators stores its result."""
    numerics = trial.numerics or Numerics()
    stepwise = replace(numerics, grade="", stepwise=True, accumulation=trial.case.call.dtype)
    return Trial(trial.backend, trial.spec, trial.case, stepwise).expected


@dataclass(frozen=True)
class _Batch:
    """Operands of three calls at once, of which the middle one is the case.

    Args:
        operands: inputs, their batch axes, parameters that have one, and these axes by name.
        names: of the operands with a batch axis, for messages.
    """

    operands: tuple[list[Any], list[int | None], dict[str, Any], dict[str, int]]
    names: str


def _make_batch(trial: Trial, generator: np.random.Generator) -> _Batch:
    other, names = _choose_other_slice(trial, generator)
    cases = (other, trial.case, other)
    inputs, in_dims = list[Any](), list[int | None]()
    for k, name in enumerate(trial.spec.signature.input_names[: len(trial.case.inputs)]):
        slices = [case.inputs[k] for case in cases]
        array, axis = _stack(slices, generator) if name in names else (slices[0], None)
        inputs.append(_put(trial, array))
        in_dims.append(axis)
    parameters, parameter_dims = dict[str, Any](), dict[str, int]()
    for name in trial.case.call.state:
        if name in names:
            array, parameter_dims[name] = _stack([c.call.state[name] for c in cases], generator)
            parameters[name] = _put(trial, array)
    return _Batch((inputs, in_dims, parameters, parameter_dims), " and ".join(names))


def _compare_gradients_under_vmap(trial: Trial) -> Evidence:
    """Compare the gradients of the middle one of three slices with the oracle, if they are known.

    In every second case: gradients cost more than outputs.
    """
    vmap_vjp = getattr(trial.layer, "vmap_vjp", None)
    inputs = [x for x in trial.case.inputs if x is not None]
    is_known = _has_finite_outputs(trial) or not any(x.size for x in inputs)
    if (
        vmap_vjp is None
        or trial.precision.is_half
        or trial.case.seed // 8 % 2
        or not has_moderate_operands(trial.case)
        or len({*map(id, inputs)}) < len(inputs)  # in a batch, one input at two places is two
        or not is_known
    ):
        return Evidence()
    expected = drawn_cotangents.expected_gradients(trial)
    wanted = dict(zip(trial.spec.signature.input_names, expected.inputs, strict=False))
    wanted |= expected.parameters
    if all(c is None for c in expected.cotangents) or all(g is None for g in wanted.values()):
        return Evidence()
    batch = _make_batch(trial, np.random.default_rng((trial.case.seed, _STREAM)))
    cotangents = [None if c is None else np.stack([-c, c, -c]) for c in expected.cotangents]
    try:
        by_input, by_parameter = trial.run_step(
            "vmap_vjp",
            vmap_vjp,
            *batch.operands,
            drawn_cotangents.put_cotangents(trial, cotangents, batched=True),
            **trial.case.keywords,
        )
    except Unsupported:
        return Evidence()
    got = dict(zip(trial.spec.signature.input_names, by_input, strict=False)) | by_parameter
    evidence = Evidence()
    for name, gradient in wanted.items():
        if gradient is None:
            continue
        if got.get(name) is None:
            raise Failure(fact_mismatch("presence", f"gradient of {name}", "None", "an array"))
        array, shape = trial.get(got[name]), (_SLICES, *gradient.shape)
        if array.shape != shape:
            raise Failure(fact_mismatch("shape", f"gradient of {name}", array.shape, shape))
        when = f"in a slice of vmap over {batch.names}"
        evidence += compare(f"gradient of {name}", array[1], gradient, when=when, kind="gradient")
    return evidence


def _choose_other_slice(
    trial: Trial, generator: np.random.Generator
) -> tuple[Case, tuple[str, ...]]:
    """The same call with other numbers, and the operands that get a batch axis."""
    case, signature = trial.case, trial.spec.signature
    if all(x is None or trial.spec.is_fixed(case, k) for k, x in enumerate(case.inputs)):
        raise Inapplicable("no input may change")
    varied, inputs = varied_inputs(trial)
    names = [
        name
        for name, spec, x in zip(signature.input_names, signature.inputs, inputs, strict=False)
        if name == varied
        or (x is not None and not spec.passing.on_host and generator.integers(2) == 0)
    ]
    parameters = trial.spec.parameter_names(case)
    batched = [x for x in parameters if x in case.call.state and generator.integers(2) == 0]
    changed = with_other_weights(trial).case.call.state if batched else {}
    state = {name: changed[name] if name in batched else x for name, x in case.call.state.items()}
    other = replace(case, inputs=inputs, call=replace(case.call, state=state))
    return other, (*names, *batched)


def _stack(
    slices: Sequence[np.ndarray | None], generator: np.random.Generator
) -> tuple[np.ndarray, int]:
    """The slices along an axis that may stand anywhere, and that axis."""
    arrays = [x for x in slices if x is not None]
    axis = int(generator.integers(arrays[0].ndim + 1))
    return np.stack(arrays, axis), axis


_TRANSFORMS = {
    "vmap": _compare_vmap,
    "jvp": _compare_forward_mode,
    "double_vjp": _compare_second_derivatives,
}
"""Member of a layer → the comparison that calls it."""
