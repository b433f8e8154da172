"""`errors`: every break is drawn, torch refuses what it says it does, and acceptance is caught."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import planted
import pytest
import torch
from conformance.strategies.invalid.breaks import Break
from packaging.version import Version
from planted.bug import replacement_namespaces
from support import ENOUGH, cases, first_failure

from conformance.backends import ModuleBackend
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.checks import errors
from conformance.checks.trial import Evidence, Trial
from conformance.generation.drawing import Sample, shrink
from conformance.items.outcomes import Outcome
from conformance.items.planning import Item
from conformance.known.entry import parse_entries, shipped_entries
from conformance.known.matches import Excuses
from conformance.layers import CATALOGUE
from conformance.layers.describe import case_text
from conformance.layers.documented import find_quote
from conformance.layers.encoding import decode_case, encode_case
from conformance.model.case import Call, Case, Unsupported
from conformance.model.failure import Accepted, Failure, Inapplicable
from conformance.model.formats import round_to
from conformance.run.engine import Engine
from conformance.spec.parts import stateless

LAYERS = tuple(name for name, spec in CATALOGUE.items() if spec.generation.invalid is not None)
BUGS = [bug for bug in planted.BUGS if bug.check == "errors"]


def _invalid_cases(layer: str) -> tuple[Case, ...]:
    return cases(layer, invalid=True)


def _breaks(layer: str) -> tuple[Break, ...]:
    """The breaks that a row's invalid cases are made with."""
    invalid: Any = CATALOGUE[layer].generation.invalid
    return tuple(invalid.args[1])


REFUSED = Outcome("passed", evidence=Evidence(1))


def _find_invalid_case(layer: str, name: str) -> Case:
    return next(case for case in _invalid_cases(layer) if case.labels["broken"] == name)


def _outcome(backend: Any, case: Case) -> Outcome:
    """What `errors` says of a case: `passed` where the call is refused."""
    item = Item(case.call.layer, "errors", case.call.dtype, "cpu")
    return Engine(backend, 1, 0).outcome(item, case)


def test_only_what_asks_for_no_size_has_no_invalid_call() -> None:
    for spec in (CATALOGUE[name] for name in set(CATALOGUE) - set(LAYERS)):
        if spec.oracle.parts is not None:
            continue  # invalid calls are those of its parts
        sizes = [name for name in spec.signature.required if spec.signature.argument(name).size]
        assert (sizes, len(spec.signature.inputs), spec.state.tensors) == ([], 1, stateless), (
            spec.name
        )


@pytest.mark.parametrize("layer", LAYERS)
def test_every_break_is_reached(layer: str) -> None:
    names = [broken.name for broken in _breaks(layer)]
    assert len(names) == len(set(names))
    assert {case.labels["broken"] for case in _invalid_cases(layer)} == set(names)


@pytest.mark.parametrize("layer", LAYERS)
def test_cases_are_labelled_stateless_and_serialisable(layer: str) -> None:
    known = {broken.name: broken for broken in _breaks(layer)}
    for case in _invalid_cases(layer):
        broken = known[case.labels["broken"]]
        assert case.labels["argument"] == broken.argument
        assert set(case.call.state) <= set(CATALOGUE[layer].state.constructor_tensors)
        assert case_text(decode_case(encode_case(case))) == case_text(case)
        for array in case.inputs:
            if array is not None and array.dtype.kind in "fc":
                assert np.array_equal(round_to(array, "float32"), array, equal_nan=True)


@pytest.mark.parametrize("layer", [x for x in LAYERS if errors.applies_to(CATALOGUE[x])])
def test_torch_refuses_every_case(layer: str) -> None:
    few = ("Conv1d", "ConvTranspose1d", "LSTM", "LSTMCell", "functional.bilinear")
    for dtype in ("float32", "bfloat16")[: 2 if layer in few else 1]:
        search = first_failure(torch_backend, layer, "errors", dtype, enough=ENOUGH)
        assert search.passed, search


def _applies_to_installed_torch(entry: Any) -> bool:
    """Whether an entry is about the torch that is installed."""
    call = entry.case.call
    item = {"layer": call.layer, "check": entry.check, "dtype": call.dtype, "device": call.device}
    return bool(entry.applies(**item, backend="torch"))


@pytest.mark.parametrize(
    "entry", [e for e in shipped_entries("torch") if e.check == "errors" and not e.ends_process]
)
def test_pinned_cases_of_torch_fail(entry: Any) -> None:
    assert entry.case is not None
    if "torch" in entry.versions and not _applies_to_installed_torch(entry):
        pytest.skip(f"of torch {entry.versions['torch']}")
    assert entry.covers(entry.case)
    assert _outcome(torch_backend, entry.case).status == "failed"


def _backend(bug: planted.Bug) -> ModuleBackend:
    return ModuleBackend(bug.name, **replacement_namespaces(bug.layer, bug.implementation))


ACCEPTED_SINCE = {"functional-grid-sample-cubic-volumes": (2, 15)}
"""Planted bug → the release of torch from which on torch accepts such calls, too."""


@pytest.mark.parametrize("bug", [pytest.param(bug, id=bug.name) for bug in BUGS])
def test_bug_is_caught(bug: planted.Bug) -> None:
    if Version(torch.__version__).release >= ACCEPTED_SINCE.get(bug.name, (99,)):
        pytest.skip("this torch accepts the call, too")
    assert first_failure(_backend(bug), bug.layer, "errors").failure, bug.story


class _ConstantLayer:
    """A layer that answers every call in one way."""

    def __init__(self, answer: Any, call: Call) -> None:
        self._answer, self._call = answer, call

    def put(self, array: np.ndarray, layout: str = "contiguous", dtype: str | None = None) -> Any:
        """The array."""
        return array

    def __call__(self, *inputs: Any, **keywords: Any) -> Any:
        """The answer."""
        if isinstance(self._answer, BaseException):
            raise self._answer
        return self._answer

    def get(self, native: Any) -> np.ndarray:
        """The array."""
        return np.asarray(native)

    def dtype(self, native: Any) -> str:
        """That of the call."""
        return self._call.dtype


class _ConstantBackend:
    """A backend whose calls all end alike."""

    name = "alike"

    def __init__(self, answer: Any, **attributes: Any) -> None:
        self._answer = answer
        vars(self).update(attributes)

    def info(self) -> dict[str, str]:
        """Nothing."""
        return {}

    def devices(self) -> list[str]:
        """The CPU."""
        return ["cpu"]

    def build(self, call: Call) -> _ConstantLayer:
        """A layer of one answer."""
        return _ConstantLayer(self._answer, call)


class _RefusalError(Exception):
    """A backend's own way to refuse."""


@pytest.mark.parametrize("layer", LAYERS)
def test_accepting_everything_fails_for_every_documented_break(layer: str) -> None:
    backend = _ConstantBackend(np.zeros((2, 3)))
    statuses = set()
    for case in _invalid_cases(layer):
        outcome = _outcome(backend, case)
        statuses.add(outcome.status)
        if not find_quote(layer, case.labels["broken"], case.labels["argument"]):
            assert outcome.status == "invalid"
        else:
            assert outcome.status == "failed"
            assert outcome.message.startswith(case.labels["broken"])
        assert "accepted silently: output of shape (2, 3)" in outcome.message
    assert statuses == {"failed", "invalid"} or len(statuses) == 1


def test_of_a_missing_tensor_an_attribute_error_tells_as_well() -> None:
    """Python says so of None."""
    error = AttributeError("'NoneType' object has no attribute 'ndim'")
    missing = replace(_find_invalid_case("functional.linear", "weight missing"), unbroken=None)
    assert _outcome(_ConstantBackend(error), missing) == REFUSED
    other = replace(
        _find_invalid_case("functional.linear", "weight of another rank"), unbroken=None
    )
    assert _outcome(_ConstantBackend(error), other).status == "failed"


@pytest.mark.parametrize(
    "error", [AttributeError("7"), NameError("w"), UnboundLocalError(), NotADirectoryError()]
)
def test_an_exception_that_is_no_refusal_fails_where_a_page_rules_the_call_out(
    error: Exception,
) -> None:
    case = replace(_find_invalid_case("Conv2d", "groups do not divide in_channels"), unbroken=None)
    failure = _outcome(_ConstantBackend(error), case).message
    assert failure.startswith("groups do not divide in_channels (argument groups)")
    assert f"raised {type(error).__name__}: {error or 'no message'}" in failure.replace("''", "")
    assert "wanted a refusal: ValueError, TypeError, RuntimeError, IndexError, KeyError" in failure
    customary = replace(_find_invalid_case("Conv2d", "stride not positive"), unbroken=None)
    assert _outcome(_ConstantBackend(error), customary) == REFUSED


@pytest.mark.parametrize("error", [IndexError("7"), KeyError("w"), AssertionError()])
def test_no_page_promises_a_class_of_exceptions(error: Exception) -> None:
    case = replace(_find_invalid_case("Conv2d", "groups do not divide in_channels"), unbroken=None)
    assert _outcome(_ConstantBackend(error), case) == REFUSED


@pytest.mark.parametrize("error", [NameError("w"), KeyError("weight"), IndexError(), ValueError()])
def test_an_exception_that_the_valid_call_raises_too_judges_no_constraint(error: Exception) -> None:
    case = _find_invalid_case("Conv2d", "groups do not divide in_channels")
    assert case.unbroken is not None
    outcome = _outcome(_ConstantBackend(error), case)
    if isinstance(error, ValueError):  # nobody raises it by accident
        assert outcome == REFUSED
        return
    assert outcome.status == "invalid"
    name = type(error).__name__
    assert outcome.message == f"the valid call raises {name}, too; this check loads no state"


def test_an_accident_that_the_valid_call_does_not_raise_fails() -> None:
    case = _find_invalid_case("Conv2d", "groups do not divide in_channels")
    blamed = _outcome(_ConstantBackend(NameError("w")), replace(case, unbroken=None))
    assert blamed.status == "failed"


def test_what_a_backend_accepts_on_purpose_is_no_failure() -> None:
    class Lenient(_ConstantBackend):
        accepts = ("groups do not divide in_*",)

    case = _find_invalid_case("Conv2d", "groups do not divide in_channels")
    backend = Lenient(np.zeros((2, 3)))
    trial = Trial(backend, CATALOGUE["Conv2d"], case)
    with pytest.raises(Accepted, match="groups do not divide in_channels"):
        errors.check(trial)
    assert (
        _outcome(backend, _find_invalid_case("Conv2d", "groups do not divide out_channels")).status
        == "failed"
    )
    item = Item("Conv2d", "errors", "float32", "cpu")
    verdict = Engine(backend, 60, 0).run(item)
    assert "groups do not divide in_channels" in verdict.accepted
    assert "groups not positive" in verdict.accepted  # of which the page says nothing
    assert "groups do not divide in_channels" not in str(verdict.message)


def test_an_item_whose_invalid_calls_may_all_be_accepted_is_not_unchecked() -> None:
    class Lenient(_ConstantBackend):
        accepts = ("*",)

    item = Item("Conv2d", "errors", "float32", "cpu")
    verdict = Engine(Lenient(np.zeros((2, 3))), 60, 0).run(item)
    assert verdict.status == "unsupported"
    assert str(verdict.message).startswith("no invalid call that was drawn must be refused; most")


def test_refusals_count_whatever_the_break() -> None:
    class NarrowError(ValueError):
        """A subclass."""

    for case in _invalid_cases("Conv2d"):
        for error in (
            ValueError(),
            TypeError(),
            RuntimeError(),
            NotImplementedError(),
            NarrowError(),
        ):
            assert _outcome(_ConstantBackend(error), case) == REFUSED


def test_a_backends_own_refusals_count() -> None:
    case = replace(_find_invalid_case("Linear", "input of another rank"), unbroken=None)
    assert "raised _RefusalError" in _outcome(_ConstantBackend(_RefusalError()), case).message
    for refusals in ((_RefusalError,), [_RefusalError], _RefusalError):
        assert _outcome(_ConstantBackend(_RefusalError(), refusals=refusals), case) == REFUSED
    outcome = _outcome(_ConstantBackend(NameError(), refusals=(_RefusalError,)), case)
    assert "ZeroDivisionError or _RefusalError" in outcome.message


def test_declined_cases_and_customary_ones_are_told_apart() -> None:
    engine, item = (
        Engine(_ConstantBackend(Unsupported("all")), 1, 0),
        Item("Conv1d", "errors", "", "cpu"),
    )
    with pytest.raises(Unsupported):
        engine.try_case(item, _invalid_cases("Conv1d")[0])
    accepting = Engine(_ConstantBackend(np.zeros(1)), 1, 0)
    with pytest.raises(Inapplicable):
        accepting.try_case(item, _find_invalid_case("Conv1d", "in_channels zero"))


def test_a_lazy_backend_refuses_when_it_hands_out_values() -> None:
    class Lazy(_ConstantLayer):
        """Computes only when asked for the values."""

        def get(self, native: Any) -> np.ndarray:
            """Too late, but a refusal."""
            raise ValueError("groups")

    backend = _ConstantBackend(np.zeros(1))
    backend.build = lambda call: Lazy(0, call)  # type: ignore[method-assign]
    assert _outcome(backend, _find_invalid_case("Conv2d", "groups not positive")) == REFUSED


def test_the_case_is_left_as_it_was() -> None:
    spoiled: list[int] = []

    class Spoiling(_ConstantLayer):
        """Writes into what it is given."""

        def __call__(self, *inputs: Any, **keywords: Any) -> Any:
            """Spoil, then refuse."""
            for array in inputs:
                if array is not None:
                    spoiled.append(array.size)
                    array.fill(9)
            raise ValueError

    backend = _ConstantBackend(None)
    backend.build = lambda call: Spoiling(None, call)  # type: ignore[method-assign]
    for case in _invalid_cases("functional.bilinear")[:20]:
        before = encode_case(case)
        assert _outcome(backend, case) == REFUSED
        assert encode_case(case) == before
    assert sum(spoiled) > 20


PLAINEST_CALLS = {
    ("Conv2d", "groups do not divide in_channels"): "Conv2d(1, 2, 1, groups=2) on input (1, 1, 1)",
    ("Conv1d", "'same' with a stride"): "Conv1d(1, 1, 1, stride=2, padding='same') on input (1, 1)",
    ("Linear", "input of another in_features"): "Linear(1, 1) on input (2,)",
    ("LSTM", "c_0 missing"): "LSTM(1, 1) on input (1, 1), h_0 (1, 1)",
    ("GRUCell", "hx of another hidden_size"): "GRUCell(1, 1) on input (1,), hx (2,)",
}


@pytest.mark.parametrize(("layer", "name"), PLAINEST_CALLS)
def test_cases_shrink_to_the_plainest_call(layer: str, name: str) -> None:
    def fails(case: Case) -> Failure | None:
        return Failure(name) if case.labels["broken"] == name else None

    index = next(k for k, case in enumerate(_invalid_cases(layer)) if fails(case))
    shrunk = shrink(Sample(layer, "float32", 200, 0, invalid=True), index, fails)
    assert shrunk is not None
    assert case_text(shrunk[0]).startswith(PLAINEST_CALLS[layer, name]), case_text(shrunk[0])


def test_an_output_that_is_absent_is_no_refusal() -> None:
    layer, broken = "utils.rnn.pack_padded_sequence", "a length beyond the input's"
    for enforce_sorted in (True, False):
        case = next(
            case
            for case in _invalid_cases(layer)
            if case.labels["broken"] == broken
            and case.call.arguments.get("enforce_sorted", True) is enforce_sorted
        )
        # Sorted already, it gives no indices.
        outcome = _outcome(torch_backend, case)
        assert "accepted silently" in str(outcome.failure), outcome


def test_an_entry_of_a_crash_covers_an_invalid_call_whose_valid_call_crashes() -> None:
    (entry,) = parse_entries(
        """
        [[known]]
        layer = "functional.conv1d"
        check = "errors"
        when = { channels = ">0", "windows[-1]" = "==0" }
        status = "crashed"
        strict = false
        reason = "crash: all windows lie in the padding"
        """,
        "test",
    )
    call = Call(
        "functional.conv1d", {"padding": 2, "stride": 9, "dilation": 4}, {}, "float32", "cpu"
    )
    x, weight = np.ones((1, 1, 1)), np.ones((1, 1, 2))
    valid = Case(call, (x, weight, None))
    scalar = replace(valid, inputs=(x, np.ones(()), None), labels={"broken": "scalar weight"})
    assert Excuses([entry]).find_process_ending(scalar) is None
    covered = replace(scalar, unbroken=valid)
    assert Excuses([entry]).find_process_ending(covered) is entry
