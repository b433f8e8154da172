"""Write a page for each layer of the catalogue, an index for each family, and an index of all."""

from __future__ import annotations

import importlib
import inspect
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import groupby
from typing import Any

from known_layers import Divergences
from layer_facts import DTYPE, VALID, Facts, facts
from numerics_page import anchor, title
from prose import code, escaped, meanings, paragraphs, said, sentence, table
from staging import Stage

from conformance.checks import CHECKS
from conformance.layers import CATALOGUE
from conformance.layers.describe import argument_text
from conformance.layers.reached import table as reached
from conformance.model.case import class_and_method
from conformance.spec.layer_spec import LayerSpec
from conformance.spec.parts import stateless
from conformance.spec.shapes import shape_lines
from conformance.spec.signature import REQUIRED, Argument, Input, Output

_PLAIN = ("name", "default", "plain", "other", "size", "window", "large", "form", "ties")
"""Fields of an argument that the page does not explain."""


def signature(row: LayerSpec) -> str:
    """The call as torch documents it, with every default."""
    inputs = dict.fromkeys(
        x.passed.part_of or x.name for x in row.signature.inputs if not x.passed.by_name
    )
    optional = {
        x.passed.part_of or x.name
        for x in row.signature.inputs
        if x.optional and not x.passed.part_of
    }
    before = [f"{name}=None" if name in optional else name for name in inputs]
    named = [
        f"{x.name}=None" if x.optional else x.name for x in row.signature.inputs if x.passed.by_name
    ]
    given = [a for a in row.signature.arguments if not a.keyword]
    required = [a.name for a in given if a.default is REQUIRED]
    written = [f"{a.name}={_default(row, a)}" for a in given if a.default is not REQUIRED]
    if row.function:
        return _called(f"torch.nn.{row.name}", [*before, *required, *named, *written])
    name, method = class_and_method(row.name)
    made = _called(f"torch.nn.{name}", [*required, *row.state.constructor_tensors, *written])
    keywords = [f"{a.name}={_default(row, a)}" for a in row.signature.arguments if a.keyword]
    called = _called(f"layer.{method}" if method else "layer", [*before, *named, *keywords])
    return f"layer = {made}\n{called}"


def _called(name: str, parts: Sequence[str]) -> str:
    line = f"{name}({', '.join(parts)})"
    if len(line) <= 76:
        return line
    return f"{name}(\n" + "".join(f"    {part},\n" for part in parts) + ")"


def _default(row: LayerSpec, argument: Argument) -> str:
    return argument_text(row.name, argument.name, argument.default)


def _flags(of: Any, without: Sequence[str] = ()) -> str:
    """The meanings of the fields that differ from their defaults, from the class's docstring."""
    told = []
    for field, meaning in _set(of):
        if field not in without:
            told.append(meaning)
    return escaped(" ".join(sentence(x) for x in told))


def _set(of: Any) -> Iterator[tuple[str, str]]:
    """The fields that differ from their defaults, with their meanings."""
    meaning = meanings(type(of))
    for field in fields(of):
        if field.name in meaning and getattr(of, field.name) != field.default:
            yield field.name, meaning[field.name]


def _arguments(row: LayerSpec) -> Iterator[str]:
    if row.signature.arguments:
        rows = []
        for a in row.signature.arguments:
            default = "required" if a.default is REQUIRED else code(_default(row, a))
            told = (_flags(a, _PLAIN), _flags(a.ties, ("fixes_sizes",)), _flags(a.form))
            rows.append((code(a.name), default, " ".join(filter(None, told))))
        yield "### Arguments\n"
        yield table(("argument", "default", ""), rows) + "\n"


def _tensors(row: LayerSpec) -> Iterator[str]:
    yield "### Tensors\n"
    rows = list(_inputs(row))
    rows += [(code(x.name), "output", _of_output(x)) for x in row.signature.outputs]
    yield table(("tensor", "role", ""), rows) + "\n"
    if row.shapes is not None:
        yield f"Shapes ([notation]({_up(row)}docs/contract.md#inputs-of-every-layer)):\n"
        yield "```text\n" + "\n".join(shape_lines(row.shapes)) + "\n```\n"
    elif "→" in (shapes := said(row.oracle.shapes)):
        yield f"Shapes: {escaped(shapes)}\n"
    if row.state.tensors is not stateless:
        yield f"State: {escaped(said(row.state.tensors))}\n"


def _inputs(row: LayerSpec) -> Iterator[tuple[str, str, str]]:
    """A row for each input; parts of one argument with the same role share a row."""
    for (part, _), group in groupby(
        row.signature.inputs, key=lambda x: (x.passed.part_of, x.passed.part_of and x.role)
    ):
        some = list(group)
        if not part:
            yield from ((code(x.name), _role(x), _of_input(x)) for x in some)
            continue
        names = dict.fromkeys((some[0].name, some[-1].name))
        shown = " to ".join(code(name) for name in names)
        told = f"The elements of torch's `{part}`."
        yield shown, _role(some[0]), f"{told} {_of_input(some[0])}".strip()


def _role(x: Input) -> str:
    return f"input: {x.role}" if x.role != "data" else "input"


def _of_input(x: Input) -> str:
    text = _flags(x, ("name", "role", "batch_axis", "differentiable", "signed", "fixed", "part_of"))
    return text if x.differentiable else f"{text} The suite does not check its gradient.".strip()


def _of_output(x: Output) -> str:
    text = _flags(x, ("name", "batch_axis", "dtype", "differentiable"))
    return text if x.differentiable else f"{text} It has no gradient.".strip()


def _up(row: LayerSpec) -> str:
    """The relative path from the layer's page to the root of the site."""
    return "../../"


def _formula(row: LayerSpec) -> Iterator[str]:
    yield "## Formula\n"
    yield "```text\n" + "\n".join(row.oracle.formula) + "\n```\n"
    source = f"From [torch's documentation]({row.page}). " if row.page else ""
    yield f"{source}{_oracle(row)}\n"


def _oracle(row: LayerSpec) -> str:
    text = said(row.oracle.values)
    return f"What the oracle computes:\n\n{paragraphs(text)}" if text else ""


def _bounds(row: LayerSpec, found: Facts) -> Iterator[str]:
    yield "## How its bound is derived\n"
    yield (
        f"The oracle's numbers carry the largest error of a correct implementation "
        f"([how bounds are derived]({_up(row)}numerics.md)). In the first {VALID} cases the oracle "
        "uses these functions:\n"
    )
    rows = {}
    for (module, name), function in sorted(found.steps.items()):
        plain = name.strip("_")
        shown = f"Rounded.{plain}" if name.startswith("_") else name
        section = f"{_up(row)}numerics.md#{anchor(module)}"
        first = said(function).partition("\n\n")[0]
        rows[shown] = (code(shown), f"[{title(module)}]({section})", escaped(sentence(first)))
    if rows:
        yield table(("function", "section", "what it does"), list(rows.values())) + "\n"
    else:
        yield "None: the layer only moves or counts elements, which must be equal.\n"


def _regimes(found: Facts) -> Iterator[str]:
    if not found.regimes:
        return
    total = sum(r.cases for r in found.regimes)
    exact = sum(r.exact for r in found.regimes)
    yield "## What is drawn\n"
    yield (
        f"Of the first {VALID} cases in {DTYPE}, {total} have outputs with an element. {exact} of "
        "these are exact: their sums and functions do not round in any order, so every element "
        "must be equal. By the regime of their values:\n"
    )
    rows = [(code(r.name), str(r.cases), str(r.exact), str(r.some)) for r in found.regimes]
    head = ("regime", "cases", "all elements exact", "some of them")
    yield table(head, rows) + "\n"
    yield "Examples:\n\n```text\n" + "\n".join(found.calls) + "\n```\n"


def _laws(row: LayerSpec) -> Iterator[str]:
    if row.laws:
        yield "## Laws\n"
        usual = Counter(x.exact for x in row.laws).most_common(1)[0][0]
        yield (
            f"Calls that must agree with each other ([laws]({_up(row)}checks/laws.md)). How "
            f"closely, unless the table says otherwise: {escaped(usual)}.\n"
        )
        rows = [
            (f"`{x.name}`", escaped(x.statement), escaped(x.exact) if x.exact != usual else "")
            for x in row.laws
        ]
        yield table(("law", "statement", "closeness"), rows) + "\n"


def _errors(row: LayerSpec, found: Facts) -> Iterator[str]:
    yield "## What is refused\n"
    if not found.refused:
        yield "The suite knows no invalid call of it: `errors` does not apply.\n"
        return
    yield (
        f"Invalid calls that a backend must refuse ([errors]({_up(row)}checks/errors.md)). torch "
        "refuses *customary* ones without documenting that, and other implementations may accept "
        "them.\n"
    )
    rows = [
        (escaped(r.name), code(r.argument), r.required, code(r.call) if r.call else "")
        for r in found.refused
    ]
    yield table(("what is wrong", "argument", "demand", "example"), rows) + "\n"


def _shown(value: Any) -> str:
    if callable(value):
        return "by case"
    words = {True: "yes", False: "no"}
    return words[value] if isinstance(value, bool) else str(value)


def _traits(row: LayerSpec) -> Iterator[str]:
    signature, rows = row.signature, []
    told = (
        (signature, ("placed", "dims", "complex")),
        (signature.bundles, ("states", "lists")),
        (row.randomness, ("used",)),
        (row.variation, ("needs_keywords",)),
        (row.traits, [field.name for field in fields(row.traits)]),
        (row.lazy, ("eager",)),
        (row.oracle, ("module",)),
    )
    for part, names in told:
        for name, meaning in () if part is None else _set(part):
            if name in names:
                rows.append((code(name), _shown(getattr(part, name)), escaped(meaning)))
    if rows:
        yield "## Traits\n\nProperties that generic code uses and that differ from the defaults:\n"
        yield table(("trait", "", "meaning"), rows) + "\n"


def _checks(row: LayerSpec) -> str:
    """Links to the checks that apply to the layer."""
    have = [name for name, check in CHECKS.items() if check.applies(row)]
    return " · ".join(f"[{name}]({_up(row)}checks/{name}.md)" for name in have)


def _operators(row: LayerSpec) -> Iterator[str]:
    names = [name for name, layers in reached().items() if row.name in layers]
    if names:
        yield "## Operators of torch that it calls\n"
        yield f"For [`check-kernel`]({_up(row)}docs/kernels.md), traced on a CPU:\n"
        yield " ".join(code(name) for name in sorted(names)) + "\n"


def page(row: LayerSpec, found: Facts | None, divergences: Divergences) -> str:
    """The text of a layer's page.

    Args:
        row: the layer's specification.
        found: facts from its cases; None if none were drawn.
        divergences: known divergences of all layers.
    """
    # An orphan is in no table of contents: 300 entries on each of 300 pages take minutes to write.
    lines = [
        "---\norphan: true\n---\n",
        f"# {escaped(row.name)}\n",
        f"```python\n{signature(row)}\n```\n",
    ]
    lines.append(f"Family [{row.family}](index.md). Checks: {_checks(row)}\n")
    lines += [*_formula(row), *_arguments(row), *_tensors(row)]
    lines += [] if found is None else [*_bounds(row, found), *_regimes(found)]
    lines += _laws(row)
    lines += [] if found is None else _errors(row, found)
    lines += _traits(row)
    lines += [*divergences.section(row.name, _up(row)), *_operators(row)]
    return "\n".join(lines)


def families() -> Mapping[str, list[LayerSpec]]:
    """The specifications of each family, in the catalogue's order."""
    found: dict[str, list[LayerSpec]] = {}
    for row in CATALOGUE.values():
        found.setdefault(row.family, []).append(row)
    return found


def family_page(family: str, rows: Sequence[LayerSpec], divergences: Divergences) -> str:
    """The index of a family: the docstring of its oracles' package, and its layers."""
    oracle = importlib.import_module(f"conformance.oracles.{family}")
    lines = [f"# {family.capitalize()}\n", paragraphs(inspect.getdoc(oracle) or "") + "\n"]
    body = []
    for row in rows:
        counted = divergences.count(row.name)
        link = f"[{escaped(row.name)}](<{row.name}.md>)"
        body.append((link, str(len(row.laws)), str(counted or "")))
    lines.append(table(("layer", "laws", "known divergences"), body) + "\n")
    return "\n".join(lines)


def index_page(divergences: Divergences) -> str:
    """The index of all families and layers."""
    body = []
    for family, rows in families().items():
        names = ", ".join(f"[{escaped(r.name)}](<{family}/{r.name}.md>)" for r in rows)
        body.append((f"[{family}]({family}/index.md)", str(len(rows)), names))
    entries = "\n".join(f"{family}/index" for family in families())
    told = (
        f"{len(CATALOGUE)} modules and functions in {len(body)} families. Each page is generated "
        "from the layer's specification in the catalogue, all that the suite knows of it.\n"
    )
    return "\n".join(
        [
            "# Layers\n",
            told,
            table(("family", "layers", "which"), body) + "\n",
            f"```{{toctree}}\n:hidden:\n{entries}\n```",
        ]
    )


def write(stage: Stage, only: Callable[[LayerSpec], bool] = lambda row: True) -> None:
    """Write the pages of all layers, and their indexes.

    Args:
        stage: the sources of the site.
        only: whether a layer's page gets facts from cases.
    """
    divergences = Divergences()
    stage.write("layers/index.md", index_page(divergences))
    for family, rows in families().items():
        stage.write(f"layers/{family}/index.md", family_page(family, rows, divergences))
        for row in rows:
            found = facts(row) if only(row) else None
            stage.write(f"layers/{family}/{row.name}.md", page(row, found, divergences))
