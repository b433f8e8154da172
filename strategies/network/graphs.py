"""Cases of networks: a graph of 1 to 12 nodes, its inputs, and the state of its layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from conformance.strategies.composing import composite
from conformance.strategies.network.algebra import IMAGE_PATTERNS, PATTERNS
from conformance.strategies.network.builder import Builder, Shape, ShapeOf
from conformance.strategies.network.filling import NetworkFiller
from conformance.strategies.network.steps import STEPS
from conformance.strategies.values import seeds
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Call, Case

TensorsOf = Callable[[Any], Mapping[str, Shape]]
"""A node → names and shapes of its own state."""

_yes_no = st.booleans()
_adds_another = st.integers(0, 5).map(bool)
_one_in_six = st.integers(0, 5).map(lambda n: n == 5)
_one_in_three = st.integers(0, 2).map(lambda n: n == 2)
_three_in_five = st.integers(0, 4).map(lambda n: n > 1)
_five_in_six = st.integers(0, 5).map(bool)
_steps = st.sampled_from(STEPS)
_batches = st.sampled_from((1, 2, 3))
_channels = st.sampled_from((1, 2, 3, 4))
_lengths = st.sampled_from((2, 3, 4, 5))
_kinds = st.sampled_from(("rows", "image", "sequence", "image", "rows", "image", "wide", "deep"))
# Kernels work in blocks, and compilers cut them: the remainder of the last one is code of its own.
_many_channels = st.sampled_from((8, 16, 17))
_small_images = st.sampled_from(((3, 3), (2, 2), (1, 4), (4, 3)))
_widths = st.sampled_from((15, 16, 17, 33, 65))


def draw_shape(draw: Draw) -> Shape:
    """A shape, in half of the cases of equal sizes: moves that are wrong then keep it."""
    kind = draw(_kinds)
    if kind == "wide":
        return (draw(_batches), draw(_widths))
    if kind == "deep":
        return (draw(st.sampled_from((1, 2))), draw(_many_channels), *draw(_small_images))
    if draw(_yes_no):
        size = draw(st.sampled_from((2, 3)))
        return (size,) * {"rows": 2, "sequence": 3, "image": 4}[kind]
    if kind == "rows":
        return (draw(_batches), draw(_channels))
    if kind == "sequence":
        return (draw(_batches), draw(_lengths), draw(_channels))
    return (draw(_batches), draw(_channels), draw(_lengths), draw(_lengths))


@composite
def _extended(draw: Draw, builder: Builder, value: int) -> tuple[int, str]:
    """Add a node behind a value, or the nodes of a pattern: the new value, the pattern's name."""
    added, name = None, ""
    if draw(_five_in_six):
        added, name = _add_pattern(draw, builder, value)
    if added is None and builder.nodes_left:
        added = draw(_steps)(builder, value)
    value = value if added is None else added
    if builder.nodes and draw(_one_in_six):
        value = draw(st.sampled_from(builder.values(lambda shape: True)))
    return value, name


def _add_pattern(draw: Draw, builder: Builder, value: int) -> tuple[int | None, str]:
    """Add the nodes of a pattern: the first of three that fits the value's shape."""
    is_image = len(builder.shape(value)) == 4 and draw(_one_in_three)
    patterns = IMAGE_PATTERNS if is_image else PATTERNS
    for _ in range(3):
        fitting = [pattern for pattern, size in patterns if size <= builder.nodes_left]
        if not fitting:
            break
        pattern = draw(st.sampled_from(fitting))
        added = pattern(builder, value)
        if added is not None:
            return added, pattern.__name__
    return None, ""


@composite
def networks(
    draw: Draw, layer: str, dtype: str, *, shape_of: ShapeOf, tensors_of: TensorsOf
) -> Case:
    """Cases of a network in eval mode.

    Args:
        shape_of: the shape of a node's result.
        tensors_of: names and shapes of a node's own state.
    """
    exact = draw(_three_in_five)
    shape = draw_shape(draw)
    inputs = (shape, shape) if draw(_yes_no) else (shape,)
    builder = Builder(draw, shape_of, inputs, exact=exact)
    value, patterns = -1, list[str]()
    while builder.nodes_left and (not builder.nodes or draw(_adds_another)):
        value, pattern = draw(_extended(builder, value))
        patterns += [pattern] if pattern else []
    outputs = _draw_outputs(draw, builder)
    profile = patterns[0] if patterns else "plain"
    return make_case(draw, layer, dtype, builder, inputs, outputs, tensors_of, profile)


def make_case(
    draw: Draw,
    layer: str,
    dtype: str,
    builder: Builder,
    inputs: tuple[Shape, ...],
    outputs: tuple[int, ...],
    tensors_of: TensorsOf,
    profile: str = "plain",
) -> Case:
    """Fill the inputs and the state of the nodes that a builder has.

    Args:
        inputs: shapes; only inputs that a node takes become arrays.
        outputs: numbers of the nodes that the network returns.
    """
    seed = draw(seeds)
    filler = NetworkFiller(dtype, seed, exact=builder.exact)
    state = {
        f"{number}.{name}": filler.tensor(name, tensor_shape)
        for number, node in enumerate(builder.nodes)
        if not isinstance(node[0], int)
        for name, tensor_shape in tensors_of(node).items()
    }
    arrays = tuple(filler.data(shape) for shape in inputs[: builder.input_count()])
    arguments = {"nodes": (*builder.nodes, ("output", (), outputs))}
    labels = {"profile": profile, "regime": "exact" if builder.exact else "normal"}
    call = Call(layer, arguments, state, dtype, "cpu")
    return Case(call, arrays, labels=labels, seed=seed)


def _draw_outputs(draw: Draw, builder: Builder) -> tuple[int, ...]:
    """The last node, and up to two others: of unused results some are returned, some are dead."""
    last = len(builder.nodes) - 1
    others = list(range(last))
    chosen = draw(st.lists(st.sampled_from(others), max_size=2, unique=True)) if others else []
    return (last, *chosen)
