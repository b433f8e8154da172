"""A page for each check: what it asks, which layers have it, and a failure of it that is real."""

from __future__ import annotations

import importlib
import inspect
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import planted
from planted.bug import spaces
from prose import code, escaped, meanings, paragraphs, said, sentence
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
"""Cases of a bug, bugs that are tried, and lines of the message that is shown."""
_DEVICE, _DTYPE, _SEED = "cpu", "float32", 0


@dataclass(frozen=True)
class Shown:
    """A failure that a page shows.

    Args:
        story: what is wrong in the backend.
        layer: of the verdict.
        message: the verdict's.
    """

    story: str
    layer: str
    message: str


class Fickle(ModuleBackend):
    """A backend that declines a call now, and takes the same call later."""

    def __init__(self) -> None:
        super().__init__("fickle")
        self._calls = itertools.count()

    def build(self, call: Call) -> Any:
        """torch's layer, every second time."""
        if next(self._calls) % 2:
            raise Unsupported("no memory left")
        return super().build(call)


def failure(check: str) -> Shown | None:
    """A failure of a check, made smaller as in a report; None where no bug of its is found soon.

    Args:
        check: its name.
    """
    bugs = [bug for bug in planted.BUGS if bug.check == check][:TRIES]
    for bug in bugs:
        backend = ModuleBackend(bug.name, **spaces(bug.layer, bug.implementation))
        verdict = _verdict(backend, bug.layer, check)
        if _readable(verdict):
            return Shown(bug.story, bug.layer, str(verdict.message))
    if not bugs:
        layer = next(iter(CATALOGUE))
        verdict = _verdict(Fickle(), layer, check)
        if _readable(verdict):
            return Shown(said(Fickle), layer, str(verdict.message))
    return None


def _verdict(backend: ModuleBackend, layer: str, check: str) -> Verdict:
    return Engine(backend, EXAMPLES, _SEED).run(Item(layer, check, _DTYPE, _DEVICE))


def _readable(verdict: Verdict) -> bool:
    return verdict.status == "failed" and 0 < len(str(verdict.message).splitlines()) <= LINES


def _facts(check: CheckFacts) -> Iterator[str]:
    """What the suite is told of a check, where that is not the default."""
    for name in ("invalid", "whole"):
        if getattr(check, name):
            yield sentence(meanings(CheckFacts)[name])
    if check.members:
        yield f"Of a layer it calls, where that is offered, {', '.join(map(code, check.members))}."
    sampling = check.sampling
    for name, shown in (("every", sampling.every), ("of_many", sampling.of_many)):
        if shown > 1:
            yield f"{sentence(meanings(Sampling)[name])} Here: one of {shown}."


def page(name: str) -> str:
    """The text of a check's page."""
    check, module = EVERY_CHECK[name], importlib.import_module(f"conformance.checks.{name}")
    text = inspect.getdoc(module) or ""
    _, _, rest = text.partition(": ")
    have = [row for row in CATALOGUE.values() if check.applies(row)]
    lines = [f"# {name}\n"]
    asked = check.facts.looks_at
    lines.append(f"**{sentence(asked)}**\n" if asked else "")
    first, _, more = rest.partition("\n\n")
    if sentence(first) != sentence(asked):
        lines.append(f"{escaped(sentence(first))}\n")
    if more:
        lines.append(f"{paragraphs(more)}\n")
    lines.append(f"## How\n\n{paragraphs(said(check.run))}\n")
    lines += [f"- {escaped(fact)}" for fact in _facts(check.facts)]
    if check.facts.on_request:
        lines.append(f"\nIt runs where it is named: `--conformance-check={name}`.")
    lines += ["\n## Which layers\n", _asked_of(have)]
    lines += _failing(name)
    lines.append(
        "What to look at when it fails: [how to read a failure]"
        "(../docs/plugin.md#when-it-fails-how-to-read-a-failure).\n"
    )
    if name in CHECKS:
        lines.append("Which planted bugs it alone finds: [kill rate](../measured/kill-rate.md).\n")
    return "\n".join(lines)


def _asked_of(have: Sequence[LayerSpec]) -> str:
    """How many layers a check is asked of, and of which families where these are not all."""
    if len(have) == len(CATALOGUE):
        return f"It is asked of all [{len(have)} layers](../layers/index.md).\n"
    text = f"It is asked of {len(have)} of the [{len(CATALOGUE)} layers](../layers/index.md)"
    families = dict.fromkeys(row.family for row in have)
    if len(families) < len({row.family for row in CATALOGUE.values()}):
        text += ": some or all of "
        text += ", ".join(f"[{x}](../layers/{x}/index.md)" for x in families)
    return f"{text}.\n"


def _failing(name: str) -> Iterator[str]:
    found = failure(name)
    if found is None:
        return
    yield "## What a failure looks like\n"
    story = " ".join(found.story.split())
    yield f"Of a backend whose {code(found.layer)} is wrong on purpose: {escaped(story)}\n"
    yield f"```text\nfailed: {name} of {found.layer}\n{found.message}\n```\n"


def index() -> str:
    """All checks."""
    lines = ["# Checks\n", "Each is asked of every layer that has the property, in every dtype.\n"]
    for name, facts in CHECK_FACTS.items():
        told = ", on request" if facts.on_request else f": {facts.looks_at}"
        lines.append(f"- [{name}]({name}.md){told}")
    entries = "\n".join(EVERY_CHECK)
    return "\n".join([*lines, f"\n```{{toctree}}\n:hidden:\n{entries}\n```\n"])


def write(stage: Stage) -> None:
    """Write the pages of checks."""
    stage.write("checks/index.md", index())
    for name in EVERY_CHECK:
        stage.write(f"checks/{name}.md", page(name))
