"""`gradients`: vector-Jacobian products for every input and every parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from conformance.arithmetic.choices import Choices
from conformance.arithmetic.derivatives import leaf, pull_back
from conformance.arithmetic.rounded import Rounded, exactly
from conformance.checks.values import compare
from conformance.model.case import Unsupported
from conformance.model.finding import counted, differs, returned
from conformance.model.formats import round_to
from conformance.run.trial import Evidence, Failure, Trial

# Regimes of whole numbers, or of a few bits: their cotangents are whole, too.
_EXACT = ("ramp", "integers", "full", "zero", "bits", "rectified", "saturated", "hold")


def check(trial: Trial) -> Evidence:
    """Hold the backend's vector-Jacobian products against the oracle's, twice, and both forwards.

    Args:
        trial: the case on the backend.

    Raises:
        Failure: if a gradient is missing, too many, of the wrong shape, or beyond its bound; if a
            second call accumulates; if the outputs differ while gradients are recorded.
        Unsupported: if the backend offers no gradients.
    """
    vjp = getattr(trial.layer, "vjp", None)
    if vjp is None:
        raise Unsupported("gradients not offered")
    cotangents = _cotangents(trial)
    inputs, parameters = expected(trial, cotangents)
    evidence = Evidence()
    for again in ("", "of a second call"):
        subject = _as_before(trial) if again else trial
        natives = _put(subject, cotangents)
        result = subject.step("vjp", vjp, subject.natives, natives, **trial.case.keywords)
        evidence += held(subject, result, inputs, parameters, again)
    if trial.row.lazy and hasattr(trial.layer, "load"):
        # A backend without initial values has gradients all the same; `state` says what it lacks.
        with suppress(Unsupported):
            evidence += _materialised(trial, cotangents, inputs, parameters)
    return evidence + _recorded_forward(trial.afresh())


def _as_before(trial: Trial) -> Trial:
    """The same layer with what its call may have changed, state and inputs, as it was."""
    if not trial.row.traits.updates(trial.case.call):
        return trial
    state = {name: array.copy() for name, array in trial.case.call.state.items()}
    if state and hasattr(trial.layer, "load"):
        trial.step("load", trial.layer.load, state, dict(trial.case.call.layouts))
    return trial.repeated()


def _materialised(
    trial: Trial,
    cotangents: Sequence[np.ndarray | None],
    inputs: Sequence[Rounded | None],
    parameters: Mapping[str, Rounded],
) -> Evidence:
    """A lazy layer whose parameters its first call made, not a loaded state, has gradients, too."""
    call = trial.case.call
    new = trial.other(replace(trial.case, call=replace(call, state={}, layouts={})))
    layer = new.layer
    trial.step("the first call", layer, *new.natives, **new.case.keywords)
    state = {name: array.copy() for name, array in call.state.items()}
    trial.step("load", layer.load, state, {})  # type: ignore[attr-defined]
    natives = _put(new, cotangents)
    vjp = layer.vjp  # type: ignore[attr-defined]
    result = trial.step("vjp", vjp, new.natives, natives, **new.case.keywords)
    return held(new, result, inputs, parameters, "after a first call without a state")


def held(
    trial: Trial,
    result: Any,
    inputs: Sequence[Rounded | None],
    parameters: Mapping[str, Rounded],
    again: str = "",
) -> Evidence:
    """Hold what `vjp` returned against the oracle's gradients.

    Args:
        trial: the case on the backend.
        result: of `vjp`.
        inputs, parameters: as `expected` gives them.
        again: on which of several calls.

    Raises:
        Failure: if a gradient is missing, too many, of the wrong shape, or beyond its bound.
    """
    got_inputs, got_parameters = _unpacked(result)
    _same_names(got_parameters, parameters)
    if len(got_inputs) != len(inputs):
        raise Failure(counted("input gradients", len(got_inputs), len(inputs)))
    pairs = [
        (f"gradient of {name}", got, wanted)
        for name, got, wanted in zip(trial.row.input_names, got_inputs, inputs, strict=False)
    ]
    pairs += [
        (f"gradient of {name}", got_parameters[name], wanted) for name, wanted in parameters.items()
    ]
    evidence = Evidence()
    for name, got, wanted in pairs:
        evidence += _compared(trial, name, got, wanted, again)
    return evidence


def _put(trial: Trial, cotangents: Sequence[np.ndarray | None]) -> list[Any]:
    """Cotangents on the device, one for each output; absent outputs have none."""
    given = iter(zip(cotangents, _dtypes(trial), strict=True))
    shapes = trial.row.output_shapes(trial.case)
    aligned = [(None, "") if shape is None else next(given) for shape in shapes]
    own, put = trial.case.call.dtype, trial.layer.put
    found: list[Any] = []
    for c, dtype in aligned:
        # An output of another dtype than the call's has its cotangent in that.
        other = {} if dtype == own else {"dtype": dtype}
        found.append(None if c is None else trial.step("put", put, c.copy(), **other))
    return found


def _dtypes(trial: Trial) -> list[str]:
    """torch's names of the dtypes of the outputs that are there."""
    own, case = trial.case.call.dtype, trial.case
    return [own if output.dtype is None else output.dtype(case) for output in trial.present]


def _cotangents(trial: Trial) -> list[np.ndarray | None]:
    """Random cotangents in the case's own regime; of several outputs some may be left out."""
    generator = np.random.default_rng((trial.case.seed, 1))
    call = trial.case.call
    whole = trial.case.labels.get("regime") in _EXACT
    places = [k for k, output in enumerate(trial.present) if output.differentiable]
    left_out = {places[k] for k in _left_out(len(places), generator)}
    left_out |= set(range(len(trial.shapes))) - set(places)
    cotangents: list[np.ndarray | None] = []
    dtypes = _dtypes(trial)
    for index, shape in enumerate(trial.shapes):
        parts = 2 if call.dtype.startswith("complex") else 1
        drawn = [
            generator.integers(-1, 1, shape, endpoint=True).astype(np.float64)
            if whole
            else generator.standard_normal(shape)
            for _ in range(parts)
        ]
        values = drawn[0] if parts == 1 else drawn[0] + 1j * drawn[1]
        cotangents.append(None if index in left_out else round_to(values, dtypes[index]))
    return cotangents


def _left_out(count: int, generator: np.random.Generator) -> set[int]:
    """None of so many outputs, one, or all but one."""
    if count < 2:
        return set()
    alone = {k: set(range(count)) - {k} for k in range(count)}
    ways: list[set[int]] = [set(), *({k} for k in range(count))]
    ways += alone.values() if count > 2 else ()
    return ways[generator.integers(len(ways))]


def expected(
    trial: Trial, cotangents: Sequence[np.ndarray | None]
) -> tuple[list[Rounded | None], dict[str, Rounded]]:
    """Gradients of the inputs (None: left out or integers) and of the state."""
    precision = trial.precision
    inputs = _leaves(trial)
    parameters = trial.row.parameters(trial.case)
    state = {
        name: leaf(x, precision) if name in parameters else exactly(x, precision)
        for name, x in trial.case.call.state.items()
    }
    outputs = trial.evaluate(state, inputs)
    leaves = [x for x in (*inputs, *state.values()) if x is not None and x.node is not None]
    leaves = list({id(x): x for x in leaves}.values())
    pulled = [
        None if c is None else exactly(c, x.precision)
        for x, c in zip(outputs, cotangents, strict=True)
    ]
    found = _pulled(outputs, pulled, leaves)
    return (
        [None if x is None else found.get(id(x)) for x in inputs],
        {name: found[id(state[name])] for name in parameters},
    )


def _leaves(trial: Trial) -> list[Rounded | None]:
    """The inputs, recorded where they have a gradient; an object given twice is one leaf."""
    precision, found = trial.precision, dict[int, Rounded]()
    for place, x in zip(trial.row.inputs, trial.case.inputs, strict=False):
        if x is not None and id(x) not in found:
            recorded = place.differentiable and x.dtype.kind in "fc"
            found[id(x)] = leaf(x, precision) if recorded else exactly(x, precision)
    return [None if x is None else found[id(x)] for x in trial.case.inputs]


def _pulled(
    outputs: Sequence[Rounded | Choices],
    cotangents: Sequence[Rounded | None],
    leaves: Sequence[Rounded],
) -> dict[int, Any]:
    """The cotangent of each leaf; where an output has several right values, each one's."""
    asked = [x for x, c in zip(outputs, cotangents, strict=True) if c is not None]
    several = max((len(x.alternatives) for x in asked if isinstance(x, Choices)), default=1)
    ways = []
    for k in range(several):
        chosen = [
            x.alternatives[k % len(x.alternatives)] if isinstance(x, Choices) else x
            for x in outputs
        ]
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            ways.append(pull_back(chosen, cotangents, leaves))
    if several == 1:
        return dict(zip(map(id, leaves), ways[0], strict=True))
    return {id(x): Choices(tuple(way[k] for way in ways)) for k, x in enumerate(leaves)}


def _unpacked(result: Any) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    if not isinstance(result, tuple) or len(result) != 2 or not isinstance(result[1], Mapping):
        expected = "(input gradients, parameter gradients)"
        raise Failure(returned("vjp", type(result).__name__, expected))
    return tuple(result[0]), result[1]


def _same_names(got: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    if set(got) != set(wanted):
        raise Failure(differs("names", "parameter gradients", sorted(got), sorted(wanted)))


def _compared(trial: Trial, name: str, got: Any, wanted: Rounded | None, again: str) -> Evidence:
    if wanted is None:
        if got is not None:
            none = "None: it has no gradient"
            raise Failure(differs("presence", name, "an array", none, when=again))
        return Evidence(1)
    if got is None:
        array = f"an array of shape {wanted.shape}"
        raise Failure(differs("presence", name, "None", array, when=again))
    return compare(name, trial.get(got), wanted, when=again, kind="gradient")


def _recorded_forward(trial: Trial) -> Evidence:
    """The outputs computed while gradients are recorded, where the backend offers them."""
    forward = getattr(trial.layer, "forward_grad", None)
    if forward is None:
        return Evidence()
    result = trial.step("forward_grad", forward, *trial.natives, **trial.case.keywords)
    outputs = trial.unpacked(result)
    evidence = Evidence()
    for name, native, wanted in zip(trial.names, outputs, trial.expected, strict=True):
        evidence += compare(name, trial.get(native), wanted, when="while recording gradients")
    return evidence
