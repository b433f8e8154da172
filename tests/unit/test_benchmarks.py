"""Benchmarks time a layer only if it is right, next to torch, and one after another."""

from __future__ import annotations

import itertools
import json
import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from conformance.reports.results import Benchmark, read
from support import SpoiledBackend, install_backends_module, run_forked_session, run_refused_session

from conformance import Case
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.backends.capabilities import numerics_of
from conformance.checks.cotangents import oracle_gradients
from conformance.checks.trial import Trial
from conformance.layers import CATALOGUE
from conformance.model.case import Call
from conformance.timing import measure, peaks, rounds
from conformance.timing.cost import cost, count_operations
from conformance.timing.float64 import through_torch
from conformance.timing.machine import largest_cache
from conformance.timing.measure import Bench
from conformance.timing.operands import TimedArrays
from conformance.timing.peaks import Peak
from conformance.timing.workloads import PASSES, WORKLOADS, TimedCall, Workload, plan_calls

pytestmark = pytest.mark.in_fork

TINY_LINEAR = Workload("Linear", "tiny", {"in_features": 16, "out_features": 8}, ((4, 16),))


@pytest.fixture(autouse=True)
def _brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """One small workload, no time spent on the machine's peaks."""
    monkeypatch.setitem(WORKLOADS, ("Linear", "tiny"), TINY_LINEAR)
    monkeypatch.setattr(measure, "measure_peak", lambda *_: Peak(1e9, 1e9))
    monkeypatch.setitem(measure.SECONDS, "small", 0.05)


def _benchmark(backend: Any, direction: str = "forward", layer: str = "Linear") -> Benchmark:
    name = "tiny" if layer == "Linear" else next(w.name for w in WORKLOADS.values()
                                                 if w.layer == layer and w.small)  # fmt: skip
    line, _ = Bench(backend, 0).measure(
        TimedCall(layer, name, direction, "float32", "cpu"), "small"
    )
    return line


class Sleeping(SpoiledBackend):
    """torch, a fixed time later."""

    def __init__(self, seconds: float) -> None:
        def late(output: Any, inputs: Any) -> Any:
            time.sleep(seconds)
            return output

        super().__init__("sleeping", late)


class Remembering(SpoiledBackend):
    """torch, but a layer repeats its first answer to every later call."""

    def build(self, call: Any) -> Any:
        remembered: list[Any] = []

        def answer_first(output: Any, inputs: Any) -> Any:
            remembered.append(output)
            return remembered[0]

        self._spoil = answer_first
        return super().build(call)


# What is timed.


def test_a_sleeping_layer_is_slower_by_what_it_sleeps() -> None:
    line = _benchmark(Sleeping(0.02))
    assert line.status == "timed"
    assert line.torch_seconds
    assert line.ratio_low
    assert line.ratio_high
    assert line.seconds
    assert line.seconds >= 0.02
    assert line.ratio_low / 2 < line.seconds / line.torch_seconds < line.ratio_high * 2


def test_torch_is_timed_in_both_passes() -> None:
    for direction in PASSES:
        line = _benchmark(torch_backend, direction)
        assert (line.status, line.verified) == ("timed", "oracle")
        assert line.seconds
        assert line.flops == pytest.approx(
            2 * 4 * 16 * 8 * (1 if direction == "forward" else 3) / line.seconds
        )


@pytest.mark.parametrize("factor", [1.001, 1 + 6e-7, 0.0])
def test_a_wrong_layer_has_no_number(factor: float) -> None:
    line = _benchmark(SpoiledBackend("wrong", lambda y, _: y * factor))
    assert line.status == "not timed: failed values"
    assert line.seconds is None
    assert line.ratio is None
    assert "got" in str(line.message)


def test_a_remembered_output_is_caught_by_fresh_inputs() -> None:
    line = _benchmark(Remembering("remembering", lambda y, _: y))
    assert line.status == "not timed: failed values"
    assert "wrong in a timed round" in str(line.message)


def test_wrong_gradients_have_no_number() -> None:
    class Wrong(SpoiledBackend):
        def build(self, call: Any) -> Any:
            layer = super().build(call)
            true_vjp = layer.vjp
            layer.vjp = lambda *a, **k: (tuple(g * 1.01 for g in true_vjp(*a, **k)[0]), {})
            return layer

    line = _benchmark(Wrong("wrong gradients", lambda y, _: y), "forward+backward")
    assert line.status == "not timed: failed gradients"


def test_no_gradients_and_no_layer_are_unsupported() -> None:
    from conformance import Unsupported

    class ForwardOnly(SpoiledBackend):
        def build(self, call: Any) -> Any:
            if call.layer == "Identity":
                raise Unsupported("layer Identity")
            layer = super().build(call)

            class Forward:
                put, get, dtype = layer.put, layer.get, layer.dtype

                def __call__(self, *inputs: Any) -> Any:
                    return layer(*inputs)

            return Forward()

    forward_only = ForwardOnly("less", lambda y, _: y)
    assert _benchmark(forward_only).status == "timed"
    assert (
        _benchmark(forward_only, PASSES[1]).status
        == "not timed: unsupported: gradients not offered"
    )
    assert (
        _benchmark(forward_only, layer="Identity").status
        == "not timed: unsupported: layer Identity"
    )


def test_work_that_is_left_until_the_answer_is_fetched_is_not_timed() -> None:
    class Lazy(SpoiledBackend):
        def build(self, call: Any) -> Any:
            layer = super().build(call)

            class Later:
                put, dtype = layer.put, layer.dtype

                def __call__(self, *inputs: Any) -> Any:
                    return ([inputs, None],)

                def get(self, native: Any) -> Any:
                    if native[1] is None:
                        time.sleep(0.005)
                        native[1] = layer(*native[0])
                    return layer.get(native[1])

            return Later()

    line = _benchmark(Lazy("lazy", lambda y, _: y))
    assert line.status == "not timed: answers come late, and the layer offers no sync()"
    assert line.seconds is None


def test_a_bound_as_large_as_the_answer_verifies_nothing() -> None:
    name = next(w.name for w in WORKLOADS.values() if w.layer == "LSTM" and w.small)
    item = TimedCall("LSTM", name, "forward+backward", "bfloat16", "cpu")
    line, _ = Bench(torch_backend, 0).measure(item, "small")
    assert line.status == "not timed: not verified"


# How it is timed.


class _Machine:
    """A simulated clock: calls take a given time, and the first call of a block a bit more."""

    def __init__(self, seed: int, first_call_excess: float = 0.0) -> None:
        self.generator, self.first_call_excess = np.random.default_rng(seed), first_call_excess
        self.now, self.calls = 0.0, 0

    def side(self, seconds: float) -> rounds.TimedSide:
        def call(natives: Any) -> Any:
            self.calls += 1
            excess = self.first_call_excess if self.calls % 4 == 1 else 0.0
            self.now += seconds * (1 + excess) * float(self.generator.lognormal(0, 0.5))

        def stopwatch() -> Callable[[], float]:
            started = self.now
            return lambda: self.now - started

        return rounds.TimedSide(lambda arrays: arrays, call, lambda: None, stopwatch)

    def ratio(self, own: float, reference: float) -> tuple[float, float]:
        times = rounds.time_rounds(
            self.side(own), self.side(reference), lambda: 0, self.generator, seconds=0, size=0
        )
        assert times.calls == 1
        interval = rounds.median_interval(times.ratios)
        assert interval is not None
        return interval


def test_the_interval_holds_the_ratio_on_a_noisy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "_collector_off", nullcontext)
    for ratio in (1.0, 3.0):
        hits = 0
        for seed in range(200):
            low, high = _Machine(seed, first_call_excess=0.5).ratio(ratio, 1.0)
            hits += low <= ratio <= high
        # Binomial (200, .96): fewer than 180 in one of 10 000 runs.
        assert hits >= 180


def test_interval_is_that_of_the_sign_test() -> None:
    assert rounds.median_interval([1.0] * 5) is None
    assert rounds.median_interval([3, 1, 2, 6, 5, 4]) == (1, 6)
    assert rounds.median_interval(range(12)) == (2, 9)


def test_every_call_has_fresh_inputs_and_neither_side_is_always_first() -> None:
    made: list[int] = []
    order: list[str] = []
    calls_by_side: dict[str, list[int]] = {"own": [], "torch": []}

    def next_natives() -> int:
        made.append(len(made))
        return made[-1]

    def side(name: str) -> rounds.TimedSide:
        def call(natives: int) -> int:
            order.append(name)
            calls_by_side[name].append(natives)
            return natives

        return rounds.TimedSide(lambda arrays: arrays, call, lambda: None, lambda: lambda: 1.0)

    generator = np.random.default_rng(0)
    times = rounds.time_rounds(
        side("own"), side("torch"), next_natives, generator, seconds=0, size=0
    )
    for inputs in calls_by_side.values():
        assert len(set(inputs)) == len(inputs)
    blocks = ["".join(n[0] for n in order[8 + 4 * k : 12 + 4 * k]) for k in range(12)]
    assert sorted(blocks) == ["otto"] * 6 + ["toot"] * 6
    assert times.sample is not None
    assert times.sample[0] == times.sample[1]


# What it is compared with, and what it costs.


@pytest.mark.parametrize(
    "layer",
    ["Conv1d", "Conv2d", "LazyConv3d", "functional.conv1d", "ConvTranspose1d", "Linear",
     "functional.conv_transpose2d", "functional.linear", "Bilinear", "functional.bilinear"],
)  # fmt: skip
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_torch_float64_gives_the_oracles_values_and_bounds(layer: str, dtype: str) -> None:
    name = "tiny" if layer == "Linear" else next(w.name for w in WORKLOADS.values()
                                                 if w.layer == layer and w.small)  # fmt: skip
    operands = TimedArrays(TimedCall(layer, name, "forward", dtype, "cpu"), WORKLOADS[layer, name])
    generator = np.random.default_rng(0)
    for exact_regime in (True, False):
        case = Case(operands.call(generator), operands.inputs(generator, exact_regime=exact_regime))
        drawn_cotangents = operands.cotangents(generator, exact_regime=exact_regime)
        specs = (
            CATALOGUE[layer],
            through_torch(CATALOGUE[layer], case.call.arguments, torch_backend),
        )
        results = []
        for spec in specs:
            # A copy of the case, because the oracle caches its answers by case.
            trial = Trial(torch_backend, spec, Case(case.call, case.inputs),
                          numerics_of(torch_backend, dtype))  # fmt: skip
            inputs, parameters = oracle_gradients(trial, drawn_cotangents)
            results.append([*trial.expected, *inputs, *parameters.values()])
        for reference_value, bounded_value in zip(*results, strict=True):
            assert reference_value is not None
            assert bounded_value is not None
            np.testing.assert_allclose(
                bounded_value.value, reference_value.value, rtol=1e-9, atol=1e-9
            )
            if "ranspose" in layer:
                # The oracle counts all products of a window, torch only those inside the input.
                assert np.all(bounded_value.error <= reference_value.error * (1 + 1e-6) + 1e-12)
            else:
                np.testing.assert_allclose(
                    bounded_value.error, reference_value.error, rtol=1e-6, atol=1e-12
                )
            assert not exact_regime or float(np.mean(reference_value.error == 0)) > 0.1


def test_every_layer_is_timed_in_both_sets() -> None:
    for workload_set in ("small", "full"):
        items = plan_calls(
            workload_set, layers=list(CATALOGUE), dtypes=["float32"], devices=["cpu"]
        )
        assert {item.layer for item in items} == set(CATALOGUE)
        assert len({item.id for item in items}) == len(items)
    assert plan_calls("none", layers=list(CATALOGUE), dtypes=["float32"], devices=["cpu"]) == ()


# Those whose outputs are sums of products.
SUM_FAMILIES = ("convolution", "recurrent", "linear")
SUM_WORKLOADS = [
    k for k, w in WORKLOADS.items() if w.small and CATALOGUE[w.layer].family in SUM_FAMILIES
]


@pytest.mark.parametrize("key", SUM_WORKLOADS)
def test_operations_are_counted_as_the_layer_does_them(key: tuple[str, str]) -> None:
    w = WORKLOADS[key]
    operands = TimedArrays(TimedCall(*key, "forward", "float32", "cpu"), w)
    assert operands.output_shapes
    operation_count = count_operations(operands)
    if w.layer == "Identity":
        assert operation_count == 0
        return
    if "hidden_size" in w.arguments:
        gates = {"RNN": 1, "GRU": 3, "LSTM": 4}[w.layer.removesuffix("Cell")]
        assert operation_count == 2 * math.prod(w.inputs[0][:-1]) * gates * 128 * (128 + 128)
        return
    # Σ of a layer of ones counts its products, those with the padding left out.
    unpadded = {k: v for k, v in w.arguments.items() if k != "padding"}
    call = operands.call(np.random.default_rng(0))
    state = {name: np.ones(a.shape) * (name == "weight") for name, a in call.state.items()}
    ones = [np.ones(s) for s in w.inputs]
    if not state:
        ones[-1][:] = 0
    layer = torch_backend.build(type(call)(w.layer, unpadded, state, "float64", "cpu"))
    counted = 2 * float(layer.get(layer(*map(layer.put, ones))).sum())
    padded = w.arguments.get("padding", 0)
    if padded and "ranspose" not in w.layer:
        assert operation_count > counted
    elif "ilinear" in w.layer:  # a factor comes to each product of x₁ and the weight once summed
        rows, out_features = w.inputs[1]
        assert operation_count == counted + 2 * rows * 32 * out_features
    else:
        assert operation_count == counted


# Bytes in float32: read and written by a forward pass; the cotangent and gradients of a backward.
MOVED_BYTES = {
    "a linear layer": (
        ("Linear", {"in_features": 16, "out_features": 8}, ((4, 16),)),
        4 * (64 + 128 + 8 + 32),
        4 * (32 + 64 + 128 + 8),
    ),
    "a statistic has no gradient, and is read": (
        ("functional.batch_norm", {"training": False}, ((4, 16, 2), *((16,),) * 4)),
        4 * (128 + 4 * 16 + 128),
        4 * (128 + 128 + 2 * 16),
    ),
    "counts are int64, buffers have no gradient": (
        ("BatchNorm1d", {"num_features": 16}, ((4, 16, 2),)),
        4 * (128 + 4 * 16 + 128) + 8,
        4 * (128 + 128 + 2 * 16),
    ),
    "indices are int64, and rows that nobody names are not read, but have a gradient": (
        ("Embedding", {"num_embeddings": 4096, "embedding_dim": 32}, ((24,),)),
        8 * 24 + 4 * (1 * 32 + 24 * 32),
        4 * (24 * 32 + 4096 * 32),
    ),
    "of a sample the score of its class is read": (
        ("functional.nll_loss", {}, ((24, 100), (24,))),
        4 * 24 + 8 * 24 + 4,
        4 * (1 + 2400),
    ),
    "what is overwritten is not read": (
        ("init.ones_", {}, ((64, 64),)),
        4 * 4096,
        0,
    ),
    "whole numbers come out": (
        ("functional.one_hot", {"num_classes": 10}, ((24,),)),
        8 * 24 + 8 * 240,
        0,
    ),
}


@pytest.mark.parametrize("what", MOVED_BYTES)
def test_bytes_are_each_operand_and_each_result_once(what: str) -> None:
    (layer, arguments, shapes), forward_bytes, backward_bytes = MOVED_BYTES[what]
    index_limits = {"input": 1} if "Embedding" in layer else {"tensor": 10}
    w = Workload(layer, "tiny", arguments, shapes, index_limits=index_limits)
    for direction, expected_bytes in zip(
        PASSES, (forward_bytes, forward_bytes + backward_bytes), strict=True
    ):
        operands = TimedArrays(TimedCall(layer, "tiny", direction, "float32", "cpu"), w)
        generator = np.random.default_rng(0)
        call = operands.call(generator)
        assert cost(operands, call, operands.inputs(generator)).bytes == expected_bytes
        if not backward_bytes:
            return


@pytest.mark.parametrize(
    ("layer", "moves"),
    [("ReLU", True), ("Identity", False), ("Dropout", False), ("Flatten", False)],
)
def test_a_call_that_hands_back_its_input_moves_nothing(layer: str, moves: bool) -> None:
    benchmark = _benchmark(torch_backend, layer=layer)
    assert bool(benchmark.bytes) == moves
    assert bool(benchmark.flops) == moves


@pytest.mark.parametrize(
    ("sizes", "largest"),
    [
        ({"index0": "32K", "index3": "32768K"}, 32 << 20),
        ({"index0": "1M", "index1": "not told"}, 1 << 20),
        ({}, 0),
    ],
)
def test_the_largest_cache(sizes: dict[str, str], largest: int, tmp_path: Path) -> None:
    for index, size in sizes.items():
        (tmp_path / index).mkdir()
        (tmp_path / index / "size").write_text(f"{size}\n")
    assert largest_cache(tmp_path) == largest
    assert largest_cache(tmp_path / "none") == 0


# Two cache sizes: the size of the copy follows the cache.
@pytest.mark.parametrize(("cache", "copied"), [(0, 1 << 16), (1 << 16, 1 << 17)])
def test_the_copy_is_larger_than_the_cache(
    cache: int, copied: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peaks, "MIN_COPY_BYTES", 1 << 16)
    monkeypatch.setattr(peaks, "MIN_SECONDS", 0.0)
    monkeypatch.setattr(peaks, "largest_cache", lambda: cache)
    copied_sizes = []
    copy = torch_backend.build(Call("functional.linear", {}, {}, "float16", "cpu")).copy

    class Copying:
        def __init__(self, layer: Any) -> None:
            self.layer = layer

        def __getattr__(self, name: str) -> Any:
            return getattr(self.layer, name)

        def __call__(self, *inputs: Any) -> Any:
            return self.layer(*inputs)

        def copy(self, source: Any, target: Any) -> None:
            copied_sizes.append(2 * source.numel())
            copy(source, target)

    class Backend:
        def build(self, call: Call) -> Any:
            return Copying(torch_backend.build(call))

    peak = peaks.measure_peak(cast(Any, Backend()), "float16", "cpu")
    assert set(copied_sizes) == {copied}
    assert peak.bytes


# Within pytest.

BACKENDS = """
import os, time
from types import SimpleNamespace
import torch
from conformance.backends import ModuleBackend
from conformance.timing import measure, workloads
from conformance.timing.peaks import Peak

measure.measured = lambda *_: Peak(1e9, 1e9)
measure.SECONDS["small"] = 0.05

class Sleeping(torch.nn.Identity):
    def forward(self, input):
        time.sleep(0.002)
        return input

class Wrong(torch.nn.Identity):
    def forward(self, input):
        return input * 1.5

class Dying(torch.nn.Identity):
    def forward(self, input):
        if torch.is_grad_enabled():
            os.abort()
        return input

def like(cls):
    return ModuleBackend("look-alike", nn=SimpleNamespace(Identity=cls))

sleeping, wrong, dying, plain = map(like, (Sleeping, Wrong, Dying, torch.nn.Identity))
"""


@pytest.fixture
def bench(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Any:
    install_backends_module(pytester, monkeypatch, BACKENDS)
    # Also for the serial phase, which drops options of the session.
    pytester.makeini("[pytest]\naddopts = -pwarm")

    def run(backend: str, *options: str, target: str = "conformance.suite.test_benchmarks") -> Any:
        return run_forked_session(
            pytester, "-p", "no:cacheprovider", "--pyargs", target,
            "--conformance-layer=Identity",
            "--conformance-check=shape", "--conformance-examples=3", "--conformance-dtype=float32",
            f"--conformance-backend=plugged:{backend}", "--conformance-results=r.jsonl", *options,
        )  # fmt: skip

    return run


def test_benchmarks_are_off_unless_asked_for(bench: Any) -> None:
    result = bench("plain", target="conformance.suite")
    result.assert_outcomes(passed=1)
    assert read(Path("r.jsonl")).benchmarks == ()


def test_serially_they_run_with_the_items_and_both_files_are_written(bench: Any) -> None:
    result = bench(
        "plain", "--conformance-benchmarks=small", "--benchmark-json=b.json",
        target="conformance.suite",
    )  # fmt: skip
    result.assert_outcomes(passed=3)
    run = read(Path("r.jsonl"))
    assert [line["status"] for line in run.benchmarks] == ["timed", "timed"]
    assert len(run.verdicts) == 1
    assert run.footer is not None
    assert run.notes == ()
    (facts,) = run.timing
    assert {"cpu", "governor", "threads", "devices", "versions", "spread", "note"} <= set(facts)
    written = json.loads(Path("b.json").read_text())["benchmarks"]
    assert [b["extra_info"]["pass"] for b in written] == list(PASSES)
    for recorded, written_line in zip(run.benchmarks, written, strict=True):
        assert written_line["stats"]["median"] == pytest.approx(recorded["seconds"])
    result.stdout.fnmatch_lines(["*benchmarks of look-alike*", "*2 timed, each verified*"])


def test_under_xdist_they_wait_for_a_serial_phase(bench: Any) -> None:
    result = bench(
        "plain", "-n", "1", "--conformance-benchmarks=small", "--benchmark-json=b.json",
        "--conformance-report=r.html", "--conformance-survey", target="conformance.suite",
    )  # fmt: skip
    assert result.ret == 0
    result.assert_outcomes(passed=1, skipped=2)
    run = read(Path("r.jsonl"))
    assert len(run.verdicts) == 1
    assert [line["status"] for line in run.benchmarks] == ["timed", "timed"]
    assert len(run.timing) == 1
    assert run.footer is not None
    assert len(json.loads(Path("b.json").read_text())["benchmarks"]) == 2
    assert Path("r.html").is_file()
    assert "xdist plugin is active" not in result.stdout.str() + result.stderr.str()


@pytest.mark.nightly
def test_under_xdist_a_wrong_call_fails_the_run(bench: Any) -> None:
    result = bench("wrong", "-n", "1", "--conformance-benchmarks=small", target="conformance.suite")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    statuses = [line["status"] for line in read(Path("r.jsonl")).benchmarks]
    assert statuses == ["not timed: failed values", "not timed: failed gradients"]


def test_a_crash_costs_one_number(bench: Any) -> None:
    result = bench("dying")
    result.assert_outcomes(passed=1, failed=1)
    statuses = [line["status"] for line in read(Path("r.jsonl")).benchmarks]
    assert statuses == ["timed", "not timed: crashed"]


def test_without_isolation_they_run_in_pytests_own_process(bench: Any) -> None:
    bench("plain", "--conformance-isolation=none").assert_outcomes(passed=2)


def test_a_regression_fails_the_run_on_a_ratio(bench: Any) -> None:
    assert bench("plain").ret == 0
    Path("r.jsonl").rename("before.jsonl")
    compare_option = "--conformance-compare=before.jsonl"
    slower = bench("sleeping", compare_option, "--conformance-regression=2")
    assert slower.ret == pytest.ExitCode.TESTS_FAILED
    slower.stdout.fnmatch_lines(["*times as slow as before, relative to torch*"])
    Path("r.jsonl").rename("slow.jsonl")
    # As slow in seconds, but no slower than before: a ratio is what counts.
    same = bench("sleeping", "--conformance-compare=slow.jsonl", "--conformance-regression=50")
    assert same.ret == 0
    assert bench("sleeping", compare_option).ret == 0
    alone = bench("sleeping", "--conformance-regression=2")
    assert alone.ret == pytest.ExitCode.TESTS_FAILED
    alone.stdout.fnmatch_lines(["*times as slow as torch*"])


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("benchmarks=big", "expected one of none, small, full"),
        ("compare=missing.jsonl", "No such file"),
        ("regression=0.9", "expected a ratio of at least 1"),
        ("regression=fast", "expected a ratio"),
    ],
)
@pytest.mark.usefixtures("bench")
def test_bad_options_are_usage_errors(pytester: pytest.Pytester, option: str, message: str) -> None:
    assert message in run_refused_session(pytester, f"--conformance-{option}")


def test_any_call_of_a_round_may_be_the_one_that_is_compared() -> None:
    """An attack on the judge: only the last call was compared, so that others were skipped."""
    side = rounds.TimedSide(lambda arrays: arrays, lambda natives: natives, lambda: None)
    generator = np.random.default_rng(0)
    places = set()
    for _ in range(60):
        counter = itertools.count()
        arrays, answer = rounds._time_block(
            rounds.Times(calls=4), [side], counter.__next__, generator, first=True
        )
        assert arrays == answer
        places.add(arrays)
    assert places == {4, 5, 6, 7}  # of the second round
