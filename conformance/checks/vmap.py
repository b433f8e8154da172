"""vmap of calls and of their gradients: a slice of a batch is the call alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from conformance.arithmetic.choices import Choices
from conformance.arithmetic.rounded import Rounded
from conformance.checks import cotangents as drawn_cotangents
from conformance.checks.related_cases import updates_state, varied_inputs, with_other_weights
from conformance.checks.tangents import has_moderate_operands
from conformance.checks.trial import Evidence, Trial
from conformance.checks.values import compare
from conformance.model.case import Case, Numerics, Unsupported
from conformance.model.failure import Failure, Inapplicable
from conformance.model.finding import fact_mismatch

_STREAM = 0x766D
NOTHING_KNOWN = "a composition of which nothing is known in half precision"
_SLICES = 3
"""Calls in a batch of vmap."""


def has_finite_outputs(outputs: Sequence[Rounded | Choices]) -> bool:
    """Whether the known outputs of the oracle are finite, so that they have derivatives."""
    return all(np.isfinite(x.value).all() for x in outputs if isinstance(x, Rounded))


def put(trial: Trial, array: np.ndarray | None) -> Any:
    """Put an array on the device; None stays None."""
    return None if array is None else trial.run_step("put", trial.layer.put, array.copy())


def compare_vmap(trial: Trial) -> Evidence:
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
        raise Unsupported(NOTHING_KNOWN)
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
        inputs.append(put(trial, array))
        in_dims.append(axis)
    parameters, parameter_dims = dict[str, Any](), dict[str, int]()
    for name in trial.case.call.state:
        if name in names:
            array, parameter_dims[name] = _stack([c.call.state[name] for c in cases], generator)
            parameters[name] = put(trial, array)
    return _Batch((inputs, in_dims, parameters, parameter_dims), " and ".join(names))


def _compare_gradients_under_vmap(trial: Trial) -> Evidence:
    """Compare the gradients of the middle one of three slices with the oracle, if they are known.

    In every second case: gradients cost more than outputs.
    """
    vmap_vjp = getattr(trial.layer, "vmap_vjp", None)
    inputs = [x for x in trial.case.inputs if x is not None]
    is_known = has_finite_outputs(trial.expected) or not any(x.size for x in inputs)
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
