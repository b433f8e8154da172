"""The backends torch-meta, torch-export and torch-compile: they pass, and planted bugs fail."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from support import cases, verdict

from conformance.backends.adapters.torch import export as torch_export
from conformance.backends.adapters.torch import meta as torch_meta
from conformance.backends.capabilities import (
    budget_of,
    cases_per_structure,
    devices_of,
    timeout_of,
)
from conformance.backends.guard import BackendError
from conformance.generation.drawing import draw_cases
from conformance.isolation.probe import choose_devices as chosen_devices
from conformance.items.planning import Item
from conformance.items.stream import count_structures
from conformance.model.case import Call
from conformance.run.engine import MAX_DECLINED, Engine

pytestmark = pytest.mark.in_fork

needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("g++", "clang++"))), reason="inductor needs a C++ compiler"
)


_verdict = partial(verdict, examples=10)


# --- meta ---


@pytest.mark.parametrize("layer", ["Conv2d", "LSTM", "LazyLinear", "functional.conv_transpose1d"])
def test_meta_infers_shapes_and_has_no_values(layer: str) -> None:
    assert _verdict(torch_meta.backend, layer, "shape", examples=40).status == "passed"
    values = _verdict(torch_meta.backend, layer, "values")
    assert values.status == "unsupported"
    assert "values on device 'meta'" in str(values.message)


def test_a_view_on_meta_shares_memory_and_an_output_does_not() -> None:
    assert _verdict(torch_meta.backend, "Conv1d", "layout").status == "unsupported"
    layer = torch_meta.backend.build(replace(next(iter(cases("Conv1d"))).call, device="meta"))
    native = layer.put(torch.ones(2, 3).numpy())
    assert layer.aliases(native, native.T)
    assert not layer.aliases(native, torch.empty_like(native))


def test_meta_accepts_invalid_calls_and_every_one_is_known() -> None:
    for layer in ("Conv2d", "functional.conv_transpose2d"):
        assert _verdict(torch_meta.backend, layer, "errors", examples=60).status == "known"
        item = Item(layer, "errors", "float32", "meta")
        assert Engine(torch_meta.backend, 60, 0).run(item).status == "failed"


def test_a_wrong_shape_on_meta_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def one_too_many(input: Any, *arguments: Any, **keywords: Any) -> Any:
        y = torch.conv1d(input, *arguments, **keywords)
        return y.new_empty((*y.shape[:-1], y.shape[-1] + (keywords.get("dilation", 1) != 1)))

    monkeypatch.setattr(torch.nn.functional, "conv1d", one_too_many)
    verdict = _verdict(torch_meta.backend, "functional.conv1d", "shape", examples=40)
    assert verdict.status == "failed"
    assert "shape of output" in str(verdict.message)


def test_default_device_is_the_backends_first_where_it_has_no_cpu() -> None:
    assert chosen_devices(torch_meta.backend, ()) == ("meta",)
    assert chosen_devices(torch_export.backend, ()) == ("cpu",)
    with pytest.raises(BackendError, match="offers meta"):
        chosen_devices(torch_meta.backend, ("cpu",))


# --- export ---


@pytest.mark.parametrize("layer", ["Conv2d", "LSTM", "functional.bilinear", "ConvTranspose1d"])
@pytest.mark.parametrize("check", ["values", "gradients"])
def test_exported_programs_pass(layer: str, check: str) -> None:
    verdict = _verdict(torch_export.backend, layer, check)
    assert verdict.status == "passed", verdict.message
    assert verdict.comparisons


def test_a_program_serves_all_weights_of_a_structure(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    export = torch.export.export
    monkeypatch.setattr(torch.export, "export", lambda *a, **k: calls.append(a) or export(*a, **k))
    backend = torch_export.ExportBackend("torch-export")
    assert cases_per_structure(backend) == 10
    assert _verdict(backend, "Linear", "values", examples=60).status == "passed"
    drawn = draw_cases("Linear", "float32", 60, 0, values=10)
    assert len(calls) == count_structures(drawn) <= len(drawn) / 3


def test_a_program_of_another_structure_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    class ForgetfulBackend(torch_export.ExportBackend):
        def build(self, call: Any) -> Any:
            layer = super().build(call)
            exported: Any = layer.function
            exported._structure = (call.layer,)
            return layer

    monkeypatch.setattr(torch_export, "_signature", lambda tree: ())
    assert (
        _verdict(ForgetfulBackend("torch-export"), "Conv1d", "values", examples=40).status
        == "failed"
    )


def test_export_declines_what_depends_on_data() -> None:
    packed = next(case for case in cases("LSTM") if "lengths" in case.keywords)
    outcome = Engine(torch_export.backend, 1, 0).outcome(
        Item("LSTM", "values", "float32", "cpu"), packed
    )
    assert (outcome.status, outcome.message) == (
        "unsupported",
        "lengths: shapes that depend on data",
    )


@pytest.mark.parametrize("check", ["values", "gradients"])
def test_export_declines_a_generator_of_parameters(check: str) -> None:
    name = "utils.clip_grad_norm_"
    case = next(case for case in cases(name) if len(case.inputs) % 2)
    outcome = Engine(torch_export.backend, 1, 0).outcome(Item(name, check, "float32", "cpu"), case)
    assert outcome.status == "unsupported", outcome.message
    assert "a generator" in outcome.message


@pytest.mark.parametrize(
    "layer", ["AdaptiveLogSoftmaxWithLoss", "AdaptiveLogSoftmaxWithLoss.predict"]
)
def test_export_declines_control_flow_that_depends_on_data(layer: str) -> None:
    """torch branches on the clusters of the targets, or of the likeliest classes."""
    case = cases(layer)[0]
    outcome = Engine(torch_export.backend, 1, 0).outcome(
        Item(layer, "values", "float32", "cpu"), case
    )
    assert (outcome.status, outcome.message) == ("unsupported", "control flow that depends on data")


def test_export_hides_no_other_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*inputs: Any, **keywords: Any) -> Any:
        raise RuntimeError("of the export itself")

    monkeypatch.setattr(torch.export, "export", failing)
    backend = torch_export.ExportBackend("torch-export")
    outcome = Engine(backend, 1, 0).outcome(
        Item("Linear", "values", "float32", "cpu"), cases("Linear")[0]
    )
    assert outcome.status == "failed"
    assert "of the export itself" in outcome.message


# --- compile ---


@pytest.fixture
def compiled() -> Iterator[Any]:
    from conformance.backends.adapters.torch.compile import CompileBackend

    # No worker processes that import torch, and no trials of the CPU's instruction sets.
    with torch._inductor.config.patch({"compile_threads": 1, "cpp.vec_isa_ok": True}):
        yield CompileBackend("torch-compile")
    torch._dynamo.reset()


@needs_compiler
@pytest.mark.parametrize("check", ["values", "gradients"])
def test_compiled_layers_pass(compiled: Any, check: str) -> None:
    verdict = _verdict(compiled, "Linear", check)
    assert verdict.status == "passed", verdict.message
    assert compiled._inductor.runs >= 10


@needs_compiler
def test_what_ran_in_eager_mode_is_no_pass(compiled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda function, **options: function)
    verdict = _verdict(compiled, "Linear", "values")
    assert verdict.status == "unsupported"
    reason = "fell back: the whole call, no compiled graph ran"
    assert verdict.examples.unsupported == {reason: MAX_DECLINED}


@needs_compiler
def test_recurrent_layers_that_dynamo_does_not_compile_are_declined(
    compiled: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch._dynamo.config, "allow_rnn", False)
    verdict = _verdict(compiled, "GRU", "values")
    assert verdict.status == "unsupported"
    assert "graph break" in str(verdict.message)


@needs_compiler
def test_a_wrong_kernel_is_caught(compiled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from conformance.backends.adapters.torch import compile as torch_compile

    def spoiled(graph: Any, inputs: Any) -> Any:
        return lambda *arguments: tuple(y + 1 for y in graph(*arguments))

    monkeypatch.setattr(torch_compile, "compile_fx", spoiled)
    assert _verdict(compiled, "Linear", "values").status == "failed"


def test_a_missing_compiler_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from conformance.backends.adapters.torch.compile import CompileBackend

    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(BackendError, match=r"needs a compiler: no g\+\+ or clang"):
        devices_of(CompileBackend("torch-compile"))


def test_dear_backends_have_a_budget_and_more_time_for_a_case(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from conformance.backends.adapters.torch.compile import CompileBackend

    backend = CompileBackend("torch-compile")
    assert budget_of(backend) == "1200"
    assert budget_of(torch_export.backend) == "900"
    assert budget_of(torch_meta.backend) is None
    assert timeout_of(torch_meta.backend) == 30 < timeout_of(torch_export.backend)
    extra_seconds = timeout_of(backend) - 30
    monkeypatch.setattr(backend, "timeout", 300, raising=False)
    assert timeout_of(backend) == 300 + extra_seconds
    backend.budget = "soon"
    with pytest.raises(BackendError, match="budget='soon': expected seconds"):
        budget_of(backend)


def test_a_program_for_one_tensor_does_not_run_for_two() -> None:
    call = Call("L1Loss", {}, {}, "float32", "cpu")
    layer = torch_export.ExportBackend("torch-export").build(call)
    one, zero = layer.put(np.ones((2, 2))), layer.put(np.zeros((2, 2)))
    assert layer.get(layer(one, one)) == 0
    assert layer.get(layer(one, zero)) == 1


def test_threads_that_share_a_program_keep_their_weights() -> None:
    backend = torch_export.ExportBackend("torch-export")

    def answers(weight: float) -> set[float]:
        state = {"weight": np.array([[weight]]), "bias": np.zeros(1)}
        call = Call("Linear", {"in_features": 1, "out_features": 1}, state, "float32", "cpu")
        layer = backend.build(call)
        ones = layer.put(np.ones((1, 1)))
        return {layer.get(layer(ones)).item() for _ in range(100)}

    answers(1.0)  # exports the program
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(4) as threads:
            assert list(threads.map(answers, (1.0, 2.0, 3.0, 4.0))) == [{1.0}, {2.0}, {3.0}, {4.0}]
    finally:
        sys.setswitchinterval(interval)
