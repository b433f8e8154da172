"""The known divergences of each layer, from the shipped known failures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from findings import NO_BUG, Bug, bugs, split
from prose import escaped

from conformance.known.entry import Known
from conformance.matching.fact_schema import layers_named


class Divergences:
    """The findings, by the layer that they are about."""

    def __init__(self) -> None:
        self.of: dict[str, list[tuple[Bug, list[Known]]]] = {}
        for bug in bugs():
            mine: dict[str, list[Known]] = {}
            for _, entry in bug.entries:
                for layer in layers_named(entry.layer):
                    mine.setdefault(layer, []).append(entry)
            for layer, entries in mine.items():
                self.of.setdefault(layer, []).append((bug, entries))

    def count(self, layer: str) -> int:
        """Number of known divergences of a layer, on all backends together."""
        return sum(bug.kind != NO_BUG for bug, _ in self.of.get(layer, ()))

    def section(self, layer: str, up: str) -> Iterator[str]:
        """The section of a layer's page.

        Args:
            layer: the layer's name.
            up: relative path from its page to the root of the site.
        """
        found = self.of.get(layer, [])
        yield "## Known divergences\n"
        if not found:
            yield "None is known for the backends that ship with the suite.\n"
            return
        yield (
            f"By backend, as [the findings]({up}measured/findings.md) have them; an entry of "
            f"[known failures]({up}docs/known-failures.md) says of which cases.\n"
        )
        for owner in dict.fromkeys(bug.owner for bug, _ in found):
            yield f"### {owner}\n"
            yield from (_line(b, entries, up) for b, entries in found if b.owner == owner)
            yield ""


def _line(bug: Bug, entries: Sequence[Known], up: str) -> str:
    """A finding as an item of a Markdown list: its class, what is wrong, and where."""
    kind = bug.kind
    if kind != NO_BUG:
        anchor = f"{bug.owner}-{kind}".replace(" ", "-")
        kind = f"[{kind}]({up}measured/findings.md#{anchor})"
    what = escaped(bug.what)
    differs = dict.fromkeys(split(e.reason)[2] for e in entries)
    also = [escaped(x) for x in differs if x]
    facts = [", ".join(f"`{x}`" for x in _listed(e.check for e in entries))]
    dtypes = _listed(e.dtype for e in entries)
    facts += [] if "*" in dtypes else [", ".join(dtypes)]
    others = [name for name in bug.backends if name != bug.owner]
    facts += [f"also on {', '.join(others)}"] if others else []
    links = dict.fromkeys(e.link for e in entries if e.link.startswith("http"))
    facts += [f"[reported]({link})" for link in links]
    more = f" ({'; '.join(also)})" if also else ""
    return f"- **{kind}**: {what}{more}. {'; '.join(facts)}"


def _listed(texts: Iterator[str]) -> list[str]:
    """The distinct parts of comma lists."""
    return list(dict.fromkeys(part for text in texts for part in text.split(",")))
