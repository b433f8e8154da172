"""`conformance.bounds` and `assert_conforms`: the oracle as a library."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's documentation calls it so
from support import LAYERS, NOT_IN_TORCH

from conformance import Numerics, assert_conforms, bounds
from conformance.arithmetic.choices import Choices
from conformance.arithmetic.grading import promised_numerics
from conformance.backends import ModuleBackend, torch_composites
from conformance.bounding.bounds import Bounds, OracleBackend
from conformance.checks.cotangents import expected_gradients
from conformance.checks.trial import Trial
from conformance.generation.drawing import draw_cases
from conformance.layers import CATALOGUE
from conformance.model.case import GRADIENTS, Case, class_and_method

X, W, B = (torch.randn(*shape, generator=torch.manual_seed(1)) for shape in ((3, 8), (8,), (8,)))


def _bounds_of(case: Case) -> Bounds:
    """Call `bounds` as a user of torch writes the call of a case."""
    layer = ModuleBackend("plain").build(case.call)
    natives: dict[int, Any] = {}
    tensors = tuple(
        None if x is None else natives.setdefault(id(x), layer.put(x)) for x in case.inputs
    )
    if layer.module is None:
        positional, by_name = layer._arrange_inputs(tensors)
        positional = torch_composites.positional_arguments(CATALOGUE[case.call.layer], positional)
        return bounds(
            layer.function, *positional, **layer.arguments, **by_name, **dict(case.keywords)
        )
    method = class_and_method(case.call.layer)[1]
    while tensors and tensors[-1] is None:
        tensors = tensors[:-1]
    target = getattr(layer.module, method) if method else layer.module
    return bounds(target, *tensors, **dict(case.keywords))


def _arrays(expected: Any) -> list[np.ndarray]:
    ways = expected.alternatives if isinstance(expected, Choices) else (expected,)
    return [array for x in ways for array in (x.value, x.error)]


def _has_bounds(layer: str) -> bool:
    signature = CATALOGUE[layer].signature
    changes_gradients = GRADIENTS in signature.bundles.composite_arguments.values()
    # The class of a module with parametrizations is made by torch, and in no catalogue.
    is_parametrized = layer.startswith("utils.parametrizations.")
    return not changes_gradients and not is_parametrized and layer not in NOT_IN_TORCH


@pytest.mark.parametrize("layer", [name for name in LAYERS if _has_bounds(name)])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_bounds_are_those_of_the_suite(layer: str, dtype: str) -> None:
    for case in draw_cases(layer, dtype, 4, 0):
        trial = Trial(
            OracleBackend(), CATALOGUE[layer], case, promised_numerics(None, case.call.dtype)
        )
        got = [x.expected for x in _bounds_of(case).outputs]
        for ours, wanted in zip(got, trial.expected, strict=True):
            for a, b in zip(_arrays(ours), _arrays(wanted), strict=True):
                np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("layer", ["Linear", "LSTM", "functional.layer_norm", "BatchNorm2d"])
def test_gradients_are_those_of_the_suite(layer: str) -> None:
    for case in draw_cases(layer, "float32", 4, 0):
        trial = Trial(OracleBackend(), CATALOGUE[layer], case, promised_numerics(None, "float32"))
        wanted = expected_gradients(trial)
        gradients = _bounds_of(case).gradients(*wanted.cotangents)
        names = CATALOGUE[layer].signature.input_names
        expected = {n: x for n, x in zip(names, wanted.inputs, strict=False) if x is not None}
        assert set(gradients.inputs) == set(expected)
        assert set(gradients.parameters) == set(wanted.parameters)
        for name, x in {**expected, **wanted.parameters}.items():
            for a, b in zip(_arrays(gradients[name].expected), _arrays(x), strict=True):
                np.testing.assert_array_equal(a, b)


def test_a_right_answer_is_within_its_bounds() -> None:
    want = bounds(F.layer_norm, X, (8,), W, B)
    got = F.layer_norm(X, (8,), W, B)
    assert isinstance(want.value, torch.Tensor)
    assert want.value.dtype == want.bound.dtype == torch.float64
    assert bool(((got.double() - want.value).abs() <= want.bound).all())
    assert 0 < want.margin(got) <= 1
    assert_conforms(got, F.layer_norm, X, (8,), weight=W, bias=B)


def test_a_wrong_answer_is_told_with_place_bound_and_call() -> None:
    got = F.layer_norm(X, (8,), W, B, 1e-4)
    assert bounds(F.layer_norm, X, (8,), W, B).margin(got) > 1
    torch.testing.assert_close(got, F.layer_norm(X, (8,), W, B), rtol=1e-2, atol=1e-2)
    with pytest.raises(AssertionError, match=r"functional\.layer_norm\(input") as raised:
        assert_conforms(got, F.layer_norm, X, (8,), W, B)
    assert all(word in str(raised.value) for word in ("got", "wanted", "bound", "error"))


def test_a_module_is_called_with_its_parameters_its_mode_and_its_state() -> None:
    layer = torch.nn.BatchNorm1d(8)
    want, evaluated = bounds(layer, X), bounds(layer.eval(), X)
    assert want.margin(layer.train()(X)) <= 1 < evaluated.margin(layer(X))
    fresh = torch.nn.BatchNorm1d(8)
    want = bounds(fresh, X)
    fresh(X)
    assert set(want.state) == {"running_mean", "running_var", "num_batches_tracked"}
    assert all(x.margin(fresh.state_dict()[name]) <= 1 for name, x in want.state.items())


def test_several_outputs_and_several_right_answers() -> None:
    lstm, x = torch.nn.LSTM(3, 4), torch.randn(5, 2, 3)
    assert_conforms(lstm(x), lstm, x)
    output, (hidden, cell) = lstm(x)
    with pytest.raises(AssertionError, match="c_n"):
        assert_conforms((output, (hidden, cell * 2)), lstm, x)
    dropout = torch.nn.Dropout()
    want = bounds(dropout, X)
    assert len(want.outputs[0].alternatives) > 1
    assert want.margin(dropout(X)) <= 1


def test_a_declaration_loosens_the_bounds() -> None:
    x, w = (torch.randn(16, 16).to(torch.bfloat16) for _ in range(2))
    total = torch.zeros(16, 16, dtype=torch.bfloat16)
    for k in range(16):
        total = total + x[:, k : k + 1] * w[:, k]
    with pytest.raises(AssertionError):
        assert_conforms(total, F.linear, x, w)
    assert_conforms(total, F.linear, x, w, numerics=Numerics(accumulation="bfloat16"))


def test_arrays_of_numpy_and_names_need_no_torch() -> None:
    script = """
import numpy as np, sys
from conformance import bounds
x, w = np.ones((2, 3), np.float32), np.ones(3, np.float32)
want = bounds("functional.layer_norm", x, normalized_shape=(3,), weight=w)
assert isinstance(want.value, np.ndarray) and want.margin(np.zeros((2, 3), np.float32)) <= 1
want = bounds("functional.linear", x, np.ones((4, 3), np.float32))
assert (want.value == 3).all() and (want.bound == 0).all()
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_dlpack_is_read() -> None:
    class Array:
        def __init__(self, tensor: torch.Tensor) -> None:
            self.tensor = tensor

        def __dlpack__(self, **keywords: Any) -> Any:
            return self.tensor.__dlpack__(**keywords)

        def __dlpack_device__(self) -> Any:
            return self.tensor.__dlpack_device__()

    x = torch.randn(4).to(torch.bfloat16)
    assert_conforms(Array(F.relu(x)), F.relu, Array(x))


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: bounds("functional.layernorm", X), TypeError, "nearest: .*layer_norm"),
        (lambda: bounds(torch.fft.fft, X), TypeError, "not a layer or function of torch.nn"),
        (lambda: bounds(torch.nn.Linear, X), TypeError, "pass a module"),
        (lambda: bounds(F.linear, X, W[:3]), ValueError, "rules this call out"),
        (lambda: bounds(F.linear, X, W.double()), ValueError, "several dtypes"),
        (lambda: bounds(F.relu, X.to(torch.float8_e4m3fn)), ValueError, "float8_e4m3fn is none"),
        (lambda: bounds(F.embedding, torch.tensor([9]), X), ValueError, "rules this call out"),
        (lambda: bounds(F.gelu, X.long()), TypeError, "holds integers"),
        (lambda: bounds(F.gelu, X, approximation="tanh"), TypeError, "no argument approximation"),
        (lambda: bounds(F.linear, X), TypeError, "missing weight"),
        (lambda: bounds(F.relu, X.to("meta")), TypeError, "meta"),
        (lambda: bounds(F.relu, [1.0]), TypeError, "got list"),
        (lambda: bounds(F.relu, X, False, 1), TypeError, "positional arguments"),
        (lambda: bounds(torch.nn.ReLU(), X, X), TypeError, "positional arguments"),
    ],
)
def test_bad_calls_end_in_a_clear_error(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call()


@pytest.mark.parametrize(
    ("got", "text"),
    [
        (torch.zeros(2, 8), "shape"),
        (torch.zeros(3, 8, dtype=torch.float64), "dtype"),
        (np.zeros((3, 8), np.float16), "dtype"),
        ((X, X), "2 outputs, expected 1"),
        (torch.full((3, 8), torch.nan), "nan"),
    ],
)
def test_a_wrong_kind_of_answer_is_no_answer(got: Any, text: str) -> None:
    with pytest.raises(AssertionError, match=text):
        assert_conforms(got, F.relu, X)


def test_what_has_no_bound_is_not_certified() -> None:
    huge = torch.full((4,), 3e38)
    with pytest.raises(AssertionError, match="nothing can be certified"):
        assert_conforms(torch.zeros(4), torch.nn.LayerNorm(4), huge)


def test_an_empty_answer_conforms() -> None:
    assert_conforms(torch.zeros(0, 8), F.relu, torch.zeros(0, 8))


def test_it_is_a_fixture_of_pytest(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import torch

        def test_right(assert_conforms):
            assert_conforms(torch.zeros(2), torch.nn.functional.relu, torch.tensor([-1.0, 0.0]))

        def test_wrong(assert_conforms):
            assert_conforms(torch.ones(2), torch.nn.functional.relu, torch.tensor([-1.0, 0.0]))
        """
    )
    pytester.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(passed=1, failed=1)
