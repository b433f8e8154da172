"""Which memory layout the check `layout` gives each tensor of a case."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np

from conformance.backends.numpy_layouts import window_steps
from conformance.layers import CATALOGUE
from conformance.model.case import Case
from conformance.strategies.layouts import list_layouts, overlap, repeat_first


@dataclass(frozen=True)
class Cotangent:
    """The cotangent of the output with index `output_index`, as a key of `Layouts`."""

    output_index: int


# A key is the index of an input, the state_dict name of a tensor, or a cotangent.
TensorKey = int | str | Cotangent
Layouts = dict[TensorKey, str]

CONTIGUOUS = "contiguous"

_STREAM = 0x6C61796F  # this check's own random numbers of a case
# Those of an input that is laid out as overlapping windows: none for the seed 0 of pinned cases.
_STREAM_OF_WINDOWS = 0x74696C65


def choose_layouts(case: Case) -> tuple[Layouts, Case]:
    """Choose a layout for every tensor, not all contiguous, and adapt the case's data to them."""
    generator = np.random.default_rng((case.seed, _STREAM))
    tensors: dict[TensorKey, np.ndarray] = {
        k: x for k, x in enumerate(case.inputs) if x is not None
    }
    if CATALOGUE[case.call.layer].oracle.parts is None:
        # The layouts of a part's own tensors belong to the part's own cases.
        tensors.update(case.call.state)
    unexpandable = unexpandable_tensors(case)
    layouts = _channels_last_layouts(tensors, generator)
    for key, array in tensors.items():
        if key not in layouts:
            choices = ("contiguous", *_possible_layouts(array, key in unexpandable))
            layouts[key] = choices[generator.integers(len(choices))]
    if set(layouts.values()) <= {"contiguous"}:
        key = list(tensors)[generator.integers(len(tensors))]
        choices = _possible_layouts(tensors[key], key in unexpandable)
        layouts[key] = choices[generator.integers(len(choices))]
    for key, layout in layouts.items():
        if layout == "expanded":
            tensors[key] = _make_constant(tensors[key], generator)
    _overlap_an_input(case, tensors, layouts, unexpandable)
    layouts |= _choose_cotangent_layouts(case, layouts.get(0), generator)
    inputs = tuple(tensors.get(k) for k in range(len(case.inputs)))
    state = {name: tensors.get(name, x) for name, x in case.call.state.items()}
    return layouts, replace(case, inputs=inputs, call=replace(case.call, state=state))


def _overlap_an_input(
    case: Case,
    tensors: dict[TensorKey, np.ndarray],
    layouts: dict[TensorKey, str],
    unexpandable: Collection[TensorKey],
) -> None:
    """In every third case, make an input of any value overlapping windows of a signal.

    Deliberate combinations with channels_last stay.
    """
    if "channels_last" in layouts.values():
        return
    inputs = CATALOGUE[case.call.layer].signature.inputs
    eligible = [
        index
        for index, input_spec in enumerate(inputs)
        if input_spec.any_value
        and index not in unexpandable
        and index in tensors
        and sum(size > 1 for size in tensors[index].shape) > 1
    ]
    generator = np.random.default_rng((case.seed, _STREAM_OF_WINDOWS))
    if not eligible or generator.integers(3):
        return
    index = eligible[generator.integers(len(eligible))]
    array = tensors[index]
    *others, axis = [axis for axis, size in enumerate(array.shape) if size > 1]
    steps = window_steps(array.shape[axis])
    frames, step = others[generator.integers(len(others))], steps[generator.integers(len(steps))]
    layouts[index] = "unfolded"
    tensors[index] = overlap(array, frames, axis, int(step))


def _choose_cotangent_layouts(
    case: Case, first: str | None, generator: np.random.Generator
) -> Layouts:
    """Choose a layout for each cotangent: half of the time that of the first input, if possible."""
    spec, layouts = CATALOGUE[case.call.layer], dict[TensorKey, str]()
    shapes = spec.output_shapes(case)
    for index, (output, shape) in enumerate(zip(spec.signature.outputs, shapes, strict=False)):
        if shape is not None and output.differentiable:
            choices = ("contiguous", *list_layouts(shape))
            layout = choices[generator.integers(len(choices))]
            like_first = generator.integers(2) and first in choices
            layouts[Cotangent(index)] = str(first) if like_first else layout
    return layouts


def unexpandable_tensors(case: Case) -> Collection[TensorKey]:
    """The tensors that must not be `expanded`: they are written into, or have fixed elements."""
    spec = CATALOGUE[case.call.layer]
    indices = range(len(case.inputs))
    updated = spec.traits.updates_state(case.call)
    parameters = () if updated else spec.parameter_names(case)
    return {
        *(
            index
            for index in indices
            if spec.signature.inputs[index].updated or spec.is_fixed(case, index)
        ),
        *(name for name in case.call.state if name not in parameters),
    }


def _possible_layouts(array: np.ndarray, unexpandable: bool) -> tuple[str, ...]:
    """The layouts that a tensor can have; `expanded` is excluded for one that is written into."""
    return tuple(x for x in list_layouts(array.shape) if not (unexpandable and x == "expanded"))


def _channels_last_layouts(
    tensors: Mapping[TensorKey, np.ndarray], generator: np.random.Generator
) -> Layouts:
    """Layouts of deliberate combinations with channels_last; empty for half of the cases.

    In one case of four, all tensors that allow it are channels_last, as in a converted model. In
    another, the input is channels_last and the rest transposed, because kernels for channels_last
    guess the weight's layout from its strides.
    """
    possible_layouts = {key: list_layouts(array.shape) for key, array in tensors.items()}
    if "channels_last" not in possible_layouts.get(0, ()):
        return {}
    combination = generator.integers(4)
    if combination > 1:
        return {}
    layout = ("channels_last", "transposed")[combination]
    return {key: layout for key, names in possible_layouts.items() if layout in names} | {
        0: "channels_last"
    }


def _make_constant(array: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Make the array constant along one axis."""
    axes = [axis for axis, size in enumerate(array.shape) if size > 1]
    return repeat_first(array, [axes[generator.integers(len(axes))]])
