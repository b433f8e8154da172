"""Cases store tensors by name; a message says how an answer breaks the contract."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from support import cases

from conformance import Updated
from conformance.backends import FunctionBackend, implements
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.checks import CHECKS
from conformance.checks.trial import Trial
from conformance.known.migrate import rewrite_pinned_cases
from conformance.layers import CATALOGUE
from conformance.layers.encoding import decode_case, encode_case
from conformance.model.case import Call, Case
from conformance.model.failure import Failure

pytestmark = pytest.mark.in_fork


def _trial(backend: Any, layer: str, case: Case) -> Trial:
    return Trial(backend, CATALOGUE[layer], case)


def _linear_case(**changes: Any) -> Case:
    call = Call("functional.linear", {}, {}, "float32", "cpu")
    x, weight = np.arange(6.0).reshape(2, 3), np.ones((4, 3))
    return replace(Case(call, (x, weight, None)), **changes)


class _SpoiledLinear(FunctionBackend):
    """Linear, with `spoil` applied to its answer."""

    name = "spoiled"

    def __init__(self, spoil: Any) -> None:
        super().__init__()
        self.spoil = spoil

    @implements("functional.linear")
    def linear(self, state: Mapping[str, Any], input: Any, weight: Any, bias: Any = None) -> Any:
        y = input @ weight.T
        return self.spoil(y if bias is None else y + bias)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda y: None, "output\n  got    None\n  wanted a tensor of shape (2, 4)"),
        (lambda y: (y, y), "got 2 outputs, wanted 1"),
        (lambda y: y.astype(np.int64), "dtype of output\n  got    'int64'\n  wanted 'float32'"),
        (lambda y: y > 0, "dtype of output\n  got    'bool'\n  wanted 'float32'"),
        (lambda y: Updated(y, {"nothing": y}), "Updated: no state or input 'nothing'"),
    ],
)
def test_a_wrong_answer_is_told(spoil: Any, said: str) -> None:
    CHECKS["shape"].run(_trial(_SpoiledLinear(lambda y: y), "functional.linear", _linear_case()))
    with pytest.raises(Failure) as failure:
        CHECKS["shape"].run(_trial(_SpoiledLinear(spoil), "functional.linear", _linear_case()))
    assert said in str(failure.value)


def test_one_object_given_twice_is_put_once() -> None:
    x = np.ones((2, 2))
    case = _linear_case(inputs=(x, x, None))
    trial = _trial(torch_backend, "functional.linear", case)
    assert trial.natives[0] is trial.natives[1]
    copied = _trial(torch_backend, "functional.linear", _linear_case(inputs=(x, x.copy(), None)))
    assert copied.natives[0] is not copied.natives[1]
    CHECKS["gradients"].run(trial)


def test_a_case_names_its_tensors_and_comes_back() -> None:
    x = np.ones((2, 2))
    case = _linear_case(inputs=(x, x, None), layouts=("contiguous", "transposed"))
    data = json.loads(json.dumps(encode_case(case)))
    assert list(data["inputs"]) == ["input", "weight", "bias"]
    assert data["inputs"]["weight"] == {"same": "input"}
    assert data["layouts"] == {"input": "contiguous", "weight": "transposed"}
    decoded = decode_case(data)
    assert decoded.inputs[0] is decoded.inputs[1]
    assert decoded.layouts == case.layouts
    assert decoded.inputs[2] is None
    masked = _linear_case(inputs=(np.array([[True, False]]), np.arange(2), None))
    decoded_mask = decode_case(json.loads(json.dumps(encode_case(masked))))
    assert [None if y is None else y.dtype.kind for y in decoded_mask.inputs] == ["b", "i", None]


@pytest.mark.parametrize("layer", ["LSTM", "Conv2d", "functional.bilinear"])
def test_files_of_earlier_schemas_list_their_tensors(layer: str) -> None:
    for case in cases(layer, "float32", 10):
        data = json.loads(json.dumps(encode_case(case)))
        data["inputs"] = list(data["inputs"].values())
        data["layouts"] = list(data["layouts"].values())
        decoded = decode_case(data)
        assert encode_case(decoded) == encode_case(case)


def test_the_migrator_rewrites_pinned_cases_and_nothing_else() -> None:
    data = json.loads(json.dumps(encode_case(_linear_case())))
    old_form = {**data, "inputs": list(data["inputs"].values()), "layouts": []}
    head = '[[known]]\nlayer = "functional.linear"\nreason = "r"  # a comment\n'
    text = f"{head}case = '''{json.dumps(old_form)}'''\n"
    rewritten = rewrite_pinned_cases(text)
    assert rewritten == f"{head}case = '''{json.dumps(data)}'''\n"
    assert rewrite_pinned_cases(rewritten) == rewritten
