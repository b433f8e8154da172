"""Breaks that follow from a layer's shapes: another rank, another size, a missing tensor."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any, TypeVar

import numpy as np
from conformance.strategies.invalid.breaks import (
    CUSTOMARY,
    DOCUMENTED,
    Break,
    integer_input,
    with_inputs,
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
    without: Collection[str] = (),
    customary: Collection[str] = (),
    broadcast: bool = False,
) -> tuple[Break, ...]:
    """The breaks of a layer's inputs: dtype, rank, sizes that something decides, presence.

    Args:
        without: patterns (`*` matches anything) of breaks to leave out: valid calls, and breaks
            that the layer defines itself.
        customary: patterns of breaks that torch merely happens to refuse.
        broadcast: inputs broadcast, so that a size of 1 is valid.

    Raises:
        ValueError: if a pattern matches no break.
    """
    places = range(len(signature.inputs))
    found = [b for place in places for b in _breaks(signature, shapes, place, broadcast)]
    for text in (*without, *customary):
        if not any(_named(b, (text,)) for b in found):
            raise ValueError(f"no such break: {text}")
    left_out = {x.name for x in signature.inputs if x.role in ("hidden", "mask") and x.optional}
    completed = [
        _with_inputs_of(signature, shapes, b) if b.argument in left_out else b for b in found
    ]
    return tuple(
        replace(b, required=CUSTOMARY) if _named(b, customary) else b
        for b in completed
        if not _named(b, without)
    )


def _named(known: Break, names: Collection[str]) -> bool:
    return any(fnmatchcase(known.name, name) for name in names)


def _with_inputs_of(signature: Signature, shapes: Shapes, known: Break) -> Break:
    """A break of a hidden state or of a mask, which is added first to calls that leave it out.

    Hidden states are added together; an added mask has no optional axes.
    """
    roles = {x.name: x.role for x in signature.inputs}
    hidden = roles[known.argument] == "hidden"

    def filled(case: Case) -> Case:
        sizes = sizes_of(signature, shapes, case)
        inputs = [*case.inputs, *[None] * (len(signature.inputs) - len(case.inputs))]
        for place, tensor in enumerate(signature.inputs):
            wanted = tensor.role == "hidden" if hidden else tensor.name == known.argument
            if inputs[place] is not None or not wanted:
                continue
            for axis in shapes.tensors[tensor.name].axes:
                if sizes.count(axis) is None:
                    sizes.found[axis.presence] = None
            shape = shapes.shape(tensor.name, sizes)
            if shape is not None:
                inputs[place] = np.ones(shape)
        return replace(case, inputs=tuple(inputs))

    return replace(
        known,
        apply=lambda draw, case: known.apply(draw, filled(case)),
        applies=lambda case: known.applies(filled(case)),
    )


def _without_states(signature: Signature, function: Callable[..., Result]) -> Callable[..., Result]:
    """Wrap a function whose last argument is a case: drop the case's optional hidden states."""
    hidden = {k for k, x in enumerate(signature.inputs) if x.role == "hidden" and x.optional}

    def called(*arguments: Any) -> Result:
        *before, case = arguments
        inputs = tuple(None if k in hidden else x for k, x in enumerate(case.inputs))
        return function(*before, replace(case, inputs=inputs))

    return called


def _breaks(signature: Signature, shapes: Shapes, place: int, broadcast: bool) -> Iterator[Break]:
    tensor = signature.inputs[place]
    if tensor.role in ("data", "hidden", "weight", "bias"):
        # A hidden state or bias is only added to a result: torch may promote its dtype.
        added = tensor.role in ("hidden", "bias")
        yield Break(
            f"{tensor.name} of another dtype",
            tensor.name,
            integer_input(place),
            CUSTOMARY if added else DOCUMENTED,
            applies=_present(place),
            constraint=f"{tensor.name} has the dtype of the call",
        )
    if tensor.name in shapes.below:
        yield from _of_indices(signature, shapes, place)
    text = f"{tensor.name} has the axes ({shapes.texts[tensor.name]})"
    apply = _another_rank(signature, shapes, place)
    applies = _has_other_ranks(signature, shapes, place)
    if tensor.role != "hidden":
        # With a hidden state the rank of the input would contradict the rank of the state.
        apply, applies = _without_states(signature, apply), _without_states(signature, applies)
    yield Break(
        f"{tensor.name} of another rank", tensor.name, apply,
        applies=applies, constraint=text,
    )  # fmt: skip
    for axis, reason in _decided(signature, shapes, tensor):
        yield Break(
            f"{tensor.name} of another {axis.size.text}",
            tensor.name,
            _another_size(signature, shapes, place, axis, broadcast),
            applies=_has_size(signature, shapes, place, axis, broadcast),
            constraint=f"{axis.size.text} of {tensor.name} is {reason}",
        )
    if not tensor.optional and place:
        yield Break(
            f"{tensor.name} missing", tensor.name, _missing(place),
            missing=True, constraint=f"{tensor.name} is required",
        )  # fmt: skip


def _of_indices(signature: Signature, shapes: Shapes, place: int) -> Iterator[Break]:
    """The breaks of an input that holds indices."""
    name = signature.input_names[place]
    size = shapes.below[name]

    def filled(case: Case) -> bool:
        return _present(place)(case) and 0 not in _array_shape(case, place)

    def with_index(draw: Draw, case: Case, value: int) -> Case:
        index = np.array(case.inputs[place])
        index.reshape(-1)[draw(st.integers(0, index.size - 1))] = value
        return _with(case, place, index)

    def beyond(draw: Draw, case: Case) -> Case:
        limit = shapes.limit(name, sizes_of(signature, shapes, case))
        assert limit is not None
        return with_index(draw, case, limit + draw(st.integers(0, 2)))

    def negative(draw: Draw, case: Case) -> Case:
        return with_index(draw, case, -1 - draw(st.integers(0, 2)))

    def fractions(draw: Draw, case: Case) -> Case:
        return _with(case, place, np.asarray(case.inputs[place], float))

    text = f"{name} holds whole numbers from 0 to below {size}"
    yield Break(f"{name} not below {size}", name, beyond, applies=filled, constraint=text)
    yield Break(f"{name} below 0", name, negative, applies=filled, constraint=text)
    yield Break(f"{name} of another dtype", name, fractions, applies=_present(place),
                constraint=text)  # fmt: skip


def _decided(signature: Signature, shapes: Shapes, tensor: Input) -> Iterator[tuple[Axis, str]]:
    """The axes of an input whose size is decided elsewhere, each with a text saying by what."""
    before = signature.input_names[: signature.input_names.index(tensor.name)]
    seen = set[str]()
    for axis in (a for axes in shapes.tensors[tensor.name].forms for a in axes):
        name = axis.name
        if axis.size.text in seen:
            continue
        seen.add(axis.size.text)
        others = [n for n in before if name in shapes.tensors[n].names]
        if name in signature.named:
            yield axis, "the argument"
        elif name in shapes.let:
            yield axis, shapes.let[name]
        elif not name and axis.size.names:
            yield axis, f"what follows from {' and '.join(axis.size.names)}"
        elif name and others:
            yield axis, f"that of {others[0]}"


def sizes_of(signature: Signature, shapes: Shapes, case: Case) -> Sizes:
    """The sizes of a valid case."""
    pairs = zip(signature.input_names, case.inputs, strict=False)
    given = {name: x.shape for name, x in pairs if x is not None}
    return signature.bind(shapes, _arguments(case), given)


def _arguments(case: Case) -> dict[str, Any]:
    """Arguments of the constructor and keywords of the call, by name."""
    named = {name: value for name, value in case.call.arguments.items() if name != "*"}
    return {**named, **case.keywords}


def _present(place: int) -> Callable[[Case], bool]:
    return lambda case: place < len(case.inputs) and case.inputs[place] is not None


def _array_shape(case: Case, place: int) -> tuple[int, ...]:
    array = case.inputs[place]
    assert array is not None
    return array.shape


def _other_ranks(
    signature: Signature, shapes: Shapes, place: int, case: Case
) -> list[tuple[int, ...]]:
    """Invalid shapes with too few axes, or with one or two too many."""
    if not _present(place)(case):
        return []
    name, shape = signature.input_names[place], _array_shape(case, place)
    others = {
        signature.input_names[k]: x.shape
        for k, x in enumerate(case.inputs)
        if k != place and x is not None
    }
    arguments = _arguments(case)

    def refused(candidates: Iterable[tuple[int, ...]]) -> list[tuple[int, ...]]:
        return [
            x for x in candidates if not _fits(signature, shapes, arguments, {**others, name: x})
        ]

    longer = refused((*shape[:k], 1, *shape[k:]) for k in range(len(shape) + 1))
    shorter = refused((shape[:-1], *(shape[k:] for k in range(1, len(shape) + 1))))
    # One axis more may be valid, because it is the batch: then two more.
    found = (longer or refused([(1, 1, *shape)])) + shorter
    return list(dict.fromkeys(found))


def _fits(
    signature: Signature, shapes: Shapes, arguments: Mapping[str, Any], given: Mapping[str, Shape]
) -> bool:
    try:
        signature.bind(shapes, arguments, given)
    except ShapeError:
        return False
    return True


def _has_other_ranks(signature: Signature, shapes: Shapes, place: int) -> Callable[[Case], bool]:
    return lambda case: bool(_other_ranks(signature, shapes, place, case))


def _another_rank(signature: Signature, shapes: Shapes, place: int) -> Callable[[Draw, Case], Case]:
    def apply(draw: Draw, case: Case) -> Case:
        others = _other_ranks(signature, shapes, place, case)
        return _unfixed(signature, with_inputs(case, {place: draw(st.sampled_from(others))}))

    return apply


def _axes_of(
    signature: Signature, shapes: Shapes, place: int, axis: Axis, broadcast: bool, case: Case
) -> list[int]:
    if not _present(place)(case):
        return []
    places = shapes.places(signature.input_names[place], sizes_of(signature, shapes, case))
    found = [k for k, one in enumerate(places) if one.axis.size.text == axis.size.text]
    return [k for k in found if not broadcast or _array_shape(case, place)[k] > 1]


def _has_size(
    signature: Signature, shapes: Shapes, place: int, axis: Axis, broadcast: bool
) -> Callable[[Case], bool]:
    """Whether the input has the axis, and another tensor or an argument decides its size."""

    def applies(case: Case) -> bool:
        if not _axes_of(signature, shapes, place, axis, broadcast, case):
            return False
        sizes = sizes_of(signature, shapes, case)
        if not axis.name or sizes.decided(axis.name):
            return True
        tensors = [
            name
            for other, name in enumerate(signature.input_names)
            if other != place and _present(other)(case)
        ]
        return any(axis.name in shapes.tensors[name].names for name in tensors)

    return applies


def _another_size(
    signature: Signature, shapes: Shapes, place: int, axis: Axis, broadcast: bool
) -> Callable[[Draw, Case], Case]:
    def apply(draw: Draw, case: Case) -> Case:
        shape = list(_array_shape(case, place))
        at = draw(st.sampled_from(_axes_of(signature, shapes, place, axis, broadcast, case)))
        shape[at] = draw(wrong_sizes(shape[at], broadcast=broadcast))
        changed = with_inputs(case, {place: shape})
        named = axis.name in (*shapes.let, *signature.named)
        return changed if named else _unfixed(signature, changed)

    return apply


def _unfixed(signature: Signature, case: Case) -> Case:
    """The case without the keywords that fix its sizes, such as `output_size`."""
    fixing = {a.name for a in signature.arguments if a.ties.fixes_sizes}
    return replace(case, keywords={k: v for k, v in case.keywords.items() if k not in fixing})


def _missing(place: int) -> Callable[[Draw, Case], Case]:
    return lambda draw, case: _with(case, place, None)


def _with(case: Case, place: int, array: np.ndarray | None) -> Case:
    """The case with another array as one of its inputs."""
    return replace(case, inputs=(*case.inputs[:place], array, *case.inputs[place + 1 :]))
