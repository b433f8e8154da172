"""Write a page for each check: the property it tests, its layers, and an example of a failure."""

from __future__ import annotations

import importlib
import inspect
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import planted
from planted.bug import replacement_namespaces
from prose import code, docstring_text, escape, field_meanings, paragraphs, sentence
from staging import Stage

from conformance.backends import ModuleBackend
from conformance.checks import CHECKS, EVERY_CHECK
from conformance.items.planning import Item
from conformance.layers import CATALOGUE
from conformance.model.case import Call, Unsupported, Verdict
from conformance.model.checks import CHECK_FACTS, CheckFacts, Sampling
from conformance.run.engine import Engine
from conformance.spec.layer_spec import LayerSpec

EXAMPLES, TRIES, LINES = 60, 4, 16
"""Cases of a bug, bugs to try, and lines of the message to show, each at most."""
_DEVICE, _DTYPE, _SEED = "cpu", "float32", 0


@dataclass(frozen=True)
class ExampleFailure:
    """A failure that a page shows.

    Args:
        story: what is wrong in the backend.
        layer: the layer of the verdict.
        message: the message of the verdict.
    """

    story: str
    layer: str
    message: str


class FickleBackend(ModuleBackend):
    """A backend that declines a call once, and accepts the same call later."""

    def __init__(self) -> None:
        super().__init__("fickle")
        self._calls = itertools.count()

    def build(self, call: Call) -> Any:
        """Build torch's layer; decline every second call."""
        if next(self._calls) % 2:
            raise Unsupported("no memory left")
        return super().build(call)


def example_failure(check: str) -> ExampleFailure | None:
    """An example of a minimized failure of a check; None if no planted bug gives a short one."""
    bugs = [bug for bug in planted.BUGS if bug.check == check][:TRIES]
    for bug in bugs:
        backend = ModuleBackend(bug.name, **replacement_namespaces(bug.layer, bug.implementation))
        verdict = _run_item(backend, bug.layer, check)
        if _is_readable(verdict):
            return ExampleFailure(bug.story, bug.layer, str(verdict.message))
    if not bugs:
        layer = next(iter(CATALOGUE))
        verdict = _run_item(FickleBackend(), layer, check)
        if _is_readable(verdict):
            return ExampleFailure(docstring_text(FickleBackend), layer, str(verdict.message))
    return None


def _run_item(backend: ModuleBackend, layer: str, check: str) -> Verdict:
    return Engine(backend, EXAMPLES, _SEED).run(Item(layer, check, _DTYPE, _DEVICE))


def _is_readable(verdict: Verdict) -> bool:
    return verdict.status == "failed" and 0 < len(str(verdict.message).splitlines()) <= LINES


def _fact_sentences(check: CheckFacts) -> Iterator[str]:
    """The facts of a check that differ from the defaults, as sentences."""
    for name in ("invalid", "exhaustive"):
        if getattr(check, name):
            yield sentence(field_meanings(CheckFacts)[name])
    if check.members:
        yield f"Members of a layer that it calls: {', '.join(map(code, check.members))}."
    sampling = check.sampling
    for name, step in (
        ("step_other_dtypes", sampling.step_other_dtypes),
        ("step_full_share", sampling.step_full_share),
    ):
        if step > 1:
            yield f"{sentence(field_meanings(Sampling)[name])} For this check: one case of {step}."


def page(name: str) -> str:
    """The text of a check's page."""
    check, module = EVERY_CHECK[name], importlib.import_module(f"conformance.checks.{name}")
    text = inspect.getdoc(module) or ""
    _, _, summary_text = text.partition(": ")
    specs = [spec for spec in CATALOGUE.values() if check.applies(spec)]
    lines = [f"# {name}\n"]
    property_text = check.facts.looks_at
    lines.append(f"**{sentence(property_text)}**\n" if property_text else "")
    first, _, details = summary_text.partition("\n\n")
    if sentence(first) != sentence(property_text):
        lines.append(f"{escape(sentence(first))}\n")
    if details:
        lines.append(f"{paragraphs(details)}\n")
    lines.append(f"## How\n\n{paragraphs(docstring_text(check.run))}\n")
    lines += [f"- {escape(fact)}" for fact in _fact_sentences(check.facts)]
    if check.facts.on_request:
        lines.append(f"\nIt runs only if you name it: `--conformance-check={name}`.")
    lines += ["\n## Which layers\n", _layers_text(specs)]
    lines += _failure_section(name)
    lines.append(
        "If it fails, see [how to read a failure]"
        "(../docs/plugin.md#when-it-fails-how-to-read-a-failure).\n"
    )
    if name in CHECKS:
        lines.append("Which planted bugs it alone finds: [kill rate](../measured/kill-rate.md).\n")
    return "\n".join(lines)


def _layers_text(specs: Sequence[LayerSpec]) -> str:
    """The number of layers that a check applies to, and their families unless they are all."""
    if len(specs) == len(CATALOGUE):
        return f"It applies to all [{len(specs)} layers](../layers/index.md).\n"
    text = f"It applies to {len(specs)} of the [{len(CATALOGUE)} layers](../layers/index.md)"
    families = dict.fromkeys(spec.family for spec in specs)
    if len(families) < len({spec.family for spec in CATALOGUE.values()}):
        text += ": some or all of "
        text += ", ".join(f"[{x}](../layers/{x}/index.md)" for x in families)
    return f"{text}.\n"


def _failure_section(name: str) -> Iterator[str]:
    example = example_failure(name)
    if example is None:
        return
    yield "## What a failure looks like\n"
    story = " ".join(example.story.split())
    yield f"In this backend {code(example.layer)} is wrong on purpose: {escape(story)}\n"
    yield f"```text\nfailed: {name} of {example.layer}\n{example.message}\n```\n"


def index_page() -> str:
    """The index of all checks."""
    lines = ["# Checks\n", "Each applies to every layer that has the property, in every dtype.\n"]
    for name, facts in CHECK_FACTS.items():
        suffix = ", on request" if facts.on_request else f": {facts.looks_at}"
        lines.append(f"- [{name}]({name}.md){suffix}")
    entries = "\n".join(EVERY_CHECK)
    return "\n".join([*lines, f"\n```{{toctree}}\n:hidden:\n{entries}\n```\n"])


def write(stage: Stage) -> None:
    """Write the pages of all checks, and their index."""
    stage.write("checks/index.md", index_page())
    for name in EVERY_CHECK:
        stage.write(f"checks/{name}.md", page(name))
