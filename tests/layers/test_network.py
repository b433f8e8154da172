"""Networks: rewrites that are wrong are seen, right ones pass, and a failure names its cause."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conformance.strategies.network.builder import MAX_NODES
from planted.rewrites import Rewriting, around, blind, layers, operators, right
from planted.rewrites.matching import bypass, calls, insert
from support import cases, first_failure
from torch import fx

from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import exact_operand
from conformance.backends import ModuleBackend
from conformance.backends.torch_network import COMPOSED
from conformance.checks.trial import Trial
from conformance.diagnosis.minimize import reduce_case
from conformance.diagnosis.parts import failing_parts, find_excuse_of_part
from conformance.diagnosis.reproducer import make_reproducer
from conformance.items.planning import Item
from conformance.known.entry import parse_entries
from conformance.layers import CATALOGUE, DTYPES
from conformance.layers.describe import made_text
from conformance.layers.describe_network import network_class_lines, sequence_texts
from conformance.layers.network.evaluation import true_values
from conformance.layers.network.reduction import smaller_networks
from conformance.matching.facts import Facts
from conformance.model.case import Call, Case
from conformance.run.engine import Engine

SPEC = CATALOGUE["Network"]
ITEM = Item("Network", "values", "float32", "cpu")
WRONG = {
    rewrite.__name__: rewrite
    for module in (layers, operators, around, blind)
    for rewrite in module.REWRITES
}
assert len(WRONG) == 68  # docs/networks.md
RIGHT = {rewrite.__name__: rewrite for rewrite in right.REWRITES}


def _values_of(case: Case) -> tuple[Any, ...]:
    precision = Precision.of(case.call.dtype)
    state = {name: exact_operand(x, precision) for name, x in case.call.state.items()}
    inputs = [exact_operand(x, precision) for x in case.inputs if x is not None]
    with np.errstate(all="ignore"):
        return SPEC.oracle.values(state, *inputs, **case.call.arguments)


@pytest.mark.parametrize("dtype", DTYPES)
def test_two_in_five_networks_round_nowhere(dtype: str) -> None:
    drawn = cases("Network", dtype, 200)
    exact = sum(all(not x.error.any() for x in _values_of(case)) for case in drawn)
    assert exact >= 0.4 * len(drawn)


def test_a_network_has_at_most_twelve_nodes() -> None:
    lengths = {len(case.call.arguments["nodes"]) - 1 for case in cases("Network", "float32", 200)}
    assert min(lengths) == 1
    assert max(lengths) == MAX_NODES


def test_half_of_the_networks_have_a_pattern_and_all_patterns_are_drawn() -> None:
    profiles = Counter(case.labels["profile"] for case in cases("Network", "float32", 600))
    assert profiles["plain"] < 300
    assert len(profiles) > 30


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_rewrite_fails(name: str) -> None:
    backend = Rewriting(WRONG[name])
    searches = (
        first_failure(backend, "Network", check, "float32", examples)
        for check, examples in (("values", 900), ("gradients", 450))
    )
    assert any(search.failure is not None for search in searches)


def test_only_special_numbers_show_a_move_that_is_a_product_with_the_identity() -> None:
    def multiply_by_identity(module: fx.GraphModule) -> bool:
        nodes = list(calls(module, torch.permute))
        for node in nodes:
            bypass(node, insert(node, _permuted_product, *node.args, **node.kwargs))
        return bool(nodes)

    backend = Rewriting(multiply_by_identity)
    for check in ("values", "gradients"):
        assert first_failure(backend, "Network", check, "float64", 120).passed
    failure = first_failure(backend, "Network", "special", "float64", 300).failure
    assert failure is not None
    assert "nan" in str(failure)


def _permuted_product(x: torch.Tensor, dims: tuple[int, ...]) -> torch.Tensor:
    """Matrix units move numbers so; NaN times 0 is NaN."""
    return (x @ torch.eye(x.shape[-1], dtype=x.dtype)).permute(dims)


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_right_rewrite_passes(name: str, dtype: str) -> None:
    matched = 0

    def rewrite(module: fx.GraphModule) -> bool:
        nonlocal matched
        changed = RIGHT[name](module)
        matched += changed
        return changed

    rewrite.__name__ = name
    assert first_failure(Rewriting(rewrite), "Network", "values", dtype, 600).failure is None
    assert matched


def test_a_failure_shrinks_to_the_nodes_that_are_wrong_together() -> None:
    verdict = Engine(Rewriting(operators.factor_before_addend), 600, 0).run(ITEM)
    assert verdict.status == "failed"
    assert verdict.case is not None
    (*nodes, _) = verdict.case["call"]["arguments"]["nodes"]["tuple"]
    assert [node["tuple"][0] for node in nodes] == ["add", "mul"]
    assert "each of its nodes alone is right" in str(verdict.message)


def test_what_is_before_the_wrong_nodes_becomes_an_input() -> None:
    # The layers change the shape, so that no node can be left out otherwise.
    nodes = (
        ("Linear", (("in_features", 1), ("out_features", 3), ("bias", False)), (-1,)),
        ("add", (), (0, 1.0)),
        ("mul", (), (1, -2.0)),
        ("Linear", (("in_features", 3), ("out_features", 2), ("bias", False)), (2,)),
        ("output", (), (3,)),
    )
    state = {"0.weight": np.array([[1.0], [2.0], [3.0]]), "3.weight": np.ones((2, 3))}
    case = Case(Call("Network", {"nodes": nodes}, state, "float32", "cpu"), (np.ones((2, 1)),))
    engine = Engine(Rewriting(operators.factor_before_addend), 5, 0)
    reduced = reduce_case(
        case, smaller_networks, lambda other: engine.outcome(ITEM, other).failure, seconds=60
    )
    assert reduced is not None
    assert [node[0] for node in reduced[0].call.arguments["nodes"]] == ["add", "mul", "output"]
    assert reduced[0].inputs[0].tolist() == [[1.0, 2.0, 3.0]] * 2


class _WrongLinear(ModuleBackend):
    """torch with a Linear that gives twice its result."""

    def __init__(self) -> None:
        class Linear(torch.nn.Linear):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return 2 * super().forward(x)

        namespace = type("namespace", (), {**vars(torch.nn), "Linear": Linear})
        super().__init__("wrong-linear", namespace, torch.nn.functional)


def test_a_layer_that_fails_alone_is_named_and_its_known_failure_excuses_the_network() -> None:
    nodes = (
        ("functional.relu", (), (-1,)),
        ("Linear", (("in_features", 2), ("out_features", 1), ("bias", False)), (0,)),
        ("output", (), (1,)),
    )
    call = Call("Network", {"nodes": nodes}, {"1.weight": np.ones((1, 2))}, "float32", "cpu")
    case = Case(call, (np.ones((3, 2)),))
    engine = Engine(_WrongLinear(), 5, 0)
    assert [part.call.layer for _, part, _ in failing_parts(engine, ITEM, case)] == ["Linear"]
    failure = engine.outcome(ITEM, case).failure
    assert find_excuse_of_part(engine, ITEM, case, failure) is None
    entry = "[[known]]\nlayer = 'Linear'\ncheck = 'values'\nreason = 'twice'\nstrict = false\n"
    listed = Engine(_WrongLinear(), 5, 0, parse_entries(entry, "here"))
    excuse = find_excuse_of_part(listed, ITEM, case, failure)
    assert excuse is not None
    assert excuse.reason == "twice"


def test_a_layer_that_is_known_to_crash_alone_excuses_wrong_numbers_of_the_network() -> None:
    nodes = (
        ("Linear", (("in_features", 2), ("out_features", 1), ("bias", False)), (-1,)),
        ("functional.relu", (), (0,)),
        ("output", (), (1,)),
    )
    call = Call("Network", {"nodes": nodes}, {"0.weight": np.ones((1, 2))}, "float32", "cpu")
    case = Case(call, (np.ones((3, 2)),))
    entry = "[[known]]\nlayer = 'Linear'\ncheck = 'values'\nreason = 'x'\nstrict = false\n"
    for status, excuses in (("crashed", True), ("hung", False)):
        known = parse_entries(f"{entry}status = '{status}'\n", "here")
        engine = Engine(_WrongLinear(), 5, 0, known)
        # It is not tried alone, since it may end this process.
        assert list(failing_parts(engine, ITEM, case)) == []
        excuse = find_excuse_of_part(engine, ITEM, case, engine.outcome(ITEM, case).failure)
        assert (excuse is not None) == excuses


class _RefusesReluAlone(_WrongLinear):
    """A wrong Linear, and a relu that raises unless it is a node of a network."""

    def build(self, call: Call) -> Any:
        if call.layer == "functional.relu":
            raise OSError("alone")
        return super().build(call)


def test_a_layer_that_raises_alone_does_not_excuse_a_network_that_answers_wrongly() -> None:
    nodes = (
        ("functional.relu", (), (-1,)),
        ("Linear", (("in_features", 2), ("out_features", 1), ("bias", False)), (0,)),
        ("output", (), (1,)),
    )
    call = Call("Network", {"nodes": nodes}, {"1.weight": np.ones((1, 2))}, "float32", "cpu")
    case = Case(call, (np.ones((3, 2)),))
    entry = "[[known]]\nlayer = 'functional.relu'\ncheck = 'values'\nreason = 'x'\nstrict = false\n"
    engine = Engine(_RefusesReluAlone(), 5, 0, parse_entries(entry, "here"))
    layers_that_fail = [part.call.layer for _, part, _ in failing_parts(engine, ITEM, case)]
    assert layers_that_fail == ["functional.relu", "Linear"]
    assert find_excuse_of_part(engine, ITEM, case, engine.outcome(ITEM, case).failure) is None


def test_a_result_without_axes_is_an_operand_like_any_other() -> None:
    nodes = (
        ("sum", (("dim", (0, 1)), ("keepdim", False)), (-1,)),
        ("mul", (), (0, 0.5)),
        ("add", (), (1, 1.0)),
        ("output", (), (2,)),
    )
    call = Call("Network", {"nodes": nodes}, {}, "float32", "cpu")
    case, engine = Case(call, (np.ones((2, 2)),)), Engine(ModuleBackend("torch"), 5, 0)
    assert list(failing_parts(engine, ITEM, case)) == []
    assert [x.shape for x in true_values(case, Precision.of("float32"))] == [(), (), ()]


def test_smaller_networks_are_valid_calls() -> None:
    backend, count = ModuleBackend("torch"), 0
    for case in cases("Network", "float32", 40):
        for smaller in smaller_networks(case):
            assert SPEC.variation.allows(SPEC, smaller)
            layer = backend.build(smaller.call)
            outputs = layer(*[layer.put(x) for x in smaller.inputs if x is not None])
            outputs = outputs if isinstance(outputs, tuple) else (outputs,)
            assert tuple(tuple(y.shape) for y in outputs) == SPEC.output_shapes(smaller)
            count += 1
    assert count > 100


def test_the_module_of_a_network_has_the_names_of_its_state() -> None:
    for case in cases("Network", "float32", 40):
        module = COMPOSED["Network"](case.call, torch.nn)
        assert set(module.state_dict()) == set(case.call.state)


def _constructor_text(layer: str, arguments: Mapping[str, Any]) -> str:
    return f"torch.nn.{made_text(layer, arguments)}"


@pytest.mark.parametrize("layer", ["Network", "Sequential"])
def test_the_source_of_a_network_computes_what_its_module_does(layer: str) -> None:
    for case in cases(layer, "float32", 60):
        nodes, names = case.call.arguments["nodes"], {"torch": torch}
        modules = sequence_texts(nodes, _constructor_text)
        if modules:
            written = torch.nn.Sequential(*(eval(x, names) for x in modules))
        else:
            exec("\n".join(network_class_lines(nodes, _constructor_text)), names)
            written = names["Network"]()
        built = COMPOSED[layer](case.call, torch.nn)
        written.load_state_dict(built.state_dict())
        inputs = [torch.tensor(x, dtype=torch.float32) for x in case.inputs if x is not None]
        wanted, got = built.eval()(*inputs), written.eval()(*inputs)
        assert torch.utils._pytree.tree_map(torch.equal, wanted, got) in (
            True,
            (True,) * 2,
            (True,) * 3,
        )


def test_a_sequence_is_torchs_container() -> None:
    lengths = Counter[int]()
    for case in cases("Sequential", "float32", 100):
        module = COMPOSED["Sequential"](case.call, torch.nn)
        assert type(module) is torch.nn.Sequential
        assert set(module.state_dict()) == set(case.call.state)
        lengths[len(module)] += 1
    assert set(lengths) == {1, 2, 3, 4, 5, 6}


class _Reversed(torch.nn.Sequential):
    """A container that calls its modules in the reverse order where the shapes allow it."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        try:
            for module in reversed(self):
                input = module(input)
            return input
        except RuntimeError:
            return super().forward(input)


class _SkipsThird(torch.nn.Sequential):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        for k, module in enumerate(self):
            result = module(input)
            input = input if k == 2 and result.shape == input.shape else result
        return input


@pytest.mark.parametrize("container", [_Reversed, _SkipsThird])
def test_a_wrong_container_fails(container: Any) -> None:
    namespace = SimpleNamespace(**{**vars(torch.nn), "Sequential": container})
    backend = ModuleBackend("planted", namespace, torch.nn.functional)
    search = first_failure(backend, "Sequential", "values", "float32", 200)
    assert search.failure is not None
    assert search.index is not None
    case = cases("Sequential", "float32", 200)[search.index]
    trial = Trial(backend, CATALOGUE["Sequential"], case)
    source = make_reproducer(trial, "values", str(search.failure))
    assert f"import {container.__name__}  # the implementation under test" in source
    with torch.no_grad(), pytest.raises(SystemExit, match="1"):
        exec(source, {"__name__": "script"})


def test_factors_may_be_multiplied_in_any_order() -> None:
    # x·3 is exact; x·y and (x·y)·3 round.
    nodes = (("mul", (), (-1, 3.0)), ("mul", (), (0, -2)), ("output", (), (1,)))
    rng = np.random.default_rng(0)
    x = np.float32(1 + rng.integers(0, 1024, 1000) / 1024)
    y = rng.uniform(1, 2, 1000).astype(np.float32)
    call = Call("Network", {"nodes": nodes}, {}, "float32", "cpu")
    (got,) = _values_of(Case(call, (x.astype(float), y.astype(float))))
    error = np.abs((x * y) * np.float32(3) - 3 * np.longdouble(x) * y)
    assert (error <= got.error).all()
    assert (error > 2.0**-24 * got.value).any()  # beyond one rounding


def test_exact_products_stay_exact() -> None:
    nodes = (("mul", (), (-1, 3.0)), ("mul", (), (0, 0)), ("output", (), (1,)))
    case = Case(Call("Network", {"nodes": nodes}, {}, "float32", "cpu"), (np.array([5.0]),))
    (got,) = _values_of(case)
    assert got.value[0] == 225
    assert got.error[0] == 0


def test_outputs_that_are_one_value_are_a_fact() -> None:
    def fact(*nodes: Any) -> Any:
        case = Case(Call("Network", {"nodes": nodes}, {}, "float32", "cpu"), (np.ones((2, 3)),))
        return Facts(case).get("returns_a_value_twice")

    relu, identity = ("functional.relu", (), (-1,)), ("Identity", (), (0,))
    same, other = (("reshape", (("shape", shape),), (0,)) for shape in ((2, 3), (3, 2)))
    assert fact(relu, identity, ("output", (), (0, 1)))
    assert fact(relu, same, ("output", (), (0, 1)))
    unsqueezed = ("reshape", (("shape", (1, 2, 3)),), (0,))
    for axis, is_one in ((0, True), (1, False)):
        largest = ("amax", (("dim", (axis,)), ("keepdim", True)), (1,))
        assert fact(relu, unsqueezed, largest, ("output", (), (1, 2))) is is_one
    assert fact(relu, ("output", (), (0, 0)))
    assert not fact(relu, other, ("output", (), (0, 1)))
    assert not fact(relu, identity, ("output", (), (1,)))


def test_a_padded_strided_pointwise_convolution_is_a_fact() -> None:
    def fact(*nodes: Any) -> Any:
        case = Case(
            Call("Network", {"nodes": nodes}, {}, "float32", "cpu"), (np.ones((1, 1, 4, 4)),)
        )
        return Facts(case).get("padded_strided_pointwise")

    def convolution(operand: int, kernel: int, stride: int, padding: int) -> tuple[Any, ...]:
        names = ("in_channels", "out_channels", "kernel_size", "stride", "padding")
        return "Conv2d", tuple(zip(names, (1, 1, kernel, stride, padding), strict=True)), (operand,)

    padded, output = ("functional.pad", (("pad", (1, 1, 1, 1)),), (-1,)), ("output", (), (0,))
    assert fact(convolution(-1, 1, 2, 1), output)
    assert fact(padded, convolution(0, 1, 2, 0), output)
    assert fact(padded, convolution(-1, 1, 2, 0), (1, (), (0,)), output)
    assert not fact(padded, convolution(-1, 1, 2, 0), output)
    assert not fact(convolution(-1, 1, 1, 1), output)
    assert not fact(convolution(-1, 3, 2, 1), output)
