"""Shapes in named sizes: read in calls, written from sizes, checked at import."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from conformance.strategies.invalid.breaks import all_breaks
from support import cases

from conformance.commands.cli import main
from conformance.layers import CATALOGUE
from conformance.layers.fitting import replace_argument
from conformance.matching.fact_schema import explain_unknown_fact
from conformance.matching.facts import Facts
from conformance.spec.notation import NotationError, parse_shape
from conformance.spec.shape_validation import validate_shapes
from conformance.spec.shapes import ShapeError, Shapes
from conformance.spec.signature import Argument, Input, Output, Signature

SHAPED = tuple(name for name, row in CATALOGUE.items() if row.shapes is not None)
CONVOLUTION = Shapes(
    {
        "input": "batch? in_channels *space",
        "weight": "out_channels in_channels//groups *kernel_size",
        "bias": "out_channels if bias",
        "output": "batch? out_channels *out",
    },
    where=("in_channels % groups == 0",),
    let={"out": "(space + 2*padding - dilation*(kernel_size - 1) - 1)//stride + 1"},
)
ARGUMENTS: dict[str, Any] = {
    "in_channels": 4, "out_channels": 6, "kernel_size": (3, 2), "stride": 1, "padding": (1, 0),
    "dilation": 1, "groups": 2, "bias": True,
}  # fmt: skip


@pytest.mark.parametrize("text", ["*batch features", "()", "n if bias", "a b if c else b a?"])
def test_a_shape_is_printed_as_it_is_written(text: str) -> None:
    assert str(parse_shape(text)) == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no axis"),
        ("n if", "without a condition"),
        ("n else m", "else without an if"),
        ("(n", "parenthesis open"),
        ("n)", "character 2"),
        ("n[0]", "Subscript"),
        ("n + m", "not a valid expression"),
        ("*n?", "can be left out"),
        ("3?", "can be left out"),
        ("x.y(1)", "Attribute|calls"),
    ],
)
def test_what_is_no_shape_is_said_with_its_place(text: str, said: str) -> None:
    with pytest.raises(NotationError, match=said):
        parse_shape(text)


def test_sizes_are_read_in_a_call_and_shapes_are_written_from_them() -> None:
    sizes = CONVOLUTION.bind(ARGUMENTS, 2, {"input": (4, 8, 9)})
    assert sizes["space"] == (8, 9)
    shapes = {name: CONVOLUTION.shape(name, sizes) for name in CONVOLUTION.texts}
    assert shapes == {
        "input": (4, 8, 9), "weight": (6, 2, 3, 2), "bias": (6,), "output": (6, 8, 8)
    }  # fmt: skip
    assert CONVOLUTION.batch_axis("output", sizes) is None
    batched = CONVOLUTION.bind({**ARGUMENTS, "bias": False}, 2, {"input": (5, 4, 8, 9)})
    assert CONVOLUTION.batch_axis("output", batched) == 0
    assert CONVOLUTION.shape("bias", batched) is None


@pytest.mark.parametrize("asked", [(5,), (5, 6), (6, 5, 6), (3, 6, 5, 6)])
def test_a_size_is_read_from_the_last_of_an_argument(asked: tuple[int, ...]) -> None:
    """One number stands for all axes; numbers of the batch and the channels may come before."""
    shapes = Shapes({"input": "batch? channels *space", "output": "*output_size"})
    sizes = shapes.bind({"output_size": asked}, 2, {"input": (3, 6, 1, 1)})
    assert shapes.shape("output", sizes) == ((5, 5) if len(asked) == 1 else (5, 6))


def test_axes_of_one_size_are_told_together() -> None:
    shapes = Shapes({"x": "*batch n", "w": "m? n", "b": "m?", "y": "*batch m?"})
    sizes = shapes.bind({}, 0, {"x": (2, 3, 5), "w": (7, 5), "b": (7,)})
    assert shapes.shared_axes(("x", "w", "b"), sizes) == {
        ("batch", 0): (("x", 0),),
        ("batch", 1): (("x", 1),),
        ("n", 0): (("x", 2), ("w", 1)),
        ("m", 0): (("w", 0), ("b", 0)),
    }
    vector = shapes.bind({}, 0, {"x": (2, 5), "w": (5,)})
    assert shapes.shape("y", vector) == (2,)


def test_the_first_axis_counts_the_batch_where_there_is_one() -> None:
    shapes = Shapes({"x": "batch? *more", "y": "batch? *more 3"})
    for shape, axis in (((), None), ((2,), 0), ((2, 4, 5), 0)):
        sizes = shapes.bind({}, 0, {"x": shape})
        assert shapes.shape("y", sizes) == (*shape, 3)
        assert shapes.batch_axis("y", sizes) == axis


def test_an_axis_that_is_a_multiple_of_the_batch_counts_it() -> None:
    shapes = Shapes({"x": "batch? n", "mask": "((1 if batch is None else batch)*2)? n"})
    for x, mask, axis in (((3, 5), (6, 5), 0), ((3, 5), (5,), None), ((5,), (2, 5), None)):
        sizes = shapes.bind({}, 0, {"x": x, "mask": mask})
        shapes.validate(sizes, {"x": x, "mask": mask})
        assert shapes.batch_axis("mask", sizes) == axis


def test_another_order_of_axes_turns_an_array_that_is_two_inputs_once() -> None:
    spec = CATALOGUE["MultiheadAttention"]
    case = next(
        c
        for c in cases(spec.name)
        if c.inputs[0] is c.inputs[1] and c.inputs[0].ndim == 3 and spec.resizable_axes(c)
    )
    assert all(
        {(0, axis), (1, axis)} <= {*axes}
        for axes in spec.resizable_axes(case)
        for _, axis in axes[:1]
    )
    batch_first = not case.call.arguments.get("batch_first", False)
    turned = replace_argument(spec, case, "batch_first", batch_first)
    assert turned is not None
    query, key = turned.inputs[:2]
    assert query is key
    assert (query == case.inputs[0].swapaxes(0, 1)).all()


def test_indices_stay_below_their_size() -> None:
    spec = CATALOGUE["Embedding"]
    case = next(c for c in cases("Embedding") if c.inputs[0].max(initial=0) > 1)
    smaller = replace_argument(spec, case, "num_embeddings", 2)
    padding_idx = case.call.arguments.get("padding_idx")
    assert (smaller is None) is (padding_idx is not None and not -2 <= padding_idx < 2)
    case = replace(
        case, call=replace(case.call, arguments={"num_embeddings": 40, "embedding_dim": 1})
    )
    smaller = replace_argument(spec, case, "num_embeddings", 2)
    assert smaller is not None
    assert (smaller.inputs[0] == case.inputs[0] % 2).all()
    assert "input not below num_embeddings" in {b.name for b in all_breaks(spec.generation.invalid)}


@pytest.mark.parametrize(
    ("shape", "batch", "rest"), [((3,), None, ()), ((2, 3), 2, ()), ((2, 3, 5), 2, (5,))]
)
def test_an_axis_that_may_be_left_out_comes_before_any_number_of_others(
    shape: tuple[int, ...], batch: int | None, rest: tuple[int, ...]
) -> None:
    shapes = Shapes({"x": "batch? classes *rest", "y": "batch? *rest", "w": "classes"})
    sizes = shapes.bind({}, 0, {"x": shape})
    assert (sizes["batch"], sizes["rest"], sizes["classes"]) == (batch, rest, 3)
    assert shapes.batch_axis("y", sizes) == (None if batch is None else 0)
    with pytest.raises(ShapeError, match="does not have the rank"):
        shapes.bind({}, 0, {"x": ()})


@pytest.mark.parametrize(
    ("shape", "batch", "rest"), [((), None, ()), ((2,), 2, ()), ((2, 3, 4), 2, (3, 4))]
)
def test_an_optional_axis_comes_before_any_number_of_axes(
    shape: tuple[int, ...], batch: int | None, rest: tuple[int, ...]
) -> None:
    shapes = Shapes({"x": "batch? *rest", "y": "*rest batch?"})
    sizes = shapes.bind({}, 0, {"x": shape})
    assert (sizes["batch"], sizes["rest"]) == (batch, rest)
    assert shapes.shape("y", sizes) == (*rest, *shape[:1])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"input": (4, 8, 9), "weight": (6, 2, 3, 3)}, "axis 3 of weight is .kernel_size = 2"),
        ({"input": (4, 8, 9), "bias": (5,)}, "axis 0 of bias is out_channels = 6, not 5"),
        ({"input": (4,)}, "input of shape .4,. does not have the rank"),
        ({"input": (1, 1, 4, 8, 9)}, "does not have the rank"),
        ({"input": (3, 8, 9)}, "in_channels = 4, not 3"),
    ],
)
def test_shapes_that_do_not_fit_are_named(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ShapeError, match=said):
        CONVOLUTION.validate(CONVOLUTION.bind(ARGUMENTS, 2, given), given)


def test_a_constraint_is_read_in_each_spatial_dimension() -> None:
    shapes = Shapes({"input": "*space"}, where=("2*padding <= kernel_size",))
    fitting = {"padding": 1, "kernel_size": (2, 3)}
    shapes.validate(shapes.bind(fitting, 2, {}), {})
    with pytest.raises(ShapeError, match="does not hold"):
        shapes.validate(shapes.bind({**fitting, "padding": (1, 2)}, 2, {}), {})


def test_a_constraint_that_does_not_hold_is_named() -> None:
    sizes = CONVOLUTION.bind({**ARGUMENTS, "groups": 3}, 2, {})
    with pytest.raises(ShapeError, match="in_channels % groups == 0 does not hold"):
        CONVOLUTION.validate(sizes, {})


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ({"input": "n"}, None),
        ({}, "Odd: no shape is given for input"),
        ({"input": "n m*"}, "Odd: input: "),
        ({"input": "n", "output": "n k"}, "Odd: output: k is neither an argument"),
        ({"input": "*n *m"}, "Odd: input: which axes of"),
    ],
)
def test_a_declaration_is_checked_with_its_layer_and_tensor(
    texts: dict[str, str], said: str | None
) -> None:
    signature = Signature((Argument("width"),), (Input("input"),), (Output("output"),))
    if said is None:
        validate_shapes("Odd", Shapes(texts), signature)
        return
    with pytest.raises(NotationError, match=said):
        validate_shapes("Odd", Shapes(texts), signature)


@pytest.mark.parametrize("layer", SHAPED)
def test_valid_calls_fit_the_shapes_of_their_layer(layer: str) -> None:
    """Each named size has one value in all tensors of a call, those of the state included."""
    spec = CATALOGUE[layer]
    assert spec.shapes is not None
    for case in cases(layer)[:40]:
        sizes = spec.sizes(case)
        assert sizes is not None
        pairs = zip(spec.signature.input_names, case.inputs, strict=False)
        input_shapes = {name: x.shape for name, x in pairs if x is not None}
        spec.shapes.validate(sizes, input_shapes)
        if spec.state.tensors_from_shapes is not None:
            first = case.inputs[0]
            assert first is not None
            wanted = {name: x.shape for name, x in case.call.state.items()}
            formula_shapes = spec.state_shapes(case.call.arguments, first.shape)
            left_out = set(spec.state.constructor_tensors) - set(wanted)
            assert {name: x for name, x in formula_shapes.items() if name not in left_out} == wanted


def test_another_argument_brings_its_shapes() -> None:
    spec = CATALOGUE["Linear"]
    case = next(c for c in cases("Linear") if c.inputs[0].ndim == 2 and c.inputs[0].size)
    wider = replace_argument(spec, case, "in_features", 7)
    assert wider is not None
    assert (wider.inputs[0].shape[-1], wider.call.state["weight"].shape[1]) == (7, 7)


def test_a_batch_axis_that_an_argument_decides_goes_before_the_shapes() -> None:
    """In training a batch norm mixes the rows of a batch: its axis may only be resized."""
    spec = CATALOGUE["BatchNorm2d"]
    tracking = [c for c in cases("BatchNorm2d") if "track_running_stats" not in c.call.arguments]
    by_mode = {c.call.training: c for c in tracking}
    assert {k: spec.batch_axis(c, 0) for k, c in by_mode.items()} == {False: 0, True: None}
    assert ((0, 0),) in spec.resizable_axes(by_mode[True])


def test_axes_that_had_no_name_stay_where_another_argument_names_them() -> None:
    case = next(c for c in cases("PReLU") if c.call.arguments.get("num_parameters", 1) > 1)
    single = replace_argument(CATALOGUE["PReLU"], case, "num_parameters", 1)
    assert single is not None
    assert single.inputs[0].shape == case.inputs[0].shape
    assert single.call.state["weight"].shape == (1,)


def test_a_size_that_two_tensors_share_is_broken_in_the_second_only() -> None:
    names = [b.name for b in all_breaks(CATALOGUE["functional.linear"].generation.invalid)]
    assert "weight of another in_features" in names
    assert "input of another in_features" not in names


def test_a_size_that_broadcasts_is_no_mistake() -> None:
    broken_names = [
        case
        for case in cases("HingeEmbeddingLoss", invalid=True)
        if case.labels["broken"] == "target of another batch"
    ]
    assert broken_names
    assert all(1 not in (case.inputs[0].shape[0], case.inputs[1].shape[0]) for case in broken_names)


def test_a_tensor_that_the_constructor_may_be_given_is_not_made_up() -> None:
    spec = CATALOGUE["NLLLoss"]
    case = next(c for c in cases("NLLLoss") if not c.call.state and c.inputs[0].size)
    summed = replace_argument(spec, case, "reduction", "sum")
    assert summed is not None
    assert not summed.call.state


def test_a_state_that_arguments_decide_is_told_of_an_input_of_another_rank() -> None:
    """A backend that makes its own state then gets such an input."""
    arguments = {"in_channels": 2, "out_channels": 3, "kernel_size": 1}
    shapes = CATALOGUE["Conv1d"].state_shapes(arguments, (1, 1, 1, 1, 1))
    assert shapes == {"weight": (3, 2, 1), "bias": (3,)}
    assert CATALOGUE["Linear"].state_shapes({"in_features": 2, "out_features": 3}, ())


@pytest.mark.parametrize("kernel_size", [(1, 2), (1, 2, 3, 4)])
def test_a_kernel_of_another_number_of_dimensions_has_no_shape(kernel_size: Any) -> None:
    arguments = {"in_channels": 2, "out_channels": 3, "kernel_size": kernel_size}
    with pytest.raises(ShapeError, match="not have 3 dimensions"):
        CATALOGUE["Conv3d"].state_shapes(arguments, (2, 5, 5, 5))


def test_the_command_prints_the_notation(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["layers", "--shapes", "LSTM"]) == 0
    out = capsys.readouterr().out
    assert "h_0          slots batch? output_size" in out
    assert "where proj_size < hidden_size" in out
    assert main(["layers", "--shapes", "NoSuch"]) == 2


def test_an_oracle_of_other_shapes_is_noticed() -> None:
    """The twin of the test above: it notices a bias that is declared too long."""
    spec = CATALOGUE["Linear"]
    assert spec.shapes is not None
    texts = {**spec.shapes.texts, "bias": "in_features"}
    wrong = replace(spec, shapes=replace(spec.shapes, texts=texts))
    biased = [c for c in cases("Linear") if "bias" in c.call.state]
    case = next(c for c in biased if np.ptp(c.call.state["weight"].shape))
    first, bias = case.inputs[0], case.call.state["bias"]
    assert first is not None
    assert wrong.state_shapes(case.call.arguments, first.shape)["bias"] != bias.shape


def test_conditions_can_name_a_size() -> None:
    """A function has no argument in_features: the shapes of its inputs say it."""
    case = next(c for c in cases("functional.linear") if c.inputs[0] is not None)
    assert Facts(case).get("in_features") == case.inputs[0].shape[-1]
    assert Facts(case).get("no_such_size") is None
    assert not explain_unknown_fact("in_features", ("functional.linear",))
    assert explain_unknown_fact("no_such_size", ("functional.linear",))
