"""Made-up runs for tests of reports: one with every feature, and large ones."""

from __future__ import annotations

import random
from dataclasses import replace

from conformance.reports import results, summary
from test_report import identity, run_of, verdict

from conformance.model.case import COLUMN_DIGITS, Column, Examples, Verdict
from conformance.model.cause import Need
from conformance.model.checks import matrix_columns
from conformance.model.finding import Finding
from conformance.model.finding_text import finding_message

DTYPES = ("float32", "float64", "bfloat16", "float16")
CALL = "Conv2d(2, 2, 1, dilation=2, groups=2) on input (2, 1, 1), float32, cpu"
WRONG = Finding(
    "value", "output", where=(0, 0, 0), got="9", wanted="8", bound=0.0, error=1.0, wrong=2, of=2,
    excerpt=("[9, 15] of shape (2, 1, 1)", "[8, 14] of shape (2, 1, 1)"),
)  # fmt: skip
ARRAYS = finding_message(WRONG, CALL)
SCRIPT = "import torch\n" + "print('a line of a reproducer', 1.5, 2.5)\n" * 40


def made_up_columns(seed: int = 0, count: int = 40) -> dict[str, Column]:
    """Made-up cases."""
    generator = random.Random(seed)
    sizes = {"stride": 4, "dilation": 3, "groups": 4, "padding_mode": 4, "bias": 2}
    return {
        name: Column(
            ("True", "False") if name == "bias" else tuple(str(k + 1) for k in range(size)),
            "".join(COLUMN_DIGITS[generator.randrange(size)] for _ in range(count)),
        )
        for name, size in sizes.items()
    }


def rich_run() -> results.Run:
    """A run for which every part of the page has something to show."""
    failing = {
        "message": ARRAYS,
        "failure": WRONG,
        "call": CALL,
        "needs": (
            Need("dilation", "2", "1", False),
            Need("groups", "2", "1", False),
            Need("padding", "0", "1", True, varied=True),
            Need("bias", "True", "False", True, varied=True),
        ),
        "examples": Examples(40, 40, failed=7),
        "outcomes": "10p7f23p",
    }
    spread = {"ulps": {"exact": 50, "-1": 30, "2": 19}, "ratios": {"exact": 50, "-3": 40, "-1": 9}}
    passing = {"outcomes": "40p", "worst": "Linear(1, 1) on input (1,)", **spread}
    declined = Examples(40, 30, {"padding_mode='circular'": 10})
    run = run_of(
        verdict("Conv2d", "shape", "float32", "passed", drawn=made_up_columns(), **passing),
        verdict("Conv2d", "values", "float32", "failed", **failing),
        verdict("Conv2d", "gradients", "float32", "failed", **failing),
        verdict("Conv2d", "values", "bfloat16", "failed", **failing),
        verdict("LazyConv2d", "values", "float32", "failed", **failing),
        verdict("LSTM", "values", "float32", "crashed", message="ended by signal 11 (SIGSEGV)"),
        verdict("GRU", "values", "float32", "known", message="known failure: its reason"),
        verdict("Linear", "values", "float32", "passed", drawn=made_up_columns(1), **passing),
        verdict("Linear", "values", "bfloat16", "passed", examples=declined, **passing),
        verdict("Bilinear", "values", "float32", "unsupported", examples=Examples(
            40, unsupported={"Bilinear is not offered": 40}), margin=None),
        items=("Linear-repeat-float32-cpu",),
    )  # fmt: skip
    timed = {"kind": "benchmark", "layer": "Linear", "name": "wide", "dtype": "float32"}
    timed |= {"device": "cpu", "pass": "forward", "status": "timed", "seconds": 1.5e-5}
    timed |= {"iqr": 1e-6, "ratio": 1.25, "ratio_low": 1.1, "ratio_high": 1.4}
    failed = {"kind": "benchmark", "layer": "Conv2d", "name": "stem", "dtype": "float32"}
    failed |= {"status": "not timed: failed values"}
    return replace(run, benchmarks=(timed, failed), notes=("r.jsonl, line 9: truncated",))


def large_run(count: int, *, simplified: bool = False) -> results.Run:
    """A run of `count` verdicts, about as varied as real ones; two percent fail.

    `simplified` leaves out details that are expensive to make.
    """
    generator = random.Random(0)
    layers = [f"Layer{k}" for k in range(45)]
    devices = [f"cuda:{k}" for k in range(1 + count // (45 * 9 * 4))]
    places = [
        (a, b, c, d) for a in layers for c in DTYPES for d in devices for b in matrix_columns()
    ]
    verdicts = []
    for layer, check, dtype, device in places[:count]:
        is_bad = generator.random() < 0.02
        facts = {
            "id": f"{layer}-{check}-{dtype}-{device}",
            "examples": Examples(200, generator.randrange(150, 201), failed=3 * is_bad),
            "comparisons": generator.randrange(10**6),
            "margin": generator.random(),
            "worst": f"{layer}({generator.randrange(64)}, {generator.randrange(64)})",
            "outcomes": "190p3f7p" if is_bad else "200p",
            "seconds": generator.random(),
        }
        if not simplified:
            facts["ulps"] = {str(k): generator.randrange(10**5) for k in range(-9, 4)}
            facts["ratios"] = {str(k): generator.randrange(10**5) for k in range(-12, 0)}
        if check == "shape" and device == devices[0]:
            facts["drawn"] = made_up_columns(generator.randrange(99), 200)
        if is_bad:
            facts |= {"call": f"{layer}(1, groups=2)", "message": ARRAYS, "reproducer": SCRIPT}
            facts["failure"] = WRONG
        line = verdict(layer, check, dtype, "failed" if is_bad else "passed", **facts)
        verdicts.append(replace(line, device=device))
    total = tuple(v.id for v in verdicts)
    counts = summary.count_statuses(results.Run(identity(), tuple(verdicts)))
    footer = results.Footer(counts, len(verdicts), 9.0, "now")
    return results.Run(
        identity(total, dtypes=DTYPES, devices=tuple(devices)), tuple(verdicts), footer
    )


def passing_run(count: int) -> results.Run:
    """A run of `count` layers in every dtype and check, in which all cases pass."""
    generator = random.Random(0)
    verdicts = []
    for layer in (f"functional.layer_{k}" for k in range(count)):
        for dtype in DTYPES:
            cases = made_up_columns(generator.randrange(99), 200)
            for check in matrix_columns():
                facts = {
                    "margin": generator.random(),
                    "ulps": {str(k): generator.randrange(10**5) for k in range(-9, 4)},
                    "ratios": {str(k): generator.randrange(10**5) for k in range(-12, 0)},
                    "worst": f"{layer}(input, 64, stride=2) on input (2, 64, 5), {dtype}, cpu",
                    "outcomes": "200p",
                    "drawn": cases if check == "shape" else None,
                }
                verdicts.append(verdict(layer, check, dtype, "passed", **facts))
    return run_of(*verdicts, dtypes=DTYPES)


def next_run(run: results.Run) -> results.Run:
    """The next run: a bug fixed, a new one, an item more and one less, and a changed margin."""
    verdicts: dict[str, Verdict] = {v.id: v for v in run.verdicts}
    verdicts["LSTM-values-float32-cpu"] = verdict("LSTM", "values", "float32", "passed")
    verdicts["Linear-values-bfloat16-cpu"] = verdict("Linear", "values", "bfloat16", "failed")
    verdicts["Linear-values-float32-cpu"] = verdict(
        "Linear", "values", "float32", "passed", margin=0.1
    )
    verdicts["RNN-values-float32-cpu"] = verdict("RNN", "values", "float32", "passed")
    del verdicts["GRU-values-float32-cpu"]
    slower = {"seconds": 3e-5, "ratio_low": 2.0, "ratio_high": 2.4}
    benchmarks = tuple({**line, **slower} for line in run.benchmarks[:1])
    return replace(run, verdicts=tuple(verdicts.values()), benchmarks=benchmarks)
