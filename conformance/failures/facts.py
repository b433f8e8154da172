"""What conditions can name of a case: its arguments, the form of its operands, and what follows.

Facts that every case has are plain values (`facts`). Derived ones are computed when a condition
names them (`Facts`): how many channels a group has, how many windows meet the input, how an operand
lies in memory.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from conformance.backends.numpy_layouts import swapped
from conformance.layers.catalogue import CATALOGUE
from conformance.model.case import Case
from conformance.oracles.convolution import paddings, per_dimension

_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_PLACE = re.compile(r"(?P<name>\w+)\[(?P<place>-?\d+)\]")
_AXIS = re.compile(r"(?P<name>\w+)\.shape\[(?P<axis>-?\d+)\]")
_LAYOUT = re.compile(r"(?P<name>\w+)\.(?P<what>layout|swapped)")


def facts(case: Case) -> dict[str, Any]:
    """The arguments of a case with their defaults, and the form of its inputs.

    Args:
        case: the case.
    """
    row = CATALOGUE[case.call.layer]
    found: dict[str, Any] = dict(row.defaults)
    if "conv" in row.name.lower():
        # The modules' oracles hand them on.
        found |= {"groups": 1, "stride": 1, "padding": 0, "dilation": 1, "output_padding": 0}
        found["padding_mode"] = "zeros"
        weight = case.inputs[1] if len(case.inputs) > 1 else None
        found |= {} if weight is None else {"kernel_size": weight.shape[2:]}
    found |= case.call.arguments
    found |= case.keywords
    for name, array in zip(row.inputs, case.inputs, strict=False):
        found.setdefault(name, "absent" if array is None else "given")
        if array is not None:
            found[f"{name}.ndim"] = array.ndim
            found[f"{name}.size"] = array.size
    if "broken" in case.labels:
        found["broken"] = case.labels["broken"]
    return found


class Facts:
    """The facts of one case, derived ones included.

    Args:
        case: the case.
        layouts: memory layout of each operand that is not contiguous, by name.
    """

    def __init__(self, case: Case, layouts: Mapping[str, str] | None = None) -> None:
        self.case, self._found, self._layouts = case, facts(case), layouts

    def get(self, name: str) -> Any:
        """A fact by its name, or computed from several; None where the case has no such fact.

        Args:
            name: an argument, `<input>.ndim`, `<input>.size`, `<input>.shape[k]`,
                `<operand>.layout`, `<operand>.swapped`, a derived fact (`DERIVED`), one dimension
                of an argument (`stride[-1]`), or a sum of these, taken for each dimension, such as
                `"padding - dilation * (kernel_size - 1)"`.
        """
        if name in self._found:
            return self._found[name]
        value = self._looked_up(name)
        self._found[name] = value
        return value

    def dimensions(self, names: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Arguments dimension by dimension: one mapping for each spatial dimension.

        Args:
            names: of arguments or derived facts that have a number for each dimension.
        """
        dims = spatial(self.case)
        found: list[dict[str, Any]] = [{} for _ in range(dims)]
        for name in names:
            # An invalid call may have a padding of no meaning, or a number too many.
            try:
                values = self._pads() if name == "padding" else self.get(name)
                for place, value in zip(found, per_dimension(values, dims), strict=True):
                    place[name] = value
            except (ValueError, TypeError, AssertionError):
                return []
        return found

    def _looked_up(self, name: str) -> Any:
        if name in DERIVED:
            try:
                return DERIVED[name](self)
            except (ValueError, TypeError, AssertionError):
                return None  # an invalid call need not have it
        axis, layout, place = (form.fullmatch(name) for form in (_AXIS, _LAYOUT, _PLACE))
        if place is not None:
            values = self.get(place["name"])
            try:
                return per_dimension(values, spatial(self.case))[int(place["place"])]
            except (TypeError, IndexError):
                return None
        if axis is not None:
            array = self.operand(axis["name"])
            at = int(axis["axis"])
            fits = array is not None and -array.ndim <= at < array.ndim
            return array.shape[at] if array is not None and fits else None
        if layout is not None:
            return self._layout(layout["name"], layout["what"])
        try:
            tree = ast.parse(name, mode="eval").body
            return tuple(np.atleast_1d(self._computed(tree)).tolist())
        except (SyntaxError, KeyError, ValueError, TypeError):
            return None

    def _computed(self, node: ast.expr) -> Any:
        if isinstance(node, ast.BinOp):
            left, right = self._computed(node.left), self._computed(node.right)
            return _ARITHMETIC[type(node.op)](left, right)
        if isinstance(node, ast.Constant):
            return np.asarray(node.value, np.int64)
        name = ast.unparse(node)
        value = self.get(name) if not isinstance(node, ast.UnaryOp) else None
        if value is None:
            raise KeyError(name)
        if name == "padding" and isinstance(value, str):
            value = self._pads()
        return np.asarray(value, np.int64)

    def operand(self, name: str) -> np.ndarray | None:
        """An input or a state tensor by its name; None where it is not given."""
        row = CATALOGUE[self.case.call.layer]
        if name in row.inputs:
            place = row.inputs.index(name)
            return self.case.inputs[place] if place < len(self.case.inputs) else None
        return self.case.call.state.get(name)

    def _layout(self, name: str, what: str) -> Any:
        array = self.operand(name)
        if array is None:
            return None
        layouts = self._layouts
        if layouts is None:
            layouts = own_layouts(self.case)
        layout = layouts.get(name, "contiguous")
        if what == "layout":
            return layout
        return swapped(array) if layout == "transposed" else None

    def _pads(self) -> tuple[int, ...]:
        padding, dims = self.get("padding"), spatial(self.case)
        if isinstance(padding, str):
            kernel = per_dimension(self.get("kernel_size"), dims)
            dilation = per_dimension(self.get("dilation"), dims)
            return tuple(before for before, _ in paddings(padding, kernel, dilation))
        return per_dimension(padding, dims)


def own_layouts(case: Case) -> dict[str, str]:
    """The layouts that a case names itself, by operand."""
    row = CATALOGUE[case.call.layer]
    named = dict(zip(row.inputs, case.layouts, strict=False))
    return {**named, **case.call.layouts}


def spatial(case: Case) -> int:
    """Number of spatial dimensions of a convolution; 0 of any other layer."""
    found = re.search(r"(\d)d$", case.call.layer)
    return int(found[1]) if found else 0


def _channels_per_group(found: Facts) -> int | None:
    """Input channels that one output channel depends on."""
    first = found.case.inputs[0]
    dims, groups = spatial(found.case), found.get("groups")
    if first is None or not dims or first.ndim < dims + 1 or not isinstance(groups, int):
        return None
    return first.shape[-1 - dims] // groups if groups > 0 else None


def _in_channels(found: Facts) -> int | None:
    """Channels of the input."""
    first, dims = found.case.inputs[0], spatial(found.case)
    return first.shape[-1 - dims] if first is not None and dims and first.ndim > dims else None


def _channels(found: Facts) -> int | None:
    """The larger number of channels, of input or output."""
    weight, groups = found.operand("weight"), found.get("groups")
    if weight is None or not spatial(found.case) or not isinstance(groups, int):
        return None
    return int(max(weight.shape[0], weight.shape[1] * groups))


def _input_length(found: Facts) -> tuple[int, ...] | None:
    """Length of the input in each spatial dimension."""
    first, dims = found.case.inputs[0], spatial(found.case)
    return None if first is None or not dims else first.shape[-dims:]


def _reach(found: Facts) -> tuple[int, ...] | None:
    """Positions from the first to the last tap of the kernel, in each spatial dimension."""
    dims = spatial(found.case)
    if not dims:
        return None
    sizes = (per_dimension(found.get(name), dims) for name in ("kernel_size", "dilation"))
    return tuple(d * (k - 1) + 1 for k, d in zip(*sizes, strict=True))


def _output_length(found: Facts) -> tuple[int, ...] | None:
    """Length of the output in each spatial dimension."""
    case, dims = found.case, spatial(found.case)
    row = CATALOGUE[case.call.layer]
    shapes = [None if x is None else x.shape for x in case.inputs]
    while shapes and shapes[-1] is None:
        shapes.pop()
    arguments = {k: v for k, v in {**case.call.arguments, **case.keywords}.items() if k != "*"}
    try:
        return row.shapes(*shapes, **arguments)[0][-dims:] if dims else None
    except (ValueError, TypeError, IndexError, KeyError, ZeroDivisionError):
        return None


def _windows(found: Facts) -> tuple[int, ...] | None:
    """In each dimension the number of windows that hold at least one element of the input.

    Of a transposed convolution: the number of inputs of which a product reaches the output.
    """
    first, dims, outputs = found.case.inputs[0], spatial(found.case), _output_length(found)
    if first is None or not dims or outputs is None:
        return None
    lengths = first.shape[-dims:]
    transposed = "ranspose" in found.case.call.layer
    over, within = (lengths, outputs) if transposed else (outputs, lengths)
    kernel, stride, dilation = (
        per_dimension(found.get(name), dims) for name in ("kernel_size", "stride", "dilation")
    )
    counts = []
    for n, length, k, s, d, p in zip(
        over, within, kernel, stride, dilation, found._pads(), strict=True
    ):
        places = np.arange(n)[:, np.newaxis] * s - p + d * np.arange(k)
        counts.append(int(((places >= 0) & (places < length)).any(axis=1).sum()))
    return tuple(counts)


def _empty(found: Facts) -> bool:
    """Whether an operand has no element."""
    return any(not x.size for x in found.case.operands)


DERIVED: Mapping[str, Callable[[Facts], Any]] = {
    "in_channels": _in_channels,
    "channels": _channels,
    "channels_per_group": _channels_per_group,
    "input_length": _input_length,
    "output_length": _output_length,
    "reach": _reach,
    "windows": _windows,
    "empty": _empty,
}
"""Facts that are computed when a condition names them."""
