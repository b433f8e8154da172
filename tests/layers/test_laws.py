"""`laws`: torch obeys every law, look-alikes do not, and every law is reached."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import planted
import pytest
import torch
from planted.bug import spaces
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
        "functional.feature_alpha_dropout",
    )
)
LARGE = [bug for bug in BUGS if bug.implementation.__module__ == planted_laws.__name__]


def _backend(layer: str, implementation: Any, **others: Any) -> ModuleBackend:
    """A backend that has one layer, and other modules where a law compares with them."""
    return ModuleBackend("bug", **spaces(layer, implementation, **others))


def _trial(backend: Any, case: Case) -> Trial:
    numerics = numerics_of(backend, case.call.dtype)
    return Trial(backend, CATALOGUE[case.call.layer], case, numerics)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_planted_bug_is_caught(bug: planted.Bug) -> None:
    found = first_failure(_backend(bug.layer, bug.implementation), bug.layer, "laws")
    assert found.message.startswith("law "), bug.story


# `values` sees something, too, where it draws a long sequence, 64 outputs, 17 samples or 67 rows.
SEEN = ("Conv1d", "Conv2d", "GRU", "LSTM", "LazyLinear", "Linear", "RNN")
BEYOND = [bug for bug in LARGE if bug.layer not in SEEN]


@pytest.mark.parametrize("bug", BEYOND, ids=lambda bug: bug.name)
def test_a_bug_beyond_the_drawn_sizes_passes_values(bug: planted.Bug) -> None:
    """But for the sizes of blocks: these few show it, a law any case."""
    backend = _backend(bug.layer, bug.implementation)
    found = first_failure(backend, bug.layer, "values", examples=40, tiled=False)
    assert found.passed, found


@pytest.mark.parametrize(
    ("layer", "dtype"),
    [
        (layer, dtype)
        for layer in LAYERS
        for dtype in offered_dtypes(layer, "float64", "bfloat16", "float16")
    ],
)
def test_torch_passes(layer: str, dtype: str) -> None:
    found = first_failure(torch_backend, layer, "laws", dtype, examples=24)
    assert found.failure is None, found
    assert found.passed or (layer in SPARSE and found.compared), found


@pytest.mark.parametrize("layer", LAYERS)
def test_every_law_is_reached_and_torch_obeys_it(
    layer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_in_torch(layer)
    reached: set[str] = set()
    hold, excuses = laws.check_law, excuses_of(layer, "laws", "float32")

    def explained(case: Case, failure: Failure) -> bool:
        """Whether torch is known to fail so."""
        return excuses.find_explanation(case, str(failure), failure.finding) is not None

    def noted(trial: Trial, law: Law, place: int) -> Any:
        try:
            evidence = hold(trial, law, place)
        except Failure as failure:
            if explained(trial.case, failure):
                reached.add(law.name)
            raise
        if evidence.comparisons:
            reached.add(law.name)
        return evidence

    monkeypatch.setattr(laws, hold.__name__, noted)
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
            if not explained(case, failure):
                raise
        if reached == wanted:
            return
    assert reached == wanted


def _notices(law: Law, place: int, backend: Any, layer: str) -> str | None:
    """What a law says of the first case of a layer that breaks it."""
    for case in cases(layer):
        try:
            laws.check_law(_trial(backend, case), law, place)
        except (Unsupported, Inapplicable):
            continue
        except Failure as failure:
            return str(failure)
    return None


def _doubled(output: Any) -> Any:
    if isinstance(output, tuple) and not isinstance(output, PackedSequence):
        return tuple(map(_doubled, output))
    if isinstance(output, PackedSequence):
        return output._replace(data=output.data * 2)
    return output * 2


def _wrong(base: Any, when: Callable[..., bool], change: Callable[[Any], Any] = _doubled) -> Any:
    """A class whose answer is changed where `when(module, *inputs)` holds."""

    class Wrong(base):  # type: ignore[misc]
        cls_to_become = None

        def forward(self, *inputs: Any, **keywords: Any) -> Any:
            output = super().forward(*inputs, **keywords)
            return change(output) if when(self, *inputs) else output

    return Wrong


def _always(*_: Any) -> bool:
    return True


def _first(y: torch.Tensor, axis: int) -> torch.Tensor:
    """The first entry along an axis doubled."""
    y = y.clone()
    y.select(axis, 0).mul_(2)
    return y


def _first_unit(output: Any) -> Any:
    if isinstance(output, PackedSequence):
        return output._replace(data=_first(output.data, -1))
    return tuple(map(_first_unit, output)) if isinstance(output, tuple) else _first(output, -1)


WIDE = 16
TWO = _wrong(nn.Conv2d, _always)
FAKES: list[tuple[str, str, Any, dict[str, Any]]] = [
    ("Conv2d", "rows", _wrong(nn.Conv2d, lambda _, x: len(x) > WIDE), {}),
    ("Conv2d", "singles", _wrong(nn.Conv2d, lambda _, x: x.dim() == 4 and len(x) == 1), {}),
    ("Conv2d", "unbatched", _wrong(nn.Conv2d, lambda _, x: x.dim() == 3), {}),
    ("Conv2d", "additive", _wrong(nn.Conv2d, _always, lambda y: y.clamp(min=0)), {}),
    ("Conv2d", "scaled", _wrong(nn.Conv2d, _always, lambda y: y.clamp(max=9)), {}),
    ("Conv2d", "outputs", _wrong(nn.Conv2d, lambda m, _: m.out_channels == 17), {}),
    ("Conv2d", "inputs", _wrong(nn.Conv2d, lambda m, _: m.in_channels > 64), {}),
    ("Conv2d", "lazy", TWO, {"LazyConv2d": nn.LazyConv2d}),
    ("Conv2d", "groups", _wrong(nn.Conv2d, lambda m, _: m.groups > 1), {}),
    ("Conv2d", "copies", _wrong(nn.Conv2d, lambda m, _: m.groups > WIDE), {}),
    ("Conv2d", "stride", _wrong(nn.Conv2d, lambda m, _: max(m.stride) > 1), {}),
    ("Conv2d", "adjoint", TWO, {"ConvTranspose2d": nn.ConvTranspose2d}),
    ("Conv2d", "padding", _wrong(nn.Conv2d, lambda m, _: m.padding == "same"), {}),
    ("Conv2d", "translation", _wrong(nn.Conv2d, lambda _, x: x.shape[-1] > 20), {}),
    ("Conv2d", "flip", _wrong(nn.Conv2d, _always, lambda y: _first(y, -1)), {}),
    ("ConvTranspose2d", "stride",
     _wrong(nn.ConvTranspose2d, lambda m, *_: max(m.stride) > 1), {}),
    ("ConvTranspose2d", "adjoint", _wrong(nn.ConvTranspose2d, _always), {"Conv2d": nn.Conv2d}),
    ("ConvTranspose2d", "padding",
     _wrong(nn.ConvTranspose2d, lambda m, *_: max(m.padding) > 0), {}),
    ("ConvTranspose2d", "translation",
     _wrong(nn.ConvTranspose2d, lambda _, x, *__: x.shape[-1] > 9), {}),
    ("ConvTranspose2d", "flip",
     _wrong(nn.ConvTranspose2d, _always, lambda y: _first(y, -1)), {}),
    ("LazyConv1d", "lazy", _wrong(nn.LazyConv1d, _always), {"Conv1d": nn.Conv1d}),
    ("Linear", "leading", _wrong(nn.Linear, lambda _, x: x.dim() == 3), {}),
    ("Linear", "rows", _wrong(nn.Linear, lambda _, x: x.shape[:-1].numel() > 32), {}),
    ("Bilinear", "swap", _wrong(nn.Bilinear, lambda m, *_: m.in1_features > m.in2_features), {}),
    ("Bilinear", "inputs", _wrong(nn.Bilinear, lambda m, *_: m.in1_features > WIDE), {}),
    ("Identity", "rows", _wrong(nn.Identity, lambda _, x: len(x) > WIDE), {}),
    ("Identity", "reshaped", _wrong(nn.Identity, lambda _, x: x.dim() == 1), {}),
    ("Identity", "twice", _wrong(nn.Identity, _always), {}),
    ("GRU", "zeros", _wrong(nn.GRU, lambda _, x, h=None: h is None), {}),
    ("GRU", "units", _wrong(nn.GRU, _always, _first_unit), {}),
    ("GRU", "inputs", _wrong(nn.GRU, lambda m, *_: m.input_size > WIDE), {}),
    ("GRU", "copies", _wrong(nn.GRU, lambda m, *_: m.hidden_size > 17), {}),
    ("GRU", "batch_first", _wrong(nn.GRU, lambda m, *_: m.batch_first), {}),
    ("GRU", "packed",
     _wrong(nn.GRU, lambda _, x, *__: isinstance(x, PackedSequence)), {}),
    ("GRU", "stacked", _wrong(nn.GRU, lambda m, *_: m.num_layers > 1), {}),
    ("GRU", "directions", _wrong(nn.GRU, lambda m, *_: m.bidirectional), {}),
    ("GRU", "cell", _wrong(nn.GRU, _always), {"GRUCell": nn.GRUCell}),
    ("GRU", "carried", _wrong(nn.GRU, lambda _, x, *__: len(x) > 19), {}),
    ("GRUCell", "layer", _wrong(nn.GRUCell, _always), {"GRU": nn.GRU}),
    ("GRUCell", "unbatched", _wrong(nn.GRUCell, lambda _, x, *__: x.dim() == 1), {}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("layer", "name", "implementation", "others"),
    FAKES,
    ids=[f"{layer}-{name}" for layer, name, *_ in FAKES],
)
def test_a_law_notices_what_breaks_it(
    layer: str, name: str, implementation: Any, others: dict[str, Any]
) -> None:
    row = CATALOGUE[layer]
    (place,) = [k for k, law in enumerate(row.laws) if law.name == name]
    backend = _backend(layer, implementation, **others)
    said = _notices(row.laws[place], place, backend, layer)
    assert said is not None
    assert said.startswith(f"law {name!r}: {row.laws[place].statement}\n  one call    ")
    assert f"{layer}(" in said
    assert "  the other   " in said
    assert "\n  wanted " in said


@pytest.mark.parametrize("layer", ["Conv1d", "ConvTranspose2d"])
def test_copies_are_made_of_one_row_at_least_where_rows_are_large(
    monkeypatch: pytest.MonkeyPatch, layer: str
) -> None:
    place = [law.name for law in CATALOGUE[layer].laws].index("copies")

    def compared(case: Case) -> int:
        try:
            found = laws.check_law(_trial(torch_backend, case), CATALOGUE[layer].laws[place], place)
        except Inapplicable:
            return 0
        return found.comparisons

    given = [(case, x) for case in cases(layer) if (x := case.inputs[0]) is not None]
    batched = [(case, len(x)) for case, x in given if x.ndim == int(layer[-2]) + 2]
    every = [compared(case) for case, _ in batched]
    monkeypatch.setattr(convolution, "_MOST", 1)
    ones = [compared(case) * rows for case, rows in batched]
    assert sum(ones)
    assert every == ones


def test_a_broken_law_says_which_call_is_wrong() -> None:
    class Linear(nn.Linear):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            output = super().forward(input)
            return output * 2 + 1 if input.dim() > 1 and len(input) > 16 else output

    backend = ModuleBackend("wrong", nn=SimpleNamespace(Linear=Linear))
    _, found = law_findings(backend, "Linear", "rows", all_cases=True)
    assert any("by the oracle one call is wrong, the other right" in text for text in found)
