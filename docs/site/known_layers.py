"""The known divergences of each layer, from the shipped known failures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from findings import NO_BUG, Bug, bugs, split_reason
from prose import escape

from conformance.known.entry import KnownFailure
from conformance.matching.fact_schema import find_layers


class Divergences:
    """The findings, by the layer that they are about."""

    def __init__(self) -> None:
        self.by_layer: dict[str, list[tuple[Bug, list[KnownFailure]]]] = {}
        for bug in bugs():
            entries_by_layer: dict[str, list[KnownFailure]] = {}
            for _, entry in bug.entries:
                for layer in find_layers(entry.layer):
                    entries_by_layer.setdefault(layer, []).append(entry)
            for layer, entries in entries_by_layer.items():
                self.by_layer.setdefault(layer, []).append((bug, entries))

    def count(self, layer: str) -> int:
        """Number of known divergences of a layer, on all backends together."""
        return sum(bug.kind != NO_BUG for bug, _ in self.by_layer.get(layer, ()))

    def section(self, layer: str, root: str) -> Iterator[str]:
        """The section of a layer's page.

        Args:
            layer: the layer's name.
            root: relative path from its page to the root of the site.
        """
        findings = self.by_layer.get(layer, [])
        yield "## Known divergences\n"
        if not findings:
            yield "None is known for the backends that ship with the suite.\n"
            return
        yield (
            f"By backend, as [the findings]({root}measured/findings.md) have them; an entry of "
            f"[known failures]({root}docs/known-failures.md) says of which cases.\n"
        )
        for owner in dict.fromkeys(bug.owner for bug, _ in findings):
            yield f"### {owner}\n"
            yield from (
                _finding_line(b, entries, root) for b, entries in findings if b.owner == owner
            )
            yield ""


def _finding_line(bug: Bug, entries: Sequence[KnownFailure], root: str) -> str:
    """A finding as an item of a Markdown list: its class, what is wrong, and where."""
    kind = bug.kind
    if kind != NO_BUG:
        anchor = f"{bug.owner}-{kind}".replace(" ", "-")
        kind = f"[{kind}]({root}measured/findings.md#{anchor})"
    what = escape(bug.what)
    differs = dict.fromkeys(split_reason(e.reason)[2] for e in entries)
    differences = [escape(x) for x in differs if x]
    facts = [", ".join(f"`{x}`" for x in _distinct_parts(e.check for e in entries))]
    dtypes = _distinct_parts(e.dtype for e in entries)
    facts += [] if "*" in dtypes else [", ".join(dtypes)]
    other_backends = [name for name in bug.backends if name != bug.owner]
    facts += [f"also on {', '.join(other_backends)}"] if other_backends else []
    links = dict.fromkeys(e.link for e in entries if e.link.startswith("http"))
    facts += [f"[reported]({link})" for link in links]
    differences_text = f" ({'; '.join(differences)})" if differences else ""
    return f"- **{kind}**: {what}{differences_text}. {'; '.join(facts)}"


def _distinct_parts(texts: Iterator[str]) -> list[str]:
    """The distinct parts of comma lists."""
    return list(dict.fromkeys(part for text in texts for part in text.split(",")))
