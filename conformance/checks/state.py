"""`state`: what a layer owns, what it does with what is loaded, and what its modes change.

Randomness is tested so that a layer as documented fails a test with a probability of less than
1e-10: initial values by Massart's inequality (`oracles.states`), dropout by Hoeffding's.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from conformance.checks.repeat import Arrays, Tally, load, sibling, state_of, with_other_weights
from conformance.layers import states
from conformance.model.case import Unsupported
from conformance.model.describe import array_text
from conformance.model.formats import format_of
from conformance.model.protocols import Layer
from conformance.run.trial import Evidence, Failure, Inapplicable, Trial

OFFERS = ("state", "load", "train", "attributes")
FEW = 9  # equal numbers among so many: (2⁻⁸)⁸ in bfloat16
HOEFFDING = math.log(2 / 1e-10) / 2


def check(trial: Trial) -> Evidence:
    """Look at the parts of the state that the backend offers.

    Args:
        trial: the case on the backend.

    Raises:
        Failure: if a name, a shape, an initial value, an attribute or an answer is wrong.
        Unsupported: if the backend offers nothing to look at.
    """
    tally, declined = Tally(), None
    offered = any(hasattr(trial.layer, name) for name in OFFERS)
    parts = [_initial, _loaded_at_build, _loaded_later, _modes] if offered else []
    parts += [_dropout, _dropout_rate] if trial.case.call.layer in states.GATES else []
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


def _documented(trial: Trial) -> states.Shapes:
    return states.shapes(trial.case.call.layer, trial.case.call.arguments, _first_shape(trial))


def _first_shape(trial: Trial) -> tuple[int, ...]:
    assert trial.case.inputs[0] is not None
    return trial.case.inputs[0].shape


def _lazy(trial: Trial) -> bool:
    return trial.case.call.layer.startswith("Lazy")


def _initial(trial: Trial, tally: Tally) -> None:
    """A layer that nobody loaded anything into: names, shapes, values, and its first answer."""
    # A first call that infers sizes must leave the mode, which only train mode shows.
    new = sibling(trial, state={}, training=_lazy(trial))
    layer, wanted = new.layer, _documented(trial)
    named = trial.step("state", layer.state) if hasattr(layer, "state") else {}
    before = _read(trial, layer)
    if not named and wanted:
        if hasattr(layer, "state"):
            _nameless(trial, tally, list(wanted))
        _load_unused(trial, tally, layer)  # a backend without an initialisation of its own
        return
    tally.equal("names in state()", list(named), list(wanted))
    if _lazy(trial):
        _first_call(trial, layer)
        _mode(trial, tally, layer, True)
    for name, native in trial.step("state", layer.state).items():  # type: ignore[attr-defined]
        tally.equal(f"shape of {name} in state()", _shape(trial, layer, native), wanted[name])
    found = state_of(trial, layer)
    assert found is not None
    _initial_values(trial, tally, found)
    tally.within("with its initial state", sibling(trial, layer, state=found))
    _attributes(trial, tally, layer, before)
    _load_unused(trial, tally, layer)


def _nameless(trial: Trial, tally: Tally, wanted: list[str]) -> None:
    """What is not in the state before a call, a call does not bring there: a lazy layer names it.

    A backend may have initial values and show none; what was loaded it shows all the same.
    """
    new = sibling(trial, state={})
    try:
        trial.step("call", new.layer, *new.natives, **new.case.keywords)
    except (Unsupported, Failure):
        return  # it cannot do without a state
    if trial.step("state", new.layer.state):  # type: ignore[attr-defined]
        tally.equal("names in state() before the first call", [], wanted)


def _first_call(trial: Trial, layer: Layer) -> None:
    """Let a lazy layer infer what it can, from an input with or without a batch dimension."""
    (x,) = trial.case.inputs
    assert x is not None
    dims = states.dimensions(trial.case.call.layer)
    if trial.case.seed % 2:
        batched = x.ndim > dims + 1
        if not batched:
            x = x[np.newaxis]
        elif x.shape[0]:
            x = x[0]
    changes: dict[str, Any] = {"inputs": (x,)}
    if x.shape != _first_shape(trial):
        changes |= {"keywords": {}, "layouts": ()}
    first = sibling(trial, layer, **changes)
    trial.step("the first call", layer, *first.natives, **first.case.keywords)


def _shape(trial: Trial, layer: Layer, native: Any) -> tuple[int, ...]:
    own = getattr(layer, "shape", None)
    return tuple(trial.get(native).shape if own is None else trial.step("shape", own, native))


def _initial_values(trial: Trial, tally: Tally, found: Arrays) -> None:
    """Each is drawn from U(−√k, √k); what that is for complex numbers the documentation leaves."""
    call = trial.case.call
    if not found or any(np.iscomplexobj(array) for array in found.values()):
        return
    limit = states.initial_limit(call.layer, call.arguments, _documented(trial))
    for name, array in found.items():
        # √k and the factor may each have been rounded.
        near = np.abs(array) <= limit * (1 + 4 * format_of(call.dtype).unit)
        if not (near & np.isfinite(array)).all():
            raise Failure(f"initial {name} is not within ±{limit:.6g}: {array_text(array)}")
        if array.size >= FEW and np.ptp(array) == 0 and math.isfinite(limit):
            raise Failure(f"initial {name}: all {array.size} values are {array.flat[0]!r}")
        tally.count(array.size)
    pooled = np.concatenate([array.reshape(-1) for array in found.values()]) / limit
    if not pooled.size or not math.isfinite(limit):
        return
    distance, allowed = states.uniform_distance(pooled)
    if distance > allowed:
        raise Failure(
            f"initial values are not drawn from U(−{limit:.6g}, {limit:.6g}): the distribution of "
            f"{pooled.size} of them is {distance:.3g} away, at most {allowed:.3g} allowed"
        )


def _read(trial: Trial, layer: Layer) -> Mapping[str, Any]:
    read = getattr(layer, "attributes", None)
    return {} if read is None else trial.step("attributes", read)


def _attributes(trial: Trial, tally: Tally, layer: Layer, before: Mapping[str, Any]) -> None:
    """After a call: what was inferred, the arguments' defaults, and the class of a lazy layer."""
    call, found = trial.case.call, _read(trial, layer)
    for name, wanted in states.attributes(
        call.layer, call.arguments, trial.row.defaults, _first_shape(trial)
    ).items():
        if name in found:
            got = states.readable(call.layer, name, found[name])
            tally.equal(f"attribute {name} after a call", got, wanted)
    # A class of another name than torch's may keep it.
    if _lazy(trial) and before.get("class") == call.layer:
        tally.equal("class after the first call", found["class"], states.eager(call.layer))


def _load_unused(trial: Trial, tally: Tally, layer: Layer) -> None:
    """A state loaded after build, after a first call or before it, is what a call uses."""
    if trial.case.call.state and hasattr(layer, "load"):
        load(trial, layer, trial.case.call.state)
        tally.within("after load", sibling(trial, layer), like=trial)


def _loaded_at_build(trial: Trial, tally: Tally) -> None:
    """The state given to build is what the layer says that it holds, and what its call uses."""
    layer, state = trial.layer, trial.case.call.state
    if hasattr(layer, "state"):
        tally.same("state() after build", state_of(trial, layer) or {}, state)
    tally.within("with the state given to build", sibling(trial, layer), like=trial)
    if hasattr(layer, "state"):
        tally.same("state() after a call", state_of(trial, layer) or {}, state)


def _read_after_load(trial: Trial, tally: Tally) -> None:
    """What can be read of a layer whose state was loaded before its first call.

    Of a lazy layer it is asked with empty inputs only: there is little else to ask of these, so
    that an entry for a known failure in it (PyTorch #147389) hides next to nothing.
    """
    if _lazy(trial) and 0 not in _first_shape(trial):
        return
    new = sibling(trial)
    before = _read(trial, new.layer)
    trial.step("call", new.layer, *new.natives, **new.case.keywords)
    _attributes(trial, tally, new.layer, before)


def _loaded_later(trial: Trial, tally: Tally) -> None:
    """A state loaded after a call replaces the one before it."""
    layer = trial.layer
    if not trial.case.call.state or not hasattr(layer, "load"):
        return
    trial.step("call", layer, *trial.natives, **sibling(trial).case.keywords)
    other = with_other_weights(trial, layer)
    load(trial, layer, other.case.call.state)
    tally.within("after load of other weights", other)
    if hasattr(layer, "state"):
        tally.same("state() after load", state_of(trial, layer) or {}, other.case.call.state)


def _stacked(trial: Trial) -> int:
    return int(trial.case.call.arguments.get("num_layers", 1))


def _modes(trial: Trial, tally: Tally) -> None:
    """Train mode changes nothing but dropout between layers; eval mode has none."""
    new = sibling(trial)
    if not hasattr(new.layer, "train"):
        return
    trial.step("train", new.layer.train, True)
    if trial.case.call.arguments.get("dropout", 0.0) == 0 or _stacked(trial) == 1:
        tally.within("in train mode", sibling(trial, new.layer), like=trial)
        tally.within("built in train mode", sibling(trial, training=True), like=trial)
    else:
        trial.step("call", new.layer, *new.natives, **new.case.keywords)
    _mode(trial, tally, new.layer, True)
    trial.step("train", new.layer.train, False)
    tally.within("in eval mode after train mode", sibling(trial, new.layer), like=trial)
    _mode(trial, tally, new.layer, False)


def _mode(trial: Trial, tally: Tally, layer: Layer, training: bool) -> None:
    """A call leaves the mode as it was set, where it can be read."""
    found = _read(trial, layer)
    if "training" in found:
        tally.equal("attribute training after a call", found["training"], training)


def _dropout(trial: Trial, tally: Tally) -> None:
    """In train mode: none for one layer, none for p = 0, nothing passes for p = 1."""
    arguments = trial.case.call.arguments

    def training(p: float) -> Trial:
        return sibling(trial, arguments={**arguments, "dropout": p}, training=True)

    if _stacked(trial) == 1:
        tally.within("one layer in train mode with dropout=0.5", training(0.5), like=trial)
        return
    tally.within("in train mode with dropout=0.0", training(0.0), like=trial)
    # Nothing passes: as if the upper layers did not look at their input.
    unseen = {
        name: np.zeros_like(array)
        if name.startswith("weight_ih_l") and not name.startswith("weight_ih_l0")
        else array
        for name, array in trial.case.call.state.items()
    }
    tally.within("in train mode with dropout=1.0", training(1.0), like=sibling(trial, state=unseen))


def _dropout_rate(trial: Trial, tally: Tally) -> None:
    """Each element is dropped with probability p by itself, or is multiplied by 1/(1 − p).

    In the probe (`states.dropout_probe`) every output hangs on one element of each dropout's
    input: it is 0, or what it would be without dropout if the weights were 1/(1 − p) as large.
    """
    call = trial.case.call
    if trial.case.seed % 16:
        return
    p = (0.5, 0.75)[trial.case.seed // 16 % 2]  # 1/(1 − p) is a power of two
    layers = max(2, _stacked(trial))
    arguments = {**call.arguments, "bias": True, "dropout": p, "num_layers": layers}
    x, state, kept_state = states.dropout_probe(call.layer, arguments, 1 / (1 - p))
    facts: dict[str, Any] = {"arguments": arguments, "inputs": (x,), "keywords": {}, "layouts": ()}
    expected = sibling(trial, state=kept_state, **facts).expected
    probe = sibling(trial, state=state, training=True, **facts)
    masks: list[np.ndarray] = []
    for call_ in (probe, sibling(probe, probe.layer)):
        directions = 2 if arguments.get("bidirectional", False) else 1
        for name, got, kept in zip(call_.names, call_.arrays, expected, strict=True):
            passed = np.abs(got - kept.value) <= kept.error
            # A gate that is shut lets less than the smallest normal number through.
            may_drop = np.abs(got) <= 2 * format_of(call.dtype).normal
            if name != "output":
                may_drop[:directions] = False  # final states of the first layer
            if not (passed | may_drop).all():
                raise Failure(
                    f"{name} in train mode with dropout={p}, each to be 0 or the kept value\n"
                    f"  got    {array_text(got)}\n  kept   {array_text(kept.value)}"
                )
            tally.count(got.size)
            if name == "output":
                masks.append(np.abs(got) > 2 * format_of(call.dtype).normal)
    first, second = masks
    rate = (1 - p) ** (layers - 1)
    allowed = math.sqrt(HOEFFDING / first.size)
    if abs(first.mean() - rate) > allowed:
        raise Failure(
            f"kept in train mode with dropout={p} and num_layers={layers}\n"
            f"  got    {first.mean():.4g} of {first.size}\n  wanted {rate:.4g} ± {allowed:.3g}"
        )
    alike = {f"along axis {k}": (first == first.take([0], k)).all() for k in range(3)}
    alike = {k: v for k, v in alike.items() if first.shape[int(k[-1])] > 1}
    alike["in a second call"] = np.array_equal(first, second)
    for where, same in alike.items():
        if same:
            raise Failure(f"dropout in train mode drops the same elements {where}")
    tally.count(1 + len(alike))
