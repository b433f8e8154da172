"""Facts about a case that conditions can name: arguments, the form of operands, derived facts.

Facts that every case has are plain values (`facts`). Derived facts are computed when a condition
names them (`Facts`): channels per group, number of windows in the input, memory layout of an
operand.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from conformance.backends.numpy_layouts import swapped
from conformance.layers import CATALOGUE
from conformance.model.case import Case
from conformance.spec.sizes import per_dimension

SIGNS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
PLACE = re.compile(r"(?P<name>\w+)\[(?P<place>-?\d+)\]")
AXIS = re.compile(r"(?P<name>[\w.]+)\.shape\[(?P<axis>-?\d+)\]")
EQUALS = " = "
FORM = re.compile(r"\w+\.(ndim|size)")
RANGE = re.compile(r"(?P<name>[\w.]+)\.(?P<end>min|max)")
ASKED = re.compile(r"(?P<name>[\w.]+)\.asked")
_STREAM = 0x736F6D65  # random stream that selects the operands whose gradients are computed alone
LAYOUT = re.compile(r"(?P<name>[\w.]+)\.(?P<what>layout|swapped)")


def facts(case: Case) -> dict[str, Any]:
    """The arguments of a case including defaults, and the form of its inputs."""
    row = CATALOGUE[case.call.layer]
    found: dict[str, Any] = {**row.signature.defaults, **row.conditions.shown(case)}
    found |= case.call.arguments
    found |= case.keywords
    if row.traits.modes:
        found["training"] = case.call.training
    for name, array in zip(row.signature.input_names, case.inputs, strict=False):
        found.setdefault(name, "absent" if array is None else "given")
        if array is not None:
            found[f"{name}.ndim"] = array.ndim
            found[f"{name}.size"] = array.size
    for name in row.state.constructor_tensors:
        found[name] = "given" if name in case.call.state else "absent"
    if "broken" in case.labels:
        found["broken"] = case.labels["broken"]
    return found


class Facts:
    """The facts of one case, derived ones included.

    Args:
        case: the case.
        layouts: memory layout of each operand that is not contiguous, by name; None = the layouts
            that the case itself names.
    """

    def __init__(self, case: Case, layouts: Mapping[str, str] | None = None) -> None:
        self.case, self._found, self._layouts = case, facts(case), layouts
        self.row = CATALOGUE[case.call.layer]

    def get(self, name: str) -> Any:
        """Find a fact by its name, or compute it; None if the case has no such fact.

        Args:
            name: one of
                an argument, or one dimension of it (`stride[-1]`);
                two arguments with ` = ` between them: whether they are equal;
                `<input>.ndim`, `<input>.size`, `<input>.shape[k]`;
                `<operand>.max`, `<operand>.min`: of its finite numbers;
                `<operand>.layout`, also for a cotangent: `grad_output.layout`;
                `<operand>.swapped`: the axes that its transposed layout swaps;
                `<operand>.asked`: whether the check `layout` computes its gradient;
                a derived fact of the layer, or a size of its shapes (`in_features`);
                arithmetic on these, for each dimension: `"padding - dilation * (kernel_size - 1)"`.
        """
        if name in self._found:
            return self._found[name]
        value = self._looked_up(name)
        self._found[name] = value
        return value

    def dimensions(self, names: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The facts of each spatial dimension: one mapping from name to number for each.

        Args:
            names: arguments or derived facts with a number for each dimension.
        """
        dims = self.row.signature.dims
        found: list[dict[str, Any]] = [{} for _ in range(dims)]
        for name in names:
            # An invalid call may have a meaningless padding, or one number too many.
            try:
                values = self._numbers(name)
                for place, value in zip(found, per_dimension(values, dims), strict=True):
                    place[name] = value
            except (ValueError, TypeError, AssertionError):
                return []
        return found

    def _looked_up(self, name: str) -> Any:
        if FORM.fullmatch(name):
            return None  # the input is left out
        derived = self.row.conditions.derived.get(name, EVERY_ROW.get(name))
        if derived is not None:
            try:
                return derived(self)
            except (ValueError, TypeError, AssertionError):
                return None  # undefined for an invalid call
        if EQUALS in name:
            first, second = (self.get(part) for part in name.split(EQUALS, 1))
            return None if first is None or second is None else bool(first == second)
        forms = (AXIS, LAYOUT, PLACE, RANGE, ASKED)
        axis, layout, place, span, asked = (form.fullmatch(name) for form in forms)
        if asked is not None:
            some = asked_laid_out(self.case)
            return not some or asked["name"] in some
        if span is not None:
            return _extreme(self.operand(span["name"]), span["end"])
        if place is not None:
            values = self.get(place["name"])
            try:
                return per_dimension(values, self.row.signature.dims)[int(place["place"])]
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
            if isinstance(tree, ast.Name):
                return self._size(name)
            return tuple(np.atleast_1d(self._computed(tree)).tolist())
        except (SyntaxError, KeyError, ValueError, TypeError):
            return None

    def _size(self, name: str) -> Any:
        """A named size of the layer's shapes; None if the case has no such size."""
        shapes, sizes = self.row.shapes, self.row.sizes(self.case)
        if shapes is None or sizes is None or name not in shapes.size_names:
            return None
        try:
            return sizes[name]
        except (KeyError, TypeError, ValueError, ZeroDivisionError):
            return None

    def _computed(self, node: ast.expr) -> Any:
        if isinstance(node, ast.BinOp):
            left, right = self._computed(node.left), self._computed(node.right)
            return SIGNS[type(node.op)](left, right)
        if isinstance(node, ast.Constant):
            return np.asarray(node.value, np.int64)
        name = ast.unparse(node)
        value = self.get(name) if not isinstance(node, ast.UnaryOp) else None
        if value is None:
            raise KeyError(name)
        return np.asarray(self._numbers(name) if isinstance(value, str) else value, np.int64)

    def operand(self, name: str) -> np.ndarray | None:
        """An input or a state tensor by its name; None if it is absent."""
        if name in self.row.signature.input_names:
            place = self.row.signature.input_names.index(name)
            return self.case.inputs[place] if place < len(self.case.inputs) else None
        return self.case.call.state.get(name)

    def _layout(self, name: str, what: str) -> Any:
        array = self.operand(name)
        if array is None and name not in self.row.signature.cotangent_names:
            return None
        layouts = self._layouts
        if layouts is None:
            layouts = own_layouts(self.case)
        layout = layouts.get(name, "contiguous")
        if what == "layout":
            return layout
        return swapped(array) if layout == "transposed" and array is not None else None

    def _numbers(self, name: str) -> Any:
        """An argument as numbers; for a word such as "same", its derived fact with the numbers."""
        value = self.get(name)
        return self.get(self.row.conditions.numbers[name]) if isinstance(value, str) else value


def asked_alone(case: Case) -> frozenset[str]:
    """Names of operands whose gradients a check computes without the others'.

    They are chosen at random by the case's seed. Empty if only one operand has a gradient.
    """
    row, named = CATALOGUE[case.call.layer], dict[int, list[str]]()
    for place, x in zip(row.signature.inputs, case.inputs, strict=False):
        if x is not None and place.differentiable and x.dtype.kind in "fc":
            named.setdefault(id(x), []).append(place.name)  # one object is one leaf
    leaves = [*named.values(), *([name] for name in row.parameters(case))]
    if len(leaves) < 2:
        return frozenset()
    generator = np.random.default_rng((case.seed, _STREAM))
    order = generator.permutation(len(leaves))[: generator.integers(1, len(leaves))]
    return frozenset(name for k in order for name in leaves[k])


def asked_laid_out(case: Case) -> frozenset[str]:
    """`asked_alone` in every second case of the check `layout`; else empty: it computes all."""
    return asked_alone(case) if case.seed % 2 else frozenset()


def own_layouts(case: Case) -> dict[str, str]:
    """The layouts that a case itself names, by operand."""
    row = CATALOGUE[case.call.layer]
    named = dict(zip(row.signature.input_names, case.layouts, strict=False))
    named |= dict(zip(row.signature.cotangent_names, case.cotangent_layouts, strict=False))
    return {**named, **case.call.layouts}


def _extreme(array: np.ndarray | None, end: str) -> float | None:
    """The largest or the smallest finite number of an array; None if it has none."""
    if array is None or array.dtype.kind not in "fi":
        return None
    finite = array[np.isfinite(array)]
    return float(finite.max() if end == "max" else finite.min()) if finite.size else None


def _empty(found: Facts) -> bool:
    """Whether an operand has no elements."""
    return any(not x.size for x in found.case.operands)


def _batch(found: Facts) -> int | None:
    """The batch size of the first input; None if it has no batch axis."""
    first, axis = found.case.inputs[0], found.row.batch_axis(found.case, 0)
    return None if first is None or axis is None else first.shape[axis]


EVERY_ROW: Mapping[str, Callable[[Facts], Any]] = {"batch": _batch, "empty": _empty}
