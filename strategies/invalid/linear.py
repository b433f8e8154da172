"""Ways to break a valid call of a linear or bilinear layer."""

from __future__ import annotations

from conformance.strategies.invalid.breaks import (
    CUSTOMARY,
    Break,
    argument,
    axis_of,
    integer_input,
    negative,
    with_arguments,
    with_inputs,
    wrong_sizes,
)
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case


def _shape(case: Case, position: int) -> tuple[int, ...]:
    array = case.inputs[position]
    assert array is not None
    return array.shape


def _last(position: int) -> Break:
    def apply(draw: Draw, case: Case) -> Case:
        size = draw(wrong_sizes(_shape(case, position)[-1]))
        return axis_of(case, position, -1)(size)

    name = f"input{position + 1}" if position else "input"
    return Break(f"wrong number of features of {name}", name, apply)


def _scalar(draw: Draw, case: Case) -> Case:
    return with_inputs(case, {0: ()})


def _weight_rank(draw: Draw, case: Case) -> Case:
    position = len(case.inputs) - 2
    shape = _shape(case, position)
    other: list[tuple[int, ...]] = [(*shape, 1), (1, *shape), ()]
    if len(shape) == 3:
        other.append(shape[1:])
    if len(shape) == 1:
        # A matrix would be a weight as well.
        other = [(1, *shape, 1), ()]
    return with_inputs(case, {position: draw(st.sampled_from(other))})


def _outputs(case: Case) -> tuple[int, ...]:
    """The shape that the bias of a function must have."""
    if len(case.inputs) == 4:
        return _shape(case, 2)[:1]
    return _shape(case, 1)[:-1]


def _bias_length(draw: Draw, case: Case) -> Case:
    (size,) = _outputs(case)
    longer = st.sampled_from((size + 1, 2 * size + 1))
    shorter = st.just(size - 1) if size > 2 else longer
    return with_inputs(case, {len(case.inputs) - 1: (draw(longer | shorter),)})


def _bias_of_one(draw: Draw, case: Case) -> Case:
    return with_inputs(case, {len(case.inputs) - 1: (1,)})


def _bias_rank(draw: Draw, case: Case) -> Case:
    return with_inputs(case, {len(case.inputs) - 1: (1, *_outputs(case))})


def _matrix(case: Case) -> bool:
    return len(_outputs(case)) == 1


def _several_outputs(case: Case) -> bool:
    return _matrix(case) and _outputs(case)[0] > 1


def _no_inputs(name: str) -> Break:
    def apply(draw: Draw, case: Case) -> Case:
        position = 1 if name == "in2_features" else 0
        shape = (*_shape(case, position)[:-1], 0)
        return with_arguments(with_inputs(case, {position: shape}), **{name: 0})

    return Break(f"{name} zero", name, apply, required="documented" if "1" in name else CUSTOMARY)


def _leading_size(draw: Draw, case: Case) -> Case:
    shape = list(_shape(case, 1))
    axis = draw(st.integers(0, len(shape) - 2))
    shape[axis] = draw(wrong_sizes(shape[axis]))
    return with_inputs(case, {1: shape})


def _leading_rank(draw: Draw, case: Case) -> Case:
    return with_inputs(case, {1: (1, *_shape(case, 1))})


def _batched(case: Case) -> bool:
    return len(_shape(case, 0)) > 1


def linear_breaks(layer: str) -> tuple[Break, ...]:
    """The breaks of `"Linear"`, `"LazyLinear"` or `"functional.linear"`."""
    found = [Break("scalar input", "input", _scalar)]
    found.append(Break("input of another dtype", "input", integer_input()))
    if layer != "LazyLinear":
        found.append(_last(0))
    if layer == "functional.linear":
        return (
            *found,
            Break("weight of another rank", "weight", _weight_rank),
            Break("bias of another length", "bias", _bias_length, applies=_matrix),
            Break("bias of one element", "bias", _bias_of_one, applies=_several_outputs),
            Break("bias of another rank", "bias", _bias_rank),
        )
    found.append(Break("out_features negative", "out_features", argument("out_features", negative)))
    if layer == "Linear":
        found.append(
            Break("in_features negative", "in_features", argument("in_features", negative))
        )
    return tuple(found)


def bilinear_breaks(layer: str) -> tuple[Break, ...]:
    """The breaks of `"Bilinear"` or `"functional.bilinear"`."""
    found = [
        Break("wrong number of features of input1", "input1", _last(0).apply),
        _last(1),
        Break("leading dimensions of another size", "input2", _leading_size, applies=_batched),
        Break("leading dimensions of another number", "input2", _leading_rank),
        Break("scalar input", "input1", _scalar),
        Break("input1 of another dtype", "input1", integer_input(0)),
        Break("input2 of another dtype", "input2", integer_input(1)),
    ]
    if layer == "functional.bilinear":
        return (
            *found,
            Break("weight of another rank", "weight", _weight_rank),
            Break("bias of another length", "bias", _bias_length),
            Break("bias of one element", "bias", _bias_of_one, applies=_several_outputs),
            Break("bias of another rank", "bias", _bias_rank),
        )
    sizes = ("in1_features", "in2_features", "out_features")
    found += [Break(f"{name} negative", name, argument(name, negative)) for name in sizes]
    return (*found, _no_inputs("in1_features"), _no_inputs("in2_features"))
