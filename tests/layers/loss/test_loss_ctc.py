"""CTCLoss: its cases reach what they should, each law is seen failing, either gradient is right."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from brute_force.loss import ctc as brute_force
from support import cases, law_findings
from torch.nn import functional

from conformance.arithmetic.choices import Choices
from conformance.arithmetic.derivatives import leaf, pull_back
from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import exact_operand
from conformance.backends import ModuleBackend
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.laws.loss.ctc import LAWS
from conformance.oracles.loss.ctc import ctc_loss

NAMES = ("CTCLoss", "functional.ctc_loss")
Facts = dict[str, Any]


def _size(x: torch.Tensor, targets: torch.Tensor, facts: Facts) -> float:
    return float(x[..., 0].abs().nan_to_num(posinf=1.0).sum())


# Law → what is added to torch's loss so that it no longer holds.
BROKEN: dict[str, Callable[[torch.Tensor, torch.Tensor, Facts], float]] = {
    "form": lambda x, y, facts: 1.0,
    "samples": lambda x, y, facts: float(x[0, 0].nan_to_num(neginf=1.0).abs().sum()),
    "singles": lambda x, y, facts: float(x.dim() == 3 and x.shape[1] > 1),
    "targets": lambda x, y, facts: float(y.dim() == 1),
    "unbatched": lambda x, y, facts: float(x.dim() == 2),
    "tuples": lambda x, y, facts: float(facts["tuples"]),
    "beyond": lambda x, y, facts: float(len(x) + y.numel()),
    "classes": _size,
    "certain": lambda x, y, facts: float(len(x)),
    "averaged": lambda x, y, facts: float(facts["reduction"] == "mean"),
    "zeroed": lambda x, y, facts: float(facts["zero_infinity"]),
}


@pytest.mark.parametrize("name", [law.name for law in LAWS])
def test_each_law_is_seen_failing(name: str) -> None:
    addend = BROKEN[name]

    def wrong(
        x: torch.Tensor,
        targets: torch.Tensor,
        input_lengths: Any,
        target_lengths: Any,
        blank: int = 0,
        reduction: str = "mean",
        zero_infinity: bool = False,
    ) -> torch.Tensor:
        options = blank, reduction, zero_infinity
        loss = functional.ctc_loss(x, targets, input_lengths, target_lengths, *options)
        facts = {
            "reduction": reduction,
            "zero_infinity": zero_infinity,
            "tuples": not torch.is_tensor(input_lengths),
        }
        return loss + addend(x, targets, facts)

    namespace = SimpleNamespace(ctc_loss=wrong)
    backend = ModuleBackend("wrong", nn=torch.nn, functional=namespace)
    assert law_findings(backend, NAMES[1], name)[1]
    compared, findings = law_findings(torch_backend, NAMES[1], name)
    assert compared
    assert not findings


@pytest.mark.parametrize("layer", NAMES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_form_of_a_call_is_drawn(layer: str, dtype: str) -> None:
    forms: set[tuple[str, Any]] = set()
    for case in cases(layer, dtype):
        x, targets, *lengths = case.inputs
        assert x is not None
        assert targets is not None
        argument = case.call.arguments.get
        both = lengths or [np.array(n) for n in case.keywords.values()]
        steps, labels = (np.atleast_1d(n) for n in both if n is not None)
        blank = argument("blank", 0)
        inside = targets.ndim == 2 and np.arange(targets.shape[1] - 1) < labels[:, None] - 1
        repeated = targets.ndim == 2 and ((targets[:, 1:] == targets[:, :-1]) & inside).any()
        forms |= {
            ("form", case.labels["profile"]),
            ("lengths", "tensors" if lengths else "tuples"),
            ("samples", min(len(steps), 3)),
            ("reduction", argument("reduction", "mean")),
            ("zero_infinity", argument("zero_infinity", False)),
            ("blank", "first" if blank == 0 else "last" if blank == x.shape[-1] - 1 else "middle"),
            ("no label", bool((labels == 0).any())),
            ("no step", bool((steps == 0).any())),
            ("one step", len(x) == 1),
            ("one class", x.shape[-1] == 1),
            ("shorter input", bool((steps < len(x)).any())),
            ("repeated", bool(repeated)),
            ("long", len(x) > 32),
            ("regime", case.labels["regime"]),
        }
    wanted: set[tuple[str, Any]] = {("form", f) for f in ("padded", "concatenated", "unbatched")}
    wanted |= {("lengths", "tensors"), ("lengths", "tuples"), ("long", True)}
    wanted |= {("samples", n) for n in (1, 2, 3)}
    wanted |= {("reduction", r) for r in ("mean", "sum", "none")}
    wanted |= {("blank", b) for b in ("first", "middle", "last")}
    for name in ("zero_infinity", "no label", "no step", "one step", "one class", "repeated"):
        wanted |= {(name, True), (name, False)}
    wanted |= {("regime", r) for r in ("normal", "even", "saturated", "spread", "masked")}
    assert forms >= wanted, wanted - forms


def test_the_gradient_is_that_of_the_enumeration() -> None:
    """Of a few tiny cases, by differences: of the losses themselves, and behind a log_softmax."""
    generator = np.random.default_rng(0)
    precision = Precision.of("float64")
    for target, steps in (((1, 2), 4), ((1, 1), 4), ((), 2), ((2,), 3)):
        logits = generator.standard_normal((steps, 3))
        x = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        x_leaf = leaf(x, precision)
        labels = exact_operand(np.array(target, np.int64), precision)
        loss = ctc_loss({}, x_leaf, labels, (steps,), (len(target),), reduction="sum")
        assert isinstance(loss, Choices)
        cotangent = exact_operand(np.ones(()), precision)
        direct, behind_log_softmax = (
            pull_back([way], [cotangent], [x_leaf])[0] for way in loss.alternatives
        )
        wanted, wanted_behind = np.zeros_like(x), np.zeros_like(x)
        for index in np.ndindex(*x.shape):
            step = np.zeros_like(x)
            step[index] = 1e-6
            up, down = (
                brute_force.loss_by_enumeration(x + sign * step, target, 0) for sign in (1, -1)
            )
            wanted[index] = (up - down) / 2e-6
            losses = []
            for sign in (1, -1):
                moved = logits + sign * step
                normal = moved - np.log(np.exp(moved).sum(1, keepdims=True))
                losses.append(brute_force.loss(normal, target, 0))
            wanted_behind[index] = (losses[0] - losses[1]) / 2e-6
        assert np.allclose(direct.value, wanted, atol=1e-8)
        assert np.allclose(behind_log_softmax.value, wanted_behind, atol=1e-8)


def test_classes_share_each_step_of_a_sequence() -> None:
    """The derivatives of a step add up to −1, and to 0 beyond the end."""
    compared = 0
    for case in cases(NAMES[1], "float64"):
        x, targets, *lengths = case.inputs
        facts = case.call.arguments
        plain = case.labels["regime"] in ("normal", "spread") and not case.keywords
        if not plain or facts.get("reduction") != "sum" or x is None or targets is None:
            continue
        steps, labels = (np.atleast_1d(n) for n in lengths if n is not None)
        precision = Precision.of("float64")
        x_leaf = leaf(x, precision)
        operands = [exact_operand(n, precision) for n in (targets, steps, labels)]
        loss = ctc_loss({}, x_leaf, *operands, **facts)
        assert isinstance(loss, Choices)
        # A loss that is infinite has no gradient, be it given as 0.
        unzeroed_facts = {**facts, "zero_infinity": False}
        with np.errstate(all="ignore"):
            unzeroed_loss = ctc_loss({}, x_leaf, *operands, **unzeroed_facts)
        assert isinstance(unzeroed_loss, Choices)
        if not np.isfinite(unzeroed_loss.alternatives[0].value):
            continue
        cotangent = exact_operand(np.ones(()), precision)
        gradient = pull_back([loss.alternatives[0]], [cotangent], [x_leaf])[0]
        sums = gradient.value.sum(-1).reshape(len(x), -1)
        wanted = np.where(np.arange(len(x))[:, np.newaxis] < steps, -1.0, 0.0)
        assert np.allclose(sums, wanted, rtol=0, atol=1e-8)
        compared += bool((wanted == -1).any()) and bool((wanted == 0).any())
    assert compared


def test_paths_are_reduced_as_documented() -> None:
    assert brute_force.labelling((0, 1, 1, 0, 1, 2, 2), 0) == (1, 1, 2)


def test_the_reference_is_the_enumeration_of_all_paths() -> None:
    generator = np.random.default_rng(1)
    for _ in range(60):
        steps, classes = int(generator.integers(0, 6)), int(generator.integers(1, 4))
        x = np.log(generator.dirichlet(np.ones(classes), steps))
        blank = int(generator.integers(classes))
        labels = [c for c in range(classes) if c != blank] or [blank]
        target = generator.choice(labels, int(generator.integers(0, 4)) if classes > 1 else 0)
        losses = (
            f(x, target.tolist(), blank)
            for f in (brute_force.loss, brute_force.loss_by_enumeration)
        )
        assert np.isclose(*losses)
