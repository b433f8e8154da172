"""Results files with valid lines that contradict one another: `verify` says so."""

from __future__ import annotations

from hostile.entry import Due, Entry
from hostile.making import (
    CHANGED,
    FAILED,
    FOOTER,
    HEADER,
    PASSED,
    changed,
    conformance,
    lines,
    results,
)  # fmt: skip

BAD = "bad.jsonl"
SECOND = "ReLU-values-float32-cpu"


def _verified(name: str, content: str, *says: str, code: int | tuple[int, ...] = (1, 2)) -> Entry:
    due = Due(code, says, never=CHANGED + "|: valid")
    return Entry(f"verify-{name}", 15, {BAD: content}, conformance("verify", BAD), due, 20)


def _moved(field: str, value: str) -> Entry:
    """A verdict with one field that contradicts its id."""
    says = ("ReLU-values-float32-cpu", f"{field}|{value}")
    return _verified(f"another-{field}-than-the-id", results(failed={field: value}), *says)


def _shard(name: str, shard: str) -> Entry:
    says = (r"bad\.jsonl", "shard")
    return _verified(f"shard-{name}", results(header={"shard": shard}), *says)


NONE = {"passed": 0, "failed": 0}
OTHERS = ("laws", "state", "special", "random")
MORE = [*HEADER["items"], *(f"ReLU-{check}-float32-cpu" for check in OTHERS)]
ENTRIES = (
    _shard("x", "x"),
    _shard("a-of-b", "a/b"),
    _shard("empty", ""),
    _shard("huge", "1/1000000000"),
    _shard("5000-digits", f"1/{'9' * 5000}"),
    _shard("zero", "0/1"),
    _shard("beyond", "2/1"),
    _shard("negative", "1/-2"),
    _shard("three-parts", "1/2/3"),
    _shard("broken", "1.5/2"),
    _shard("other-digits", "\u0661/\u0661"),
    _shard("twice", "1,1/1"),
    _shard("many", ",".join(["1"] * 100_000) + "/2"),
    _verified("relabelled-whole", results(header={"shard": "1/2"}), "shard|total"),
    _verified("relabelled-part", results(header={"total": 5}), "total|5 items"),
    _verified("more-items-than-total", results(header={"total": 1}), "total|items"),
    _verified(
        "six-of-nine", results(header={"items": MORE, "total": 9}), "total|no verdict", code=1
    ),
    _verified("no-items", results(header={"items": [], "total": 0}), "items|ReLU-"),
    _verified("items-twice", results(header={"items": [*HEADER["items"], SECOND]}), SECOND),
    _verified(
        "a-verdict-of-no-item", results(header={"items": HEADER["items"][:1], "total": 1}), SECOND
    ),
    _moved("layer", "Linear"),
    _moved("check", "gradients"),
    _moved("dtype", "float64"),
    _moved("device", "cuda:0"),
    _verified("a-layer-that-is-none", results(failed={"layer": "", "id": "-values-float32-cpu"})),
    _verified("two-headers", lines(HEADER, HEADER, PASSED, FAILED, FOOTER), "line 2|header|run"),
    _verified(
        "two-headers-that-differ",
        lines(HEADER, changed(HEADER, backend="other"), PASSED, FAILED, FOOTER),
        "line 2|header|run",
    ),
    _verified("header-last", lines(PASSED, FAILED, FOOTER, HEADER), "line"),
    _verified("two-footers", lines(HEADER, PASSED, FAILED, FOOTER, FOOTER), "line 5|footer|last"),
    _verified(
        "two-footers-that-differ",
        lines(HEADER, PASSED, FAILED, changed(FOOTER, verdicts=9), FOOTER),
        "line|footer|last",
    ),
    _verified("footer-early", lines(HEADER, PASSED, FOOTER, FAILED), "line|footer|last"),
    _verified("two-files-in-one", results() + results(), "line 5|more than one"),
    _verified("a-verdict-twice", lines(HEADER, PASSED, FAILED, FAILED, FOOTER), SECOND),
    _verified(
        "a-verdict-twice-that-differs",
        lines(HEADER, PASSED, FAILED, {**PASSED, "id": SECOND, "check": "values"}, FOOTER),
        SECOND,
    ),
    _verified("a-verdict-missing", lines(HEADER, FAILED, FOOTER), "ReLU-shape-float32-cpu"),
    _verified("no-verdicts", lines(HEADER, changed(FOOTER, verdicts=0, counts=NONE)), SECOND),
    _verified("footer-counts", results(footer={"verdicts": 3}), "3 verdicts"),
    _verified("footer-all-passed", results(footer={"counts": {"passed": 2}}), "counts"),
    _verified("footer-counts-nothing", results(footer={"counts": {}}), "counts"),
    _verified("passed-with-failures", results(passed={"examples__failed": 1}), "ReLU-shape"),
    _verified("checked-more-than-drawn", results(passed={"examples__checked": 90}), "ReLU-shape"),
    _verified("failed-more-than-checked", results(failed={"examples__failed": 90}), SECOND),
    _verified(
        "passed-and-nothing-checked",
        results(passed={"examples__checked": 0, "comparisons": 0, "outcomes": "2u"}),
        "ReLU-shape",
    ),
    _verified("unknown-layer-in-case", results(failed={"case__call__layer": "ReLO"}), SECOND),
    _verified("case-in-another-dtype", results(failed={"case__call__dtype": "float64"}), SECOND),
    _verified("newer-schema", results(header={"schema": 99}), "99", "newer"),
)
