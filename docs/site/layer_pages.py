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
from layer_facts import DTYPE, VALID, CaseFacts, collect_facts
from numerics_page import anchor, title
from prose import code, docstring_text, escape, field_meanings, paragraphs, sentence, table
from staging import Stage

from conformance.checks import CHECKS
from conformance.layers import CATALOGUE
from conformance.layers.describe import argument_text
from conformance.layers.reached import reached_layers as reached
from conformance.model.case import class_and_method
from conformance.spec.layer_spec import LayerSpec
from conformance.spec.parts import stateless
from conformance.spec.shapes import format_shapes
from conformance.spec.signature import REQUIRED, Argument, Input, Output

_UNEXPLAINED = ("name", "default", "plain", "other", "size", "window", "large", "form", "ties")
"""Fields of an argument that the page does not explain."""


def signature(spec: LayerSpec) -> str:
    """The call as torch documents it, with every default."""
    inputs = dict.fromkeys(
        x.passing.part_of or x.name for x in spec.signature.inputs if not x.passing.by_name
    )
    optional = {
        x.passing.part_of or x.name
        for x in spec.signature.inputs
        if x.optional and not x.passing.part_of
    }
    positional = [f"{name}=None" if name in optional else name for name in inputs]
    named_inputs = [
        f"{x.name}=None" if x.optional else x.name
        for x in spec.signature.inputs
        if x.passing.by_name
    ]
    constructor_arguments = [a for a in spec.signature.arguments if not a.keyword]
    required = [a.name for a in constructor_arguments if a.default is REQUIRED]
    defaulted = [
        f"{a.name}={_default_text(spec, a)}"
        for a in constructor_arguments
        if a.default is not REQUIRED
    ]
    if spec.is_function:
        return _call_text(
            f"torch.nn.{spec.name}", [*positional, *required, *named_inputs, *defaulted]
        )
    name, method = class_and_method(spec.name)
    constructor = _call_text(
        f"torch.nn.{name}", [*required, *spec.state.constructor_tensors, *defaulted]
    )
    keywords = [f"{a.name}={_default_text(spec, a)}" for a in spec.signature.arguments if a.keyword]
    call = _call_text(
        f"layer.{method}" if method else "layer", [*positional, *named_inputs, *keywords]
    )
    return f"layer = {constructor}\n{call}"


def _call_text(name: str, parts: Sequence[str]) -> str:
    line = f"{name}({', '.join(parts)})"
    if len(line) <= 76:
        return line
    return f"{name}(\n" + "".join(f"    {part},\n" for part in parts) + ")"


def _default_text(spec: LayerSpec, argument: Argument) -> str:
    return argument_text(spec.name, argument.name, argument.default)


def _field_meanings(part: Any, without: Sequence[str] = ()) -> str:
    """The meanings of the fields that differ from their defaults, from the class's docstring."""
    texts = []
    for field, meaning in _changed_fields(part):
        if field not in without:
            texts.append(meaning)
    return escape(" ".join(sentence(x) for x in texts))


def _changed_fields(part: Any) -> Iterator[tuple[str, str]]:
    """The fields that differ from their defaults, with their meanings."""
    meaning = field_meanings(type(part))
    for field in fields(part):
        if field.name in meaning and getattr(part, field.name) != field.default:
            yield field.name, meaning[field.name]


def _arguments_section(spec: LayerSpec) -> Iterator[str]:
    if spec.signature.arguments:
        rows = []
        for a in spec.signature.arguments:
            default = "required" if a.default is REQUIRED else code(_default_text(spec, a))
            meanings_of = (
                _field_meanings(a, _UNEXPLAINED),
                _field_meanings(a.ties, ("fixes_sizes",)),
                _field_meanings(a.form),
            )
            rows.append((code(a.name), default, " ".join(filter(None, meanings_of))))
        yield "### Arguments\n"
        yield table(("argument", "default", ""), rows) + "\n"


def _tensors_section(spec: LayerSpec) -> Iterator[str]:
    yield "### Tensors\n"
    rows = list(_input_rows(spec))
    rows += [(code(x.name), "output", _output_meaning(x)) for x in spec.signature.outputs]
    yield table(("tensor", "role", ""), rows) + "\n"
    if spec.shapes is not None:
        yield f"Shapes ([notation]({_root(spec)}docs/contract.md#inputs-of-every-layer)):\n"
        yield "```text\n" + "\n".join(format_shapes(spec.shapes)) + "\n```\n"
    elif "→" in (shapes := docstring_text(spec.oracle.shapes)):
        yield f"Shapes: {escape(shapes)}\n"
    if spec.state.tensors is not stateless:
        yield f"State: {escape(docstring_text(spec.state.tensors))}\n"


def _input_rows(spec: LayerSpec) -> Iterator[tuple[str, str, str]]:
    """A row for each input; parts of one argument with the same role share a row."""
    for (part, _), group in groupby(
        spec.signature.inputs, key=lambda x: (x.passing.part_of, x.passing.part_of and x.role)
    ):
        group_inputs = list(group)
        if not part:
            yield from ((code(x.name), _role_text(x), _input_meaning(x)) for x in group_inputs)
            continue
        names = dict.fromkeys((group_inputs[0].name, group_inputs[-1].name))
        names_text = " to ".join(code(name) for name in names)
        meaning = f"The elements of torch's `{part}`."
        yield (
            names_text,
            _role_text(group_inputs[0]),
            f"{meaning} {_input_meaning(group_inputs[0])}".strip(),
        )


def _role_text(x: Input) -> str:
    return f"input: {x.role}" if x.role != "data" else "input"


def _input_meaning(x: Input) -> str:
    text = _field_meanings(
        x, ("name", "role", "batch_axis", "differentiable", "signed", "fixed", "part_of")
    )
    return text if x.differentiable else f"{text} The suite does not check its gradient.".strip()


def _output_meaning(x: Output) -> str:
    text = _field_meanings(x, ("name", "batch_axis", "dtype", "differentiable"))
    return text if x.differentiable else f"{text} It has no gradient.".strip()


def _root(spec: LayerSpec) -> str:
    """The relative path from the layer's page to the root of the site."""
    return "../../"


def _formula_section(spec: LayerSpec) -> Iterator[str]:
    yield "## Formula\n"
    yield "```text\n" + "\n".join(spec.oracle.formula) + "\n```\n"
    source = (
        f"From [torch's documentation]({spec.documentation_url}). "
        if spec.documentation_url
        else ""
    )
    yield f"{source}{_oracle_text(spec)}\n"


def _oracle_text(spec: LayerSpec) -> str:
    text = docstring_text(spec.oracle.values)
    return f"What the oracle computes:\n\n{paragraphs(text)}" if text else ""


def _bounds_section(spec: LayerSpec, case_facts: CaseFacts) -> Iterator[str]:
    yield "## How its bound is derived\n"
    yield (
        f"The oracle's numbers carry the largest error of a correct implementation "
        f"([how bounds are derived]({_root(spec)}numerics.md)). In the first {VALID} cases the "
        "oracle uses these functions:\n"
    )
    rows = {}
    for (module, name), function in sorted(case_facts.steps.items()):
        plain = name.strip("_")
        function_name = f"Rounded.{plain}" if name.startswith("_") else name
        section = f"{_root(spec)}numerics.md#{anchor(module)}"
        first = docstring_text(function).partition("\n\n")[0]
        rows[function_name] = (
            code(function_name),
            f"[{title(module)}]({section})",
            escape(sentence(first)),
        )
    if rows:
        yield table(("function", "section", "what it does"), list(rows.values())) + "\n"
    else:
        yield "None: the layer only moves or counts elements, which must be equal.\n"


def _regimes_section(case_facts: CaseFacts) -> Iterator[str]:
    if not case_facts.regimes:
        return
    total = sum(r.cases for r in case_facts.regimes)
    exact = sum(r.exact for r in case_facts.regimes)
    yield "## What is drawn\n"
    yield (
        f"Of the first {VALID} cases in {DTYPE}, {total} have outputs with an element. {exact} of "
        "these are exact: their sums and functions do not round in any order, so every element "
        "must be equal. By the regime of their values:\n"
    )
    rows = [
        (code(r.name), str(r.cases), str(r.exact), str(r.partly_exact)) for r in case_facts.regimes
    ]
    head = ("regime", "cases", "all elements exact", "some of them")
    yield table(head, rows) + "\n"
    yield "Examples:\n\n```text\n" + "\n".join(case_facts.calls) + "\n```\n"


def _laws_section(spec: LayerSpec) -> Iterator[str]:
    if spec.laws:
        yield "## Laws\n"
        usual_closeness = Counter(x.exact for x in spec.laws).most_common(1)[0][0]
        yield (
            f"Calls that must agree with each other ([laws]({_root(spec)}checks/laws.md)). How "
            f"closely, unless the table says otherwise: {escape(usual_closeness)}.\n"
        )
        rows = [
            (
                f"`{x.name}`",
                escape(x.statement),
                escape(x.exact) if x.exact != usual_closeness else "",
            )
            for x in spec.laws
        ]
        yield table(("law", "statement", "closeness"), rows) + "\n"


def _errors_section(spec: LayerSpec, case_facts: CaseFacts) -> Iterator[str]:
    yield "## What is refused\n"
    if not case_facts.refused:
        yield "The suite knows no invalid call of it: `errors` does not apply.\n"
        return
    yield (
        f"Invalid calls ([errors]({_root(spec)}checks/errors.md)). A backend must refuse those "
        "that torch's page rules out, in the words beside them. The others are customary: "
        "torch refuses them, and other implementations may accept them.\n"
    )
    rows = [
        (
            escape(r.name),
            code(r.argument),
            escape(r.quote) or "customary",
            code(r.call) if r.call else "",
        )
        for r in case_facts.refused
    ]
    yield table(("what is wrong", "argument", "torch's page", "example"), rows) + "\n"


def _value_text(value: Any) -> str:
    if callable(value):
        return "by case"
    words = {True: "yes", False: "no"}
    return words[value] if isinstance(value, bool) else str(value)


def _traits_section(spec: LayerSpec) -> Iterator[str]:
    signature, rows = spec.signature, []
    parts = (
        (signature, ("placed", "dims", "complex")),
        (signature.bundles, ("states", "lists")),
        (spec.randomness, ("used",)),
        (spec.variation, ("needs_keywords",)),
        (spec.traits, [field.name for field in fields(spec.traits)]),
        (spec.lazy, ("eager",)),
        (spec.oracle, ("module",)),
    )
    for part, names in parts:
        for name, meaning in () if part is None else _changed_fields(part):
            if name in names:
                rows.append((code(name), _value_text(getattr(part, name)), escape(meaning)))
    if rows:
        yield "## Traits\n\nProperties that generic code uses and that differ from the defaults:\n"
        yield table(("trait", "", "meaning"), rows) + "\n"


def _check_links(spec: LayerSpec) -> str:
    """Links to the checks that apply to the layer."""
    names = [name for name, check in CHECKS.items() if check.applies(spec)]
    return " · ".join(f"[{name}]({_root(spec)}checks/{name}.md)" for name in names)


def _operators_section(spec: LayerSpec) -> Iterator[str]:
    names = [name for name, layers in reached().items() if spec.name in layers]
    if names:
        yield "## Operators of torch that it calls\n"
        yield f"For [`check-kernel`]({_root(spec)}docs/kernels.md), traced on a CPU:\n"
        yield " ".join(code(name) for name in sorted(names)) + "\n"


def page(spec: LayerSpec, case_facts: CaseFacts | None, divergences: Divergences) -> str:
    """The text of a layer's page.

    Args:
        spec: the layer's specification.
        case_facts: facts from its cases; None if none were drawn.
        divergences: known divergences of all layers.
    """
    # An orphan is in no table of contents: 300 entries on each of 300 pages take minutes to write.
    lines = [
        "---\norphan: true\n---\n",
        f"# {escape(spec.name)}\n",
        f"```python\n{signature(spec)}\n```\n",
    ]
    lines.append(f"Family [{spec.family}](index.md). Checks: {_check_links(spec)}\n")
    lines += [*_formula_section(spec), *_arguments_section(spec), *_tensors_section(spec)]
    lines += (
        []
        if case_facts is None
        else [*_bounds_section(spec, case_facts), *_regimes_section(case_facts)]
    )
    lines += _laws_section(spec)
    lines += [] if case_facts is None else _errors_section(spec, case_facts)
    lines += _traits_section(spec)
    lines += [*divergences.section(spec.name, _root(spec)), *_operators_section(spec)]
    return "\n".join(lines)


def specs_by_family() -> Mapping[str, list[LayerSpec]]:
    """The specifications of each family, in the catalogue's order."""
    specs: dict[str, list[LayerSpec]] = {}
    for spec in CATALOGUE.values():
        specs.setdefault(spec.family, []).append(spec)
    return specs


def family_page(family: str, specs: Sequence[LayerSpec], divergences: Divergences) -> str:
    """The index of a family: the docstring of its oracles' package, and its layers."""
    oracle = importlib.import_module(f"conformance.oracles.{family}")
    lines = [f"# {family.capitalize()}\n", paragraphs(inspect.getdoc(oracle) or "") + "\n"]
    body = []
    for spec in specs:
        divergence_count = divergences.count(spec.name)
        link = f"[{escape(spec.name)}](<{spec.name}.md>)"
        body.append((link, str(len(spec.laws)), str(divergence_count or "")))
    lines.append(table(("layer", "laws", "known divergences"), body) + "\n")
    return "\n".join(lines)


def index_page(divergences: Divergences) -> str:
    """The index of all families and layers."""
    body = []
    for family, rows in specs_by_family().items():
        names = ", ".join(f"[{escape(r.name)}](<{family}/{r.name}.md>)" for r in rows)
        body.append((f"[{family}]({family}/index.md)", str(len(rows)), names))
    entries = "\n".join(f"{family}/index" for family in specs_by_family())
    introduction = (
        f"{len(CATALOGUE)} modules and functions in {len(body)} families. Each page is generated "
        "from the layer's specification in the catalogue, all that the suite knows of it.\n"
    )
    return "\n".join(
        [
            "# Layers\n",
            introduction,
            table(("family", "layers", "which"), body) + "\n",
            f"```{{toctree}}\n:hidden:\n{entries}\n```",
        ]
    )


def write(stage: Stage, has_facts: Callable[[LayerSpec], bool] = lambda row: True) -> None:
    """Write the pages of all layers, and their indexes.

    Args:
        stage: the sources of the site.
        has_facts: whether a layer's page gets facts from cases.
    """
    divergences = Divergences()
    stage.write("layers/index.md", index_page(divergences))
    for family, specs in specs_by_family().items():
        stage.write(f"layers/{family}/index.md", family_page(family, specs, divergences))
        for spec in specs:
            case_facts = collect_facts(spec) if has_facts(spec) else None
            stage.write(f"layers/{family}/{spec.name}.md", page(spec, case_facts, divergences))
