"""Networks: graphs of layers and tensor operators, each drawn at random and called as one layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from conformance.arithmetic.rounded import Rounded
from conformance.layers.network.evaluation import (
    layer_values,
    network_parts,
    network_shapes,
    node_shape,
    node_tensors,
)
from conformance.layers.network.reduction import smaller_networks
from conformance.model.case import Case
from conformance.model.graph import OUTPUT, Node, input_count, is_layer, nodes_of
from conformance.oracles.network import MOVEMENTS, network_values
from conformance.spec.layer_spec import LayerSpec, Variation
from conformance.spec.parts import Benchmark, Conditions, Generation, Oracle, State, Traits
from conformance.spec.propagation import Propagation, computed, copied
from conformance.spec.signature import Argument, Form, Input, Output, Signature
from conformance.spec.state import Shape, StateTensor
from conformance.spec.trial_protocol import FactsLike as Facts
from conformance.spec.trial_protocol import TrialLike
from conformance.spec.workload import Filling, Workload
from conformance.strategies.network import graphs, sequences

_SAME_VALUE = frozenset(
    ("Identity", "Dropout", "reshape", "expand", "index", "cat", "sum", "amax", "amin")
)
"""Targets that may give their operand itself, if it keeps its shape."""

_SIMPLEST = (("functional.relu", (), (-1,)), ("output", (), (0,)))
_SIMPLEST_SEQUENCE = (("ReLU", (), (-1,)), ("output", (), (0,)))
_TIMED = (
    ("Linear", (("in_features", 256), ("out_features", 256)), (-1,)),
    ("functional.gelu", (), (0,)),
    ("Linear", (("in_features", 256), ("out_features", 256)), (1,)),
    ("add", (), (2, -1)),
    ("output", (), (3,)),
)
_TIMED_SEQUENCE = (*_TIMED[:1], ("GELU", (), (0,)), *_TIMED[2:3], ("output", (), (2,)))


def _tensors(arguments: Mapping[str, Any], input: Shape) -> tuple[StateTensor, ...]:
    return tuple(
        replace(tensor, name=f"{number}.{tensor.name}", initial=None, same_values_as="")
        for number, node in enumerate(nodes_of(arguments["nodes"]))
        for tensor in node_tensors(node)
    )


def _tensor_shapes(node: Sequence[Any]) -> dict[str, Shape]:
    return {tensor.name: tensor.shape for tensor in node_tensors(Node(*node))}


def _called_targets(case: Case) -> list[str]:
    graph = nodes_of(case.call.arguments["nodes"])[:-1]
    return [
        str(graph[node.target].target if isinstance(node.target, int) else node.target)
        for node in graph
    ]


def _targets(facts: Facts) -> str:
    """The targets of the nodes, in their order, `"Linear functional.relu"`."""
    return " ".join(_called_targets(facts.case))


def _node_count(facts: Facts) -> int:
    return len(_called_targets(facts.case))


def _returns_a_value_twice(facts: Facts) -> bool:
    """Whether two outputs are one value, behind layers and operators that do nothing to it."""
    graph, inputs = nodes_of(facts.case.call.arguments["nodes"]), facts.case.inputs
    input_shapes = [() if x is None else x.shape for x in inputs]
    shapes = network_shapes(
        *input_shapes,
        nodes=(*graph[:-1], (OUTPUT, (), tuple(range(len(graph) - 1)))),
    )

    def source(value: int) -> int:
        node = graph[value] if value >= 0 else None
        if node is None or len(node.operands) != 1 or node.target not in _SAME_VALUE:
            return value
        before = int(node.operands[0])
        shape = shapes[before] if before >= 0 else input_shapes[-1 - before]
        return source(before) if shapes[value] == shape else value

    sources = [source(int(x)) for x in graph[-1].operands]
    return len(set(sources)) < len(sources)


def _padded_strided_pointwise(facts: Facts) -> bool:
    """Whether a strided 1×1 convolution has padding, its own or that of its operand."""
    graph = nodes_of(facts.case.call.arguments["nodes"])[:-1]
    called = [graph[x.target] if isinstance(x.target, int) else x for x in graph]
    for node, layer in zip(graph, called, strict=True):
        arguments = dict(layer.arguments)
        if arguments.get("kernel_size") != 1 or arguments.get("stride", 1) == 1:
            continue
        before = int(node.operands[0])
        if arguments.get("padding") or (
            before >= 0 and "pad" in str(called[before].target).lower()
        ):
            return True
    return False


def _has_inputs(spec: LayerSpec, case: Case) -> bool:
    """Whether each input that a node takes is there, and each input is taken or the first."""
    return input_count(case.call.arguments["nodes"]) == sum(x is not None for x in case.inputs)


def _computes_alike_in_training(case: Case) -> bool:
    from conformance.layers import CATALOGUE

    return not any(
        is_layer(x) and CATALOGUE[x].traits.train_and_eval_differ for x in _called_targets(case)
    )


def _expected(trial: TrialLike) -> tuple[Rounded, ...]:
    """The oracle's values where the arithmetic of every node says how NaN travels; else open."""
    expected = trial.expected
    if all(map(_propagates, _called_targets(trial.case))):
        return expected
    return tuple(x.with_error(np.full(x.shape, np.inf)) for x in expected)


def _propagates(target: str) -> bool:
    """Whether a target's arithmetic says where NaN and infinities go, in every implementation."""
    from conformance.layers import CATALOGUE

    if is_layer(target):
        return CATALOGUE[target].oracle.propagation in (copied, computed)
    return target in MOVEMENTS or target in ("neg", "abs")


def _flops(workload: Workload, weights: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    rows = int(np.prod(outputs[0][:-1]))
    return sum(2 * rows * int(np.prod(shape)) for shape in weights if len(shape) == 2)


def layer_specs() -> Iterator[LayerSpec]:
    """Networks, and torch's own container of a network without branches."""
    network = LayerSpec(
        "Network",
        "network",
        in_torch=False,
        signature=Signature(
            (Argument("nodes", simplest=_SIMPLEST, form=Form(graph=True)),),
            (Input("input1"), Input("input2", optional=True)),
            (Output("output1"), Output("output2"), Output("output3")),
            supports_complex=False,
            takes_device_and_dtype=False,
        ),
        oracle=Oracle(
            values=partial(network_values, layer_values=layer_values),
            parts=network_parts,
            shapes=network_shapes,
            formula=("the nodes in their order, each of inputs and of results before it",),
            propagation=Propagation(_expected, special_parameters=False),
        ),
        generation=Generation(
            cases=partial(
                graphs.networks, "Network", shape_of=node_shape, tensors_of=_tensor_shapes
            ),
            examples_fraction=3.0,  # a graph says less than a call of one layer
            max_planned_size=0,
        ),
        state=State(_tensors),
        variation=Variation(allows=_has_inputs, reductions=smaller_networks),
        traits=Traits(
            has_sublayers=True,
            may_alias_inputs=True,
            train_and_eval_differ=True,
            valid_in_train_mode=_computes_alike_in_training,
        ),
        conditions=Conditions(
            derived_facts={
                "targets": _targets,
                "length": _node_count,
                "returns_a_value_twice": _returns_a_value_twice,
                "padded_strided_pointwise": _padded_strided_pointwise,
            }
        ),
        benchmark=_benchmark("Network", "residual block of 256", _TIMED),
    )
    yield network
    yield replace(
        network,
        name="Sequential",
        in_torch=True,
        signature=replace(
            network.signature,
            arguments=(Argument("nodes", simplest=_SIMPLEST_SEQUENCE, form=Form(graph=True)),),
            inputs=(Input("input"),),
            outputs=(Output("output"),),
        ),
        generation=replace(
            network.generation,
            cases=partial(
                sequences.sequences, "Sequential", shape_of=node_shape, tensors_of=_tensor_shapes
            ),
            examples_fraction=1.0,
        ),
        benchmark=_benchmark("Sequential", "two linear layers of 256", _TIMED_SEQUENCE),
    )


def _benchmark(layer: str, name: str, nodes: tuple[Any, ...]) -> Benchmark:
    workload = Workload(layer, name, {"nodes": nodes}, ((64, 256),), small=True)
    return Benchmark(workloads=(workload,), filling=Filling(contraction=False), flops=_flops)
