"""torch with replaced operators: counted runs, declined cases, and functions that misbehave."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import planted
import pytest
import torch
from support import install_backends_module

from conformance.backends import OverrideBackend
from conformance.backends.guard import BackendError
from conformance.backends.kernel_folder import operator_name
from conformance.backends.registry import load
from conformance.generation.drawing import draw_cases
from conformance.isolation.isolated_engine import IsolatedEngine
from conformance.isolation.process import Child, ChildDied
from conformance.items.planning import Item, plan_items
from conformance.layers.encoding import encode_case
from conformance.model.case import Call, Unsupported, Verdict
from conformance.model.limits import Limits
from conformance.run.engine import Engine

pytestmark = pytest.mark.in_fork

pytest_plugins = ["pytester"]

KERNELS = """
import numpy as np
import torch
from conformance.backends import OverrideBackend


def product(a, b, size):
    total = np.zeros((a.shape[0], b.shape[1]))
    for k in range(0, size, 32):
        total += a[:, k : k + 32] @ b[k : k + 32]
    return total


def addmm(self, mat1, mat2, *, beta=1, alpha=1, size=None):
    a, b, c = (x.double().numpy() for x in (mat1, mat2, self))
    total = alpha * product(a, b, a.shape[1] if size is None else size) + beta * c
    return torch.from_numpy(total).to(mat1.dtype)


def tail(self, mat1, mat2, *, beta=1, alpha=1):
    whole = mat1.shape[1] // 4 * 4
    return addmm(self, mat1[:, :whole], mat2[:whole], beta=beta, alpha=alpha)


right = OverrideBackend("right", {"aten::addmm": addmm})
wrong = OverrideBackend("wrong", {"aten::addmm": tail})
"""


def addmm(self: Any, mat1: Any, mat2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    a, b, c = (x.double().numpy() for x in (mat1, mat2, self))
    return torch.from_numpy(alpha * (a @ b) + beta * c).to(mat1.dtype)


def mm(self: Any, mat2: Any) -> Any:
    return torch.from_numpy(self.double().numpy() @ mat2.double().numpy()).to(self.dtype)


def _verdict(
    backend: Any, layer: str = "Linear", check: str = "values", dtype: str = "float32"
) -> Verdict:
    return Engine(backend, 15, 0).run(Item(layer, check, dtype, "cpu"))


def _override(function: Any, name: str = "aten::addmm") -> OverrideBackend:
    return OverrideBackend("mine", {name: function})


def _has_own_addmm() -> bool:
    """Whether torch's addmm is the original kernel."""
    lines = torch._C._dispatch_dump("aten::addmm").splitlines()
    return next(x for x in lines if x.startswith("CPU")).find("RegisterCPU") > 0


# --- right, wrong, reached ---


@pytest.mark.parametrize("check", ["shape", "values", "laws", "layout", "special", "repeat"])
def test_a_right_function_passes_and_its_runs_are_counted(check: str) -> None:
    result = _verdict(_override(addmm), check=check)
    assert result.status == "passed", result.message
    assert result.hits["aten::addmm"] >= result.examples.checked


def test_a_wrong_function_fails_with_the_call() -> None:
    def tail(self: Any, mat1: Any, mat2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
        return addmm(self, mat1[:, :2], mat2[:2], beta=beta, alpha=alpha)

    result = _verdict(_override(tail))
    assert result.status == "failed"
    assert "Linear(3, 1)" in str(result.call)
    assert result.hits["aten::addmm"] > 0


def test_torch_itself_is_not_judged_with_the_function() -> None:
    """The base runs torch's own kernels, else the failure would count as inherited."""

    def zeros(self: Any, mat1: Any, mat2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
        return torch.zeros(mat1.shape[0], mat2.shape[1], dtype=mat1.dtype)

    result = _verdict(_override(zeros))
    assert result.status == "failed"
    assert result.reference == "torch: differs"


def test_an_item_that_reaches_no_function_is_unchecked() -> None:
    result = _verdict(_override(addmm), "ReLU")
    assert result.status == "unchecked"
    assert result.message == "reached none of: aten::addmm"
    assert result.examples.unsupported == {"reached none of: aten::addmm": result.examples.drawn}
    assert result.hits == {"aten::addmm": 0}


def test_a_case_that_reaches_no_function_is_declined() -> None:
    layer = _override(addmm).build(Call("functional.linear", {}, {}, "float32", "cpu"))
    with pytest.raises(Unsupported, match="reached none of: aten::addmm"):
        layer(torch.ones(2, 3), torch.ones(4, 3), None)  # without a bias it is a mm
    assert layer(torch.ones(2, 3), torch.ones(4, 3), torch.ones(4)).shape == (2, 4)


@pytest.mark.parametrize(
    "call",
    [
        lambda mat1, mat2, bias: torch.addmm(bias, mat1, mat2),
        lambda mat1, mat2, bias: torch.nn.functional.linear(mat1, mat2.T, bias),
    ],
)
def test_a_function_that_calls_its_own_operator_falls_back(call: Callable[..., Any]) -> None:
    def lazy(self: Any, mat1: Any, mat2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
        return call(mat1, mat2, self)

    result = _verdict(_override(lazy))
    assert result.status == "unsupported"
    assert "fell back: aten::addmm" in result.examples.unsupported


def test_a_function_may_call_another_that_is_replaced() -> None:
    def composed(self: Any, mat1: Any, mat2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
        return alpha * torch.mm(mat1.double(), mat2.double()).to(mat1.dtype) + beta * self

    backend = OverrideBackend("mine", {"aten::addmm": composed, "aten::mm": mm})
    result = _verdict(backend, dtype="float64", check="shape")
    assert result.status == "passed", result.message
    assert result.hits["aten::mm"] >= result.hits["aten::addmm"] > 0


def test_a_function_may_decline() -> None:
    def declining(self: Any, mat1: Any, mat2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
        raise Unsupported("float32")

    assert "float32" in _verdict(_override(declining)).examples.unsupported


# --- gradients ---


def test_gradients_of_torchs_own_backward_are_not_offered() -> None:
    result = Engine(_override(addmm), 40, 0).run(Item("Linear", "gradients", "float32", "cpu"))
    assert result.status == "unsupported"
    assert "gradients not offered: AddmmBackward0 is torch's own" in result.examples.unsupported


@pytest.mark.parametrize("name", ["blocked", "keeps-the-variance-for-the-gradients"])
def test_gradients_are_judged_where_they_rest_on_what_is_kept(name: str) -> None:
    kernel = next(k for k in planted.KERNELS if k.name == f"native-layer-norm-{name}")
    backend = OverrideBackend(kernel.name, {kernel.operator: kernel.function})
    values, gradients = (
        Engine(backend, 150, 0).run(Item("functional.layer_norm", check, "float32", "cpu"))
        for check in ("values", "gradients")
    )
    assert values.status == "passed", values.message
    assert gradients.status == ("failed" if kernel.wrong else "passed"), gradients.message


def test_gradients_through_a_replaced_operator_are_judged() -> None:
    backend = OverrideBackend("mine", {"aten::addmm": addmm, "aten::mm": mm})
    result = _verdict(backend, check="gradients")
    assert result.status == "passed", result.message
    assert result.hits["aten::mm"] > result.examples.checked

    def spoiled(self: Any, mat2: Any) -> Any:
        return mm(self, mat2) * 2

    backend = OverrideBackend("mine", {"aten::addmm": addmm, "aten::mm": spoiled})
    result = _verdict(backend, check="gradients")
    assert result.status == "failed"
    assert "gradient of" in str(result.message)


# --- functions that misbehave ---


def _wrong_dtype(self: Any, mat1: Any, mat2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    return addmm(self, mat1, mat2, beta=beta, alpha=alpha).double()


def _wrong_shape(self: Any, mat1: Any, mat2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    return addmm(self, mat1, mat2, beta=beta, alpha=alpha)[None]


def _wrong_device(self: Any, mat1: Any, mat2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    return addmm(self, mat1, mat2, beta=beta, alpha=alpha).to("meta")


def _an_array(self: Any, mat1: Any, mat2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    return mat1.numpy() @ mat2.numpy()


def _nothing(self: Any, mat1: Any, mat2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    return None


def _raising(self: Any, mat1: Any, mat2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    raise KeyError("block")


CALL = (
    r"aten::addmm\(float32 \(\d+,\), float32 \(\d+, \d+\), float32 \(\d+, \d+\), beta=1, alpha=1\)"
)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (_wrong_dtype, r"returned float64 \(\d+, \d+\), expected float32 \(\d+, \d+\)"),
        (_wrong_shape, r"returned float32 \(1, \d+, \d+\), expected float32 \(\d+, \d+\)"),
        (_wrong_device, r"returned a tensor on meta, expected one on cpu"),
        (_an_array, r"returned a ndarray, expected a tensor, float32"),
        (_nothing, r"returned None, expected float32 \(\d+, \d+\)"),
        (_raising, r"raised KeyError: 'block'"),
    ],
)
def test_what_is_wrong_names_the_operator_and_the_call(function: Any, said: str) -> None:
    import re

    result = _verdict(_override(function))
    assert result.status == "failed"
    assert re.search(rf"call raised KernelError: {CALL} {said}", str(result.message)), (
        result.message
    )


def test_an_alias_of_an_input_is_told() -> None:
    def return_input(input: Any, *, approximate: str = "none") -> Any:
        return input

    result = _verdict(_override(return_input, "aten::gelu"), "GELU")
    assert result.status == "failed"
    assert "aten::gelu(float32" in str(result.message)
    assert "returned a tensor that shares memory with self" in str(result.message)


def test_a_function_gets_what_a_kernel_below_autograd_gets() -> None:
    """It gets tensors without gradients, all defaults, and numbers turned into tensors."""
    received: list[Any] = []

    def mul(self: Any, other: Any) -> Any:
        received.append((self.requires_grad, other))
        return torch.from_numpy(self.numpy() * other.to(self.dtype).numpy())

    result = _verdict(_override(mul, "aten::mul.Tensor"), "Softsign", "gradients")
    assert result.status in ("passed", "unsupported"), result.message
    assert received
    assert not any(asks for asks, _ in received)
    assert all(isinstance(other, torch.Tensor) for _, other in received)


def test_a_call_that_torch_refuses_is_refused_as_torch_does() -> None:
    layer = _override(addmm).build(Call("functional.linear", {}, {}, "float32", "cpu"))
    with pytest.raises(RuntimeError, match="mat2 must be a matrix, got 1-D"):
        layer(torch.ones(2, 3), torch.ones(3), torch.ones(()))


def test_an_operator_that_returns_a_list_or_a_view_is_held_likewise() -> None:
    def split(self: Any, size: int, dim: int = 0) -> Any:
        return [x.clone() for x in torch.split(self, size, dim)]

    result = _verdict(_override(split, "aten::unsafe_split.Tensor"), "GRUCell", "shape")
    assert result.status == "passed", result.message

    def single_tensor(self: Any, size: int, dim: int = 0) -> Any:
        return split(self, size, dim)[:1]

    result = _verdict(_override(single_tensor, "aten::unsafe_split.Tensor"), "GRUCell", "shape")
    assert "returned 1 tensors, expected" in str(result.message)


def test_several_results_are_held_one_by_one() -> None:
    def norm(input: Any, shape: Any, weight: Any, bias: Any, eps: float) -> Any:
        return input.clone(), input.mean()

    result = _verdict(_override(norm, "aten::native_layer_norm"), "LayerNorm")
    assert "returned a tuple, expected 3 results in a tuple" in str(result.message)


LOSING = """
import os, signal, time
from conformance.backends import OverrideBackend


def never(self, mat1, mat2, *, beta=1, alpha=1):
    time.sleep(1000)


def last(self, mat1, mat2, *, beta=1, alpha=1):
    os.kill(os.getpid(), signal.SIGSEGV)


hanging = OverrideBackend("hanging", {"aten::addmm": never})
crashing = OverrideBackend("crashing", {"aten::addmm": last})
"""


def _start_child(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Child:
    (tmp_path / "losing.py").write_text(LOSING)
    monkeypatch.syspath_prepend(tmp_path)
    return Child(f"losing:{name}", 1, 0, (), Limits(2, None))


def test_a_function_that_hangs_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child, (case,) = (
        _start_child("hanging", tmp_path, monkeypatch),
        draw_cases("Linear", "float32", 1, 0),
    )
    item = {"layer": "Linear", "check": "shape", "dtype": "float32", "device": "cpu"}
    try:
        with pytest.raises(ChildDied) as died:
            child.ask({"item": item, "case": encode_case(case)})
    finally:
        child.stop()
    assert died.value.status == "hung"
    assert died.value.inner_call.startswith("aten::addmm(float32 (1,), float32 (1, 1)")


def test_a_verdict_names_the_function_that_ends_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = IsolatedEngine(_start_child("crashing", tmp_path, monkeypatch), "crashing", 1, 0)
    try:
        result = engine.run(Item("Linear", "shape", "float32", "cpu"))
    finally:
        engine.close()
    assert result.status == "crashed"
    assert "in aten::addmm(float32 (" in str(result.message), result.message


# --- torch's own is untouched ---


def test_nothing_is_registered_but_while_a_layer_computes() -> None:
    kernels_inside = []

    def record_kernels(
        self: Any, mat1: Any, mat2: Any, *, beta: float = 1, alpha: float = 1
    ) -> Any:
        kernels_inside.append(_has_own_addmm())
        return addmm(self, mat1, mat2, beta=beta, alpha=alpha)

    assert _has_own_addmm()
    backend = _override(record_kernels)
    layer = backend.build(
        Call("Linear", {"in_features": 3, "out_features": 2}, {}, "float32", "cpu")
    )
    assert _has_own_addmm()
    layer(torch.ones(4, 3))
    assert kernels_inside == [False]
    assert _has_own_addmm()


def test_a_call_that_raises_gives_torch_its_kernel_back() -> None:
    layer = _override(_raising).build(
        Call("Linear", {"in_features": 3, "out_features": 2}, {}, "float32", "cpu")
    )
    with pytest.raises(RuntimeError, match="aten::addmm"):
        layer(torch.ones(4, 3))
    with pytest.raises(RuntimeError, match="aten::addmm"):
        layer.vjp((torch.ones(4, 3),), (torch.ones(4, 2),))
    assert _has_own_addmm()
    assert torch.nn.Linear(3, 2)(torch.ones(4, 3)).shape == (4, 2)


def test_torchs_own_answer_is_erased() -> None:
    """A function that writes nothing must not find the right numbers of torch in its memory."""
    answers_seen = []

    def unwritten(self: Any, mat1: Any, mat2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
        result = torch.empty(mat1.shape[0], mat2.shape[1])
        answers_seen.append(result.clone())
        return result

    layer = _override(unwritten).build(
        Call("Linear", {"in_features": 64, "out_features": 64}, {}, "float32", "cpu")
    )
    x = torch.ones(64, 64)
    right = layer.module(x)
    for _ in range(5):
        layer(x)
    assert not any(torch.equal(y, right) for y in answers_seen)


# --- usage errors ---


def one_parameter(a: Any) -> Any:
    return a


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({}, "overrides: expected a mapping of operators to callables, got none"),
        (None, "overrides: expected a mapping of operators to callables, got None"),
        ({"addmm": addmm}, "operator 'addmm': expected a name such as 'aten::addmm'; did you mean"),
        ({3: addmm}, "operator 3: expected a name such as 'aten::addmm'"),
        ({"aten::admm": addmm}, "operator 'aten::admm': torch has no such operator; did you mean"),
        ({"aten::addmm.int": addmm}, "operator 'aten::addmm.int': no such overload, expected one"),
        ({"aten::addmm.": addmm}, "operator 'aten::addmm.': expected a name such as"),
        ({"aten::linear": addmm}, "operator 'aten::linear' consists of other operators"),
        ({"aten::cudnn_convolution": addmm}, "has no kernel for CPU in torch"),
        ({"aten::addmm": "addmm"}, "aten::addmm: expected a callable, got 'addmm'"),
        (
            {"aten::addmm": one_parameter},
            "aten::addmm: expected a callable that takes (Tensor self, Tensor",
        ),
        ({"aten::addmm": mm}, "got mm(self: 'Any', mat2: 'Any') -> 'Any': "),
        ({"aten::addmm": addmm, "aten::addmm.default": addmm}, "aten::addmm is named twice"),
    ],
)
def test_a_usage_error_names_operator_value_and_what_was_expected(
    overrides: Any, said: str
) -> None:
    with pytest.raises((TypeError, ValueError)) as raised:
        OverrideBackend("mine", overrides)
    assert said in str(raised.value)


def test_a_device_that_is_none_is_a_usage_error() -> None:
    with pytest.raises(ValueError, match=r"device 'gpu': expected one such as 'cpu'"):
        OverrideBackend("mine", {"aten::addmm": addmm}, "gpu")
    if torch.version.cuda is None:
        with pytest.raises(ValueError, match=r"'aten::addmm' has no kernel for CUDA in torch"):
            OverrideBackend("mine", {"aten::addmm": addmm}, "cuda")


def test_a_usage_error_before_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "misnamed.py").write_text(
        "from conformance.backends import OverrideBackend\n"
        "backend = OverrideBackend('mine', {'aten::admm': print})\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(BackendError, match=r"fails to import: ValueError: operator 'aten::admm'"):
        load("misnamed:backend")


# --- which checks run ---


def test_errors_are_asked_only_where_they_are_named() -> None:
    def checks(backend: Any) -> set[str]:
        items = plan_items(
            backend, layers=["Linear"], checks=["values", "errors"], dtypes=["float32"],
            devices=["cpu"], every_dtype=True,
        )  # fmt: skip
        return {item.check for item in items}

    assert checks(_override(addmm)) == {"values"}
    with_errors = OverrideBackend("mine", {"aten::addmm": addmm}, errors=True)
    assert checks(with_errors) == {"values", "errors"}


def test_the_base_and_the_functions_are_told() -> None:
    backend = _override(addmm)
    assert backend.base == "torch"
    assert backend.info()["aten::addmm"].endswith("test_override.addmm")
    assert backend.devices() == ("cpu",)


# --- folders ---


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("addmm.py", "aten::addmm"),
        ("aten__addmm.py", "aten::addmm"),
        ("addmm__out.py", "aten::addmm.out"),
        ("aten__add__Tensor.py", "aten::add.Tensor"),
        ("_softmax.py", "aten::_softmax"),
        ("aten___softmax.py", "aten::_softmax"),
        ("__and____Tensor.py", "aten::__and__.Tensor"),
    ],
)
def test_a_files_name_is_the_operators(file: str, name: str) -> None:
    assert operator_name(Path(file)) == name


def test_a_backend_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "_common.py").write_text("def product(a, b):\n    return a.numpy() @ b.numpy()\n")
    (tmp_path / "aten__mm.py").write_text(
        "import torch\nfrom _common import product\n"
        "def kernel(self, mat2):\n    return torch.from_numpy(product(self, mat2))\n"
    )
    (tmp_path / "__init__.py").write_text("")
    backend = OverrideBackend.from_folder(tmp_path, name="folder")
    assert backend.name == "folder"
    assert list(backend.hits()) == ["aten::mm"]
    layer = backend.build(Call("functional.linear", {}, {}, "float32", "cpu"))
    assert np.array_equal(layer(torch.ones(2, 3), torch.ones(4, 3)), np.full((2, 4), 3))


def test_folders_with_helpers_of_one_name_are_kept_apart(tmp_path: Path) -> None:
    functions = []
    for number in (1, 2):
        folder = tmp_path / f"folder{number}"
        folder.mkdir()
        (folder / "_common.py").write_text(f"NUMBER = {number}\n")
        (folder / "mm.py").write_text(
            "import torch\nfrom _common import NUMBER\n"
            "def mm(self, mat2):\n"
            "    return torch.full((self.shape[0], mat2.shape[1]), float(NUMBER))\n"
        )
        backend = OverrideBackend.from_folder(folder)
        layer = backend.build(Call("functional.linear", {}, {}, "float32", "cpu"))
        functions.append(float(layer(torch.ones(1, 3), torch.ones(1, 3))))
    assert functions == [1, 2]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "expected files such as addmm.py, found none"),
        (
            {"addmm.py": "x = 1"},
            "file 'addmm.py': expected a function for aten::addmm called addmm",
        ),
        ({"addmm.py": "kernel = 3", "aten__addmm.py": "kernel = 3"}, "two files implement"),
        ({"addmm.py": "kernel = 3"}, "aten::addmm: expected a callable, got 3"),
        ({"admm.py": "kernel = print"}, "operator 'aten::admm': torch has no such operator"),
        ({"addmm.py": "1 / 0"}, "division by zero"),
    ],
)
def test_a_folder_that_is_wrong(files: dict[str, str], said: str, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises((TypeError, ValueError, ZeroDivisionError)) as raised:
        OverrideBackend.from_folder(tmp_path)
    assert said in str(raised.value)


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected a folder with a file for each operator"):
        OverrideBackend.from_folder(tmp_path / "none")


# --- through pytest ---


@pytest.mark.parametrize(
    ("name", "isolation", "outcome"),
    [("right", "process", "passed"), ("right", "none", "passed"), ("wrong", "process", "failed")],
)
def test_through_the_plug_in(
    name: str, isolation: str, outcome: str, pytester: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_backends_module(pytester, monkeypatch, KERNELS)
    results = pytester.path / "results.jsonl"
    result = pytester.runpytest_inprocess(
        "--pyargs", "conformance.suite", "-p", "no:cacheprovider",
        f"--conformance-backend=plugged:{name}", "--conformance-layer=Linear",
        "--conformance-dtype=float32", "--conformance-check=values", "--conformance-examples=15",
        f"--conformance-isolation={isolation}", f"--conformance-results={results}",
    )  # fmt: skip
    result.assert_outcomes(**{outcome: 1})
    assert _has_own_addmm()
    from conformance.reports.results import read

    (single_verdict,) = read(results).verdicts
    assert single_verdict.hits["aten::addmm"] > 0
    if outcome == "failed":
        assert "load('plugged:wrong')" in str(single_verdict.reproducer)
