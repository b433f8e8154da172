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

from conformance.backends.numpy_layouts import swapped_axes
from conformance.layers import CATALOGUE
from conformance.model.case import Case
from conformance.spec.sizes import per_dimension

ARITHMETIC_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
DIMENSION_PATTERN = re.compile(r"(?P<name>\w+)\[(?P<place>-?\d+)\]")
AXIS_PATTERN = re.compile(r"(?P<name>[\w.]+)\.shape\[(?P<axis>-?\d+)\]")
EQUALITY_SIGN = " = "
FORM_PATTERN = re.compile(r"\w+\.(ndim|size)")
RANGE_PATTERN = re.compile(r"(?P<name>[\w.]+)\.(?P<end>min|max)")
NAN_PATTERN = re.compile(r"(?P<name>[\w.]+)\.has_nan")
ASKED_PATTERN = re.compile(r"(?P<name>[\w.]+)\.asked")
_RANDOM_STREAM = (
    0x736F6D65  # random stream that selects the operands whose gradients are computed alone
)
LAYOUT_PATTERN = re.compile(r"(?P<name>[\w.]+)\.(?P<what>layout|swapped)")


def facts(case: Case) -> dict[str, Any]:
    """The arguments of a case including defaults, and the form of its inputs."""
    spec = CATALOGUE[case.call.layer]
    result: dict[str, Any] = {**spec.signature.defaults, **spec.conditions.implied_arguments(case)}
    result |= case.call.arguments
    result |= case.keywords
    if spec.traits.train_and_eval_differ:
        result["training"] = case.call.training
    for name, array in zip(spec.signature.input_names, case.inputs, strict=False):
        result.setdefault(name, "absent" if array is None else "given")
        if array is not None:
            result[f"{name}.ndim"] = array.ndim
            result[f"{name}.size"] = array.size
    for name in spec.state.constructor_tensors:
        result[name] = "given" if name in case.call.state else "absent"
    if "broken" in case.labels:
        result["broken"] = case.labels["broken"]
    return result


_UNDEFINED = (ValueError, TypeError, AssertionError, LookupError)
"""Raised for a fact that an invalid call does not have, as the channels of a scalar weight."""


class Facts:
    """The facts of one case, derived ones included.

    Args:
        case: holds the arguments and arrays that the facts come from.
        layouts: memory layout of each operand that is not contiguous, by name; None = the layouts
            that the case itself names.
    """

    def __init__(self, case: Case, layouts: Mapping[str, str] | None = None) -> None:
        self.case, self._values, self._layouts = case, facts(case), layouts
        self.spec = CATALOGUE[case.call.layer]

    def get(self, name: str) -> Any:
        """Find a fact by its name, or compute it; None if the case has no such fact.

        Args:
            name: one of these:
                - an argument, or one dimension of it (`stride[-1]`);
                - two arguments with ` = ` between them: whether they are equal;
                - `<input>.ndim`, `<input>.size`, `<input>.shape[k]`;
                - `<operand>.max`, `<operand>.min`: of its finite numbers;
                - `<operand>.has_nan`: whether one of its numbers is NaN;
                - `<operand>.layout`, also for a cotangent: `grad_output.layout`;
                - `<operand>.swapped`: the axes that its transposed layout swaps;
                - `<operand>.asked`: whether the check `layout` computes its gradient;
                - a derived fact of the layer, or a size of its shapes (`in_features`);
                - arithmetic on these for each dimension:
                  `"padding - dilation * (kernel_size - 1)"`.
        """
        if name in self._values:
            return self._values[name]
        value = self._derive(name)
        self._values[name] = value
        return value

    def dimensions(self, names: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The facts of each spatial dimension: one mapping from name to number for each.

        Args:
            names: arguments or derived facts with a number for each dimension.
        """
        dims = self.spec.signature.dims
        result: list[dict[str, Any]] = [{} for _ in range(dims)]
        for name in names:
            # An invalid call may have a meaningless padding, or one number too many.
            try:
                values = self._as_numbers(name)
                for dimension, value in zip(result, per_dimension(values, dims), strict=True):
                    dimension[name] = value
            except _UNDEFINED:
                return []
        return result

    def _derive(self, name: str) -> Any:
        if FORM_PATTERN.fullmatch(name):
            return None  # the input is left out
        derived = self.spec.conditions.derived_facts.get(name, COMMON_FACTS.get(name))
        if derived is not None:
            try:
                return derived(self)
            except _UNDEFINED:
                return None  # undefined for an invalid call
        if EQUALITY_SIGN in name:
            first, second = (self.get(part) for part in name.split(EQUALITY_SIGN, 1))
            return None if first is None or second is None else bool(first == second)
        forms = (AXIS_PATTERN, LAYOUT_PATTERN, DIMENSION_PATTERN, RANGE_PATTERN, ASKED_PATTERN)
        axis, layout, dimension, span, asked_match = (form.fullmatch(name) for form in forms)
        if asked_match is not None:
            operands_alone = operands_alone_in_layout(self.case)
            return not operands_alone or asked_match["name"] in operands_alone
        if nan_match := NAN_PATTERN.fullmatch(name):
            array = self.operand(nan_match["name"])
            return None if array is None else bool(np.isnan(array).any())
        if span is not None:
            return _extreme(self.operand(span["name"]), span["end"])
        if dimension is not None:
            values = self.get(dimension["name"])
            try:
                return per_dimension(values, self.spec.signature.dims)[int(dimension["place"])]
            except (TypeError, IndexError):
                return None
        if axis is not None:
            array = self.operand(axis["name"])
            axis_index = int(axis["axis"])
            fits = array is not None and -array.ndim <= axis_index < array.ndim
            return array.shape[axis_index] if array is not None and fits else None
        if layout is not None:
            return self._layout_fact(layout["name"], layout["what"])
        try:
            tree = ast.parse(name, mode="eval").body
            if isinstance(tree, ast.Name):
                return self._shape_size(name)
            return tuple(np.atleast_1d(self._evaluate(tree)).tolist())
        except (SyntaxError, KeyError, ValueError, TypeError):
            return None

    def _shape_size(self, name: str) -> Any:
        """A named size of the layer's shapes; None if the case has no such size."""
        shapes, sizes = self.spec.shapes, self.spec.sizes(self.case)
        if shapes is None or sizes is None or name not in shapes.size_names:
            return None
        try:
            return sizes[name]
        except (KeyError, TypeError, ValueError, ZeroDivisionError):
            return None

    def _evaluate(self, node: ast.expr) -> Any:
        if isinstance(node, ast.BinOp):
            left, right = self._evaluate(node.left), self._evaluate(node.right)
            return ARITHMETIC_OPERATORS[type(node.op)](left, right)
        if isinstance(node, ast.Constant):
            return np.asarray(node.value, np.int64)
        name = ast.unparse(node)
        value = self.get(name) if not isinstance(node, ast.UnaryOp) else None
        if value is None:
            raise KeyError(name)
        return np.asarray(self._as_numbers(name) if isinstance(value, str) else value, np.int64)

    def operand(self, name: str) -> np.ndarray | None:
        """An input or a state tensor by its name; None if it is absent."""
        if name in self.spec.signature.input_names:
            input_index = self.spec.signature.input_names.index(name)
            return self.case.inputs[input_index] if input_index < len(self.case.inputs) else None
        return self.case.call.state.get(name)

    def _layout_fact(self, name: str, layout_fact: str) -> Any:
        array = self.operand(name)
        if array is None and name not in self.spec.signature.cotangent_names:
            return None
        layouts = self._layouts
        if layouts is None:
            layouts = case_layouts(self.case)
        layout = layouts.get(name, "contiguous")
        if layout_fact == "layout":
            return layout
        return swapped_axes(array) if layout == "transposed" and array is not None else None

    def _as_numbers(self, name: str) -> Any:
        """An argument as numbers; for a word such as "same", its derived fact with the numbers."""
        value = self.get(name)
        return (
            self.get(self.spec.conditions.numeric_facts[name]) if isinstance(value, str) else value
        )


def operands_differentiated_alone(case: Case) -> frozenset[str]:
    """Names of operands whose gradients a check computes without the others'.

    They are chosen at random by the case's seed. Empty if only one operand has a gradient.
    """
    spec, names_by_object = CATALOGUE[case.call.layer], dict[int, list[str]]()
    for input_spec, x in zip(spec.signature.inputs, case.inputs, strict=False):
        if x is not None and input_spec.differentiable and x.dtype.kind in "fc":
            names_by_object.setdefault(id(x), []).append(input_spec.name)  # one object is one leaf
    leaves = [*names_by_object.values(), *([name] for name in spec.parameter_names(case))]
    if len(leaves) < 2:
        return frozenset()
    generator = np.random.default_rng((case.seed, _RANDOM_STREAM))
    order = generator.permutation(len(leaves))[: generator.integers(1, len(leaves))]
    return frozenset(name for k in order for name in leaves[k])


def operands_alone_in_layout(case: Case) -> frozenset[str]:
    """`operands_differentiated_alone` in every second case of the check `layout`; else empty.

    If it is empty, the check computes all gradients.
    """
    return operands_differentiated_alone(case) if case.seed % 2 else frozenset()


def case_layouts(case: Case) -> dict[str, str]:
    """The layouts that a case itself names, by operand."""
    spec = CATALOGUE[case.call.layer]
    layouts = dict(zip(spec.signature.input_names, case.layouts, strict=False))
    layouts |= dict(zip(spec.signature.cotangent_names, case.cotangent_layouts, strict=False))
    return {**layouts, **case.call.layouts}


def _extreme(array: np.ndarray | None, end: str) -> float | None:
    """The largest or the smallest finite number of an array; None if it has none."""
    if array is None or array.dtype.kind not in "fi":
        return None
    finite = array[np.isfinite(array)]
    return float(finite.max() if end == "max" else finite.min()) if finite.size else None


def is_empty(case_facts: Facts) -> bool:
    """Whether an operand has no elements."""
    return any(not x.size for x in case_facts.case.operands)


def batch_size(case_facts: Facts) -> int | None:
    """The batch size of the first input; None if it has no batch axis."""
    first, axis = case_facts.case.inputs[0], case_facts.spec.batch_axis(case_facts.case, 0)
    return None if first is None or axis is None else first.shape[axis]


COMMON_FACTS: Mapping[str, Callable[[Facts], Any]] = {"batch": batch_size, "empty": is_empty}
