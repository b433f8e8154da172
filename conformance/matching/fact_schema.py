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
from conformance.matching.comparison import COMPARISON, named
from conformance.matching.facts import ASKED as OF_LAYOUT
from conformance.matching.facts import AXIS, EQUALS, EVERY_ROW, FORM, LAYOUT, PLACE, RANGE, SIGNS
from conformance.spec.layer_spec import LayerSpec
from conformance.spec.signature import REQUIRED
from conformance.strategies.invalid.breaks import breaks_of
from conformance.strategies.layouts import LAYOUTS

LONGEST = 200
"""The largest number of characters of a fact's name or of a condition."""
_LAYOUTS = frozenset(LAYOUTS)
BROKEN = "broken"
"""The fact that names the constraint that an invalid call breaks."""
MANY = 20
"""The largest number of words that a message lists."""
GIVEN = frozenset({"given", "absent"})
NUMBER, TRUTH, NO_TRUTH, ANY = "a number", "true or false", "a number or a word", "a value"
Kind = str | frozenset[str]
"""The values that a fact can have: a set of words, or a description such as "a number"."""


@lru_cache(maxsize=4096)
def layers_named(patterns: str) -> tuple[str, ...]:
    """Find the layers of the catalogue that match a comma list of globs."""
    found: set[str] = set()
    for pattern in patterns.split(","):
        name = pattern.strip()
        plain = not set(name) & set("*?[")
        found |= {name} & CATALOGUE.keys() if plain else {x for x in CATALOGUE if named(x, name)}
    return tuple(sorted(found))


@lru_cache(maxsize=4096)
def unknown_fact(name: str, layers: tuple[str, ...]) -> str:
    """What is expected instead of an unknown fact's name; empty if a layer has the fact.

    Args:
        name: the name in a condition.
        layers: the layers of the entry.
    """
    return "" if kinds(name, layers) else _expected(name, layers)


@lru_cache(maxsize=4096)
def kinds(name: str, layers: tuple[str, ...]) -> frozenset[Kind]:
    """The kinds of values that a fact has in some layers; empty if no layer has the fact."""
    if len(name) > LONGEST:
        return frozenset()
    if name == BROKEN:
        rows = (CATALOGUE[x] for x in layers)
        breaks = [
            breaks_of(row.generation.invalid) for row in rows if row.generation.invalid is not None
        ]
        return frozenset([frozenset(itertools.chain(*breaks))] if breaks else [])
    return frozenset(itertools.chain.from_iterable(_of(name, CATALOGUE[x]) for x in layers))


def unmeetable(name: str, wanted: Any, layers: tuple[str, ...]) -> str:
    """What is expected instead of a condition that no case meets; empty if a case can meet it.

    Args:
        name: a fact that one of the layers has.
        wanted: the condition.
        layers: the layers of the entry.
    """
    found = kinds(name, layers)
    if isinstance(wanted, str) and len(wanted) > LONGEST:
        return f"no more than {LONGEST} characters"
    reasons = [_refused(wanted, kind) for kind in found]
    return "" if "" in reasons else min(reasons, default="")


def _of(name: str, row: LayerSpec) -> Iterator[Kind]:
    """The kinds of values that a fact has in one layer."""
    plain = _plain(name, row)
    if plain:
        yield from plain
    elif FORM.fullmatch(name):
        if name.split(".")[0] in row.signature.input_names:
            yield NUMBER
    elif (place := PLACE.fullmatch(name)) is not None:
        if row.signature.dims and -row.signature.dims <= int(place["place"]) < row.signature.dims:
            yield from (k for k in _plain(place["name"], row) if k in (NO_TRUTH, ANY))
    elif (axis := AXIS.fullmatch(name)) is not None:
        yield from _operand(axis["name"], row, NUMBER)
    elif (layout := LAYOUT.fullmatch(name)) is not None:
        what: Kind = _LAYOUTS if layout["what"] == "layout" else NUMBER
        yield from _operand(layout["name"], row, what)
        if layout["name"] in row.signature.cotangent_names:
            yield what
    elif (span := RANGE.fullmatch(name)) is not None:
        yield from _operand(span["name"], row, NUMBER)
    elif (asked := OF_LAYOUT.fullmatch(name)) is not None:
        yield from _operand(asked["name"], row, TRUTH)
    elif EQUALS in name:
        parts = name.split(EQUALS)
        if len(parts) == 2 and all(any(_of(part, row)) for part in parts):
            yield TRUTH
    elif _is_sum(name, row):
        yield NUMBER


def _plain(name: str, row: LayerSpec) -> tuple[Kind, ...]:
    """The kinds of values of a fact whose name is a single word."""
    found = list[Kind]()
    for rows in (row, CATALOGUE[row.oracle.module] if row.oracle.module else row):
        argument = rows.signature.argument(name)
        if argument is not None:
            default = argument.default
            kind = TRUTH if isinstance(default, bool) else ANY if default is None else NO_TRUTH
            found.append(NO_TRUTH if default is REQUIRED else kind)
    if name in row.signature.input_names or name in row.state.constructor_tensors:
        found.append(GIVEN)
    if name == "training" and row.traits.modes:
        found.append(TRUTH)
    sizes = row.shapes.size_names if row.shapes is not None else ()
    if name in row.conditions.derived or name in sizes:
        found.append(ANY)
    if name in EVERY_ROW:
        found.append(TRUTH if name == "empty" else NUMBER)
    return tuple(found)


def _operand(name: str, row: LayerSpec, kind: Kind) -> tuple[Kind, ...]:
    """The kind, if the name is that of an input or a state tensor; else empty."""
    there = name in row.signature.input_names or re.sub(r"\d+", "0", name) in _state_names(row.name)
    return (kind,) if there else ()


@cache
def _state_names(layer: str) -> frozenset[str]:
    """Names of a layer's state tensors with any arguments; each number in them becomes 0."""
    row = CATALOGUE[layer]
    shape = (1,) * (row.signature.dims + 2)
    plain = {a.name: 1 if a.plain is None else a.plain for a in row.signature.arguments}
    given = {
        **row.signature.defaults,
        **{x: plain[x] for x in row.signature.required},
        **row.inferred(shape),
    }
    other = {a.name: _other(a.default, a.other) for a in row.signature.arguments}
    some = [{}, *({name: value} for name, value in other.items() if value is not None)]
    flags = {name: value for name, value in other.items() if isinstance(value, bool)}
    some += [{**flags, name: value} for name, value in other.items() if value is not None]
    found: set[str] = set(row.state.constructor_tensors)
    for change in some:
        try:
            found |= {x.name for x in row.state_tensors({**given, **change}, shape)}
        except (ValueError, TypeError, ArithmeticError, LookupError, AssertionError):
            continue  # these arguments are invalid
    return frozenset(re.sub(r"\d+", "0", name) for name in found)


def _other(default: Any, other: Any) -> Any:
    if isinstance(default, bool):
        return not default
    return 3 if other is None and (default is None or type(default) is int) else other


def _is_sum(name: str, row: LayerSpec) -> bool:
    """Whether a name is an arithmetic expression of numeric facts."""
    try:
        tree = ast.parse(name, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return isinstance(tree, ast.BinOp) and _summed(tree, row)


def _summed(node: ast.expr, row: LayerSpec) -> bool:
    if isinstance(node, ast.BinOp):
        known = type(node.op) in SIGNS
        return known and _summed(node.left, row) and _summed(node.right, row)
    if isinstance(node, ast.Constant):
        return type(node.value) is int and abs(node.value) < 1 << 62
    name = ast.unparse(node)
    if not isinstance(node, (ast.Name, ast.Attribute, ast.Subscript)):
        return False
    return any(kind in (NUMBER, NO_TRUTH, ANY) for kind in _of(name, row))


def _refused(wanted: Any, kind: Kind) -> str:
    """What is expected instead of a condition on a kind of fact; empty if it can be met."""
    words = kind if isinstance(kind, frozenset) else None
    expected = f"one of {', '.join(sorted(words)[:MANY])}" if words else str(kind)
    expected += ", …" if words and len(words) > MANY else ""
    if not isinstance(wanted, str):
        number = isinstance(wanted, (int, float)) and not isinstance(wanted, bool)
        if not number and not isinstance(wanted, bool):
            return f"{expected}; a list is not a value: name its elements"
        if isinstance(wanted, float) and math.isnan(wanted):
            return expected
        fits = kind in (NUMBER, NO_TRUTH, ANY) if number else kind in (TRUTH, ANY)
        return "" if fits else expected
    if wanted.startswith(("=", "!", "<", ">")):
        return _compared(wanted, words, kind, expected)
    if kind in (NUMBER, TRUTH):
        return f"{expected}, or a comparison such as {'>1' if kind == NUMBER else '==true'!r}"
    globs = [glob.strip() for glob in wanted.split(",")]
    if not all(globs):
        return "a comma list of globs, none of them empty"
    if words and not all(any(named(word, glob) for word in words) for glob in globs):
        return expected
    return ""


def _compared(text: str, words: frozenset[str] | None, kind: Kind, expected: str) -> str:
    """What is expected instead of a comparison; empty if it can be met."""
    form = "a comparison with a number, a text in quotation marks, true, false or null"
    match = COMPARISON.match(text)
    if match is None:
        return f"{form}, such as '>1'"
    try:
        other = json.loads(match[2])
    except (ValueError, RecursionError):
        return f"{form}, such as '>1'"
    sign = match[1]
    if isinstance(other, (list, dict)) or (isinstance(other, float) and math.isnan(other)):
        return form
    if other is None:
        return "" if sign == "!=" else "'!=null': no other comparison with null can be true"
    number = not isinstance(other, (bool, str))
    if sign not in ("==", "!=") and not number:
        return f"a number after {sign}"
    if words is not None:
        return "" if other in words else expected
    if number:
        return "" if kind in (NUMBER, NO_TRUTH, ANY) else expected
    fits = (TRUTH, ANY) if isinstance(other, bool) else (NO_TRUTH, ANY)
    return "" if kind in fits else expected


def _expected(name: str, layers: tuple[str, ...]) -> str:
    """The message that lists single-word facts of the layers."""
    facts = dict[str, None]()
    for layer in layers:
        row = CATALOGUE[layer]
        module = CATALOGUE[row.oracle.module].signature.arguments if row.oracle.module else ()
        names = [a.name for a in (*row.signature.arguments, *module)]
        facts |= dict.fromkeys([*names, *row.signature.input_names, *row.conditions.derived])
    several = f"{layers[0]} and {len(layers) - 1} more" if len(layers) > 1 else layers[0]
    shown = list(facts)[:20] + (["…"] if len(facts) > 20 else [])
    return f"expected a fact of {several}: {', '.join(shown)}, or one made of these"
