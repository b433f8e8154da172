"""`nn-conformance check-module`: an implementation of a module against derived bounds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from conformance import bounds
from conformance.backends.delegation import find_delegated, kinds_of_own_work
from conformance.commands.cli import main
from conformance.networks.intermediates import run_modules

MODEL = """
import torch
from torch import nn

class Model(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.linear = nn.Linear(width, 2 * width)
    def forward(self, x):
        return torch.nn.functional.gelu(self.linear(x)).mean(-1)

def get_inputs():
    return [torch.randn(4, 8)]

def get_init_inputs():
    return [8]
"""
NEW = MODEL.split("def get_inputs")[0].replace("Model(", "ModelNew(")


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text(MODEL)


def _check(capsys: Any, new: str, *options: str) -> tuple[int, str]:
    Path("new.py").write_text(new)
    place = ["--isolation", "none"] if "--isolation" not in options else []
    status = main(["check-module", "model.py", "--against", "new.py", *place, *options])
    return status, capsys.readouterr().out


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_right_implementation_passes(capsys: Any, dtype: str) -> None:
    status, out = _check(capsys, NEW, "--dtype", dtype, "--seeds", "2")
    assert status == 0
    assert out.startswith("right: of 22 calls 22 right\n")


@pytest.mark.parametrize(
    ("old", "new", "regime"),
    [
        ("gelu(self.linear(x))", "gelu(self.linear(x), approximate='tanh')", "whole numbers"),
        ("self.linear(x)", "self.linear(x.half().float())", "as given"),  # whole numbers fit
        ("mean(-1)", "mean(0)[:4]", "whole numbers"),
        # Only a regime of its own sees these.
        ("self.linear(x)", "self.linear(x.clamp(-50, 50))", "outliers"),
        ("self.linear(x)", "self.linear(x + (x.abs().max() == 0) * 1e-3)", "zeros"),
    ],
)
def test_a_wrong_implementation_fails_with_its_inputs(
    capsys: Any, old: str, new: str, regime: str
) -> None:
    status, out = _check(capsys, NEW.replace(old, new))
    assert status == 1
    assert "1 wrong" in out
    assert f", {regime}, contiguous, inputs of shape (" in out
    assert "wanted" in out


def test_a_layout_or_a_batch_that_is_read_wrong_is_seen(capsys: Any) -> None:
    strides = "self.linear(x.as_strided(x.shape, (x.shape[1], 1)))"
    status, out = _check(capsys, NEW.replace("self.linear(x)", strides), "--seeds", "1")
    assert status == 1
    assert "transposed" in out
    status, out = _check(capsys, NEW.replace("self.linear(x)", "self.linear(x[:3])"))
    assert status == 1
    assert "shape" in out


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        # The weights of the first seed; others are right by the same names.
        ("self.linear = nn.Linear(width, 2 * width)", ("self.linear = nn.Linear(width, 2 * width)\n"
         "        self.linear.forward = (lambda x, w=self.linear.weight.detach().clone(), "
         "b=self.linear.bias.detach().clone(): "
         "torch.nn.functional.linear(x, w, b))"), "largest error"),
        # The answer is right; the input is 7 afterwards.
        ("self.linear(x)", "self.linear(x) + 0 * x.fill_(7).sum()", "it changes input 0"),
        (".mean(-1)", ".mean(-1).as_subclass(type('Lie', (torch.Tensor,), {}))",
         "it returns a tensor of its own class, Lie"),
        (".mean(-1)", ".mean(-1) * (torch.arange(len(x)) < 8)", "largest error"),
        ("return torch", "return 'tensor'\n        return torch", "it returns 'tensor', wanted"),
        (".mean(-1)", ".mean(-1), 1", "it returns ('tensor', 1), wanted tensor"),
    ],
    ids=["weights", "input", "class", "rows", "word", "structure"],
)  # fmt: skip
def test_what_an_attack_hid_is_seen(capsys: Any, old: str, new: str, said: str) -> None:
    status, out = _check(capsys, NEW.replace(old, new), "--seeds", "2")
    assert status == 1
    assert said in out


AT = "x.storage_offset()"


@pytest.mark.parametrize(
    ("inputs", "right", "wrong"),
    [
        ("randn(16, 40), randn(40, 24)", "x @ y", "cat([x[:16] @ y, 0 * (x[16:] @ y)])"),
        ("randn(16, 40)", "softmax(x, 1)", "softmax(x[:16], 1)[arange(len(x)) % 16]"),
        ("randn(16, 40)", "softmax(x, 1)",
         f"softmax(x.as_strided(x.shape, x.stride(), {AT} // 8 * 8), 1)"),
        ("randn(16, 40)", "softmax(x, 1)",
         f"softmax(x.as_strided(x.shape, (40, 1), {AT}) if x.stride(1) == 1 else x, 1)"),
        ("randn(2, 4, 8, 16)", "softmax(x, 3)",
         f"softmax(x.as_strided((4 * len(x), 8, 16), x.stride()[1:], {AT}).reshape(x.shape), 3)"),
        ("randn(16, 40), randn(16, 40)", "x * y + y",
         "x * (z := y.as_strided(y.shape, x.stride(), y.storage_offset())) + z"),
        ("randn(16, 40)", "x.amax(1)",
         "(x.as_strided((len(x), n), (n, 1)) if (n := x.stride(0)) > 39 else x).amax(1)"),
    ],
    ids=["rows", "repeated rows", "address", "pitch", "heads", "strides of the other", "gaps"],
)  # fmt: skip
def test_what_only_other_inputs_show_is_seen(
    capsys: Any, inputs: str, right: str, wrong: str
) -> None:
    parameters = ", ".join("xy"[: inputs.count("randn")])
    model = f"""
from torch import arange, cat, nn, randn, softmax
class Model(nn.Module):
    def forward(self, {parameters}):
        return {right}
def get_inputs():
    return [{inputs}]
def get_init_inputs():
    return []
"""
    Path("model.py").write_text(model)
    new = model.split("def get_inputs")[0].replace("Model(", "ModelNew(")
    assert _check(capsys, new, "--seeds", "1")[0] == 0
    status, out = _check(capsys, new.replace(right, wrong), "--seeds", "1")
    assert status == 1
    assert "1 wrong" in out


def test_a_module_may_return_numbers_beside_tensors(capsys: Any) -> None:
    model = MODEL.replace(".mean(-1)", ".mean(-1), len(x), 0.5")
    Path("model.py").write_text(model)
    new = model.split("def get_inputs")[0].replace("Model(", "ModelNew(")
    assert _check(capsys, new, "--seeds", "1")[0] == 0
    assert "wanted ('tensor', 1, 0.5)" in _check(capsys, new.replace("len(x)", "7"))[1]


def test_json_has_every_call(capsys: Any) -> None:
    status, out = _check(capsys, NEW, "--json", "--seeds", "1")
    data = json.loads(out)
    assert status == 0
    assert data["right"] is True
    assert {call["status"] for call in data["calls"]} == {"right"}
    assert all(call["margin"]["ratio"] <= 1 for call in data["calls"])


def test_functions_of_modules_and_files_are_taken(capsys: Any) -> None:
    Path("made.py").write_text(
        "import torch\nfrom torch import nn\n"
        "def make():\n    return nn.Sequential(nn.Linear(4, 3), nn.ReLU()), (torch.randn(2, 4),)\n"
        "def fast(x):\n    return x.new_zeros(x.shape[0], 3)\n"
        "def same(x):\n    raise RuntimeError('no kernel')\n"
        "def right(x):\n    torch.manual_seed(0)\n    return make()[0](x).detach().numpy()\n"
    )
    main(["check-module", "made.py:make", "--against", "made:right", "--isolation", "none"])
    assert capsys.readouterr().out.startswith("right: ")
    assert main(["check-module", "made.py:make", "--against", "made:fast"]) == 1
    assert "wrong" in capsys.readouterr().out
    assert main(["check-module", "made:make", "--against", "made.py:same"]) == 1
    assert "it raises RuntimeError: no kernel" in capsys.readouterr().out


def test_what_is_not_certified_is_not_right(capsys: Any) -> None:
    Path("model.py").write_text(MODEL.replace(".mean(-1)", ".sin()"))
    status, out = _check(capsys, NEW.replace(".mean(-1)", ".sin()"))
    assert status == 1
    assert "not certified" in out
    assert "model.py:" in out


DEEP = MODEL.replace(
    "self.linear = nn.Linear(width, 2 * width)",
    "self.linear, self.act = nn.Linear(width, 2 * width), nn.GELU()\n"
    "        self.norm, self.out = nn.LayerNorm(2 * width), nn.Linear(2 * width, 3)",
).replace(
    "torch.nn.functional.gelu(self.linear(x)).mean(-1)",
    "self.out(2 * self.norm(self.act(self.linear(x)))).softmax(-1)",
)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("nn.GELU()", "nn.GELU('tanh')", "act"),
        ("nn.LayerNorm(2 * width)", "nn.LayerNorm(2 * width, 1e-4)", "norm"),
        ("2 * self.norm", "2.001 * self.norm", "out"),
    ],
)
def test_the_first_submodule_that_is_wrong_is_named(
    capsys: Any, old: str, new: str, named: str
) -> None:
    Path("model.py").write_text(DEEP)
    wrong = DEEP.split("def get_inputs")[0].replace("Model(", "ModelNew(").replace(old, new)
    status, out = _check(capsys, wrong)
    assert status == 1
    assert f"\nfirst wrong: {named}: output 0[" in out


def test_a_compiled_module_shows_its_submodules() -> None:
    def change_eps(graph: Any, inputs: Any) -> Any:
        """A wrong compiler: every normalisation is off."""
        for node in graph.graph.nodes:
            if "layer_norm" in str(node.target):
                node.args = tuple(1e-3 if x == 1e-5 else x for x in node.args)
        graph.recompile()
        return graph.forward

    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 2)).eval()
    fast = torch.compile(module, backend=change_eps)
    x = torch.randn(3, 4)
    want = bounds(module, x)
    with torch.no_grad():
        assert want.find_fault(fast(x))
    assert want.find_first_fault(run_modules(fast, [x])).startswith("1: output 0")
    assert not want.find_first_fault(run_modules(module, [x]))
    with torch.no_grad():
        assert want.find_fault(fast(x))  # as before


def test_onnx_runtime_is_an_implementation(capsys: Any) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from conformance.networks.exported import ExportedModule

    Path("model.py").write_text(DEEP)
    assert main(["check-module", "model.py", "--against", "onnxruntime", "--seeds", "1"]) == 0
    assert "15 right" in capsys.readouterr().out
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 4), nn.GELU(), nn.Linear(4, 2)).eval()
    x = torch.randn(3, 4)
    want = bounds(module, x)
    assert not want.find_first_fault(run_modules(ExportedModule(module), [x]))
    module[1].approximate = "tanh"  # the bounds are those of before
    fault = want.find_first_fault(run_modules(ExportedModule(module), [x]))
    assert fault.startswith("1: output 0")


def test_what_an_implementation_does_not_support_is_not_certified(capsys: Any) -> None:
    unsupported = "from conformance import Unsupported\n" + NEW.replace(
        "return torch", "raise Unsupported('no kernel for it')\n        return torch"
    )
    status, out = _check(capsys, unsupported)
    assert status == 1
    assert "not certified" in out
    assert "does not support it: no kernel for it" in out


@pytest.mark.parametrize(
    "arguments",
    [
        ["model.py", "--against", "missing.py"],
        ["model.py", "--against", "model.py"],
        ["model.py", "--against", "missing:fast"],
        ["model.py", "--against", "inductor", "--dtype", "int64"],
        ["model.py", "--against", "inductor", "--seeds", "0"],
    ],
)
def test_usage_errors_end_with_2(arguments: list[str], capsys: Any) -> None:
    assert main(["check-module", *arguments]) == 2
    assert "nn-conformance check-module: " in capsys.readouterr().err


OWN_WORK = """
import math
import numpy as np
import torch
from torch import nn
class ModelNew(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.linear = nn.Linear(width, 2 * width)
    def forward(self, x):
        weight, bias = (p.detach().double().numpy() for p in self.linear.parameters())
        y = np.array([[(row * w).sum() for w in weight] for row in x.double().numpy()])
        y = [[v / 2 * (1 + math.erf(v / math.sqrt(2))) for v in row] for row in y + bias]
        return torch.from_numpy(np.array(y).mean(-1)).to(x.dtype)
"""
KEPT_BY_ADDRESS = (
    OWN_WORK.replace("ModelNew", "Own")
    + """
ANSWERS = {}
class ModelNew(Own):
    def forward(self, x):
        key = x.data_ptr(), x.shape
        if key not in ANSWERS:
            # It holds x, so that no other tensor gets that address by chance.
            ANSWERS[key] = super().forward(x), x
        return ANSWERS[key][0]
"""
)


def test_a_sealed_implementation_that_does_its_own_work_is_right(capsys: Any) -> None:
    status, out = _check(capsys, OWN_WORK, "--isolation", "sealed", "--seeds", "1", "--seed", "5")
    assert status == 0
    assert out.startswith("right: of 15 calls 15 right\n")
    assert out.endswith("seed 5\n")


def test_a_sealed_implementation_that_lets_torch_work_is_named(capsys: Any) -> None:
    options = ("--isolation", "sealed", "--seeds", "1")
    status, out = _check(capsys, NEW, *options, "--json")
    data = json.loads(out)
    assert (status, data["verdict"], data["right"]) == (1, "delegates", False)
    assert {call["status"] for call in data["calls"]} == {"right"}
    assert "aten::addmm" in data["breaches"]["delegates"]
    assert _check(capsys, NEW, *options, "--allow", "aten::addmm")[0] == 0


ADDED = """
import torch
from torch import nn
class Model(nn.Module):
    def forward(self, x):
        return x.sum(1)
def get_inputs():
    return [torch.randn(4, 8)]
def get_init_inputs():
    return []
"""


@pytest.mark.parametrize(
    "work",
    [
        "y.index_put_((places.flatten(),), x.flatten(), accumulate=True)",
        "y.scatter_(0, places.flatten(), x.flatten(), reduce='add')",
    ],
)
def test_a_sum_by_an_operator_that_places_numbers_is_named(capsys: Any, work: str) -> None:
    Path("model.py").write_text(ADDED)
    new = ADDED.split("def get_inputs")[0].replace("Model(", "ModelNew(").replace(
        "return x.sum(1)",
        "places = torch.arange(len(x)).view(-1, 1).expand(x.shape)\n"
        f"        y = x.new_zeros(len(x))\n        {work}\n        return y",
    )  # fmt: skip
    status, out = _check(capsys, new, "--isolation", "sealed", "--seeds", "1")
    assert status == 1
    assert "delegates: aten::" in out
    assert ".accumulate" in out


def test_an_operator_of_another_namespace_does_the_work_only_if_the_module_calls_it() -> None:
    library = torch.library.Library("conformance_test", "FRAGMENT")
    library.define("work(Tensor a) -> Tensor")
    name = "conformance_test::work"
    assert find_delegated([name], [name]) == (name,)
    assert find_delegated(["aten::mm"], [name]) == ()
    assert find_delegated([name], ["aten::mm"]) != ()
    assert kinds_of_own_work(torch.ops.conformance_test.work.default) == {"computes"}


def test_one_buffer_for_all_answers_is_named(capsys: Any) -> None:
    reused = OWN_WORK.replace(
        "return torch.from_numpy(np.array(y).mean(-1)).to(x.dtype)",
        "made = torch.from_numpy(np.array(y).mean(-1)).to(x.dtype)\n"
        "        self.kept = getattr(self, 'kept', made)\n"
        "        if self.kept.shape != made.shape:\n"
        "            return made\n"
        "        return self.kept.copy_(made)",
    )
    status, out = _check(capsys, reused, "--isolation", "sealed", "--seeds", "1", "--json")
    data = json.loads(out)
    assert (status, data["verdict"]) == (1, "changes its answer")
    assert {call["status"] for call in data["calls"]} == {"right"}


def test_an_output_may_be_a_view_where_that_of_the_module_is_one(capsys: Any) -> None:
    model = ADDED.replace("x.sum(1)", "x.sum(1), x.t()")
    Path("model.py").write_text(model)
    own_sum = "torch.from_numpy(x.double().numpy().sum(1)).to(x.dtype), x.t()"
    new = ADDED.split("def get_inputs")[0].replace("Model(", "ModelNew(")
    new = new.replace("x.sum(1)", own_sum)
    status, out = _check(capsys, new, "--isolation", "sealed", "--seeds", "1")
    assert status == 0, out


def test_an_exception_group_is_told_as_one(capsys: Any) -> None:
    raising = OWN_WORK.replace("def forward(self, x):", "def forward(self, x):\n"
        "        raise ExceptionGroup('many', [ValueError('one')])", 1)  # fmt: skip
    status, out = _check(capsys, raising, "--isolation", "sealed", "--seeds", "1")
    assert status == 1
    assert "many" in out


def test_answers_that_are_kept_by_address_are_wrong(capsys: Any) -> None:
    status, out = _check(capsys, KEPT_BY_ADDRESS, "--isolation", "sealed", "--seeds", "1")
    assert status == 1
    assert "1 wrong" in out
