"""Cases derived from a case: on another layer object, with other inputs, form or size."""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from conformance.arithmetic.choices import Choices, join_choices
from conformance.arithmetic.rounded import Rounded
from conformance.checks.trial import Trial
from conformance.layers import CATALOGUE
from conformance.layers.fitting import fit_arguments, select_places
from conformance.model.case import Call, Case
from conformance.model.protocols import Layer
from conformance.spec.layer_spec import LayerSpec

Arrays = Mapping[str, np.ndarray]

ON_OWN_WEIGHT = "on its own weight"
"""The `during` text for a call whose input is a tensor of the layer's own state."""
MAX_ELEMENTS_ON_OWN_WEIGHT = 512
"""The largest number of elements of the weight, and of the outputs, of such a call."""

# Case → the case with other weights; kept, since the oracle's answers are cached by case.
_NEGATED: WeakKeyDictionary[Case, Case] = WeakKeyDictionary()


def always_draws(spec: LayerSpec) -> bool:
    """Whether every call of a layer draws random numbers."""
    mode = {"training": False} if spec.signature.argument("training") else {}
    return spec.randomness.is_used(Call(spec.name, mode, {}, "float32", "cpu"))


def updates_state(trial: Trial) -> bool:
    """Whether the call changes the layer's state, or inputs."""
    return bool(trial.spec.traits.updates_state(trial.case.call))


def sibling(trial: Trial, layer: Layer | None = None, **changes: Any) -> Trial:
    """A trial of a changed case of the same layer.

    Args:
        trial: the trial to start from.
        layer: the built layer to call; None = a new one.
        changes: fields of the case; `arguments`, `state` and `training` are fields of its call.
    """
    case = trial.case
    call_changes = {k: changes.pop(k) for k in ("arguments", "state", "training") if k in changes}
    if (
        layer is not None
        and "state" not in call_changes
        and case.call.state
        and updates_state(trial)
    ):
        # The state as the calls before left it. Missing names are reported elsewhere.
        call_changes["state"] = {**case.call.state, **(read_state(trial, layer) or {})}
    if call_changes:
        changes["call"] = replace(case.call, **call_changes)
    if case.keywords:
        changes.setdefault("keywords", deepcopy(dict(case.keywords)))
    case = replace(case, **changes) if changes else case
    new_trial = trial.trial_of(case)
    if layer is not None:
        new_trial.layer = layer
    return new_trial


def with_other_weights(trial: Trial, layer: Layer | None = None) -> Trial:
    """A sibling with every sign in the state changed, which keeps exact sums exact.

    `layer` is the built layer to call; None = a new one.
    """
    case = _NEGATED.get(trial.case)
    if case is None:
        first_input = trial.case.inputs[0]
        shape = () if first_input is None else first_input.shape
        constrained = trial.spec.constrained_names(trial.case.call.arguments, shape)
        state = {
            name: other_values(x, signed=name not in constrained)
            for name, x in trial.case.call.state.items()
        }
        case = replace(trial.case, call=replace(trial.case.call, state=state))
        _NEGATED[trial.case] = case
    new_trial = sibling(trial, layer, state=case.call.state)
    if case.call.state:
        new_trial.expected = trial.trial_of(case).expected
    return new_trial


def read_state(trial: Trial, layer: Layer) -> Arrays | None:
    """A layer's state on the host; None if the layer does not offer it."""
    if not hasattr(layer, "state"):
        return None
    return {k: trial.get(v) for k, v in trial.run_step("state", layer.state).items()}


def load_state(trial: Trial, layer: Layer, state: Arrays) -> None:
    """Load arrays into a layer, in the memory layouts of the call."""
    copies = {name: array.copy() for name, array in state.items()}
    trial.run_step("load", layer.load, copies, dict(trial.case.call.layouts))  # type: ignore[attr-defined]


def varied_inputs(trial: Trial) -> tuple[str, tuple[np.ndarray | None, ...]]:
    """The inputs with every sign of one of them changed, and its name; the seed chooses it."""
    inputs = [None if x is None else x.copy() for x in trial.case.inputs]
    spec = trial.spec
    indices = [
        k for k, x in enumerate(inputs) if x is not None and not spec.is_fixed(trial.case, k)
    ]
    index = indices[trial.case.seed % len(indices)]
    chosen = trial.case.inputs[index]
    assert chosen is not None
    inputs[index] = other_values(chosen, signed=trial.spec.signature.inputs[index].any_value)
    return trial.spec.signature.input_names[index], tuple(inputs)


def other_values(x: np.ndarray, *, signed: bool) -> np.ndarray:
    """The array with every sign changed if `signed`, else with its elements reversed.

    Either keeps exact sums exact.
    """
    if signed and x.dtype.kind in "fc":
        return np.asarray(-x)
    return np.asarray(x.reshape(-1)[::-1].reshape(x.shape))


def another_form(trial: Trial, varied: Trial) -> tuple[Trial, bool] | None:
    """Choose a call of another form on the same built layer, and say whether it is larger.

    Forms are: without keywords, without hidden states, two batches in one call (the second is that
    of `varied`), or one size larger by one. The seed chooses; None if no form is possible.
    """
    case = trial.case
    hidden = trial.spec.signature.input_indices("hidden")
    stateful = any(k < len(case.inputs) and case.inputs[k] is not None for k in hidden)
    forms: list[dict[str, Any]] = []
    if case.keywords and not trial.spec.variation.needs_keywords(case):
        forms.append({"keywords": {}})
    if stateful:
        forms.append({"inputs": case.inputs[: hidden[0]]})
    batches = None if case.keywords else _concatenate_batches(trial, varied)
    if batches is not None:
        forms.append({"inputs": batches, "layouts": ()})
    enlarged = enlarge_case(case)
    if enlarged is not None:
        forms.append({"inputs": enlarged.inputs, "layouts": ()})
    if not forms:
        return None
    form = forms[case.seed % len(forms)]
    new_trial = sibling(trial, trial.layer, **form)
    if form.get("inputs") is batches is not None and not updates_state(trial):
        new_trial.expected = _concatenate_expected(trial, varied)
    return new_trial, enlarged is not None and form.get("inputs") is enlarged.inputs


def enlarge_case(case: Case) -> Case | None:
    """The case with one size larger by one, not that of the batch, for the same built layer.

    It reveals a layer that keeps the first size it met. The seed chooses the size. None if every
    such change needs another state or other arguments.
    """
    spec = CATALOGUE[case.call.layer]
    groups = spec.resizable_axes(case)
    start = case.seed // 4 % max(len(groups), 1)  # the low bits choose the form
    for axes in (*groups[start:], *groups[:start]):
        index, axis = axes[0]
        x = case.inputs[index]
        if x is None or not x.size or axis == spec.batch_axis(case, index):
            continue
        size = x.shape[axis]
        resized_case = select_places(spec, case, axes, [k % size for k in range(size + 1)])
        if resized_case is not None and _same_layer(resized_case.call, case.call):
            return replace(case, inputs=resized_case.inputs, layouts=())
    return None


def case_on_own_weight(case: Case) -> Case | None:
    """The case with one of the layer's own parameters as an input, in every fourth case.

    The parameters of a function are its inputs with the role `"weight"`. Shapes of other inputs
    stay; optional ones may be left out. The seed chooses the parameter. None if no parameter is a
    valid input, or the call writes into state or inputs.
    """
    spec = CATALOGUE[case.call.layer]
    if case.seed % 4 or case.keywords or spec.traits.updates_state(case.call):
        return None
    weights = [case.call.state[name] for name in spec.parameter_names(case)]
    inputs = (case.inputs[k] for k in _inputs_of_any_value(spec, case, "weight"))
    weights += [x for x in inputs if x is not None]
    weights = [x for x in weights if 0 < x.size <= MAX_ELEMENTS_ON_OWN_WEIGHT]
    start = case.seed // 4 % max(len(weights), 1)
    for weight in (*weights[start:], *weights[:start]):
        for index in _inputs_of_any_value(spec, case, "data"):
            changed = _replace_input(spec, case, index, weight)
            if changed is None or _output_elements(spec, changed) > MAX_ELEMENTS_ON_OWN_WEIGHT:
                continue
            return changed
    return None


def _inputs_of_any_value(spec: LayerSpec, case: Case, role: str) -> list[int]:
    """The indices of the inputs with a role that a case gives, and that may hold any numbers."""
    return [
        index
        for index in spec.signature.input_indices(role)
        if spec.signature.inputs[index].any_value
        and not spec.is_fixed(case, index)
        and index < len(case.inputs)
        and case.inputs[index] is not None
    ]


def _output_elements(spec: LayerSpec, case: Case) -> int:
    return sum(math.prod(shape) for shape in spec.output_shapes(case) if shape is not None)


def _replace_input(spec: LayerSpec, case: Case, index: int, array: np.ndarray) -> Case | None:
    """The case with another array as an input; None where the call would be invalid."""
    old = case.inputs[index]
    if old is None or spec.shapes is None:
        return None  # without named sizes nobody knows which shapes are valid
    inputs = tuple(array if x is old else x for x in case.inputs)
    required = tuple(
        None if input_spec.optional else x
        for input_spec, x in zip(spec.signature.inputs, inputs, strict=False)
    )
    for new_inputs in (inputs, required):
        new_case = replace(case, inputs=new_inputs, layouts=())
        fitted = fit_arguments(spec, new_case, case.call.arguments)
        if (
            fitted is not None
            and _same_layer(fitted.call, case.call)
            and (
                [None if x is None else x.shape for x in fitted.inputs]
                == [None if x is None else x.shape for x in new_inputs]
            )
        ):
            return new_case
    return None


def _same_layer(first: Call, second: Call) -> bool:
    shapes = [{name: x.shape for name, x in call.state.items()} for call in (first, second)]
    return shapes[0] == shapes[1] and first.arguments == second.arguments


def _concatenate_batches(trial: Trial, varied: Trial) -> tuple[np.ndarray | None, ...] | None:
    """Concatenate the inputs of both along the batch; None if that is not possible."""
    inputs: list[np.ndarray | None] = []
    for index, (x, y) in enumerate(zip(trial.case.inputs, varied.case.inputs, strict=True)):
        axis = trial.spec.batch_axis(trial.case, index)
        if x is not None and y is not None and axis is not None:
            inputs.append(np.concatenate([x, y], axis))
        elif x is None or y is None or np.array_equal(x, y):
            inputs.append(x)
        else:
            return None
    spec, case = trial.spec, trial.case
    independent_rows = all(
        spec.output_batch_axis(case, output) is not None for output in trial.present_outputs
    )
    return tuple(inputs) if independent_rows and spec.batch_axis(case, 0) is not None else None


def _concatenate_expected(trial: Trial, varied: Trial) -> tuple[Rounded | Choices, ...]:
    """Concatenate the expected outputs of two batches, whose rows are independent."""
    expected = []
    for output, first, second in zip(
        trial.present_outputs, trial.expected, varied.expected, strict=True
    ):
        axis = trial.spec.output_batch_axis(trial.case, output)
        assert axis is not None
        expected.append(join_choices([first, second], axis))
    return tuple(expected)
