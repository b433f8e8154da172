"""The notation for shapes: `"*batch in_features"`, as jaxtyping and einops write them.

A shape is a list of axes with blanks between them, the first axis first:

- `in_features`: an argument's value, or a size that all tensors with this name share;
- `8`, `in_channels//groups`, `(kernel_size - 1)`: a number, or an expression of sizes and
  arguments, with blanks in parentheses only;
- `batch?`: one axis or none, in all tensors alike; `batch? *more`: the first, if there is one;
  `(batch*num_heads)?`: one of that size or none, in each tensor by itself;
- `*batch`: any number of axes, in all tensors the same; `*normalized_shape`: one for each number
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
    """A text that is no shape: what is wrong, and where in the text."""


@dataclass(frozen=True)
class Expression:
    """A number that follows from sizes and arguments.

    Args:
        text: as it is written.
        code: the text, compiled.
        names: of sizes and arguments in it, in their order.
    """

    text: str
    code: CodeType
    names: tuple[str, ...]

    def value(self, names: Mapping[str, Any]) -> Any:
        """The value with these sizes and arguments; a KeyError names the one that is unknown."""
        return eval(self.code, {"__builtins__": _FUNCTIONS}, names)


@dataclass(frozen=True)
class Axis:
    """One entry of a shape.

    Args:
        size: what its size is.
        repeated: it stands for several axes: `*`.
        optional: it stands for one axis or none: `?`.
        tensor: that it is of, where it is an expression and others may have it or not.
    """

    size: Expression
    repeated: bool = False
    optional: bool = False
    tensor: str = ""

    @cached_property
    def name(self) -> str:
        """The size that it is by itself; "" of an expression."""
        return self.size.text if self.size.text.isidentifier() else ""

    @property
    def presence(self) -> str:
        """What tells whether it is there: a size that tensors share, or its own expression."""
        return f"{self.tensor}: {self.size.text}" if self.tensor else self.size.text

    def __str__(self) -> str:
        return "*" * self.repeated + self.size.text + "?" * self.optional


@dataclass(frozen=True)
class TensorShape:
    """The shape of one tensor.

    Args:
        axes: the first one first.
        condition: on the arguments, under which the tensor has these axes; None = always.
        otherwise: its shape where the condition does not hold; None = it is absent then.
    """

    axes: tuple[Axis, ...]
    condition: Expression | None = None
    otherwise: TensorShape | None = None

    def chosen(self, arguments: Mapping[str, Any]) -> tuple[Axis, ...] | None:
        """Its axes in a call with these arguments; None where it is absent."""
        if self.condition is None or self.condition.value(arguments):
            return self.axes
        return None if self.otherwise is None else self.otherwise.chosen(arguments)

    def within(self, tensor: str) -> TensorShape:
        """The shape as that of a tensor."""
        axes = (replace(a, tensor="" if a.name else tensor) for a in self.axes)
        otherwise = self.otherwise and self.otherwise.within(tensor)
        return TensorShape(tuple(axes), self.condition, otherwise)

    @property
    def forms(self) -> tuple[tuple[Axis, ...], ...]:
        """Its axes under each condition."""
        return (self.axes, *(() if self.otherwise is None else self.otherwise.forms))

    @property
    def names(self) -> tuple[str, ...]:
        """Sizes and arguments that it names, its conditions' among them."""
        inner = [name for axis in self.axes for name in axis.size.names]
        inner += self.condition.names if self.condition is not None else ()
        inner += self.otherwise.names if self.otherwise is not None else ()
        return tuple(dict.fromkeys(inner))

    def __str__(self) -> str:
        text = " ".join(map(str, self.axes)) or "()"
        if self.condition is not None:
            text += f" if {self.condition.text}"
        return text if self.otherwise is None else f"{text} else {self.otherwise}"


@cache
def parse_shape(text: str) -> TensorShape:
    """A shape from its text; a `NotationError` says what is wrong in it, and where."""
    return _parse(_words(text), text)


@cache
def parse_expression(text: str) -> Expression:
    """An expression of sizes and arguments from its text."""
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except SyntaxError as error:
        raise NotationError(f"{text!r} is no expression: {error.msg}") from error
    for node in ast.walk(tree):
        if not isinstance(node, _NODES):
            raise NotationError(f"{text!r} has a {type(node).__name__}, which no size needs")
        if isinstance(node, ast.Call) and not isinstance(node.func, ast.Name):
            raise NotationError(f"{text!r} calls what is no function's name")
    found = sorted(
        (node for node in ast.walk(tree) if isinstance(node, ast.Name)), key=lambda n: n.col_offset
    )
    names = tuple(dict.fromkeys(node.id for node in found if node.id not in _FUNCTIONS))
    return Expression(text.strip(), compile(tree, "<shape>", "eval"), names)


def _words(text: str) -> list[str]:
    """The text cut at blanks that are in no parentheses."""
    words, depth, word = list[str](), 0, ""
    for place, sign in enumerate(text):
        depth += (sign == "(") - (sign == ")")
        if depth < 0:
            raise NotationError(f"{text!r} closes a parenthesis too many at character {place + 1}")
        if sign.isspace() and not depth:
            words, word = [*words, word] if word else words, ""
        else:
            word += sign
    if depth:
        raise NotationError(f"{text!r} leaves a parenthesis open")
    return [*words, word] if word else words


def _parse(words: list[str], text: str) -> TensorShape:
    if "if" not in words:
        if "else" in words:
            raise NotationError(f"{text!r} has an else without an if")
        return TensorShape(_axes(words, text))
    at = words.index("if")
    axes, rest = _axes(words[:at], text), words[at + 1 :]
    end = rest.index("else") if "else" in rest else len(rest)
    if not rest[:end]:
        raise NotationError(f"{text!r} has an if without a condition")
    condition = parse_expression(" ".join(rest[:end]))
    otherwise = _parse(rest[end + 1 :], text) if end < len(rest) else None
    return TensorShape(axes, condition, otherwise)


def _axes(words: list[str], text: str) -> tuple[Axis, ...]:
    if words == ["()"]:
        return ()
    if not words:
        raise NotationError(f"{text!r} names no axis: a scalar's shape is ()")
    return tuple(_axis(word) for word in words)


def _axis(word: str) -> Axis:
    repeated, optional = word.startswith("*"), word.endswith("?")
    axis = Axis(parse_expression(word[repeated : len(word) - optional]), repeated, optional)
    if optional and (repeated or not axis.size.names):
        raise NotationError(f"{word!r}: only one axis that names a size can be left out")
    return axis
