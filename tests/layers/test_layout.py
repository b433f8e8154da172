"""`layout`: torch passes, planted bugs are caught, and layouts are what they are called."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import planted
import pytest
import torch
from conformance.strategies.layouts import LAYOUTS, list_layouts, overlap
from planted.bug import alter_gradient, replacement_namespaces
from support import ENOUGH, cases, first_failure

from conformance.backends import ModuleBackend
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.backends.capabilities import numerics_of
from conformance.checks import layout, layout_choice
from conformance.checks.trial import Evidence, Trial
from conformance.layers import CATALOGUE
from conformance.model.case import Call, Case, Unsupported
from conformance.model.failure import Failure
from conformance.model.finding import Finding

BUGS = [bug for bug in planted.BUGS if bug.check == "layout"]
SHAPES = [(), (3,), (2, 3), (2, 3, 4), (2, 3, 4, 5), (2, 3, 2, 3, 2), (1, 1), (0, 3), (2, 1, 3)]


def _check(backend: Any, case: Case) -> Evidence:
    numerics = numerics_of(backend, case.call.dtype)
    return layout.check(Trial(backend, CATALOGUE[case.call.layer], case, numerics))


def _backend(layer: str, implementation: Any) -> ModuleBackend:
    return ModuleBackend("bug", **replacement_namespaces(layer, implementation))


@pytest.mark.parametrize("bug", [pytest.param(bug, id=bug.name) for bug in BUGS])
def test_bug_is_caught(bug: planted.Bug) -> None:
    # In float32 torch's own known failures cover all groups.
    backend = _backend(bug.layer, bug.implementation)
    searches = (first_failure(backend, bug.layer, "layout", d) for d in ("float32", "float16"))
    message = next((search.message for search in searches if search.failure), "")
    assert message.startswith("with "), bug.story
    assert "all else contiguous" in message


@pytest.mark.parametrize("layer", ["Conv2d", "ConvTranspose2d", "LSTM", "Linear", "LazyConv1d"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_torch_passes(layer: str, dtype: str) -> None:
    search = first_failure(torch_backend, layer, "layout", dtype, enough=ENOUGH)
    assert search.passed, search


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int64"])
def test_put_keeps_the_numbers_and_changes_the_memory(shape: tuple[int, ...], dtype: str) -> None:
    layer = torch_backend.build(Call("Identity", {}, {}, "float32", "cpu"))
    for seed, name in enumerate(("contiguous", *list_layouts(shape)) * 4):
        array = np.random.default_rng(seed).integers(-9, 9, shape).astype(float)
        if name == "expanded":
            axis = int(np.argmax(np.array(shape) > 1))
            array = np.array(np.broadcast_to(array.take([0], axis), shape))
        if name == "unfolded":
            *others, last = np.flatnonzero(np.array(shape) > 1)
            array = overlap(array, others[seed % len(others)], last, shape[last] - 1)
        tensor = layer.put(array, name, dtype)
        np.testing.assert_array_equal(layer.get(tensor), array)
        assert (tensor.storage_offset() > 0) == (name == "offset")
        if name == "channels_last":  # of one channel, say, it is no other memory
            last = torch.channels_last if len(shape) == 4 else torch.channels_last_3d
            assert tensor.is_contiguous(memory_format=last)
        elif name == "unfolded":
            assert tensor.untyped_storage().nbytes() < tensor.numel() * tensor.element_size()
        elif name != "offset":
            assert tensor.is_contiguous() == (name == "contiguous")
        if tensor.numel() and name != "unfolded":
            assert (0 in tensor.stride()) == (name == "expanded")


def test_put_declines_what_it_cannot_make() -> None:
    layer = torch_backend.build(Call("Identity", {}, {}, "float32", "cpu"))
    for name in ("channels_last", "expanded", "unfolded", "blocked"):
        with pytest.raises(Unsupported, match=name):
            layer.put(np.arange(6.0).reshape(2, 3), name)


def test_a_weight_keeps_its_layout_in_loading() -> None:
    state = {"weight": np.arange(24.0).reshape(2, 3, 2, 2), "bias": np.ones(2)}
    arguments = {"in_channels": 3, "out_channels": 2, "kernel_size": 2}
    for name in ("channels_last", "transposed", "sliced", "offset"):
        call = Call("Conv2d", arguments, state, "float32", "cpu", layouts={"weight": name})
        module = torch_backend.build(call).module
        assert module is not None
        assert not module.weight.is_contiguous() or module.weight.storage_offset()
        assert module.weight.requires_grad
        np.testing.assert_array_equal(module.weight.detach().numpy(), state["weight"])


def test_every_layout_is_drawn_for_inputs_and_state() -> None:
    drawn = [layout_choice.choose_layouts(case)[0] for case in cases("Conv2d")]
    assert {layouts[0] for layouts in drawn} == set(LAYOUTS)
    assert {layouts["weight"] for layouts in drawn} == set(LAYOUTS) - {"unfolded"}
    assert not any(set(layouts.values()) == {"contiguous"} for layouts in drawn)


def test_every_layout_is_drawn_for_cotangents() -> None:
    drawn = [
        layout_choice.choose_layouts(case)[0][layout_choice.Cotangent(0)]
        for case in cases("Conv2d")
    ]
    assert set(drawn) == set(LAYOUTS) - {"unfolded"}


def test_a_gradient_that_is_wrong_anyway_is_not_about_layouts() -> None:
    class Doubled(torch.nn.Linear):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return alter_gradient(super().forward(input), lambda c: 2 * c)

    backend = _backend("Linear", Doubled)
    assert first_failure(backend, "Linear", "layout").passed
    assert first_failure(backend, "Linear", "gradients").failure


def test_layouts_that_a_backend_cannot_make_are_left_out() -> None:
    class OnlyOffsetInputs(ModuleBackend):
        def build(self, call: Call) -> Any:
            if call.layouts:
                raise Unsupported("layouts of state")
            return _OnlyOffset(super().build(call))

    class _OnlyOffset:
        def __init__(self, layer: Any) -> None:
            self._layer, self.get, self.dtype = layer, layer.get, layer.dtype

        def put(self, array: np.ndarray, name: str = "contiguous", dtype: Any = None) -> Any:
            if name not in ("contiguous", "offset"):
                raise Unsupported(f"layout={name!r}")
            return self._layer.put(array, name, dtype)

        def __call__(self, *inputs: Any, **keywords: Any) -> Any:
            return self._layer(*inputs, **keywords)

    checked = declined = 0
    for case in cases("Linear"):
        try:
            checked += _check(OnlyOffsetInputs("picky"), case).comparisons > 0
        except Unsupported:
            declined += 1
    assert checked
    assert declined


def test_a_backend_that_declines_all_layouts_costs_no_oracle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Contiguous(ModuleBackend):
        def build(self, call: Call) -> Any:
            layer = super().build(replace(call, layouts={}))
            put = layer.put

            def contiguous_put(array: Any, name: str = "contiguous", **keywords: Any) -> Any:
                if name != "contiguous":
                    raise Unsupported(f"layout={name!r}")
                return put(array, name, **keywords)

            layer.put = contiguous_put
            return layer

    def ask_oracle(trial: Trial) -> None:
        raise AssertionError("the oracle was asked")

    monkeypatch.setattr(Trial, "expected_update", property(ask_oracle))
    backend = Contiguous("contiguous")
    laid_out = [case for case in cases("functional.relu") if case.inputs[0].ndim > 1][:20]
    assert laid_out
    for case in laid_out:
        with pytest.raises(Unsupported, match="layout"):
            _check(backend, case)


class _Aliasing(torch.nn.Linear):
    """Where shapes agree the result is written into the input's memory."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        output = super().forward(input)
        memory = input.detach().clone()
        return memory.copy_(output) if output.shape == input.shape else output


class _OverwritingInput(_Aliasing):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        output = torch.nn.Linear.forward(self, input)
        if output.shape != input.shape or not input.is_contiguous() or torch.is_grad_enabled():
            return output
        return input.detach().copy_(output)


def test_an_output_in_the_memory_of_an_input_is_caught() -> None:
    search = first_failure(_backend("Linear", _Aliasing), "Linear", "layout")
    assert search.passed, search
    search = first_failure(_backend("Linear", _OverwritingInput), "Linear", "layout")
    assert "output shares memory with input" in search.message


@pytest.mark.parametrize("needed", [{"t3", "t41"}, {"t0"}, set()])
def test_layouts_that_a_failure_does_not_need_are_left_out_by_halves(
    monkeypatch: pytest.MonkeyPatch, needed: set[str]
) -> None:
    tried: list[set[str]] = []

    def run(trial: Any, layouts: dict[str, str]) -> None:
        tried.append(set(layouts))
        if needed <= set(layouts):
            raise Failure(Finding("other", says="wrong"))

    monkeypatch.setattr(layout, layout._check_laid_out.__name__, run)
    monkeypatch.setattr(layout, layout._with_layouts.__name__, lambda case, layouts: layouts)
    monkeypatch.setattr(layout, layout._layouts_by_name.__name__, lambda spec, layouts: layouts)
    many_layouts = {f"t{k}": "transposed" for k in range(60)}
    with pytest.raises(Failure) as caught:
        layout._run_and_minimise(
            cast(Any, SimpleNamespace(spec=None)), cast(Any, None), cast(Any, many_layouts)
        )
    assert set(caught.value.finding.layouts or {}) == needed
    assert len(tried) < 30
