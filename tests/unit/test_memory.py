"""What a run keeps in memory, and what it frees."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from support import cases, install_backends_module

from conformance.backends.adapters.torch import backend as torch_backend
from conformance.checks import CHECKS
from conformance.checks import answers as kept_answers
from conformance.checks.answers import OracleAnswers
from conformance.checks.cotangents import expected_gradients
from conformance.checks.trial import Trial
from conformance.generation import drawing
from conformance.generation.cases import MANY_CASES, MEMORY_LIMIT, MEMORY_LIMIT_OF_MANY, StoredCases
from conformance.generation.drawing import draw_cases
from conformance.isolation.isolated_engine import MAX_GROWTH, IsolatedEngine
from conformance.isolation.process import Child
from conformance.items.planning import Item
from conformance.layers import CATALOGUE
from conformance.layers.encoding import encode_case
from conformance.model.case import Case
from conformance.model.failure import Failure, Inapplicable
from conformance.model.limits import Limits

pytestmark = pytest.mark.in_fork

HOARDER = """
import numpy as np
from conformance.backends import ModuleBackend

with open("starts", "a") as starts:
    print(file=starts)

class Hoarder(ModuleBackend):
    held = []

    def build(self, call):
        if not self.held:
            self.held.append(np.ones(GROWN // 8 + 1))
        return super().build(call)

hoarder = Hoarder("hoarder")
"""


@pytest.mark.parametrize(
    ("values", "examples", "held", "processes"),
    [
        (1, 5, MAX_GROWTH, 2),
        (2, 5, MAX_GROWTH, 1),
        (1, 5, 0, 1),
        pytest.param(1, MANY_CASES + 1, 0, 2, marks=pytest.mark.nightly),
    ],
)
def test_a_process_that_has_grown_is_ended_between_layers(
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    values: int,
    examples: int,
    held: int,
    processes: int,
) -> None:
    install_backends_module(pytester, monkeypatch, HOARDER.replace("GROWN", str(held)))
    child = Child("plugged:hoarder", examples, 0, (), Limits(60.0))
    engine = IsolatedEngine(child, "hoarder", examples, 0, cases_per_structure=values)
    for layer, check in (("Identity", "shape"), ("Identity", "values"), ("Linear", "values")):
        assert engine.run(Item(layer, check, "float32", "cpu")).status == "passed"
    engine.close()
    assert len((pytester.path / "starts").read_text()) == processes


LIMITS = """
import os
from conformance.backends import ModuleBackend

class Limits(ModuleBackend):
    def build(self, call):
        raise ValueError("-".join(os.environ.get(name, "none") for name in NAMES))

limits = Limits("limits")
"""


@pytest.mark.parametrize(
    ("examples", "given", "said"),
    [
        (MANY_CASES, None, "none-none-none"),
        (MANY_CASES + 1, None, "128-32-4194304"),
        pytest.param(MANY_CASES + 1, "7", "7-32-4194304", marks=pytest.mark.nightly),
    ],
)
def test_long_runs_keep_neither_kernels_that_serve_no_other_check_nor_free_memory(
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    examples: int,
    given: str | None,
    said: str,
) -> None:
    names = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY", "MALLOC_MMAP_THRESHOLD_")
    install_backends_module(pytester, monkeypatch, LIMITS.replace("NAMES", repr(names)))
    for name in names:
        monkeypatch.setenv(name, "")  # so that it is gone again after the test
        monkeypatch.delenv(name)
    if given is not None:
        monkeypatch.setenv(names[0], given)
    result = pytester.runpytest_inprocess(
        "--pyargs", "conformance.suite", "--conformance-backend=plugged:limits",
        "--conformance-layer=Identity", "--conformance-check=shape", "--conformance-dtype=float32",
        f"--conformance-examples={examples}",
    )  # fmt: skip
    assert f"build raised ValueError: {said}" in result.stdout.str()


def test_small_answers_of_the_oracle_are_kept_beyond_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kept_answers, "MAX_CACHED", 0)
    case = draw_cases("Linear", "float32", 3, 12345)[0]
    for size_limit, is_cached in ((8192, True), (-1, False)):
        monkeypatch.setattr(kept_answers, "SMALL_ANSWER_BYTES", size_limit)
        answers = OracleAnswers()
        trials = [
            Trial(torch_backend, CATALOGUE["Linear"], case, answers=answers) for _ in range(2)
        ]
        assert (trials[0].expected[0] is trials[1].expected[0]) is is_cached
        assert (expected_gradients(trials[0]) is expected_gradients(trials[1])) is is_cached


def test_answers_are_kept_by_whom_they_are_given_to_and_as_long_as_their_case() -> None:
    case = draw_cases("Linear", "float32", 3, 12345)[0]
    case = replace(case)  # which no cache of cases holds
    trial = Trial(torch_backend, CATALOGUE["Linear"], case)
    assert trial.on_same_layer().expected[0] is trial.expected[0]
    assert Trial(torch_backend, CATALOGUE["Linear"], case).expected[0] is not trial.expected[0]
    answer = weakref.ref(trial.expected[0])
    cached_answers = trial.answers
    del trial, case
    gc.collect()
    assert cached_answers is not None
    assert answer() is None


def test_a_failure_does_not_keep_what_the_call_held() -> None:
    references: list[weakref.ref[np.ndarray]] = []

    def fail_with_array() -> None:
        array = np.ones(9)
        references.append(weakref.ref(array))
        raise MemoryError

    trial = Trial(torch_backend, CATALOGUE["Linear"], cases("Linear")[0])
    with pytest.raises(Failure, match="build raised MemoryError") as caught:
        trial.run_step("build", fail_with_array)
    assert caught.value.__cause__ is not None
    assert references[0]() is None


# Trees of arguments under vmap, and torch's pickler, are cycles of functions without arrays.
CYCLES_OF_TORCH = ("transforms", "module")


WITHOUT_CYCLES = [
    name for name, check in CHECKS.items() if not check.invalid and name not in CYCLES_OF_TORCH
]


@pytest.mark.parametrize("check", WITHOUT_CYCLES)
@pytest.mark.parametrize("layer", ["Conv2d", "GRU"])
def test_a_check_leaves_nothing_that_only_the_collector_of_cycles_can_free(
    layer: str, check: str
) -> None:
    if not CHECKS[check].applies(CATALOGUE[layer]):
        pytest.skip("the check does not apply")

    def run(drawn: Sequence[Case]) -> int:
        compared = 0
        for case in drawn:
            with suppress(Failure, Inapplicable):
                trial = Trial(torch_backend, CATALOGUE[layer], case, numerics)
                compared += CHECKS[check].run(trial).comparisons > 0
        return compared

    numerics, drawn = torch_backend.numerics("bfloat16"), cases(layer, "bfloat16", 12)
    run(drawn[:1])  # what is imported at the first call leaves cycles of its own
    gc.collect()
    gc.disable()
    try:
        assert run(drawn) > 6
        assert gc.collect() == 0
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("examples", "kept"), [(MANY_CASES, MEMORY_LIMIT), (MANY_CASES + 1, MEMORY_LIMIT_OF_MANY)]
)
def test_of_many_examples_fewer_lie_in_memory(
    monkeypatch: pytest.MonkeyPatch, examples: int, kept: int
) -> None:
    monkeypatch.setattr(drawing, "_run", lambda *_, **__: None)
    monkeypatch.setattr(drawing, "StoredCases", lambda size: [size])
    assert drawing.draw_cases("Identity", "float32", examples, 98765) == [kept]


def test_cases_that_find_no_room_in_memory_are_read_back_as_they_were() -> None:
    drawn = [
        *cases("Conv3d", "float32", 40, tiled=True),
        *cases("LSTM", "float16", 40, tiled=True),
    ]
    exact = np.array([-0.0, np.nan, np.inf] * 4096)
    drawn.append(replace(drawn[-1], inputs=(exact, None)))
    reread = StoredCases(memory_limit=0)
    for case in drawn:
        reread.add(case)
    order = [*range(40, 81), *range(40)]
    assert [encode_case(reread[k]) for k in order] == [encode_case(drawn[k]) for k in order]
    (x, left_out) = reread[80].inputs
    assert x is not None
    assert x.tobytes() == exact.tobytes()
    assert left_out is None
    assert reread[0] is drawn[0], "what is small lies in memory"
    assert reread[80] is not drawn[80]
    assert [case.seed for case in reread[78:]] == [case.seed for case in drawn[78:]]
