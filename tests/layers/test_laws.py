"""`laws`: torch obeys every law, look-alikes do not, and every law is reached."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import planted
import pytest
import torch
from planted.bug import replacement_namespaces
from planted.several import laws as planted_laws
from support import (
    LAYERS,
    cases,
    excuses_of,
    first_failure,
    law_findings,
    offered_dtypes,
    require_in_torch,
)
from torch import nn
from torch.nn.utils.rnn import PackedSequence

from conformance.backends import ModuleBackend
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.backends.capabilities import numerics_of
from conformance.checks import laws
from conformance.checks.trial import Trial
from conformance.laws.convolution import convolution
from conformance.layers import CATALOGUE
from conformance.model.case import Case, Unsupported
from conformance.model.failure import Failure, Inapplicable
from conformance.spec.law import Law

BUGS = [bug for bug in planted.BUGS if bug.check == "laws"]
# Of most of their cases no law says anything, or torch declines them in half precision.
SPARSE = frozenset(
    (
        *("LocalResponseNorm", "functional.local_response_norm", "functional.pdist"),
        *("Dropout2d", "Dropout3d", "functional.dropout3d", "AlphaDropout", "FeatureAlphaDropout"),
        *("functional.feature_alpha_dropout", "Transformer"),
        "utils.parametrizations.spectral_norm",
    )
)
LARGE = [bug for bug in BUGS if bug.implementation.__module__ == planted_laws.__name__]


def _backend(layer: str, implementation: Any, **others: Any) -> ModuleBackend:
    """A backend that has one layer, and other modules where a law compares with them."""
    return ModuleBackend("bug", **replacement_namespaces(layer, implementation, **others))


def _trial(backend: Any, case: Case) -> Trial:
    numerics = numerics_of(backend, case.call.dtype)
    return Trial(backend, CATALOGUE[case.call.layer], case, numerics)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_planted_bug_is_caught(bug: planted.Bug) -> None:
    search = first_failure(_backend(bug.layer, bug.implementation), bug.layer, "laws")
    assert search.message.startswith("law "), bug.story


# `values` sees something, too, where it draws a long sequence, 64 outputs, 17 samples or 67 rows.
SEEN_BY_VALUES = ("Conv1d", "Conv2d", "GRU", "LSTM", "LazyLinear", "Linear", "RNN")
UNSEEN_BY_VALUES = [bug for bug in LARGE if bug.layer not in SEEN_BY_VALUES]


@pytest.mark.parametrize("bug", UNSEEN_BY_VALUES, ids=lambda bug: bug.name)
def test_a_bug_beyond_the_drawn_sizes_passes_values(bug: planted.Bug) -> None:
    """But for the sizes of blocks: these few show it, a law any case."""
    backend = _backend(bug.layer, bug.implementation)
    search = first_failure(backend, bug.layer, "values", examples=40, tiled=False)
    assert search.passed, search


@pytest.mark.parametrize(
    ("layer", "dtype"),
    [
        (layer, dtype)
        for layer in LAYERS
        for dtype in offered_dtypes(layer, "float64", "bfloat16", "float16")
    ],
)
def test_torch_passes(layer: str, dtype: str) -> None:
    search = first_failure(torch_backend, layer, "laws", dtype, examples=32)
    assert search.failure is None, search
    assert search.passed or (layer in SPARSE and search.compared), search


@pytest.mark.parametrize("layer", LAYERS)
def test_every_law_is_reached_and_torch_obeys_it(
    layer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_in_torch(layer)
    reached: set[str] = set()
    original, excuses = laws.check_law, excuses_of(layer, "laws", "float32")

    def is_explained(case: Case, failure: Failure) -> bool:
        """Whether torch is known to fail so."""
        return excuses.find_explanation(case, str(failure), failure.finding) is not None

    def note_reached(trial: Trial, law: Law, position: int) -> Any:
        try:
            evidence = original(trial, law, position)
        except Failure as failure:
            if is_explained(trial.case, failure):
                reached.add(law.name)
            raise
        if evidence.comparisons:
            reached.add(law.name)
        return evidence

    monkeypatch.setattr(laws, original.__name__, note_reached)
    wanted = {law.name for law in CATALOGUE[layer].laws}
    assert len(wanted) >= 2
    for case in cases(layer):
        if excuses.find_process_ending(case) is not None:
            continue
        try:
            laws.check(_trial(torch_backend, case))
        except Inapplicable:
            pass
        except Failure as failure:
            if not is_explained(case, failure):
                raise
        if reached == wanted:
            return
    assert reached == wanted


def _first_message(law: Law, position: int, backend: Any, layer: str) -> str | None:
    """What a law says of the first case of a layer that breaks it."""
    for case in cases(layer):
        try:
            laws.check_law(_trial(backend, case), law, position)
        except (Unsupported, Inapplicable):
            continue
        except Failure as failure:
            return str(failure)
    return None


def _double(output: Any) -> Any:
    if isinstance(output, tuple) and not isinstance(output, PackedSequence):
        return tuple(map(_double, output))
    if isinstance(output, PackedSequence):
        return output._replace(data=output.data * 2)
    return output * 2


def _wrong_class(
    base: Any, when: Callable[..., bool], change: Callable[[Any], Any] = _double
) -> Any:
    """A class whose answer is changed where `when(module, *inputs)` holds."""

    class Wrong(base):  # type: ignore[misc]
        cls_to_become = None

        def forward(self, *inputs: Any, **keywords: Any) -> Any:
            output = super().forward(*inputs, **keywords)
            return change(output) if when(self, *inputs) else output

    return Wrong


def _always(*_: Any) -> bool:
    return True


def _double_first_entry(y: torch.Tensor, axis: int) -> torch.Tensor:
    """The first entry along an axis doubled."""
    y = y.clone()
    y.select(axis, 0).mul_(2)
    return y


def _double_first_unit(output: Any) -> Any:
    if isinstance(output, PackedSequence):
        return output._replace(data=_double_first_entry(output.data, -1))
    return (
        tuple(map(_double_first_unit, output))
        if isinstance(output, tuple)
        else _double_first_entry(output, -1)
    )


WIDE = 16
TWO = _wrong_class(nn.Conv2d, _always)
FAKES: list[tuple[str, str, Any, dict[str, Any]]] = [
    ("Conv2d", "rows", _wrong_class(nn.Conv2d, lambda _, x: len(x) > WIDE), {}),
    ("Conv2d", "singles", _wrong_class(nn.Conv2d, lambda _, x: x.dim() == 4 and len(x) == 1), {}),
    ("Conv2d", "unbatched", _wrong_class(nn.Conv2d, lambda _, x: x.dim() == 3), {}),
    ("Conv2d", "additive", _wrong_class(nn.Conv2d, _always, lambda y: y.clamp(min=0)), {}),
    ("Conv2d", "scaled", _wrong_class(nn.Conv2d, _always, lambda y: y.clamp(max=9)), {}),
    ("Conv2d", "outputs", _wrong_class(nn.Conv2d, lambda m, _: m.out_channels == 17), {}),
    ("Conv2d", "inputs", _wrong_class(nn.Conv2d, lambda m, _: m.in_channels > 64), {}),
    ("Conv2d", "lazy", TWO, {"LazyConv2d": nn.LazyConv2d}),
    ("Conv2d", "groups", _wrong_class(nn.Conv2d, lambda m, _: m.groups > 1), {}),
    ("Conv2d", "copies", _wrong_class(nn.Conv2d, lambda m, _: m.groups > WIDE), {}),
    ("Conv2d", "stride", _wrong_class(nn.Conv2d, lambda m, _: max(m.stride) > 1), {}),
    ("Conv2d", "adjoint", TWO, {"ConvTranspose2d": nn.ConvTranspose2d}),
    ("Conv2d", "padding", _wrong_class(nn.Conv2d, lambda m, _: m.padding == "same"), {}),
    ("Conv2d", "translation", _wrong_class(nn.Conv2d, lambda _, x: x.shape[-1] > 20), {}),
    ("Conv2d", "flip", _wrong_class(nn.Conv2d, _always, lambda y: _double_first_entry(y, -1)), {}),
    ("ConvTranspose2d", "stride",
     _wrong_class(nn.ConvTranspose2d, lambda m, *_: max(m.stride) > 1), {}),
    ("ConvTranspose2d", "adjoint",
     _wrong_class(nn.ConvTranspose2d, _always), {"Conv2d": nn.Conv2d}),
    ("ConvTranspose2d", "padding",
     _wrong_class(nn.ConvTranspose2d, lambda m, *_: max(m.padding) > 0), {}),
    ("ConvTranspose2d", "translation",
     _wrong_class(nn.ConvTranspose2d, lambda _, x, *__: x.shape[-1] > 9), {}),
    ("ConvTranspose2d", "flip",
     _wrong_class(nn.ConvTranspose2d, _always, lambda y: _double_first_entry(y, -1)), {}),
    ("LazyConv1d", "lazy", _wrong_class(nn.LazyConv1d, _always), {"Conv1d": nn.Conv1d}),
    ("Linear", "leading", _wrong_class(nn.Linear, lambda _, x: x.dim() == 3), {}),
    ("Linear", "rows", _wrong_class(nn.Linear, lambda _, x: x.shape[:-1].numel() > 32), {}),
    ("Bilinear", "swap",
     _wrong_class(nn.Bilinear, lambda m, *_: m.in1_features > m.in2_features), {}),
    ("Bilinear", "inputs", _wrong_class(nn.Bilinear, lambda m, *_: m.in1_features > WIDE), {}),
    ("Identity", "rows", _wrong_class(nn.Identity, lambda _, x: len(x) > WIDE), {}),
    ("Identity", "reshaped", _wrong_class(nn.Identity, lambda _, x: x.dim() == 1), {}),
    ("Identity", "twice", _wrong_class(nn.Identity, _always), {}),
    ("GRU", "zeros", _wrong_class(nn.GRU, lambda _, x, h=None: h is None), {}),
    ("GRU", "units", _wrong_class(nn.GRU, _always, _double_first_unit), {}),
    ("GRU", "inputs", _wrong_class(nn.GRU, lambda m, *_: m.input_size > WIDE), {}),
    ("GRU", "copies", _wrong_class(nn.GRU, lambda m, *_: m.hidden_size > 17), {}),
    ("GRU", "batch_first", _wrong_class(nn.GRU, lambda m, *_: m.batch_first), {}),
    ("GRU", "packed",
     _wrong_class(nn.GRU, lambda _, x, *__: isinstance(x, PackedSequence)), {}),
    ("GRU", "stacked", _wrong_class(nn.GRU, lambda m, *_: m.num_layers > 1), {}),
    ("GRU", "directions", _wrong_class(nn.GRU, lambda m, *_: m.bidirectional), {}),
    ("GRU", "cell", _wrong_class(nn.GRU, _always), {"GRUCell": nn.GRUCell}),
    ("GRU", "carried", _wrong_class(nn.GRU, lambda _, x, *__: len(x) > 19), {}),
    ("GRUCell", "layer", _wrong_class(nn.GRUCell, _always), {"GRU": nn.GRU}),
    ("GRUCell", "unbatched", _wrong_class(nn.GRUCell, lambda _, x, *__: x.dim() == 1), {}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("layer", "name", "implementation", "others"),
    FAKES,
    ids=[f"{layer}-{name}" for layer, name, *_ in FAKES],
)
def test_a_law_notices_what_breaks_it(
    layer: str, name: str, implementation: Any, others: dict[str, Any]
) -> None:
    spec = CATALOGUE[layer]
    (position,) = [k for k, law in enumerate(spec.laws) if law.name == name]
    backend = _backend(layer, implementation, **others)
    message = _first_message(spec.laws[position], position, backend, layer)
    assert message is not None
    assert message.startswith(f"law {name!r}: {spec.laws[position].statement}\n  one call    ")
    assert f"{layer}(" in message
    assert "  the other   " in message
    assert "\n  wanted " in message


@pytest.mark.parametrize("layer", ["Conv1d", "ConvTranspose2d"])
def test_copies_are_made_of_one_row_at_least_where_rows_are_large(
    monkeypatch: pytest.MonkeyPatch, layer: str
) -> None:
    position = [law.name for law in CATALOGUE[layer].laws].index("copies")

    def count_comparisons(case: Case) -> int:
        try:
            evidence = laws.check_law(
                _trial(torch_backend, case), CATALOGUE[layer].laws[position], position
            )
        except Inapplicable:
            return 0
        return evidence.comparisons

    pairs = [(case, x) for case in cases(layer) if (x := case.inputs[0]) is not None]
    batched = [(case, len(x)) for case, x in pairs if x.ndim == int(layer[-2]) + 2]
    counts = [count_comparisons(case) for case, _ in batched]
    monkeypatch.setattr(convolution, "_MOST", 1)
    single_row_counts = [count_comparisons(case) * rows for case, rows in batched]
    assert sum(single_row_counts)
    assert counts == single_row_counts


def test_a_broken_law_says_which_call_is_wrong() -> None:
    class Linear(nn.Linear):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            output = super().forward(input)
            return output * 2 + 1 if input.dim() > 1 and len(input) > 16 else output

    backend = ModuleBackend("wrong", nn=SimpleNamespace(Linear=Linear))
    _, findings = law_findings(backend, "Linear", "rows", all_cases=True)
    assert any("by the oracle one call is wrong, the other right" in text for text in findings)


def test_the_number_got_is_that_of_the_call_which_is_wrong() -> None:
    """The law names its own layer's call first, and here the other layer's is wrong."""

    class Half(torch.nn.BCELoss):
        def forward(self, input: Any, target: Any) -> Any:
            return super().forward(input, target) * 1.5

    Half.__name__ = Half.__qualname__ = "BCELoss"
    layers = {"BCEWithLogitsLoss": torch.nn.BCEWithLogitsLoss, "Sigmoid": torch.nn.Sigmoid}
    backend = ModuleBackend("half", nn=SimpleNamespace(BCELoss=Half, **layers))
    law = next(x for x in CATALOGUE["BCEWithLogitsLoss"].laws if x.name == "probabilities")
    index = CATALOGUE["BCEWithLogitsLoss"].laws.index(law)
    failures = []
    for case in cases("BCEWithLogitsLoss", "float32", 40):
        trial = Trial(backend, CATALOGUE["BCEWithLogitsLoss"], case)
        try:
            laws.check_law(trial, law, index)
        except Inapplicable:
            continue
        except Failure as failure:
            failures.append(failure.finding)
    assert failures
    for finding in failures:
        first, second = finding.context[1:]
        assert first.startswith("  one call    BCELoss(")
        assert second.startswith("  the other   BCEWithLogitsLoss(")
        assert finding.notes == ("by the oracle one call is wrong, the other right",)
        assert float(finding.got) == pytest.approx(1.5 * float(finding.wanted), rel=1e-2)
