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

from conformance.checks.related_cases import Arrays, load, sibling, state_of, with_other_weights
from conformance.checks.repeat import Tally
from conformance.checks.trial import Evidence, Trial
from conformance.layers.describe import array_text
from conformance.model.case import Unsupported
from conformance.model.failure import Failure, Inapplicable
from conformance.model.finding import IN_TRAIN_MODE, Finding, differs
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
    distance,
)

NAMES = Finding("names", "names in state()")
AFTER = "after a call"
OFFERS = ("state", "load", "train", "attributes")
FEW = 9  # so many numbers in bfloat16 are all equal with probability (2⁻⁸)⁸


def check(trial: Trial) -> Evidence:
    """Check the parts of the state that the backend offers.

    Raises:
        Failure: if a name, a shape, an initial value, an attribute or an answer is wrong.
        Unsupported: if the backend offers no state, modes or attributes.
    """
    tally, declined = Tally(), None
    offered = any(hasattr(trial.layer, name) for name in OFFERS)
    parts = [_initial, _loaded_at_build, _loaded_later, _modes] if offered else []
    parts += [_read_after_load]
    with warnings.catch_warnings():
        # torch warns that dropout does nothing on a single layer, and that empty weights are empty.
        warnings.simplefilter("ignore")
        for part in parts:
            try:
                part(trial, tally)
            except Unsupported as reason:
                declined = declined or reason
    if not tally.evidence.comparisons:
        raise declined or (Inapplicable() if offered else Unsupported("state not offered"))
    return tally.evidence


def _documented(trial: Trial) -> dict[str, StateTensor]:
    row, shape = trial.row, _first_shape(trial)
    arguments = {**trial.case.call.arguments, **row.inferred(shape)}
    given = trial.case.call.state
    return {
        tensor.name: tensor
        for tensor in row.state_tensors(arguments, shape)
        if tensor.name in given or tensor.name not in row.state.constructor_tensors
    }


def _own(trial: Trial) -> dict[str, np.ndarray]:
    """The initial state that the call determines: tensors that the constructor takes."""
    return trial.row.state.constructed(trial.case.call.state)


def _first_shape(trial: Trial) -> Shape:
    assert trial.case.inputs[0] is not None
    return trial.case.inputs[0].shape


def _initial(trial: Trial, tally: Tally) -> None:
    """Check names, shapes, values and the first answer of a layer with its own initial state."""
    # A first call that infers sizes must leave the mode, and in train mode it may change the state.
    modal = trial.row.traits.modes
    new = sibling(trial, state=_own(trial), training=trial.row.lazy is not None and not modal)
    layer, wanted = new.layer, _documented(trial)
    named = trial.step("state", layer.state) if hasattr(layer, "state") else {}
    before = _read(trial, layer)
    if not named and wanted:
        if hasattr(layer, "state"):
            _nameless(trial, tally, list(wanted))
        # The backend does not initialise the state itself.
        _load_unused(trial, tally, layer, new.case.call.training)
        return
    tally.equal(NAMES, list(named), list(wanted))
    if trial.row.lazy:
        _first_call(trial, layer)
        _mode(trial, tally, layer, not modal)
    for name, native in trial.step("state", layer.state).items():  # type: ignore[attr-defined]
        about = Finding("shape", name, "in state()")
        tally.equal(about, _shape(trial, layer, native), wanted[name].shape)
    found = state_of(trial, layer)
    assert found is not None
    _initial_values(trial, tally, found)
    mode = new.case.call.training
    call = sibling(trial, layer, state=found, training=mode)
    tally.within("with its initial state", call, drawn=True)
    _attributes(trial, tally, layer, before)
    _load_unused(trial, tally, layer, mode)


def _nameless(trial: Trial, tally: Tally, wanted: list[str]) -> None:
    """Require that a call does not add names to an empty state, even for a lazy layer.

    A backend may hide its initial values, but must then show only what was loaded.
    """
    new = sibling(trial, state=_own(trial))
    try:
        trial.step("call", new.layer, *new.natives, **new.case.keywords)
    except (Unsupported, Failure):
        return  # the layer cannot be called without a state
    if trial.step("state", new.layer.state):  # type: ignore[attr-defined]
        tally.equal(replace(NAMES, when="before the first call"), [], wanted)


def _first_call(trial: Trial, layer: Layer) -> None:
    """Let a lazy layer infer its sizes from an input with or without a batch dimension."""
    (x,) = trial.case.inputs
    assert x is not None
    dims = trial.row.signature.dims
    if trial.case.seed % 2 and not trial.row.traits.batched:
        batched = x.ndim > dims + 1
        if not batched:
            x = x[np.newaxis]
        elif x.shape[0]:
            x = x[0]
    changes: dict[str, Any] = {"inputs": (x,)}
    if x.shape != _first_shape(trial):
        changes |= {"keywords": {}, "layouts": ()}
    # The layer has no state yet that could be read.
    first = sibling(trial, layer, state=trial.case.call.state, **changes)
    trial.step("the first call", layer, *first.natives, **first.case.keywords)


def _shape(trial: Trial, layer: Layer, native: Any) -> tuple[int, ...]:
    own = getattr(layer, "shape", None)
    return tuple(trial.get(native).shape if own is None else trial.step("shape", own, native))


def _initial_values(trial: Trial, tally: Tally, found: Arrays) -> None:
    """Test initial values against the documentation, which leaves complex numbers open."""
    if not found or any(np.iscomplexobj(array) for array in found.values()):
        return
    documented = _documented(trial)
    for name, array in found.items():
        initial = documented[name].initial
        if isinstance(initial, Uniform):
            _within_limit(trial, name, array, initial.limit)
        elif isinstance(initial, Constant):
            if not (array == initial.value).all():
                about = _random(f"initial {name}", array_text(array), repr(initial.value))
                lines = ("failed = not bool((got == wanted).all())",)
                known = {"wanted": initial.value}
                raise Failure(about, Proof(lines, {"got": (array, None)}, known))
        elif isinstance(initial, Normal) and _zero_row(array, initial).any():
            row = f"row {initial.zero_row} of initial {name}"
            about = _random(row, array_text(_zero_row(array, initial)), "zeros")
            lines = ("failed = bool(got[row].any())",)
            proof = Proof(lines, {"got": (array, None)}, {"row": initial.zero_row})
            raise Failure(about, proof)
        if initial is not None:
            tally.count(array.size)
        if documented[name].like:
            _same_as(name, array, documented[name].like, found)
            tally.count(array.size)
    _distributed(found, documented)


def _same_as(name: str, array: np.ndarray, like: str, found: Arrays) -> None:
    if not np.array_equal(array, found[like]):
        about = _random(f"initial {name}", array_text(array), f"{like}: {array_text(found[like])}")
        lines = ("failed = not bool((got == like).all())",)
        raise Failure(about, Proof(lines, {"got": (array, None), "like": (found[like], None)}))


def _zero_row(array: np.ndarray, initial: Normal) -> np.ndarray:
    """The row that must be zero; empty if there is none."""
    return array[:0] if initial.zero_row is None else array[initial.zero_row]


def _within_limit(trial: Trial, name: str, array: np.ndarray, limit: float) -> None:
    # √k and the factor may each have been rounded.
    near = np.abs(array) <= limit * (1 + 4 * format_of(trial.case.call.dtype).unit)
    if not (near & np.isfinite(array)).all():
        about = _random(f"initial {name}", array_text(array), f"within ±{limit:.6g}")
        lines = ("failed = not bool(((abs(got) <= limit) & np.isfinite(got)).all())",)
        widest = limit * (1 + 4 * format_of(trial.case.call.dtype).unit)
        raise Failure(about, Proof(lines, {"got": (array, None)}, {"limit": widest}))
    if array.size >= FEW and np.ptp(array) == 0 and math.isfinite(limit):
        alike = f"{array.size} values that are all {array.flat[0]!r}"
        about = _random(f"initial {name}", alike, "values that differ")
        lines = ("failed = bool(np.ptp(got) == 0)",)
        raise Failure(about, Proof(lines, {"got": (array, None)}))


def _distributed(found: Arrays, documented: Mapping[str, StateTensor]) -> None:
    """Test the pooled values of all tensors with the same initial distribution."""
    drawn: dict[Uniform | Normal, list[np.ndarray]] = {}
    for name, array in found.items():
        initial = None if documented[name].like else documented[name].initial
        if isinstance(initial, Uniform) and math.isfinite(initial.limit):
            drawn.setdefault(initial, []).append(array.reshape(-1) / initial.limit)
        elif isinstance(initial, Normal):
            kept = array if initial.zero_row is None else np.delete(array, initial.zero_row, 0)
            drawn.setdefault(initial, []).append(kept.reshape(-1))
    for initial, arrays in drawn.items():
        pooled = np.concatenate(arrays)
        if not pooled.size:
            continue
        uniform = isinstance(initial, Uniform)
        away = distance(pooled, cumulative_uniform if uniform else cumulative_normal)
        allowed = allowed_distance(pooled.size)
        law = "N(0, 1)"
        if isinstance(initial, Uniform):
            law = f"U(−{initial.limit:.6g}, {initial.limit:.6g})"
        if away > allowed:
            got = f"the distribution of {pooled.size} of them is {away:.3g} away"
            about = _random("initial values", got, f"at most {allowed:.3g} away from {law}")
            proof = _away(found, documented, initial, allowed)
            raise Failure(about, replace(proof, known={**proof.known, "law": law}))


def _away(
    found: Arrays, documented: Mapping[str, StateTensor], initial: Uniform | Normal, allowed: float
) -> Proof:
    """How far the empirical distribution of all that is drawn alike is from the documented one."""
    of = {name: x for name, x in documented.items() if not x.like}
    drawn = [name for name in found if name in of and of[name].initial == initial]
    got = {f"got{k}": (found[name], None) for k, name in enumerate(drawn, 1)}
    if isinstance(initial, Uniform):
        parts = ", ".join(f"{name}.reshape(-1)" for name in got)
        expected = "np.clip((pooled / limit + 1) / 2, 0, 1)"
        known: dict[str, Any] = {"limit": initial.limit, "allowed": allowed}
    else:
        row = initial.zero_row
        kept = [n if row is None else f"np.delete({n}, {row}, 0)" for n in got]
        parts = ", ".join(f"{x}.reshape(-1)" for x in kept)
        expected = "np.array([0.5 * (1 + math.erf(x / 2**0.5)) for x in pooled])"
        known = {"allowed": allowed}
    lines = (
        "import math",
        f"pooled = np.sort(np.concatenate([{parts}]))",
        f"expected, ranks = {expected}, np.arange(pooled.size + 1) / pooled.size",
        "away = max(np.max(ranks[1:] - expected), np.max(expected - ranks[:-1]))",
        'print("away", away, "of", pooled.size)',
        "failed = bool(away > allowed)",
    )
    return Proof(lines, got, known)


def _read(trial: Trial, layer: Layer) -> Mapping[str, Any]:
    read = getattr(layer, "attributes", None)
    return {} if read is None else trial.step("attributes", read)


def _attributes(trial: Trial, tally: Tally, layer: Layer, before: Mapping[str, Any]) -> None:
    """Check attributes after a call: arguments, defaults, inferred sizes, a lazy layer's class."""
    call, found = trial.case.call, _read(trial, layer)
    for name, wanted in trial.row.attributes(call.arguments, _first_shape(trial)).items():
        if name in found:
            got = trial.row.signature.readable(name, found[name])
            tally.equal(Finding("attribute", f"attribute {name}", AFTER), got, wanted)
    # A class whose name is not torch's may stay the same.
    if trial.row.lazy and before.get("class") == call.layer:
        about = Finding("attribute", "class", "after the first call")
        tally.equal(about, found["class"], trial.row.lazy.eager)


def _load_unused(trial: Trial, tally: Tally, layer: Layer, training: bool) -> None:
    """Check that a call uses a state that was loaded after build, before or after a first call."""
    if trial.case.call.state and hasattr(layer, "load"):
        load(trial, layer, trial.case.call.state)
        alike = training == trial.case.call.training or not trial.row.traits.modes
        call = sibling(trial, layer, training=training)
        tally.within("after load", call, like=trial if alike else None)


def _loaded_at_build(trial: Trial, tally: Tally) -> None:
    """Check that the layer holds the state given to build, and that a call uses it."""
    layer, state = trial.layer, trial.case.call.state
    if hasattr(layer, "state"):
        tally.same("state() after build", state_of(trial, layer) or {}, state)
    tally.within("with the state given to build", sibling(trial, layer), like=trial)
    if hasattr(layer, "state") and not trial.row.traits.updates(trial.case.call):
        tally.same("state() after a call", state_of(trial, layer) or {}, state)


def _read_after_load(trial: Trial, tally: Tally) -> None:
    """Check the attributes of a layer whose state was loaded before its first call.

    For a lazy layer only cases with empty inputs are checked. There is little else to check on
    these, so a known-failure entry for this case (PyTorch #147389) hides almost nothing.
    """
    if trial.row.lazy and 0 not in _first_shape(trial):
        return
    new = sibling(trial)
    before = _read(trial, new.layer)
    trial.step("call", new.layer, *new.natives, **new.case.keywords)
    _attributes(trial, tally, new.layer, before)


def _loaded_later(trial: Trial, tally: Tally) -> None:
    """Check that a state loaded after a call replaces the previous one."""
    layer = trial.layer
    if not trial.case.call.state or not hasattr(layer, "load"):
        return
    trial.step("call", layer, *trial.natives, **sibling(trial).case.keywords)
    other = with_other_weights(trial, layer)
    load(trial, layer, other.case.call.state)
    if hasattr(layer, "state"):
        tally.same("state() after load", state_of(trial, layer) or {}, other.case.call.state)
    tally.within("after load of other weights", other)


def _modes(trial: Trial, tally: Tally) -> None:
    """Check that train mode has the specified effect, and that eval mode has none."""
    new = sibling(trial, training=False)
    if not hasattr(new.layer, "train"):
        return
    traits = trial.row.traits
    if traits.modes and not traits.trains(trial.case):
        return
    trial.step("train", new.layer.train, True)
    differ = traits.modes or trial.row.randomness.used(replace(trial.case.call, training=True))
    if not differ:
        tally.within(IN_TRAIN_MODE, sibling(trial, new.layer), like=trial)
        tally.within("built in train mode", sibling(trial, training=True), like=trial)
    elif traits.modes:
        tally.within(IN_TRAIN_MODE, sibling(trial, new.layer, training=True))
    else:
        trial.step("call", new.layer, *new.natives, **new.case.keywords)
    _mode(trial, tally, new.layer, True)
    trial.step("train", new.layer.train, False)
    now = state_of(trial, new.layer) if differ else None
    if now is not None:
        tally.equal(replace(NAMES, when=AFTER), sorted(now), sorted(trial.case.call.state))
        after = sibling(trial, new.layer, training=False, state=now)
        tally.within("in eval mode after train mode", after)
    elif not differ or not trial.case.call.training:
        tally.within("in eval mode after train mode", sibling(trial, new.layer), like=trial)
    _mode(trial, tally, new.layer, False)


def _mode(trial: Trial, tally: Tally, layer: Layer, training: bool) -> None:
    """Check that a call does not change the mode, if the layer shows its mode."""
    found = _read(trial, layer)
    if "training" in found:
        about = Finding("attribute", "attribute training", AFTER)
        tally.equal(about, found["training"], training)


def _random(what: str, got: str, wanted: str) -> Finding:
    return differs("random", what, got, wanted)
