"""The provenance of a run, as groups of terms and values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from conformance.reports.results import Run
from conformance.reports.text import duration, grouped

from conformance.model.bits import describe_bits, sum_bits


def provenance(run: Run) -> list[tuple[str, list[tuple[str, str]]]]:
    """Everything that produced the run, as groups of (term, value) pairs."""
    identity = run.identity
    finished = run.footer.finished if run.footer else "not finished"
    took = duration(run.footer.seconds) if run.footer else "unknown, no last line"
    return [
        ("Backend", [("name", identity.backend), *_pairs(identity.info), *_bits(run)]),
        *_hits(run),
        (
            "Versions",
            [
                ("nn-conformance", identity.suite),
                ("torch", identity.torch or "not installed"),
                ("NumPy", identity.numpy),
                ("Hypothesis", identity.hypothesis),
                ("Python", identity.python),
                ("results schema", str(identity.schema)),
            ],
        ),
        (
            "Machine",
            [
                ("OS", identity.os),
                ("CPU", identity.cpu),
                *((f"seen on, {device}", place) for device, place in _pairs(identity.places)),
                *((f"threads, {name}", value) for name, value in _pairs(identity.threads)),
            ],
        ),
        (
            "Selection",
            [
                ("devices", ", ".join(identity.devices) or "none"),
                ("dtypes", ", ".join(identity.dtypes) or "none"),
                ("profile", identity.profile),
                ("seed", str(identity.seed)),
                ("examples per item", grouped(identity.examples)),
                *([("cases drawn", identity.drawn)] if identity.drawn else []),
                ("shard", identity.shard),
                ("items, this shard", grouped(len(identity.items))),
                ("items, whole run", grouped(identity.total)),
            ],
        ),
        (
            "Session",
            [
                ("started", identity.started),
                ("finished", finished),
                ("duration", took),
                *(
                    [(f"git {name}", value) for name, value in _pairs(identity.git)]
                    if identity.git
                    else [("git", "no checkout")]
                ),
            ],
        ),
        *(("Timing", _timing(facts)) for facts in run.timing),
        ("Numerics declared by the backend", _numerics(run)),
        ("Options", _pairs(identity.options) or [("options", "none given")]),
    ]


def _bits(run: Run) -> list[tuple[str, str]]:
    """When the bits of its answers are the same; empty if the run did not ask."""
    text = describe_bits(sum_bits(verdict.bits for verdict in run.verdicts))
    return [("answers", text)] if text else []


def _hits(run: Run) -> list[tuple[str, list[tuple[str, str]]]]:
    """How often the code under test ran, if the backend counts that."""
    hits: Counter[str] = Counter()
    items: Counter[str] = Counter()
    for verdict in run.verdicts:
        for name, count in verdict.hits.items():
            hits[name] += count
            items[name] += count > 0
    pairs = [
        (name, f"{grouped(count)} times, items {grouped(items[name])}")
        for name, count in hits.items()
    ]
    return [("Under test, how often it ran", pairs)] if pairs else []


def _timing(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Settings that the benchmarks' times depend on."""
    plain = {k: v for k, v in facts.items() if k not in ("kind", "versions", "spread") and v}
    spread = facts.get("spread")
    pairs = [(k, _value_text(v)) for k, v in plain.items()]
    if isinstance(spread, float):
        pairs.append(("spread of torch's rounds", f"{spread:.1%} of the median, half of the calls"))
    return pairs + [(f"version, {k}", str(v)) for k, v in dict(facts.get("versions") or {}).items()]


def _value_text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k} = {v}" for k, v in value.items())
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _numerics(run: Run) -> list[tuple[str, str]]:
    """Declared deviations, which change the bounds; older results files do not record them."""
    deviations = run.identity.numerics.items()
    return [
        (dtype, ", ".join(f"{name} = {value}" for name, value in facts.items()) or "as IEEE 754")
        for dtype, facts in deviations
    ] or [("numerics", "not recorded")]


def _pairs(mapping: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(str(key), str(value)) for key, value in mapping.items()]
