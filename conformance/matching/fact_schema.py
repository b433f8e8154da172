"""The facts that conditions on given layers can name, and the values that each can have."""

from __future__ import annotations

import ast
import itertools
import json
import math
import re
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Any

from conformance.layers import CATALOGUE
from conformance.matching.comparison import COMPARISON, matches_globs
from conformance.matching.facts import (
    ARITHMETIC_OPERATORS,
    AXIS_PATTERN,
    COMMON_FACTS,
    DIMENSION_PATTERN,
    EQUALITY_SIGN,
    FORM_PATTERN,
    LAYOUT_PATTERN,
    NAN_PATTERN,
    RANGE_PATTERN,
)
from conformance.matching.facts import ASKED_PATTERN as OF_LAYOUT
from conformance.spec.layer_spec import LayerSpec
from conformance.spec.signature import REQUIRED
from conformance.strategies.invalid.breaks import break_names
from conformance.strategies.layouts import LAYOUTS

MAX_TEXT_LENGTH = 200
"""The largest number of characters of a fact's name or of a condition."""
_LAYOUTS = frozenset(LAYOUTS)
BROKEN_FACT = "broken"
"""The fact that names the constraint that an invalid call breaks."""
MAX_LISTED_WORDS = 20
"""The largest number of words that a message lists."""
PRESENCE_WORDS = frozenset({"given", "absent"})
NUMBER, BOOLEAN, NUMBER_OR_WORD, ANY_VALUE = (
    "a number",
    "true or false",
    "a number or a word",
    "a value",
)
FactKind = str | frozenset[str]
"""The values that a fact can have: a set of words, or a description such as "a number"."""


@lru_cache(maxsize=4096)
def find_layers(patterns: str) -> tuple[str, ...]:
    """Find the layers of the catalogue that match a comma list of globs."""
    layers: set[str] = set()
    for pattern in patterns.split(","):
        name = pattern.strip()
        is_plain_name = not set(name) & set("*?[")
        layers |= (
            {name} & CATALOGUE.keys()
            if is_plain_name
            else {x for x in CATALOGUE if matches_globs(x, name)}
        )
    return tuple(sorted(layers))


@lru_cache(maxsize=4096)
def explain_unknown_fact(name: str, layers: tuple[str, ...]) -> str:
    """What is expected instead of an unknown fact's name; empty if a layer has the fact.

    Args:
        name: the name in a condition.
        layers: the layers of the entry.
    """
    return "" if fact_kinds(name, layers) else _list_facts(name, layers)


@lru_cache(maxsize=4096)
def fact_kinds(name: str, layers: tuple[str, ...]) -> frozenset[FactKind]:
    """The kinds of values that a fact has in some layers; empty if no layer has the fact."""
    if len(name) > MAX_TEXT_LENGTH:
        return frozenset()
    if name == BROKEN_FACT:
        specs = (CATALOGUE[x] for x in layers)
        breaks = [
            break_names(spec.generation.invalid)
            for spec in specs
            if spec.generation.invalid is not None
        ]
        return frozenset([frozenset(itertools.chain(*breaks))] if breaks else [])
    return frozenset(
        itertools.chain.from_iterable(_kinds_in_layer(name, CATALOGUE[x]) for x in layers)
    )


def explain_unmeetable(name: str, condition: Any, layers: tuple[str, ...]) -> str:
    """What is expected instead of a condition that no case meets; empty if a case can meet it.

    Args:
        name: a fact that one of the layers has.
        condition: the value that the entry asks of the fact.
        layers: the layers of the entry.
    """
    kinds_of_fact = fact_kinds(name, layers)
    if isinstance(condition, str) and len(condition) > MAX_TEXT_LENGTH:
        return f"no more than {MAX_TEXT_LENGTH} characters"
    reasons = [_expected_instead(condition, kind) for kind in kinds_of_fact]
    return "" if "" in reasons else min(reasons, default="")


def _kinds_in_layer(name: str, spec: LayerSpec) -> Iterator[FactKind]:
    """The kinds of values that a fact has in one layer."""
    word_kinds = _single_word_kinds(name, spec)
    if word_kinds:
        yield from word_kinds
    elif FORM_PATTERN.fullmatch(name):
        if name.split(".")[0] in spec.signature.input_names:
            yield NUMBER
    elif (dimension := DIMENSION_PATTERN.fullmatch(name)) is not None:
        if (
            spec.signature.dims
            and -spec.signature.dims <= int(dimension["place"]) < spec.signature.dims
        ):
            yield from (
                k
                for k in _single_word_kinds(dimension["name"], spec)
                if k in (NUMBER_OR_WORD, ANY_VALUE)
            )
    elif (axis := AXIS_PATTERN.fullmatch(name)) is not None:
        yield from _operand_kinds(axis["name"], spec, NUMBER)
    elif (layout := LAYOUT_PATTERN.fullmatch(name)) is not None:
        layout_kind: FactKind = _LAYOUTS if layout["what"] == "layout" else NUMBER
        yield from _operand_kinds(layout["name"], spec, layout_kind)
        if layout["name"] in spec.signature.cotangent_names:
            yield layout_kind
    elif (span := RANGE_PATTERN.fullmatch(name)) is not None:
        yield from _operand_kinds(span["name"], spec, NUMBER)
    elif (nan := NAN_PATTERN.fullmatch(name)) is not None:
        yield from _operand_kinds(nan["name"], spec, BOOLEAN)
    elif (asked := OF_LAYOUT.fullmatch(name)) is not None:
        yield from _operand_kinds(asked["name"], spec, BOOLEAN)
    elif EQUALITY_SIGN in name:
        parts = name.split(EQUALITY_SIGN)
        if len(parts) == 2 and all(any(_kinds_in_layer(part, spec)) for part in parts):
            yield BOOLEAN
    elif _is_arithmetic(name, spec):
        yield NUMBER


def _single_word_kinds(name: str, spec: LayerSpec) -> tuple[FactKind, ...]:
    """The kinds of values of a fact whose name is a single word."""
    word_kinds = list[FactKind]()
    for layer_spec in (
        spec,
        CATALOGUE[spec.oracle.equivalent_module] if spec.oracle.equivalent_module else spec,
    ):
        argument = layer_spec.signature.argument(name)
        if argument is not None:
            default = argument.default
            kind = (
                BOOLEAN
                if isinstance(default, bool)
                else ANY_VALUE
                if default is None
                else NUMBER_OR_WORD
            )
            word_kinds.append(NUMBER_OR_WORD if default is REQUIRED else kind)
    if name in spec.signature.input_names or name in spec.state.constructor_tensors:
        word_kinds.append(PRESENCE_WORDS)
    if name == "training" and spec.traits.train_and_eval_differ:
        word_kinds.append(BOOLEAN)
    sizes = spec.shapes.size_names if spec.shapes is not None else ()
    if name in spec.conditions.derived_facts or name in sizes:
        word_kinds.append(ANY_VALUE)
    if name in COMMON_FACTS:
        word_kinds.append(BOOLEAN if name == "empty" else NUMBER)
    return tuple(word_kinds)


def _operand_kinds(name: str, spec: LayerSpec, kind: FactKind) -> tuple[FactKind, ...]:
    """The kind, if the name is that of an input or a state tensor; else empty."""
    is_operand = name in spec.signature.input_names or re.sub(r"\d+", "0", name) in _state_names(
        spec.name
    )
    return (kind,) if is_operand else ()


@cache
def _state_names(layer: str) -> frozenset[str]:
    """Names of a layer's state tensors with any arguments; each number in them becomes 0."""
    spec = CATALOGUE[layer]
    shape = (1,) * (spec.signature.dims + 2)
    simplest_values = {
        a.name: 1 if a.simplest is None else a.simplest for a in spec.signature.arguments
    }
    arguments = {
        **spec.signature.defaults,
        **{x: simplest_values[x] for x in spec.signature.required},
        **spec.inferred_arguments(shape),
    }
    alternatives = {
        a.name: _alternative_value(a.default, a.alternative) for a in spec.signature.arguments
    }
    changes = [{}, *({name: value} for name, value in alternatives.items() if value is not None)]
    flags = {name: value for name, value in alternatives.items() if isinstance(value, bool)}
    changes += [{**flags, name: value} for name, value in alternatives.items() if value is not None]
    names: set[str] = set(spec.state.constructor_tensors)
    for change in changes:
        try:
            names |= {x.name for x in spec.state_tensors({**arguments, **change}, shape)}
        except (ValueError, TypeError, ArithmeticError, LookupError, AssertionError):
            continue  # these arguments are invalid
    return frozenset(re.sub(r"\d+", "0", name) for name in names)


def _alternative_value(default: Any, alternative: Any) -> Any:
    if isinstance(default, bool):
        return not default
    return 3 if alternative is None and (default is None or type(default) is int) else alternative


def _is_arithmetic(name: str, spec: LayerSpec) -> bool:
    """Whether a name is an arithmetic expression of numeric facts."""
    try:
        tree = ast.parse(name, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return isinstance(tree, ast.BinOp) and _is_numeric_expression(tree, spec)


def _is_numeric_expression(node: ast.expr, spec: LayerSpec) -> bool:
    if isinstance(node, ast.BinOp):
        is_known_operator = type(node.op) in ARITHMETIC_OPERATORS
        return (
            is_known_operator
            and _is_numeric_expression(node.left, spec)
            and _is_numeric_expression(node.right, spec)
        )
    if isinstance(node, ast.Constant):
        return type(node.value) is int and abs(node.value) < 1 << 62
    name = ast.unparse(node)
    if not isinstance(node, (ast.Name, ast.Attribute, ast.Subscript)):
        return False
    return any(kind in (NUMBER, NUMBER_OR_WORD, ANY_VALUE) for kind in _kinds_in_layer(name, spec))


def _expected_instead(condition: Any, kind: FactKind) -> str:
    """What is expected instead of a condition on a kind of fact; empty if it can be met."""
    words = kind if isinstance(kind, frozenset) else None
    expected = f"one of {', '.join(sorted(words)[:MAX_LISTED_WORDS])}" if words else str(kind)
    expected += ", …" if words and len(words) > MAX_LISTED_WORDS else ""
    if not isinstance(condition, str):
        is_number = isinstance(condition, (int, float)) and not isinstance(condition, bool)
        if not is_number and not isinstance(condition, bool):
            return f"{expected}; a list is not a value: name its elements"
        if isinstance(condition, float) and math.isnan(condition):
            return expected
        fits = (
            kind in (NUMBER, NUMBER_OR_WORD, ANY_VALUE)
            if is_number
            else kind in (BOOLEAN, ANY_VALUE)
        )
        return "" if fits else expected
    if condition.startswith(("=", "!", "<", ">")):
        return _expected_in_comparison(condition, words, kind, expected)
    if kind in (NUMBER, BOOLEAN):
        return f"{expected}, or a comparison such as {'>1' if kind == NUMBER else '==true'!r}"
    globs = [glob.strip() for glob in condition.split(",")]
    if not all(globs):
        return "a comma list of globs, none of them empty"
    if words and not all(any(matches_globs(word, glob) for word in words) for glob in globs):
        return expected
    return ""


def _expected_in_comparison(
    text: str, words: frozenset[str] | None, kind: FactKind, expected: str
) -> str:
    """What is expected instead of a comparison; empty if it can be met."""
    comparison_form = "a comparison with a number, a text in quotation marks, true, false or null"
    match = COMPARISON.match(text)
    if match is None:
        return f"{comparison_form}, such as '>1'"
    try:
        operand = json.loads(match[2])
    except (ValueError, RecursionError):
        return f"{comparison_form}, such as '>1'"
    sign = match[1]
    if isinstance(operand, (list, dict)) or (isinstance(operand, float) and math.isnan(operand)):
        return comparison_form
    if operand is None:
        return "" if sign == "!=" else "'!=null': no other comparison with null can be true"
    is_number = not isinstance(operand, (bool, str))
    if sign not in ("==", "!=") and not is_number:
        return f"a number after {sign}"
    if words is not None:
        return "" if operand in words else expected
    if is_number:
        return "" if kind in (NUMBER, NUMBER_OR_WORD, ANY_VALUE) else expected
    fits = (BOOLEAN, ANY_VALUE) if isinstance(operand, bool) else (NUMBER_OR_WORD, ANY_VALUE)
    return "" if kind in fits else expected


def _list_facts(name: str, layers: tuple[str, ...]) -> str:
    """The message that lists single-word facts of the layers."""
    names_of_facts = dict[str, None]()
    for layer in layers:
        spec = CATALOGUE[layer]
        module_arguments = (
            CATALOGUE[spec.oracle.equivalent_module].signature.arguments
            if spec.oracle.equivalent_module
            else ()
        )
        names = [a.name for a in (*spec.signature.arguments, *module_arguments)]
        names_of_facts |= dict.fromkeys(
            [*names, *spec.signature.input_names, *spec.conditions.derived_facts]
        )
    layers_text = f"{layers[0]} and {len(layers) - 1} more" if len(layers) > 1 else layers[0]
    listed = list(names_of_facts)[:20] + (["…"] if len(names_of_facts) > 20 else [])
    return f"expected a fact of {layers_text}: {', '.join(listed)}, or one made of these"
