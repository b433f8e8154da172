"""Text of a network: its nodes as statements of Python."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from conformance.model.graph import (
    PARAMETER,
    Node,
    evaluate_network,
    input_count,
    is_layer,
    is_module,
    nodes_of,
)

CallText = Callable[[str, Mapping[str, Any]], str]
"""Name and arguments of a layer → the code that makes it: `Linear(2, 3)`."""
_INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/"}


def sequence_texts(nodes: Sequence[Any], call_text: CallText) -> list[str]:
    """The modules of a network that calls them one after another; empty for any other network."""
    graph = nodes_of(nodes)
    follows = all(node.operands == (k - 1,) for k, node in enumerate(graph))
    if not follows or not all(is_module(node.target) for node in graph[:-1]):
        return []
    return [call_text(str(node.target), dict(node.arguments)) for node in graph[:-1]]


def network_text(nodes: Sequence[Any], call_text: CallText) -> str:
    """A network in one line: its modules, or `"x0 = Linear(2, 3)(input1); return x0 + input1"`."""
    modules = sequence_texts(nodes, call_text)
    if modules:
        return ", ".join(modules)

    def layer_text(number: int, node: Node) -> str:
        return call_text(str(node.target), dict(node.arguments))

    return repr("; ".join(_statements(nodes, layer_text, "")))


def network_class_lines(nodes: Sequence[Any], call_text: CallText) -> Iterator[str]:
    """A network as the source of a torch module, with the names of the suite for its state."""
    yield "class Network(torch.nn.Module):"
    yield "    def __init__(self):"
    yield "        super().__init__()"
    for number, node in enumerate(nodes_of(nodes)):
        if is_module(node.target):
            made = call_text(str(node.target), dict(node.arguments))
            yield f'        self.add_module("{number}", {made})'
        elif node.target == PARAMETER:
            value = f"torch.nn.Parameter(torch.zeros({dict(node.arguments)['shape']}))"
            yield f'        self.add_module("{number}", torch.nn.Module())'
            yield f'        self.get_submodule("{number}").value = {value}'

    def layer_text(number: int, node: Node) -> str:
        return f'getattr(self, "{number}")'

    yield ""
    yield f"    def forward(self, {', '.join(_input_names(nodes))}):"
    for line in _statements(nodes, layer_text, "torch."):
        yield f"        {line}"


def _input_names(nodes: Sequence[Any]) -> list[str]:
    return [f"input{k + 1}" for k in range(input_count(nodes))]


def _statements(
    nodes: Sequence[Any], layer_text: Callable[[int, Node], str], namespace: str
) -> Iterator[str]:
    """One statement a node.

    Args:
        layer_text: number and node of a layer → the expression for it.
        namespace: prefix of operators, `"torch."`.
    """
    statements = list[str]()

    def add(number: int, node: Node, operands: Sequence[str]) -> str:
        name = f"x{len(statements)}"
        statements.append(f"{name} = {_expression(number, node, operands, layer_text, namespace)}")
        return name

    outputs = evaluate_network(nodes, _input_names(nodes), add)
    yield from statements
    yield f"return {', '.join(outputs)}"


def _expression(
    number: int,
    node: Node,
    operands: Sequence[Any],
    layer_text: Callable[[int, Node], str],
    namespace: str,
) -> str:
    target, arguments = str(node.target), dict(node.arguments)
    texts = [str(x) for x in operands]
    if target == PARAMETER:
        is_code = bool(namespace)
        shape_text = f"parameter{number} of shape {arguments['shape']}"
        return f"{layer_text(number, node)}.value" if is_code else shape_text
    if is_module(target):
        return f"{layer_text(number, node)}({', '.join(texts)})"
    if target in _INFIX:
        return f" {_INFIX[target]} ".join(texts)
    if target == "index":
        return f"{texts[0]}[{', '.join(map(_slice_text, arguments['slices']))}]"
    if target == "expand":
        return f"{texts[0]}.expand{arguments['size']}"
    if target == "cat":
        texts = [f"[{', '.join(texts)}]"]
    texts += [f"{name}={value!r}" for name, value in arguments.items()]
    prefix = f"{namespace}nn." if namespace and is_layer(target) else namespace
    return f"{prefix}{target}({', '.join(texts)})"


def _slice_text(part: Sequence[int | None]) -> str:
    start, stop, step = ("" if x is None else str(x) for x in part)
    return f"{start}:{stop}" + (f":{step}" if step else "")
