"""Cases derived from a case: on another layer object, with other inputs, form or size."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from conformance.arithmetic.choices import Choices, joined
from conformance.arithmetic.rounded import Rounded
from conformance.checks.trial import Trial
from conformance.layers import CATALOGUE
from conformance.layers.fitting import resized
from conformance.model.case import Call, Case
from conformance.model.protocols import Layer

Arrays = Mapping[str, np.ndarray]

# Case → the case with other weights; kept, since the oracle's answers are cached by case.
_NEGATED: WeakKeyDictionary[Case, Case] = WeakKeyDictionary()


def updates(trial: Trial) -> bool:
    """Whether the call changes the layer's state, or inputs."""
    return bool(trial.row.traits.updates(trial.case.call))


def sibling(trial: Trial, layer: Layer | None = None, **changes: Any) -> Trial:
    """A trial of a changed case of the same layer.

    Args:
        trial: the trial to start from.
        layer: the built layer to call; None = a new one.
        changes: fields of the case; `arguments`, `state` and `training` are fields of its call.
    """
    case = trial.case
    inner = {k: changes.pop(k) for k in ("arguments", "state", "training") if k in changes}
    if layer is not None and "state" not in inner and case.call.state and updates(trial):
        # The state as the calls before left it. Missing names are reported elsewhere.
        inner["state"] = {**case.call.state, **(state_of(trial, layer) or {})}
    if inner:
        changes["call"] = replace(case.call, **inner)
    if case.keywords:
        changes.setdefault("keywords", deepcopy(dict(case.keywords)))
    case = replace(case, **changes) if changes else case
    other = trial.other(case)
    if layer is not None:
        other.layer = layer
    return other


def with_other_weights(trial: Trial, layer: Layer | None = None) -> Trial:
    """A sibling with every sign in the state changed, which keeps exact sums exact.

    `layer` is the built layer to call; None = a new one.
    """
    case = _NEGATED.get(trial.case)
    if case is None:
        first = trial.case.inputs[0]
        shape = () if first is None else first.shape
        arguments = trial.case.call.arguments
        state = {
            name: other_values(x, signed=not trial.row.kept(name, arguments, shape))
            for name, x in trial.case.call.state.items()
        }
        case = replace(trial.case, call=replace(trial.case.call, state=state))
        _NEGATED[trial.case] = case
    other = sibling(trial, layer, state=case.call.state)
    if case.call.state:
        other.expected = trial.other(case).expected
    return other


def state_of(trial: Trial, layer: Layer) -> Arrays | None:
    """A layer's state on the host; None if the layer does not offer it."""
    if not hasattr(layer, "state"):
        return None
    return {k: trial.get(v) for k, v in trial.step("state", layer.state).items()}


def load(trial: Trial, layer: Layer, state: Arrays) -> None:
    """Load arrays into a layer, in the memory layouts of the call."""
    copies = {name: array.copy() for name, array in state.items()}
    trial.step("load", layer.load, copies, dict(trial.case.call.layouts))  # type: ignore[attr-defined]


def varied_inputs(trial: Trial) -> tuple[str, tuple[np.ndarray | None, ...]]:
    """The inputs with every sign of one of them changed, and its name; the seed chooses it."""
    inputs = [None if x is None else x.copy() for x in trial.case.inputs]
    row = trial.row
    given = [k for k, x in enumerate(inputs) if x is not None and not row.fixed(trial.case, k)]
    index = given[trial.case.seed % len(given)]
    chosen = trial.case.inputs[index]
    assert chosen is not None
    inputs[index] = other_values(chosen, signed=trial.row.signature.inputs[index].signed)
    return trial.row.signature.input_names[index], tuple(inputs)


def other_values(x: np.ndarray, *, signed: bool) -> np.ndarray:
    """The array with every sign changed if `signed`, else with its elements reversed.

    Either keeps exact sums exact.
    """
    if signed and x.dtype.kind in "fc":
        return np.asarray(-x)
    return np.asarray(x.reshape(-1)[::-1].reshape(x.shape))


def of_another_form(trial: Trial, varied: Trial) -> tuple[Trial, bool] | None:
    """Choose a call of another form on the same built layer, and say whether it is `larger`.

    Forms are: without keywords, without hidden states, two batches in one call (the second is that
    of `varied`), or one size larger by one. The seed chooses; None if no form is possible.
    """
    case = trial.case
    hidden = trial.row.signature.places("hidden")
    stateful = any(k < len(case.inputs) and case.inputs[k] is not None for k in hidden)
    forms: list[dict[str, Any]] = []
    if case.keywords and not trial.row.variation.needs_keywords(case):
        forms.append({"keywords": {}})
    if stateful:
        forms.append({"inputs": case.inputs[: hidden[0]]})
    batches = None if case.keywords else _two_batches(trial, varied)
    if batches is not None:
        forms.append({"inputs": batches, "layouts": ()})
    wider = larger(case)
    if wider is not None:
        forms.append({"inputs": wider.inputs, "layouts": ()})
    if not forms:
        return None
    form = forms[case.seed % len(forms)]
    other = sibling(trial, trial.layer, **form)
    if form.get("inputs") is batches is not None and not updates(trial):
        other.expected = _both(trial, varied)
    return other, wider is not None and form.get("inputs") is wider.inputs


def larger(case: Case) -> Case | None:
    """The case with one size larger by one, not that of the batch, for the same built layer.

    It reveals a layer that keeps the first size it met. The seed chooses the size. None if every
    such change needs another state or other arguments.
    """
    row = CATALOGUE[case.call.layer]
    groups = row.axes(case)
    first = case.seed // 4 % max(len(groups), 1)  # the low bits choose the form
    for axes in (*groups[first:], *groups[:first]):
        place, axis = axes[0]
        x = case.inputs[place]
        if x is None or not x.size or axis == row.batch_axis(case, place):
            continue
        size = x.shape[axis]
        found = resized(row, case, axes, [k % size for k in range(size + 1)])
        if found is not None and _same_layer(found.call, case.call):
            return replace(case, inputs=found.inputs, layouts=())
    return None


def _same_layer(one: Call, other: Call) -> bool:
    shapes = [{name: x.shape for name, x in call.state.items()} for call in (one, other)]
    return shapes[0] == shapes[1] and one.arguments == other.arguments


def _two_batches(trial: Trial, varied: Trial) -> tuple[np.ndarray | None, ...] | None:
    """Concatenate the inputs of both along the batch; None if that is not possible."""
    inputs: list[np.ndarray | None] = []
    for index, (x, y) in enumerate(zip(trial.case.inputs, varied.case.inputs, strict=True)):
        axis = trial.row.batch_axis(trial.case, index)
        if x is not None and y is not None and axis is not None:
            inputs.append(np.concatenate([x, y], axis))
        elif x is None or y is None or np.array_equal(x, y):
            inputs.append(x)
        else:
            return None
    row, case = trial.row, trial.case
    apart = all(row.output_batch_axis(case, output) is not None for output in trial.present)
    return tuple(inputs) if apart and row.batch_axis(case, 0) is not None else None


def _both(trial: Trial, varied: Trial) -> tuple[Rounded | Choices, ...]:
    """Concatenate the expected outputs of two batches, whose rows are independent."""
    both = []
    for output, one, two in zip(trial.present, trial.expected, varied.expected, strict=True):
        axis = trial.row.output_batch_axis(trial.case, output)
        assert axis is not None
        both.append(joined([one, two], axis))
    return tuple(both)
