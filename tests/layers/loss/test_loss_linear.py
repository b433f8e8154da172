"""LinearCrossEntropyLoss: its cases reach what they should, each law is seen failing."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from support import cases, law_findings
from torch.nn import functional

from conformance.backends import ModuleBackend
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.checks.trial import Trial
from conformance.items.planning import Item
from conformance.items.stream import Stream
from conformance.laws.loss.linear import LAWS, MAX_CHUNKS, chunked
from conformance.layers import CATALOGUE, DTYPES
from conformance.matching.facts import Facts
from conformance.model.case import Call, Case, Numerics, is_function

NAMES = ("LinearCrossEntropyLoss", "functional.linear_cross_entropy")
Arguments = dict[str, Any]


# Law → what is added to torch's loss so that it no longer holds.
BROKEN: dict[str, Callable[[torch.Tensor, torch.Tensor, torch.Tensor, Arguments], Any]] = {
    "form": lambda x, w, y, facts: 1.0,
    "samples": lambda x, w, y, facts: x[0].abs().sum(),
    "rows": lambda x, w, y, facts: float(len(x) > 16),
    "repeated": lambda x, w, y, facts: float(len(x) > 16),
    "unbatched": lambda x, w, y, facts: float(x.dim() == 1),
    "composed": lambda x, w, y, facts: 1.0,
    "chunked": lambda x, w, y, facts: float(facts["options"] is not None),
    "classes": lambda x, w, y, facts: w[0].abs().sum(),
    "features": lambda x, w, y, facts: x[..., 0].abs().sum() + 1.0 * x.shape[-1],
    "dropped": lambda x, w, y, facts: float(x.shape[0]),
    "reduced": lambda x, w, y, facts: float(facts["reduction"] == "sum"),
}


@pytest.mark.parametrize("name", [law.name for law in LAWS])
@pytest.mark.filterwarnings("ignore")
def test_each_law_is_seen_failing(name: str) -> None:
    addend = BROKEN[name]

    def wrong(input: Any, linear_weight: Any, target: Any, **facts: Any) -> Any:
        loss = functional.linear_cross_entropy(input, linear_weight, target, **facts)
        known = {"reduction": "mean", "options": None, **facts}
        return loss + addend(input, linear_weight, target, known) if input.numel() else loss

    others = {"linear": functional.linear, "cross_entropy": functional.cross_entropy}
    namespace = SimpleNamespace(linear_cross_entropy=wrong, **others)
    backend = ModuleBackend("wrong", nn=torch.nn, functional=namespace)
    assert law_findings(backend, NAMES[1], name, unlisted_only=True)[1]
    compared, findings = law_findings(torch_backend, NAMES[1], name, unlisted_only=True)
    assert compared
    assert not findings


@pytest.mark.parametrize("layer", NAMES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_form_of_a_call_is_drawn(layer: str, dtype: str) -> None:
    forms: set[tuple[str, Any]] = set()
    for case in cases(layer, dtype):
        argument, state = case.call.arguments.get, case.call.state
        if is_function(layer):
            x, linear, target, bias, weight = (*case.inputs, None, None)[:5]
            assert linear is not None
            extra_axes = linear.ndim - 2
        else:
            x, target = case.inputs
            bias, weight = state.get("linear.bias"), state.get("weight")
            extra_axes = len(argument("out_features", ()))
        assert x is not None
        assert target is not None
        options = argument("options")
        forms |= {
            ("ndim", x.ndim),
            ("places", extra_axes),
            ("indices", target.dtype.kind == "i"),
            ("bias", bias is not None),
            ("weight", weight is not None),
            ("reduction", argument("reduction", "mean")),
            ("smoothed", argument("label_smoothing", 0.0) > 0),
            ("ignored", bool((target == (argument("ignore_index") or -100)).any())),
            ("empty", not x.size),
            ("options", None if options is None else tuple(name for name, _ in options)),
            ("regime", case.labels["regime"]),
        }
    wanted: set[tuple[str, Any]] = {("ndim", n) for n in (1, 2)} | {("places", n) for n in range(3)}
    for name in ("indices", "bias", "weight", "smoothed", "ignored", "empty"):
        wanted |= {(name, True), (name, False)}
    wanted |= {("reduction", r) for r in ("mean", "sum", "none")}
    wanted |= {("options", f) for f in (None, (), ("batch_chunk_size",), ("chunking_method",))}
    wanted |= {("regime", r) for r in ("integers", "saturated", "normal", "spread", "tiny")}
    assert forms >= wanted, wanted - forms


def test_fields_of_an_argument_become_an_object_of_torchs() -> None:
    case = next(c for c in cases(NAMES[0]) if c.call.arguments.get("options"))
    fields = dict(case.call.arguments["options"])
    module = torch_backend.build(case.call).module
    assert isinstance(module.options, torch.nn.LinearCrossEntropyOptions)
    assert {name: getattr(module.options, name) for name in fields} == fields


@pytest.mark.parametrize("layer", NAMES)
def test_nearest_is_the_smallest_logarithm_where_the_classes_are_last(layer: str) -> None:
    compared = 0
    for case in cases(layer, "float64", 200):
        function, nearest = is_function(layer), Facts(case).get("nearest")
        x = case.inputs[0]
        weight = case.inputs[1] if function else case.call.state["linear.weight"]
        bias = case.inputs[3] if function else case.call.state.get("linear.bias")
        assert x is not None
        assert weight is not None
        if not x.size or not Facts(case).get("classes_last") or len(weight) < 2:
            assert nearest is None or (len(weight) > 1 and not x.size)
            continue
        logits = np.atleast_2d(x) @ weight.T + (0 if bias is None else bias)
        logs = torch.log_softmax(torch.from_numpy(logits), 1).numpy()
        smallest = np.abs(logs).min(initial=np.inf)
        # Near 0 NumPy's and torch's sums differ by a rounding of 1.
        assert nearest == pytest.approx(smallest, rel=1e-9, abs=1e-15)
        compared += 1
    assert compared > 20


def test_rows_in_chunks_are_at_most_so_many_chunks() -> None:
    item = Item(NAMES[1], "gradients", "float32", "cpu")
    counts = []
    for case in Stream(item, 40, 0).cases():
        size = dict(case.call.arguments.get("options") or ()).get("batch_chunk_size")
        if size:
            rows = len(case.inputs[0]) if case.inputs[0].ndim == 2 else 1
            counts.append(-(-rows // size))
    assert counts
    assert max(counts) <= MAX_CHUNKS


def test_the_law_of_chunks_asks_for_no_more_of_them() -> None:
    smallest_sizes = []

    class SmallestSizes:
        def integers(self, low: int, high: int, size: int, endpoint: bool) -> np.ndarray:
            smallest_sizes.append(low)
            return np.full(size, low)

    rows = 2 * MAX_CHUNKS + 1
    inputs = np.zeros((rows, 1)), np.ones((2, 1)), np.zeros(rows, np.int64)
    case = Case(Call(NAMES[1], {}, {}, "float32", "cpu"), inputs)
    trial = Trial(torch_backend, CATALOGUE[NAMES[1]], case, Numerics())
    assert len(list(chunked.claims(trial, SmallestSizes()))) == 4  # type: ignore[arg-type]
    assert smallest_sizes == [3]
