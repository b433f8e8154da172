"""The notation for shapes: `"*batch in_features"`, as jaxtyping and einops write them.

A shape is a list of axes with blanks between them, the first axis first:

- `in_features`: an argument's value, or a size that all tensors with this name share;
- `8`, `in_channels//groups`, `(kernel_size - 1)`: a number, or an expression of sizes and
  arguments, with blanks in parentheses only;
- `batch?`: an optional axis, present in all tensors or in none; in `batch? *more` it takes the
  first axis, if there is one;
- `(batch*num_heads)?`: an optional axis of that size, present or absent in each tensor separately;
- `*batch`: any number of axes, the same in all tensors; `*normalized_shape`: one for each number
  of an argument; `*space`, `*kernel_size`, `*(2*space - 1)`: one for each spatial dimension;
- `()`: no axis at all.

`batch` counts the samples, `space` is the size in a spatial dimension. A tensor may be absent,
`"out_features if bias"`, or have one of two shapes, `"batch time if batch_first else time batch"`.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from types import CodeType
from typing import Any

BATCH, SPACE = "batch", "space"

_FUNCTIONS = {"min": min, "max": max, "abs": abs}
_NODES = (
    ast.Expression, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.Call, ast.Name,
    ast.Load, ast.Constant, ast.operator, ast.unaryop, ast.boolop, ast.cmpop,
)  # fmt: skip


class NotationError(ValueError):
    """A text that is not a valid shape; the message says what is wrong, and where."""


@dataclass(frozen=True)
class Expression:
    """A number computed from sizes and arguments; `names` lists these in order of occurrence."""

    text: str
    code: CodeType
    names: tuple[str, ...]

    def evaluate(self, names: Mapping[str, Any]) -> Any:
        """The value for given sizes and arguments; a KeyError names an unknown one."""
        return eval(self.code, {"__builtins__": _FUNCTIONS}, names)


@dataclass(frozen=True)
class Axis:
    """One entry of a shape.

    Args:
        size: the expression of its size.
        repeated: it stands for several axes: `*`.
        optional: it stands for one axis or none: `?`.
        tensor: the tensor that has the axis, where the size is an expression: other tensors may
            lack the axis.
    """

    size: Expression
    repeated: bool = False
    optional: bool = False
    tensor: str = ""

    @cached_property
    def name(self) -> str:
        """The name of its size; "" if the size is an expression."""
        return self.size.text if self.size.text.isidentifier() else ""

    @property
    def presence_key(self) -> str:
        """Key under which `Sizes` stores whether the axis is present."""
        return f"{self.tensor}: {self.size.text}" if self.tensor else self.size.text

    def __str__(self) -> str:
        return "*" * self.repeated + self.size.text + "?" * self.optional


@dataclass(frozen=True)
class TensorShape:
    """The shape of one tensor.

    Args:
        axes: in order.
        condition: on the arguments, under which the tensor has these axes; None = always.
        otherwise: the shape where the condition does not hold; None = the tensor is absent then.
    """

    axes: tuple[Axis, ...]
    condition: Expression | None = None
    otherwise: TensorShape | None = None

    def axes_for(self, arguments: Mapping[str, Any]) -> tuple[Axis, ...] | None:
        """The axes for given arguments; None if the tensor is absent."""
        if self.condition is None or self.condition.evaluate(arguments):
            return self.axes
        return None if self.otherwise is None else self.otherwise.axes_for(arguments)

    def for_tensor(self, tensor: str) -> TensorShape:
        """The shape with the tensor's name noted in each axis whose size is an expression."""
        axes = (replace(a, tensor="" if a.name else tensor) for a in self.axes)
        otherwise = self.otherwise and self.otherwise.for_tensor(tensor)
        return TensorShape(tuple(axes), self.condition, otherwise)

    @property
    def alternatives(self) -> tuple[tuple[Axis, ...], ...]:
        """All alternatives of the axes, one for each condition."""
        return (self.axes, *(() if self.otherwise is None else self.otherwise.alternatives))

    @property
    def names(self) -> tuple[str, ...]:
        """Sizes and arguments that occur in the axes and conditions."""
        all_names = [name for axis in self.axes for name in axis.size.names]
        all_names += self.condition.names if self.condition is not None else ()
        all_names += self.otherwise.names if self.otherwise is not None else ()
        return tuple(dict.fromkeys(all_names))

    def __str__(self) -> str:
        text = " ".join(map(str, self.axes)) or "()"
        if self.condition is not None:
            text += f" if {self.condition.text}"
        return text if self.otherwise is None else f"{text} else {self.otherwise}"


@cache
def parse_shape(text: str) -> TensorShape:
    """Parse the text of a shape; raise a `NotationError` that says what is wrong, and where."""
    return _parse_words(_split_words(text), text)


@cache
def parse_expression(text: str) -> Expression:
    """Parse and compile an expression of sizes and arguments."""
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except SyntaxError as error:
        raise NotationError(f"{text!r} is not a valid expression: {error.msg}") from error
    for node in ast.walk(tree):
        if not isinstance(node, _NODES):
            raise NotationError(f"{text!r} has a {type(node).__name__}, which no size needs")
        if isinstance(node, ast.Call) and not isinstance(node.func, ast.Name):
            raise NotationError(f"{text!r} calls something that is not a function's name")
    name_nodes = sorted(
        (node for node in ast.walk(tree) if isinstance(node, ast.Name)), key=lambda n: n.col_offset
    )
    names = tuple(dict.fromkeys(node.id for node in name_nodes if node.id not in _FUNCTIONS))
    return Expression(text.strip(), compile(tree, "<shape>", "eval"), names)


def _split_words(text: str) -> list[str]:
    """Split the text at blanks outside parentheses."""
    words, depth, word = list[str](), 0, ""
    for index, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth < 0:
            raise NotationError(f"{text!r} has an unmatched ) at character {index + 1}")
        if character.isspace() and not depth:
            words, word = [*words, word] if word else words, ""
        else:
            word += character
    if depth:
        raise NotationError(f"{text!r} leaves a parenthesis open")
    return [*words, word] if word else words


def _parse_words(words: list[str], text: str) -> TensorShape:
    if "if" not in words:
        if "else" in words:
            raise NotationError(f"{text!r} has an else without an if")
        return TensorShape(_parse_axes(words, text))
    if_index = words.index("if")
    axes, tail = _parse_axes(words[:if_index], text), words[if_index + 1 :]
    else_index = tail.index("else") if "else" in tail else len(tail)
    if not tail[:else_index]:
        raise NotationError(f"{text!r} has an if without a condition")
    condition = parse_expression(" ".join(tail[:else_index]))
    otherwise = _parse_words(tail[else_index + 1 :], text) if else_index < len(tail) else None
    return TensorShape(axes, condition, otherwise)


def _parse_axes(words: list[str], text: str) -> tuple[Axis, ...]:
    if words == ["()"]:
        return ()
    if not words:
        raise NotationError(f"{text!r} has no axis: the shape of a scalar is ()")
    return tuple(_parse_axis(word) for word in words)


def _parse_axis(word: str) -> Axis:
    repeated, optional = word.startswith("*"), word.endswith("?")
    axis = Axis(parse_expression(word[repeated : len(word) - optional]), repeated, optional)
    if optional and (repeated or not axis.size.names):
        raise NotationError(f"{word!r}: only one axis that names a size can be left out")
    return axis
