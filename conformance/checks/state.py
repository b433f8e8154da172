"""`state`: initial values, loading, attributes, and the effect of train and eval mode.

The tests of initial values fail a correct layer with a probability below 1e-10, by Massart's
inequality (`spec.state`).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from conformance.checks.related_cases import (
    Arrays,
    load_state,
    read_state,
    sibling,
    with_other_weights,
)
from conformance.checks.repeat import Tally
from conformance.checks.trial import Evidence, Trial
from conformance.layers.describe import array_text
from conformance.model.case import NotOffered, Unsupported
from conformance.model.failure import Failure, Inapplicable
from conformance.model.finding import IN_TRAIN_MODE, Finding, fact_mismatch
from conformance.model.formats import format_of
from conformance.model.proof import Proof
from conformance.model.protocols import Layer
from conformance.spec.state import (
    Constant,
    Normal,
    Shape,
    StateTensor,
    Uniform,
    allowed_distance,
    cumulative_normal,
    cumulative_uniform,
    distribution_distance,
)

NAMES = Finding("names", "names in state()")
AFTER = "after a call"
OFFERS = ("state", "load", "train", "attributes")
MIN_VALUES = 9  # so many numbers in bfloat16 are all equal with probability (2⁻⁸)⁸


def check(trial: Trial) -> Evidence:
    """Check the parts of the state that the backend offers.

    Raises:
        Failure: if a name, a shape, an initial value, an attribute or an answer is wrong.
        Unsupported: if the backend offers no state, modes or attributes.
    """
    tally, declined = Tally(), None
    offered = any(hasattr(trial.layer, name) for name in OFFERS)
    parts = (
        [_check_initial_state, _check_state_from_build, _check_load_after_call, _check_modes]
        if offered
        else []
    )
    parts += [_check_attributes_after_load]
    with warnings.catch_warnings():
        # torch warns that dropout does nothing on a single layer, and that empty weights are empty.
        warnings.simplefilter("ignore")
        for part in parts:
            try:
                part(trial, tally)
            except Unsupported as reason:
                declined = declined or reason
    if not tally.evidence.comparisons:
        raise declined or (Inapplicable() if offered else NotOffered("state not offered"))
    return tally.evidence


def _documented_tensors(trial: Trial) -> dict[str, StateTensor]:
    spec, shape = trial.spec, _first_shape(trial)
    arguments = {**trial.case.call.arguments, **spec.inferred_arguments(shape)}
    given_state = trial.case.call.state
    return {
        tensor.name: tensor
        for tensor in spec.state_tensors(arguments, shape)
        if tensor.name in given_state or tensor.name not in spec.state.constructor_tensors
    }


def _constructor_state(trial: Trial) -> dict[str, np.ndarray]:
    """The initial state that the call determines: tensors that the constructor takes."""
    return trial.spec.state.constructor_state(trial.case.call.state)


def _first_shape(trial: Trial) -> Shape:
    assert trial.case.inputs[0] is not None
    return trial.case.inputs[0].shape


def _check_initial_state(trial: Trial, tally: Tally) -> None:
    """Check names, shapes, values and the first answer of a layer with its own initial state."""
    # A first call that infers sizes must leave the mode, and in train mode it may change the state.
    train_differs = trial.spec.traits.train_and_eval_differ
    fresh = sibling(
        trial,
        state=_constructor_state(trial),
        training=trial.spec.lazy is not None and not train_differs,
    )
    layer, wanted = fresh.layer, _documented_tensors(trial)
    state_names = trial.run_step("state", layer.state) if hasattr(layer, "state") else {}
    attributes_before = _read_attributes(trial, layer)
    if not state_names and wanted:
        if hasattr(layer, "state"):
            _check_empty_state_stays_empty(trial, tally, list(wanted))
        # The backend does not initialise the state itself.
        _check_load(trial, tally, layer, fresh.case.call.training)
        return
    tally.require_equal(NAMES, list(state_names), list(wanted))
    if trial.spec.lazy:
        _run_first_call(trial, layer)
        _check_mode_kept(trial, tally, layer, not train_differs)
    for name, native in trial.run_step("state", layer.state).items():  # type: ignore[attr-defined]
        finding = Finding("shape", name, "in state()")
        tally.require_equal(finding, _shape(trial, layer, native), wanted[name].shape)
    initial_state = read_state(trial, layer)
    assert initial_state is not None
    _check_initial_values(trial, tally, initial_state)
    mode = fresh.case.call.training
    call = sibling(trial, layer, state=initial_state, training=mode)
    tally.require_within_bounds("with its initial state", call, drawn=True)
    _check_attributes(trial, tally, layer, attributes_before)
    _check_load(trial, tally, layer, mode)


def _check_empty_state_stays_empty(trial: Trial, tally: Tally, wanted: list[str]) -> None:
    """Require that a call does not add names to an empty state, even for a lazy layer.

    A backend may hide its initial values, but must then show only what was loaded.
    """
    fresh = sibling(trial, state=_constructor_state(trial))
    try:
        trial.run_step("call", fresh.layer, *fresh.natives, **fresh.case.keywords)
    except (Unsupported, Failure):
        return  # the layer cannot be called without a state
    if trial.run_step("state", fresh.layer.state):  # type: ignore[attr-defined]
        tally.require_equal(replace(NAMES, when="before the first call"), [], wanted)


def _run_first_call(trial: Trial, layer: Layer) -> None:
    """Let a lazy layer infer its sizes from an input with or without a batch dimension."""
    (x,) = trial.case.inputs
    assert x is not None
    dims = trial.spec.signature.dims
    if trial.case.seed % 2 and not trial.spec.traits.always_batched:
        batched = x.ndim > dims + 1
        if not batched:
            x = x[np.newaxis]
        elif x.shape[0]:
            x = x[0]
    changes: dict[str, Any] = {"inputs": (x,)}
    if x.shape != _first_shape(trial):
        changes |= {"keywords": {}, "layouts": ()}
    # The layer has no state yet that could be read.
    first_trial = sibling(trial, layer, state=trial.case.call.state, **changes)
    trial.run_step("the first call", layer, *first_trial.natives, **first_trial.case.keywords)


def _shape(trial: Trial, layer: Layer, native: Any) -> tuple[int, ...]:
    shape_method = getattr(layer, "shape", None)
    return tuple(
        trial.get(native).shape
        if shape_method is None
        else trial.run_step("shape", shape_method, native)
    )


def _check_initial_values(trial: Trial, tally: Tally, initial_state: Arrays) -> None:
    """Test initial values against the documentation, which leaves complex numbers open."""
    if not initial_state or any(np.iscomplexobj(array) for array in initial_state.values()):
        return
    documented = _documented_tensors(trial)
    for name, array in initial_state.items():
        initial = documented[name].initial
        if isinstance(initial, Uniform):
            _check_limit(trial, name, array, initial.limit)
        elif isinstance(initial, Constant):
            if not (array == initial.value).all():
                finding = _random_finding(f"initial {name}", array_text(array), repr(initial.value))
                lines = ("failed = not bool((got == wanted).all())",)
                constants = {"wanted": initial.value}
                raise Failure(finding, Proof(lines, {"got": (array, None)}, constants))
        elif isinstance(initial, Normal) and _zero_row(array, initial).any():
            row_text = f"row {initial.zero_row} of initial {name}"
            finding = _random_finding(row_text, array_text(_zero_row(array, initial)), "zeros")
            lines = ("failed = bool(got[row].any())",)
            proof = Proof(lines, {"got": (array, None)}, {"row": initial.zero_row})
            raise Failure(finding, proof)
        if initial is not None:
            tally.add(array.size)
        if documented[name].same_values_as:
            _require_same_values(name, array, documented[name].same_values_as, initial_state)
            tally.add(array.size)
    _check_distributions(initial_state, documented)


def _require_same_values(name: str, array: np.ndarray, like: str, initial_state: Arrays) -> None:
    if not np.array_equal(array, initial_state[like]):
        finding = _random_finding(
            f"initial {name}", array_text(array), f"{like}: {array_text(initial_state[like])}"
        )
        lines = ("failed = not bool((got == like).all())",)
        raise Failure(
            finding, Proof(lines, {"got": (array, None), "like": (initial_state[like], None)})
        )


def _zero_row(array: np.ndarray, initial: Normal) -> np.ndarray:
    """The row that must be zero; empty if there is none."""
    return array[:0] if initial.zero_row is None else array[initial.zero_row]


def _check_limit(trial: Trial, name: str, array: np.ndarray, limit: float) -> None:
    # √k and the factor may each have been rounded.
    within = np.abs(array) <= limit * (1 + 4 * format_of(trial.case.call.dtype).unit)
    if not (within & np.isfinite(array)).all():
        finding = _random_finding(f"initial {name}", array_text(array), f"within ±{limit:.6g}")
        lines = ("failed = not bool(((abs(got) <= limit) & np.isfinite(got)).all())",)
        widest = limit * (1 + 4 * format_of(trial.case.call.dtype).unit)
        raise Failure(finding, Proof(lines, {"got": (array, None)}, {"limit": widest}))
    if array.size >= MIN_VALUES and np.ptp(array) == 0 and math.isfinite(limit):
        equal_text = f"{array.size} values that are all {array.flat[0]!r}"
        finding = _random_finding(f"initial {name}", equal_text, "values that differ")
        lines = ("failed = bool(np.ptp(got) == 0)",)
        raise Failure(finding, Proof(lines, {"got": (array, None)}))


def _check_distributions(initial_state: Arrays, documented: Mapping[str, StateTensor]) -> None:
    """Test the pooled values of all tensors with the same initial distribution."""
    drawn: dict[Uniform | Normal, list[np.ndarray]] = {}
    for name, array in initial_state.items():
        initial = None if documented[name].same_values_as else documented[name].initial
        if isinstance(initial, Uniform) and math.isfinite(initial.limit):
            drawn.setdefault(initial, []).append(array.reshape(-1) / initial.limit)
        elif isinstance(initial, Normal):
            values = array if initial.zero_row is None else np.delete(array, initial.zero_row, 0)
            drawn.setdefault(initial, []).append(values.reshape(-1))
    for initial, arrays in drawn.items():
        pooled = np.concatenate(arrays)
        if not pooled.size:
            continue
        uniform = isinstance(initial, Uniform)
        distance_found = distribution_distance(
            pooled, cumulative_uniform if uniform else cumulative_normal
        )
        allowed = allowed_distance(pooled.size)
        law = "N(0, 1)"
        if isinstance(initial, Uniform):
            law = f"U(−{initial.limit:.6g}, {initial.limit:.6g})"
        if distance_found > allowed:
            got = f"the distribution of {pooled.size} of them is {distance_found:.3g} away"
            finding = _random_finding(
                "initial values", got, f"at most {allowed:.3g} away from {law}"
            )
            proof = _distance_proof(initial_state, documented, initial, allowed)
            raise Failure(finding, replace(proof, known={**proof.known, "law": law}))


def _distance_proof(
    initial_state: Arrays,
    documented: Mapping[str, StateTensor],
    initial: Uniform | Normal,
    allowed: float,
) -> Proof:
    """How far the empirical distribution of all that is drawn alike is from the documented one."""
    originals = {name: x for name, x in documented.items() if not x.same_values_as}
    drawn = [
        name for name in initial_state if name in originals and originals[name].initial == initial
    ]
    got = {f"got{k}": (initial_state[name], None) for k, name in enumerate(drawn, 1)}
    if isinstance(initial, Uniform):
        parts = ", ".join(f"{name}.reshape(-1)" for name in got)
        expected = "np.clip((pooled / limit + 1) / 2, 0, 1)"
        constants: dict[str, Any] = {"limit": initial.limit, "allowed": allowed}
    else:
        row = initial.zero_row
        expressions = [n if row is None else f"np.delete({n}, {row}, 0)" for n in got]
        parts = ", ".join(f"{x}.reshape(-1)" for x in expressions)
        expected = "np.array([0.5 * (1 + math.erf(x / 2**0.5)) for x in pooled])"
        constants = {"allowed": allowed}
    lines = (
        "import math",
        f"pooled = np.sort(np.concatenate([{parts}]))",
        f"expected, ranks = {expected}, np.arange(pooled.size + 1) / pooled.size",
        "away = max(np.max(ranks[1:] - expected), np.max(expected - ranks[:-1]))",
        'print("away", away, "of", pooled.size)',
        "failed = bool(away > allowed)",
    )
    return Proof(lines, got, constants)


def _read_attributes(trial: Trial, layer: Layer) -> Mapping[str, Any]:
    read = getattr(layer, "attributes", None)
    return {} if read is None else trial.run_step("attributes", read)


def _check_attributes(
    trial: Trial, tally: Tally, layer: Layer, attributes_before: Mapping[str, Any]
) -> None:
    """Check attributes after a call: arguments, defaults, inferred sizes, a lazy layer's class."""
    call, attributes = trial.case.call, _read_attributes(trial, layer)
    for name, wanted in trial.spec.expected_attributes(call.arguments, _first_shape(trial)).items():
        if name in attributes:
            got = trial.spec.signature.readable_value(name, attributes[name])
            tally.require_equal(Finding("attribute", f"attribute {name}", AFTER), got, wanted)
    # A class whose name is not torch's may stay the same.
    if trial.spec.lazy and attributes_before.get("class") == call.layer:
        finding = Finding("attribute", "class", "after the first call")
        tally.require_equal(finding, attributes["class"], trial.spec.lazy.eager)


def _check_load(trial: Trial, tally: Tally, layer: Layer, training: bool) -> None:
    """Check that a call uses a state that was loaded after build, before or after a first call."""
    if trial.case.call.state and hasattr(layer, "load"):
        load_state(trial, layer, trial.case.call.state)
        same_outputs = (
            training == trial.case.call.training or not trial.spec.traits.train_and_eval_differ
        )
        call = sibling(trial, layer, training=training)
        tally.require_within_bounds(
            "after load", call, same_outputs_as=trial if same_outputs else None
        )


def _check_state_from_build(trial: Trial, tally: Tally) -> None:
    """Check that the layer holds the state given to build, and that a call uses it."""
    layer, state = trial.layer, trial.case.call.state
    if hasattr(layer, "state"):
        tally.require_same_bits("state() after build", read_state(trial, layer) or {}, state)
    tally.require_within_bounds(
        "with the state given to build", sibling(trial, layer), same_outputs_as=trial
    )
    if hasattr(layer, "state") and not trial.spec.traits.updates_state(trial.case.call):
        tally.require_same_bits("state() after a call", read_state(trial, layer) or {}, state)


def _check_attributes_after_load(trial: Trial, tally: Tally) -> None:
    """Check the attributes of a layer whose state was loaded before its first call.

    For a lazy layer only cases with empty inputs are checked. There is little else to check on
    these, so a known-failure entry for this case (PyTorch #147389) hides almost nothing.
    """
    if trial.spec.lazy and 0 not in _first_shape(trial):
        return
    fresh = sibling(trial)
    attributes_before = _read_attributes(trial, fresh.layer)
    trial.run_step("call", fresh.layer, *fresh.natives, **fresh.case.keywords)
    _check_attributes(trial, tally, fresh.layer, attributes_before)


def _check_load_after_call(trial: Trial, tally: Tally) -> None:
    """Check that a state loaded after a call replaces the previous one."""
    layer = trial.layer
    if not trial.case.call.state or not hasattr(layer, "load"):
        return
    trial.run_step("call", layer, *trial.natives, **sibling(trial).case.keywords)
    other_weights = with_other_weights(trial, layer)
    load_state(trial, layer, other_weights.case.call.state)
    if hasattr(layer, "state"):
        tally.require_same_bits(
            "state() after load", read_state(trial, layer) or {}, other_weights.case.call.state
        )
    tally.require_within_bounds("after load of other weights", other_weights)


def _check_modes(trial: Trial, tally: Tally) -> None:
    """Check that train mode has the specified effect, and that eval mode has none."""
    fresh = sibling(trial, training=False)
    if not hasattr(fresh.layer, "train"):
        return
    traits = trial.spec.traits
    if traits.train_and_eval_differ and not traits.valid_in_train_mode(trial.case):
        return
    trial.run_step("train", fresh.layer.train, True)
    differ = traits.train_and_eval_differ or trial.spec.randomness.is_used(
        replace(trial.case.call, training=True)
    )
    if not differ:
        tally.require_within_bounds(
            IN_TRAIN_MODE, sibling(trial, fresh.layer), same_outputs_as=trial
        )
        tally.require_within_bounds(
            "built in train mode", sibling(trial, training=True), same_outputs_as=trial
        )
    elif traits.train_and_eval_differ:
        tally.require_within_bounds(IN_TRAIN_MODE, sibling(trial, fresh.layer, training=True))
    else:
        trial.run_step("call", fresh.layer, *fresh.natives, **fresh.case.keywords)
    _check_mode_kept(trial, tally, fresh.layer, True)
    trial.run_step("train", fresh.layer.train, False)
    current_state = read_state(trial, fresh.layer) if differ else None
    if current_state is not None:
        tally.require_equal(
            replace(NAMES, when=AFTER), sorted(current_state), sorted(trial.case.call.state)
        )
        eval_trial = sibling(trial, fresh.layer, training=False, state=current_state)
        tally.require_within_bounds("in eval mode after train mode", eval_trial)
    elif not differ or not trial.case.call.training:
        tally.require_within_bounds(
            "in eval mode after train mode", sibling(trial, fresh.layer), same_outputs_as=trial
        )
    _check_mode_kept(trial, tally, fresh.layer, False)


def _check_mode_kept(trial: Trial, tally: Tally, layer: Layer, training: bool) -> None:
    """Check that a call does not change the mode, if the layer shows its mode."""
    attributes = _read_attributes(trial, layer)
    if "training" in attributes:
        finding = Finding("attribute", "attribute training", AFTER)
        tally.require_equal(finding, attributes["training"], training)


def _random_finding(subject: str, got: str, wanted: str) -> Finding:
    return fact_mismatch("random", subject, got, wanted)
