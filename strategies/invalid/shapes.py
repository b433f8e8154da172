"""Breaks that follow from a layer's shapes: another rank, another size, a missing tensor."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any, TypeVar

import numpy as np
from conformance.strategies.invalid.breaks import (
    Break,
    integer_input,
    resize_inputs,
    wrong_sizes,
)
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case
from conformance.spec.notation import Axis
from conformance.spec.shapes import Shape, ShapeError, Shapes, Sizes
from conformance.spec.signature import Input, Signature

Result = TypeVar("Result")


def shape_breaks(
    signature: Signature,
    shapes: Shapes,
    *,
    excluded: Collection[str] = (),
    broadcast: bool = False,
) -> tuple[Break, ...]:
    """The breaks of a layer's inputs: dtype, rank, sizes that something decides, presence.

    Args:
        excluded: patterns (`*` matches anything) of breaks to leave out: valid calls, and breaks
            that the layer defines itself.
        broadcast: inputs broadcast, so that a size of 1 is valid.

    Raises:
        ValueError: if a pattern matches no break.
    """
    places = range(len(signature.inputs))
    all_breaks = [b for place in places for b in _breaks(signature, shapes, place, broadcast)]
    for text in excluded:
        if not any(_matches(b, (text,)) for b in all_breaks):
            raise ValueError(f"no such break: {text}")
    optional_inputs = {
        x.name for x in signature.inputs if x.role in ("hidden", "mask") and x.optional
    }
    completed = [
        _add_missing_inputs(signature, shapes, b) if b.argument in optional_inputs else b
        for b in all_breaks
    ]
    return tuple(b for b in completed if not _matches(b, excluded))


def _matches(break_: Break, patterns: Collection[str]) -> bool:
    return any(fnmatchcase(break_.name, name) for name in patterns)


def _add_missing_inputs(signature: Signature, shapes: Shapes, break_: Break) -> Break:
    """A break of a hidden state or of a mask, which is added first to calls that leave it out.

    Hidden states are added together; an added mask has no optional axes.
    """
    roles = {x.name: x.role for x in signature.inputs}
    hidden = roles[break_.argument] == "hidden"

    def complete(case: Case) -> Case:
        sizes = bind_sizes(signature, shapes, case)
        inputs = [*case.inputs, *[None] * (len(signature.inputs) - len(case.inputs))]
        for place, tensor in enumerate(signature.inputs):
            is_added = tensor.role == "hidden" if hidden else tensor.name == break_.argument
            if inputs[place] is not None or not is_added:
                continue
            for axis in shapes.tensors[tensor.name].axes:
                if sizes.axis_count(axis) is None:
                    sizes.from_tensors[axis.presence_key] = None
            shape = shapes.shape(tensor.name, sizes)
            if shape is not None:
                inputs[place] = np.ones(shape)
        return replace(case, inputs=tuple(inputs))

    return replace(
        break_,
        apply=lambda draw, case: break_.apply(draw, complete(case)),
        applies=lambda case: break_.applies(complete(case)),
    )


def _drop_states(signature: Signature, function: Callable[..., Result]) -> Callable[..., Result]:
    """Wrap a function whose last argument is a case: drop the case's optional hidden states."""
    hidden = {k for k, x in enumerate(signature.inputs) if x.role == "hidden" and x.optional}

    def call_without_states(*arguments: Any) -> Result:
        *other_arguments, case = arguments
        inputs = tuple(None if k in hidden else x for k, x in enumerate(case.inputs))
        return function(*other_arguments, replace(case, inputs=inputs))

    return call_without_states


def _breaks(signature: Signature, shapes: Shapes, place: int, broadcast: bool) -> Iterator[Break]:
    tensor = signature.inputs[place]
    if tensor.role in ("data", "hidden", "weight", "bias"):
        yield Break(
            f"{tensor.name} of another dtype",
            tensor.name,
            integer_input(place),
            applies=_is_present(place),
            constraint=f"{tensor.name} has the dtype of the call",
        )
    if tensor.name in shapes.index_limits:
        yield from _index_breaks(signature, shapes, place)
    text = f"{tensor.name} has the axes ({shapes.texts[tensor.name]})"
    apply = _change_rank(signature, shapes, place)
    applies = _has_other_ranks(signature, shapes, place)
    if tensor.role != "hidden":
        # With a hidden state the rank of the input would contradict the rank of the state.
        apply, applies = _drop_states(signature, apply), _drop_states(signature, applies)
    yield Break(
        f"{tensor.name} of another rank", tensor.name, apply,
        applies=applies, constraint=text,
    )  # fmt: skip
    for axis, reason in _decided_axes(signature, shapes, tensor):
        yield Break(
            f"{tensor.name} of another {axis.size.text}",
            tensor.name,
            _change_size(signature, shapes, place, axis, broadcast),
            applies=_has_size(signature, shapes, place, axis, broadcast),
            constraint=f"{axis.size.text} of {tensor.name} is {reason}",
        )
    if not tensor.optional and place:
        yield Break(
            f"{tensor.name} missing", tensor.name, _drop_input(place),
            missing=True, constraint=f"{tensor.name} is required",
        )  # fmt: skip


def _index_breaks(signature: Signature, shapes: Shapes, place: int) -> Iterator[Break]:
    """The breaks of an input that holds indices."""
    name = signature.input_names[place]
    size = shapes.index_limits[name]

    def has_elements(case: Case) -> bool:
        return _is_present(place)(case) and 0 not in _array_shape(case, place)

    def set_index(draw: Draw, case: Case, value: int) -> Case:
        index = np.array(case.inputs[place])
        index.reshape(-1)[draw(st.integers(0, index.size - 1))] = value
        return _replace_input(case, place, index)

    def above_limit(draw: Draw, case: Case) -> Case:
        limit = shapes.index_limit(name, bind_sizes(signature, shapes, case))
        assert limit is not None
        return set_index(draw, case, limit + draw(st.integers(0, 2)))

    def negative(draw: Draw, case: Case) -> Case:
        return set_index(draw, case, -1 - draw(st.integers(0, 2)))

    def fractions(draw: Draw, case: Case) -> Case:
        return _replace_input(case, place, np.asarray(case.inputs[place], float))

    text = f"{name} holds whole numbers from 0 to below {size}"
    yield Break(
        f"{name} not below {size}", name, above_limit, applies=has_elements, constraint=text
    )
    yield Break(f"{name} below 0", name, negative, applies=has_elements, constraint=text)
    yield Break(f"{name} of another dtype", name, fractions, applies=_is_present(place),
                constraint=text)  # fmt: skip


def _decided_axes(
    signature: Signature, shapes: Shapes, tensor: Input
) -> Iterator[tuple[Axis, str]]:
    """The axes of an input whose size is decided elsewhere, each with a text saying by what."""
    earlier_inputs = signature.input_names[: signature.input_names.index(tensor.name)]
    seen = set[str]()
    for axis in (a for axes in shapes.tensors[tensor.name].alternatives for a in axes):
        name = axis.name
        if axis.size.text in seen:
            continue
        seen.add(axis.size.text)
        deciding_inputs = [n for n in earlier_inputs if name in shapes.tensors[n].names]
        if name in signature.shape_names:
            yield axis, "the argument"
        elif name in shapes.let:
            yield axis, shapes.let[name]
        elif not name and axis.size.names:
            yield axis, f"what follows from {' and '.join(axis.size.names)}"
        elif name and deciding_inputs:
            yield axis, f"that of {deciding_inputs[0]}"


def bind_sizes(signature: Signature, shapes: Shapes, case: Case) -> Sizes:
    """The sizes of a valid case."""
    pairs = zip(signature.input_names, case.inputs, strict=False)
    input_shapes = {name: x.shape for name, x in pairs if x is not None}
    return signature.bind(shapes, _arguments(case), input_shapes)


def _arguments(case: Case) -> dict[str, Any]:
    """Arguments of the constructor and keywords of the call, by name."""
    arguments = {name: value for name, value in case.call.arguments.items() if name != "*"}
    return {**arguments, **case.keywords}


def _is_present(place: int) -> Callable[[Case], bool]:
    return lambda case: place < len(case.inputs) and case.inputs[place] is not None


def _array_shape(case: Case, place: int) -> tuple[int, ...]:
    array = case.inputs[place]
    assert array is not None
    return array.shape


def _invalid_rank_shapes(
    signature: Signature, shapes: Shapes, place: int, case: Case
) -> list[tuple[int, ...]]:
    """Invalid shapes with too few axes, or with one or two too many."""
    if not _is_present(place)(case):
        return []
    name, shape = signature.input_names[place], _array_shape(case, place)
    other_shapes = {
        signature.input_names[k]: x.shape
        for k, x in enumerate(case.inputs)
        if k != place and x is not None
    }
    arguments = _arguments(case)

    def invalid_shapes(candidates: Iterable[tuple[int, ...]]) -> list[tuple[int, ...]]:
        return [
            x
            for x in candidates
            if not _is_valid(signature, shapes, arguments, {**other_shapes, name: x})
        ]

    longer = invalid_shapes((*shape[:k], 1, *shape[k:]) for k in range(len(shape) + 1))
    shorter = invalid_shapes((shape[:-1], *(shape[k:] for k in range(1, len(shape) + 1))))
    # One axis more may be valid, because it is the batch: then two more.
    shapes_found = (longer or invalid_shapes([(1, 1, *shape)])) + shorter
    return list(dict.fromkeys(shapes_found))


def _is_valid(
    signature: Signature,
    shapes: Shapes,
    arguments: Mapping[str, Any],
    input_shapes: Mapping[str, Shape],
) -> bool:
    try:
        signature.bind(shapes, arguments, input_shapes)
    except ShapeError:
        return False
    return True


def _has_other_ranks(signature: Signature, shapes: Shapes, place: int) -> Callable[[Case], bool]:
    return lambda case: bool(_invalid_rank_shapes(signature, shapes, place, case))


def _change_rank(signature: Signature, shapes: Shapes, place: int) -> Callable[[Draw, Case], Case]:
    def apply(draw: Draw, case: Case) -> Case:
        wrong_shapes = _invalid_rank_shapes(signature, shapes, place, case)
        return _drop_fixing_keywords(
            signature, resize_inputs(case, {place: draw(st.sampled_from(wrong_shapes))})
        )

    return apply


def _axis_positions(
    signature: Signature, shapes: Shapes, place: int, axis: Axis, broadcast: bool, case: Case
) -> list[int]:
    if not _is_present(place)(case):
        return []
    places = shapes.axes_of(signature.input_names[place], bind_sizes(signature, shapes, case))
    positions = [k for k, place_ in enumerate(places) if place_.axis.size.text == axis.size.text]
    return [k for k in positions if not broadcast or _array_shape(case, place)[k] > 1]


def _has_size(
    signature: Signature, shapes: Shapes, place: int, axis: Axis, broadcast: bool
) -> Callable[[Case], bool]:
    """Whether the input has the axis, and another tensor or an argument decides its size."""

    def applies(case: Case) -> bool:
        if not _axis_positions(signature, shapes, place, axis, broadcast, case):
            return False
        sizes = bind_sizes(signature, shapes, case)
        if not axis.name or sizes.is_determined(axis.name):
            return True
        tensors = [
            name
            for position, name in enumerate(signature.input_names)
            if position != place and _is_present(position)(case)
        ]
        return any(axis.name in shapes.tensors[name].names for name in tensors)

    return applies


def _change_size(
    signature: Signature, shapes: Shapes, place: int, axis: Axis, broadcast: bool
) -> Callable[[Draw, Case], Case]:
    def apply(draw: Draw, case: Case) -> Case:
        shape = list(_array_shape(case, place))
        position = draw(
            st.sampled_from(_axis_positions(signature, shapes, place, axis, broadcast, case))
        )
        shape[position] = draw(wrong_sizes(shape[position], broadcast=broadcast))
        changed = resize_inputs(case, {place: shape})
        is_argument = axis.name in (*shapes.let, *signature.shape_names)
        return changed if is_argument else _drop_fixing_keywords(signature, changed)

    return apply


def _drop_fixing_keywords(signature: Signature, case: Case) -> Case:
    """The case without the keywords that fix its sizes, such as `output_size`."""
    fixing = {a.name for a in signature.arguments if a.ties.fixes_sizes}
    return replace(case, keywords={k: v for k, v in case.keywords.items() if k not in fixing})


def _drop_input(place: int) -> Callable[[Draw, Case], Case]:
    return lambda draw, case: _replace_input(case, place, None)


def _replace_input(case: Case, place: int, array: np.ndarray | None) -> Case:
    """The case with another array as one of its inputs."""
    return replace(case, inputs=(*case.inputs[:place], array, *case.inputs[place + 1 :]))
