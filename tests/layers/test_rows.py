"""A layer's specification says what is true of torch; a message names the field to change."""

from __future__ import annotations

import inspect
from contextlib import suppress
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np
import pytest
import torch
from conftest import sampled_layers
from support import LAYERS, NOT_IN_TORCH, OFFERED, cases, first_failure, require_in_torch

from conformance.backends.adapters.torch import backend as torch_backend
from conformance.backends.coverage_audit import audit_coverage
from conformance.checks.trial import Trial
from conformance.layers import CATALOGUE, UnknownLayerError
from conformance.layers.excluded import ARGUMENTS, EXCLUDED, OLDER, TORCH
from conformance.model.case import class_and_method
from conformance.model.failure import Failure
from conformance.spec.layer_spec import LayerSpec
from conformance.spec.signature import REQUIRED, ROLES

# Arguments of torch that no call of the suite passes.
UNUSED_ARGUMENTS = {"self", "args", "kwargs", *ARGUMENTS}


def _torch_object(spec: LayerSpec) -> Any:
    require_in_torch(spec.name)
    *path, name = (spec.name if spec.is_function else class_and_method(spec.name)[0]).split(".")
    namespace = reduce(getattr, path, torch.nn)
    target = getattr(namespace, name)
    # torch's boolean_dispatch wraps two functions in one of *args, **kwargs.
    is_dispatched = getattr(getattr(target, "__code__", None), "co_name", "") == "fn"
    return getattr(namespace, f"_{name}") if is_dispatched else target


def _torch_defaults(spec: LayerSpec) -> dict[str, Any] | None:
    """Names and defaults of torch's own signature; None where torch has none to read."""
    defaults: dict[str, Any] = {}
    target = _torch_object(spec)
    for function in (
        [base.__init__ for base in reversed(target.__mro__)]
        if isinstance(target, type)
        else [target]
    ):
        try:
            parameters = inspect.signature(function).parameters.values()
        except (TypeError, ValueError):
            return None
        defaults |= {p.name: p.default for p in parameters if p.name not in UNUSED_ARGUMENTS}
    return defaults


@pytest.mark.parametrize("layer", LAYERS)
def test_defaults_are_torchs(layer: str) -> None:
    spec = CATALOGUE[layer]
    torch_defaults = _torch_defaults(spec)
    if torch_defaults is None:
        pytest.skip("torch shows no signature")
    compared = [a for a in spec.signature.arguments if not a.keyword and a.name in torch_defaults]
    assert compared or not spec.signature.arguments, "arguments: none is in torch's signature"
    for argument in compared:
        torch_default = torch_defaults[argument.name]
        if argument.form.function and callable(torch_default):
            torch_default = f"functional.{torch_default.__name__}"
        if argument.default is REQUIRED:
            assert torch_default is inspect.Parameter.empty, (
                f"arguments: {argument.name} has a default"
            )
        elif torch_default is not inspect.Parameter.empty:
            assert argument.default == torch_default, f"arguments: default of {argument.name}"


@pytest.mark.parametrize("layer", LAYERS)
def test_inputs_have_roles_that_are_known_and_names_that_are_their_own(layer: str) -> None:
    spec = CATALOGUE[layer]
    assert {x.role for x in spec.signature.inputs} <= set(ROLES), "inputs: role"
    names = [*spec.signature.input_names, *(a.name for a in spec.signature.arguments)]
    assert len(set(names)) == len(names), "inputs, arguments: a name twice"


def _takes_device_and_dtype(spec: LayerSpec) -> bool:
    """Whether torch's constructor takes device and dtype."""
    parameters: set[str] = set()
    # A function that gives a module has no __mro__, and takes neither.
    for base in getattr(_torch_object(spec), "__mro__", ()):
        parameters |= set(inspect.signature(base.__init__).parameters)
    return {"device", "dtype"} <= parameters


def _has_aliases(spec: LayerSpec) -> bool:
    """Whether in some case an output of torch is an input, or shares its memory."""
    require_in_torch(spec.name)
    shared = []
    for case in cases(spec.name, "float32", 40):
        trial = Trial(torch_backend, spec, case)
        natives = [x for x in trial.natives if x is not None]
        with suppress(Failure):  # a known failure
            outputs = trial.outputs
            shared += [trial.layer.aliases(y, x) for y in outputs for x in natives]  # type: ignore[attr-defined]
    assert shared
    return any(shared)


def _differ(first: Trial, second: Trial) -> bool:
    pairs = zip(first.arrays, second.arrays, strict=True)
    return any(not np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in pairs)


def _differ_beyond_rounding(first: Trial, second: Trial) -> bool:
    """Whether outputs differ by more than rounding; elements that are NaN in either are ignored."""
    for a, b in zip(first.arrays, second.arrays, strict=True):
        comparable = ~(np.isnan(a) | np.isnan(b))
        if not np.allclose(a[comparable], b[comparable], rtol=1e-3, atol=1e-3):
            return True
    return False


def _changes_state(trial: Trial) -> bool:
    """Whether a call changes the layer's state."""
    state = trial.layer.state  # type: ignore[attr-defined]
    before = {name: trial.get(x) for name, x in state().items()}
    trial.outputs  # noqa: B018
    after = {name: trial.get(x) for name, x in state().items()}
    return any(not np.array_equal(after[name], x, equal_nan=True) for name, x in before.items())


def _wrong_traits(spec: LayerSpec) -> set[str]:
    """The fields of a module's specification that do not agree with torch."""
    wrong = set()
    if spec.signature.takes_device_and_dtype is not _takes_device_and_dtype(spec):
        wrong.add("takes_device_and_dtype")
    if spec.traits.may_alias_inputs is not _has_aliases(spec):
        wrong.add("may_alias_inputs")
    modes_differ = claims_random = draws = claims_update = updates = False
    for case in cases(spec.name, "float32", 60):
        train_trial = Trial(
            torch_backend, spec, replace(case, call=replace(case.call, training=True))
        )
        try:
            changed = _changes_state(train_trial)
        except Failure:  # valid in eval mode only
            continue
        claims_update |= spec.traits.updates_state(train_trial.case.call) and bool(
            train_trial.case.call.state
        )
        updates |= changed
        if changed and not spec.traits.updates_state(train_trial.case.call):
            wrong.add("updates_state")
        # The output for an empty input may be memory that nobody wrote to.
        is_empty = not all(x.size for x in case.operands)
        differs = not is_empty and _differ(train_trial, train_trial.on_same_layer())
        is_random = spec.randomness.is_used(train_trial.case.call)
        claims_random, draws = claims_random or is_random, draws or (is_random and differs)
        if differs and not is_random and not changed:
            wrong.add("is_used")
        eval_case = replace(case, call=replace(case.call, training=False))
        modes_differ |= not (is_random or is_empty) and _differ_beyond_rounding(
            train_trial, Trial(torch_backend, spec, eval_case)
        )
    if claims_update is not updates:
        wrong.add("updates_state")
    if claims_random is not draws:  # over all cases: with p=1 a single one draws nothing
        wrong.add("is_used")
    if modes_differ and not spec.traits.train_and_eval_differ:
        wrong.add("train_and_eval_differ")
    return wrong


@pytest.mark.parametrize("layer", [x for x in LAYERS if not CATALOGUE[x].is_function])
@pytest.mark.filterwarnings("ignore")
def test_traits_are_torchs(layer: str) -> None:
    assert not _wrong_traits(CATALOGUE[layer]), "change these fields of the specification"


@pytest.mark.parametrize("layer", [x for x in LAYERS if CATALOGUE[x].is_function])
def test_functions_give_memory_of_their_own_unless_the_row_says_otherwise(layer: str) -> None:
    assert CATALOGUE[layer].traits.may_alias_inputs is _has_aliases(CATALOGUE[layer]), (
        "traits: may_alias_inputs"
    )


@pytest.mark.parametrize(
    ("part", "trait", "value"),
    [
        ("signature", "takes_device_and_dtype", False),
        ("traits", "may_alias_inputs", True),
        ("traits", "updates_state", lambda call: True),
        ("randomness", "is_used", lambda call: True),
    ],
)
def test_a_false_trait_is_seen(part: str, trait: str, value: Any) -> None:
    spec: Any = CATALOGUE["Linear"]
    changed = {part: replace(getattr(spec, part), **{trait: value})}
    assert _wrong_traits(replace(spec, **changed)) == {trait}


def test_a_missing_train_mode_is_seen() -> None:
    spec = CATALOGUE["BatchNorm2d"]
    assert _wrong_traits(
        replace(spec, traits=replace(spec.traits, train_and_eval_differ=False))
    ) == {"train_and_eval_differ"}


def test_an_unknown_layer_raises_and_names_the_nearest() -> None:
    with pytest.raises(UnknownLayerError, match=r"did you mean .*Conv2d"):
        CATALOGUE["Conv22d"]
    assert CATALOGUE.get("MaxPool9d") is None


def test_every_row_has_all_that_reports_and_benchmarks_ask_for() -> None:
    for name, spec in CATALOGUE.items():
        assert spec.oracle.formula, f"{name}: formula"
        assert spec.benchmark.workloads, f"{name}: workloads"
        assert spec.benchmark.flops is not None, f"{name}: flops"
        assert 0 < spec.generation.examples_fraction <= 3, f"{name}: examples"


def test_the_sample_of_the_tests_has_layers_of_every_family() -> None:
    assert set(CATALOGUE) >= sampled_layers()
    families = {spec.family for spec in CATALOGUE.values()}
    assert {CATALOGUE[name].family for name in sampled_layers()} == families


def test_every_public_name_of_torch_has_a_row_or_a_reason() -> None:
    coverage = audit_coverage()
    assert coverage.undecided == (), "neither in the catalogue nor in excluded.py"
    assert set(CATALOGUE) & set(EXCLUDED) == set(), (
        "in the catalogue, but excluded.py still names it"
    )
    if torch.__version__.startswith(f"{TORCH}."):
        assert coverage.not_in_torch == NOT_IN_TORCH, "in_torch: disagrees with the installed torch"
        assert set(coverage.stale_exclusions) == set(OLDER), (
            "excluded.py names what torch does not have"
        )


@pytest.mark.parametrize(
    ("layer", "dtype"),
    [(x, dtype) for x in OFFERED for dtype in ("float16", "bfloat16") if dtype not in OFFERED[x]],
)
def test_what_torch_is_said_to_lack_it_declines(layer: str, dtype: str) -> None:
    # If torch adds the dtype some day, remove it from OFFERED, so that other tests use it.
    search = first_failure(torch_backend, layer, "values", dtype, examples=8)
    assert search.declined, search
    assert not search.passed, search
