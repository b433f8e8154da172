"""Known failures with one wrong field: `known` names the file, the entry and the field."""

from __future__ import annotations

import json
from typing import Any

from hostile.entry import Entry, Expected
from hostile.making import CASE, CHANGED, changed, conformance_command

PINNED = f"case = '''{json.dumps(CASE)}'''"
BASE = {
    "layer": '"ReLU"',
    "check": '"values"',
    "reason": '"min in place of max"',
    "strict": "false",
}


def entry_toml(**fields: str | None) -> str:
    """A file of one entry: the usual one with other or further fields, as TOML.

    None leaves a field out.
    """
    field_texts = {name: text for name, text in (BASE | fields).items() if text is not None}
    return "[[known]]\n" + "".join(f"{name} = {text}\n" for name, text in field_texts.items())


def pinned_toml(**changes: Any) -> str:
    """An entry with a pinned case."""
    case = json.dumps(changed(CASE, **changes))
    return entry_toml(strict=None, case=f"'''{case}'''")


def _refused_entry(name: str, text: str, *patterns: str) -> Entry:
    expected = Expected(2, (r"k\.toml", "entry 1", *patterns), never=CHANGED, longest=4000)
    return Entry(
        f"known-{name}", 14, {"k.toml": text}, conformance_command("known", "k.toml"), expected, 20
    )


def _accepted_entry(name: str, text: str) -> Entry:
    expected = Expected(0, ("1 entries|1 entry",), never=CHANGED)
    return Entry(
        f"known-{name}", 0, {"k.toml": text}, conformance_command("known", "k.toml"), expected, 20
    )


WRONG: tuple[tuple[str, str, str | None, str], ...] = (
    ("layer-missing", "layer", None, "layer"),
    ("layer-empty", "layer", '""', "layer"),
    ("layer-unknown", "layer", '"ReLO"', "ReLO"),
    ("layer-one-of-two-unknown", "layer", '"ReLU,ReLO"', "ReLO"),
    ("layer-a-number", "layer", "5", "layer.*5"),
    ("layer-a-list", "layer", '["ReLU"]', "layer"),
    ("layer-a-regex", "layer", '"Conv.*d|ReLU"', "layer|Conv"),
    ("layer-a-comma", "layer", '"ReLU,"', "layer"),
    ("layer-of-another-case", "layer", '"relu"', "relu"),
    ("check-missing", "check", None, "check"),
    ("check-unknown", "check", '"nope"', "nope"),
    ("check-one-of-two-unknown", "check", '"values,nope"', "nope"),
    ("check-misspelt", "check", '"value"', "value"),
    ("check-a-regex", "check", '"(values|shape)"', "check"),
    ("check-a-boolean", "check", "true", "check"),
    ("dtype-unknown", "dtype", '"float31"', "float31"),
    ("dtype-of-torch", "dtype", '"torch.float32"', "torch.float32"),
    ("dtype-a-number", "dtype", "32", "dtype.*32"),
    ("dtype-empty", "dtype", '""', "dtype"),
    ("device-empty", "device", '""', "device"),
    ("device-a-list", "device", '["cpu"]', "device"),
    ("backend-empty", "backend", '""', "backend"),
    ("reason-missing", "reason", None, "reason"),
    ("reason-of-blanks", "reason", '"  \\t "', "reason"),
    ("reason-a-number", "reason", "1", "reason"),
    ("when-a-string", "when", '"groups > 1"', "when"),
    ("when-an-empty-list", "when", "[]", "when"),
    ("when-a-list-of-strings", "when", '["groups"]', "when"),
    ("when-unknown-fact", "when", '{ nonsense = true }', "nonsense"),
    ("when-a-fact-of-another-layer", "when", '{ dilation = ">1" }', "dilation"),
    ("when-an-argument-misspelt", "when", '{ inplaces = true }', "inplaces"),
    ("when-no-operator-known", "when", '{ "input.ndim" = "=>2" }', "=>2"),
    ("when-a-comparison-with-nothing", "when", '{ "input.ndim" = ">" }', "input.ndim"),
    ("when-a-comparison-with-words", "when", '{ "input.ndim" = ">many" }', "many"),
    ("when-a-comparison-with-nan", "when", '{ "input.ndim" = ">NaN" }', "NaN"),
    ("when-a-nan", "when", '{ "input.ndim" = nan }', "input.ndim"),
    ("when-a-date", "when", '{ "input.ndim" = 2026-01-01 }', "input.ndim"),
    ("when-code", "when", """{ "__import__('os').abort()" = 1 }""", "__import__"),
    ("when-a-sum-of-nothing", "when", '{ "input.ndim - " = 1 }', "input.ndim"),
    ("when-a-power", "when", '{ "input.ndim ** 2" = 4 }', "input.ndim"),
    ("when-an-axis-a-word", "when", '{ "input.shape[x]" = 1 }', "shape"),
    ("when-an-input-that-is-none", "when", '{ weight = "given" }', "weight"),
    ("when-presence-misspelt", "when", '{ input = "givven" }', "givven"),
    ("when-unknown-layout", "when", '{ "input.layout" = "diagonal" }', "diagonal"),
    ("when-dimension-of-none", "when", '{ dimension = { padding = ">0" } }', "padding|dimension"),
    ("when-dimension-a-number", "when", "{ dimension = 2 }", "dimension"),
    ("when-broken-of-a-layer-of-none", "when", '{ broken = "no such constraint" }', "broken"),
    ("when-a-value-too-many", "when", '{ inplace = "perhaps" }', "perhaps"),
    ("versions-nonsense", "versions", '{ numpy = "newest" }', "newest"),
    ("versions-a-number", "versions", "{ numpy = 2 }", "numpy"),
    ("versions-a-string", "versions", '"numpy>=2"', "versions"),
    ("versions-of-nothing", "versions", '{ "" = ">=1" }', "versions"),
    ("versions-a-table", "versions", '{ numpy = { least = "2" } }', "numpy"),
    ("cpu-a-word", "cpu", '{ avx2 = "yes" }', "avx2"),
    ("cpu-a-list", "cpu", '["avx2"]', "cpu"),
    ("cpu-a-number", "cpu", "{ avx2 = 1 }", "avx2"),
    ("status-unknown", "status", '"broken"', "broken"),
    ("status-passed", "status", '"passed"', "passed"),
    ("status-a-boolean", "status", "false", "status"),
    ("within-one", "within", "1", "within"),
    ("within-nan", "within", "nan", "within"),
    ("within-infinite", "within", "inf", "within"),
    ("within-negative", "within", "-5", "within"),
    ("within-a-word", "within", '"4"', "within"),
    ("within-a-boolean", "within", "true", "within"),
    ("at-most-zero", "at_most", "0", "at_most"),
    ("at-most-two", "at_most", "2", "at_most"),
    ("at-most-nan", "at_most", "nan", "at_most"),
    ("at-most-negative", "at_most", "-0.5", "at_most"),
    ("at-most-a-word", "at_most", '"half"', "at_most"),
    ("strict-a-word", "strict", '"false"', "strict"),
    ("strict-a-number", "strict", "0", "strict"),
    ("said-a-list", "said", '["*wrong*"]', "said"),
    ("said-empty", "said", '""', "said"),
    ("link-a-number", "link", "12", "link"),
    ("script-a-list", "script", '["print()"]', "script"),
    ("cases-a-list", "cases", "[]", "cases"),
    ("cases-of-nonsense", "cases", '{ "ReLU-values-float32-cpu" = "x" }', "cases"),
    ("cases-of-an-unknown-item", "cases", f"{{ 'ReLO-values' = {PINNED[7:]} }}", "ReLO"),
    ("field-unknown", "lair", '"ReLU"', "lair"),
    ("field-empty", '""', '"ReLU"', "field"),
    ("case-no-json", "case", "'ReLU()'", "case"),
    ("case-empty", "case", "''", "case"),
    ("case-a-table", "case", "{ a = 1 }", "case"),
    ("case-of-deep-brackets", "case", f"'''{'[' * 100_000}'''", "case"),
    ("case-a-number", "case", "'5'", "case"),
    ("case-nan", "case", "'NaN'", "case"),
)  # fmt: skip
"""Name, field, its TOML, and a pattern of the message."""
ENTRIES = (
    *(_refused_entry(name, entry_toml(**{field: text}), says) for name, field, text, says in WRONG),
    _refused_entry(
        "everything-and-no-case", entry_toml(layer='"*"', check='"*"', strict=None), "case|strict"
    ),
    _refused_entry("no-case-and-strict", entry_toml(strict="true"), "case|strict"),
    _refused_entry("no-case-and-no-strict", entry_toml(strict=None), "case|strict"),
    _refused_entry("case-of-another-layer", pinned_toml(call__layer="Linear"), "Linear|layer"),
    _refused_entry("case-of-an-unknown-layer", pinned_toml(call__layer="ReLO"), "ReLO|layer"),
    _refused_entry("case-without-a-layer", pinned_toml(call={}), "case"),
    _refused_entry("case-of-an-unknown-dtype", pinned_toml(inputs__input__dtype="nope"), "case"),
    _refused_entry("case-of-too-few-numbers", pinned_toml(inputs__input__shape=[7, 7]), "case"),
    _refused_entry("case-of-words", pinned_toml(inputs__input__data=["one"]), "case"),
    _refused_entry("case-without-inputs", pinned_toml(inputs={}), "case|input"),
    _refused_entry(
        "case-with-another-input", pinned_toml(inputs={"x": CASE["inputs"]["input"]}), "case"
    ),
    _refused_entry(
        "case-of-an-unknown-argument", pinned_toml(call__arguments={"outplace": 1}), "outplace"
    ),
    _refused_entry(
        "case-outside-the-conditions",
        pinned_toml() + 'when = { "input.ndim" = ">3" }\n',
        "case|when|input.ndim",
    ),
    _accepted_entry("valid", entry_toml()),
    _accepted_entry("valid-pinned", pinned_toml()),
    _accepted_entry(
        "valid-globs", entry_toml(layer='"R?LU,Leaky*,[GC]ELU"', check='"*"', dtype='"*16"')
    ),
    _refused_entry(
        "everywhere-now-and-then", entry_toml(layer='"*"', check='"values"'), "layer.*without"
    ),
    _refused_entry(
        "when-broken-unknown",
        entry_toml(layer='"Linear"', check='"errors"', when='{ broken = "no such constraint" }'),
        "no such constraint",
    ),
    _accepted_entry("valid-everywhere-at-times", entry_toml(layer='"*U"', check='"values"')),
    _accepted_entry("valid-condition", entry_toml(when='{ "input.ndim" = ">2", inplace = true }')),
    _accepted_entry(
        "valid-conditions", entry_toml(when='[{ "input.ndim" = "==1" }, { "input.size" = 0 }]')
    ),
    _accepted_entry(
        "valid-dimension", entry_toml(layer='"Conv*"', when='{ dimension = { padding = ">0" } }')
    ),
)
