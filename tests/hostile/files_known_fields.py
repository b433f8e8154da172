"""Known failures with one wrong field: `known` names the file, the entry and the field."""

from __future__ import annotations

import json
from typing import Any

from hostile.entry import Due, Entry
from hostile.making import CASE, CHANGED, changed, conformance

PINNED = f"case = '''{json.dumps(CASE)}'''"
BASE = {
    "layer": '"ReLU"',
    "check": '"values"',
    "reason": '"min in place of max"',
    "strict": "false",
}


def toml(**fields: str | None) -> str:
    """A file of one entry: the usual one with other or further fields, as TOML.

    None leaves a field out.
    """
    kept = {name: text for name, text in (BASE | fields).items() if text is not None}
    return "[[known]]\n" + "".join(f"{name} = {text}\n" for name, text in kept.items())


def pinned(**changes: Any) -> str:
    """An entry with a pinned case."""
    case = json.dumps(changed(CASE, **changes))
    return toml(strict=None, case=f"'''{case}'''")


def _refused(name: str, text: str, *says: str) -> Entry:
    due = Due(2, (r"k\.toml", "entry 1", *says), never=CHANGED, longest=4000)
    return Entry(f"known-{name}", 14, {"k.toml": text}, conformance("known", "k.toml"), due, 20)


def _accepted(name: str, text: str) -> Entry:
    due = Due(0, ("1 entries|1 entry",), never=CHANGED)
    return Entry(f"known-{name}", 0, {"k.toml": text}, conformance("known", "k.toml"), due, 20)


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
    *(_refused(name, toml(**{field: text}), says) for name, field, text, says in WRONG),
    _refused("everything-and-no-case", toml(layer='"*"', check='"*"', strict=None), "case|strict"),
    _refused("no-case-and-strict", toml(strict="true"), "case|strict"),
    _refused("no-case-and-no-strict", toml(strict=None), "case|strict"),
    _refused("case-of-another-layer", pinned(call__layer="Linear"), "Linear|layer"),
    _refused("case-of-an-unknown-layer", pinned(call__layer="ReLO"), "ReLO|layer"),
    _refused("case-without-a-layer", pinned(call={}), "case"),
    _refused("case-of-an-unknown-dtype", pinned(inputs__input__dtype="nope"), "case"),
    _refused("case-of-too-few-numbers", pinned(inputs__input__shape=[7, 7]), "case"),
    _refused("case-of-words", pinned(inputs__input__data=["one"]), "case"),
    _refused("case-without-inputs", pinned(inputs={}), "case|input"),
    _refused("case-with-another-input", pinned(inputs={"x": CASE["inputs"]["input"]}), "case"),
    _refused("case-of-an-unknown-argument", pinned(call__arguments={"outplace": 1}), "outplace"),
    _refused(
        "case-outside-the-conditions",
        pinned() + 'when = { "input.ndim" = ">3" }\n',
        "case|when|input.ndim",
    ),
    _accepted("valid", toml()),
    _accepted("valid-pinned", pinned()),
    _accepted("valid-globs", toml(layer='"R?LU,Leaky*,[GC]ELU"', check='"*"', dtype='"*16"')),
    _refused("everywhere-now-and-then", toml(layer='"*"', check='"values"'), "layer.*without"),
    _refused(
        "when-broken-unknown",
        toml(layer='"Linear"', check='"errors"', when='{ broken = "no such constraint" }'),
        "no such constraint",
    ),
    _accepted("valid-everywhere-at-times", toml(layer='"*U"', check='"values"')),
    _accepted("valid-condition", toml(when='{ "input.ndim" = ">2", inplace = true }')),
    _accepted("valid-conditions", toml(when='[{ "input.ndim" = "==1" }, { "input.size" = 0 }]')),
    _accepted("valid-dimension", toml(layer='"Conv*"', when='{ dimension = { padding = ">0" } }')),
)
