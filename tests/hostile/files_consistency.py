"""Results files with valid lines that contradict one another: `verify` says so."""

from __future__ import annotations

from hostile.entry import Entry, Expected
from hostile.making import (
    CHANGED,
    FAILED,
    FOOTER,
    HEADER,
    PASSED,
    changed,
    conformance_command,
    lines,
    results,
)  # fmt: skip

BAD = "bad.jsonl"
SECOND = "ReLU-values-float32-cpu"


def _verify_entry(
    name: str, content: str, *patterns: str, code: int | tuple[int, ...] = (1, 2)
) -> Entry:
    expected = Expected(code, patterns, never=CHANGED + "|: valid")
    return Entry(
        f"verify-{name}", 15, {BAD: content}, conformance_command("verify", BAD), expected, 20
    )


def _contradiction_entry(field: str, value: str) -> Entry:
    """A verdict with one field that contradicts its id."""
    patterns = ("ReLU-values-float32-cpu", f"{field}|{value}")
    return _verify_entry(f"another-{field}-than-the-id", results(failed={field: value}), *patterns)


def _shard_entry(name: str, shard: str) -> Entry:
    patterns = (r"bad\.jsonl", "shard")
    return _verify_entry(f"shard-{name}", results(header={"shard": shard}), *patterns)


ZERO_COUNTS = {"passed": 0, "failed": 0}
OTHER_CHECKS = ("laws", "state", "special", "random")
MORE_ITEMS = [*HEADER["items"], *(f"ReLU-{check}-float32-cpu" for check in OTHER_CHECKS)]
ENTRIES = (
    _shard_entry("x", "x"),
    _shard_entry("a-of-b", "a/b"),
    _shard_entry("empty", ""),
    _shard_entry("huge", "1/1000000000"),
    _shard_entry("5000-digits", f"1/{'9' * 5000}"),
    _shard_entry("zero", "0/1"),
    _shard_entry("beyond", "2/1"),
    _shard_entry("negative", "1/-2"),
    _shard_entry("three-parts", "1/2/3"),
    _shard_entry("broken", "1.5/2"),
    _shard_entry("other-digits", "\u0661/\u0661"),
    _shard_entry("twice", "1,1/1"),
    _shard_entry("many", ",".join(["1"] * 100_000) + "/2"),
    _verify_entry("relabelled-whole", results(header={"shard": "1/2"}), "shard|total"),
    _verify_entry("relabelled-part", results(header={"total": 5}), "total|5 items"),
    _verify_entry("more-items-than-total", results(header={"total": 1}), "total|items"),
    _verify_entry(
        "six-of-nine", results(header={"items": MORE_ITEMS, "total": 9}), "total|no verdict", code=1
    ),
    _verify_entry("no-items", results(header={"items": [], "total": 0}), "items|ReLU-"),
    _verify_entry("items-twice", results(header={"items": [*HEADER["items"], SECOND]}), SECOND),
    _verify_entry(
        "a-verdict-of-no-item", results(header={"items": HEADER["items"][:1], "total": 1}), SECOND
    ),
    _contradiction_entry("layer", "Linear"),
    _contradiction_entry("check", "gradients"),
    _contradiction_entry("dtype", "float64"),
    _contradiction_entry("device", "cuda:0"),
    _verify_entry(
        "a-layer-that-is-none", results(failed={"layer": "", "id": "-values-float32-cpu"})
    ),
    _verify_entry(
        "two-headers", lines(HEADER, HEADER, PASSED, FAILED, FOOTER), "line 2|header|run"
    ),
    _verify_entry(
        "two-headers-that-differ",
        lines(HEADER, changed(HEADER, backend="other"), PASSED, FAILED, FOOTER),
        "line 2|header|run",
    ),
    _verify_entry("header-last", lines(PASSED, FAILED, FOOTER, HEADER), "line"),
    _verify_entry(
        "two-footers", lines(HEADER, PASSED, FAILED, FOOTER, FOOTER), "line 5|footer|last"
    ),
    _verify_entry(
        "two-footers-that-differ",
        lines(HEADER, PASSED, FAILED, changed(FOOTER, verdicts=9), FOOTER),
        "line|footer|last",
    ),
    _verify_entry("footer-early", lines(HEADER, PASSED, FOOTER, FAILED), "line|footer|last"),
    _verify_entry("two-files-in-one", results() + results(), "line 5|more than one"),
    _verify_entry("a-verdict-twice", lines(HEADER, PASSED, FAILED, FAILED, FOOTER), SECOND),
    _verify_entry(
        "a-verdict-twice-that-differs",
        lines(HEADER, PASSED, FAILED, {**PASSED, "id": SECOND, "check": "values"}, FOOTER),
        SECOND,
    ),
    _verify_entry("a-verdict-missing", lines(HEADER, FAILED, FOOTER), "ReLU-shape-float32-cpu"),
    _verify_entry(
        "no-verdicts", lines(HEADER, changed(FOOTER, verdicts=0, counts=ZERO_COUNTS)), SECOND
    ),
    _verify_entry("footer-counts", results(footer={"verdicts": 3}), "3 verdicts"),
    _verify_entry("footer-all-passed", results(footer={"counts": {"passed": 2}}), "counts"),
    _verify_entry("footer-counts-nothing", results(footer={"counts": {}}), "counts"),
    _verify_entry("passed-with-failures", results(passed={"examples__failed": 1}), "ReLU-shape"),
    _verify_entry(
        "checked-more-than-drawn", results(passed={"examples__checked": 90}), "ReLU-shape"
    ),
    _verify_entry("failed-more-than-checked", results(failed={"examples__failed": 90}), SECOND),
    _verify_entry(
        "passed-and-nothing-checked",
        results(passed={"examples__checked": 0, "comparisons": 0, "outcomes": "2u"}),
        "ReLU-shape",
    ),
    _verify_entry("unknown-layer-in-case", results(failed={"case__call__layer": "ReLO"}), SECOND),
    _verify_entry(
        "case-in-another-dtype", results(failed={"case__call__dtype": "float64"}), SECOND
    ),
    _verify_entry("newer-schema", results(header={"schema": 99}), "99", "newer"),
)
