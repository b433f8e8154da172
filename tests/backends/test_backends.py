"""The registry of backends, the two base classes, and backends that break the contract."""

from __future__ import annotations

import re
import sys
import types
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from support import SpoiledBackend

import conformance
from conformance import Backend, Call, Layer, Unsupported
from conformance.backends import FunctionBackend, ModuleBackend, implements, registry
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.backends.capabilities import devices_of, info_of
from conformance.backends.guard import BackendError, unguarded_backend
from conformance.items.planning import Item
from conformance.known.entry import shipped_entries
from conformance.model.case import Verdict
from conformance.run.engine import MAX_DECLINED, Engine

pytestmark = pytest.mark.in_fork


def _verdict(backend: Any, layer: str = "Linear", check: str = "values", **facts: Any) -> Verdict:
    item = Item(layer, check, facts.get("dtype", "float32"), facts.get("device", "cpu"))
    return Engine(backend, facts.get("examples", 25), 0).run(item)


@pytest.mark.parametrize(
    ("backend", "package"),
    [
        ("jax", "jax"),
        ("keras", "keras"),
        ("mlx", "mlx"),
        ("onnx-reference", "onnx"),
        ("onnxruntime", "onnxruntime"),
        ("openvino", "openvino"),
        ("openvino-f32", "openvino"),
    ],
)
def test_known_failures_of_a_framework_say_of_which_versions(backend: str, package: str) -> None:
    entries = shipped_entries(backend)
    assert entries
    assert [entry.reason for entry in entries if package not in entry.versions] == []


# --- registry ---


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    made = types.ModuleType("plug_in_under_test")
    monkeypatch.setitem(__import__("sys").modules, made.__name__, made)
    return made


def test_torch_is_an_ordinary_entry_point() -> None:
    assert "torch" in registry.available()
    assert unguarded_backend(registry.load("torch")) is torch_backend


def test_attribute_may_be_an_instance_a_class_or_a_factory(module: types.ModuleType) -> None:
    class Mine(FunctionBackend):
        name = "mine"

    module.instance, module.cls, module.factory = Mine(), Mine, lambda: Mine()  # type: ignore[attr-defined]
    for attribute in ("instance", "cls", "factory"):
        assert registry.load(f"plug_in_under_test:{attribute}").name == "mine"


def _broken_factory() -> Any:
    raise RuntimeError("no licence")


@pytest.mark.parametrize(
    ("attribute", "value", "message"),
    [
        ("missing", None, "has no attribute"),
        ("factory", _broken_factory, "cannot be created: RuntimeError: no licence"),
        ("number", 3, "is not a backend: .* int has no name, info, devices, build"),
        (
            "nameless",
            SimpleNamespace(name="", info=dict, devices=list, build=int),
            "expected name to be a printable string",
        ),
        (
            "static",
            SimpleNamespace(name="x", info=dict, devices=["cpu"], build=int),
            "expected devices to be a method",
        ),
    ],
)
def test_what_is_no_backend_is_refused_by_name(
    module: types.ModuleType, attribute: str, value: Any, message: str
) -> None:
    if attribute != "missing":
        setattr(module, attribute, value)
    with pytest.raises(BackendError, match=message):
        registry.load(f"plug_in_under_test:{attribute}")


def test_unknown_names_and_failing_imports_are_clear() -> None:
    with pytest.raises(BackendError, match="did you mean 'torch'"):
        registry.load("torhc")
    with pytest.raises(BackendError, match="fails to import: ModuleNotFoundError"):
        registry.load("no.such.module:backend")


@pytest.mark.parametrize(("on_path", "where"), [(True, "and in"), (False, "but not in")])
def test_a_missing_package_is_reported_with_the_places_where_python_looked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_path: bool, where: str
) -> None:
    monkeypatch.chdir(tmp_path)
    kept = [path for path in sys.path if path]
    monkeypatch.setattr(sys, "path", [*([str(tmp_path)] if on_path else []), *kept])
    message = (
        rf"looked in its installed packages, {where} {re.escape(str(tmp_path))}: install "
        r"my_package, or run `python -m pytest` in the folder that contains it"
    )
    with pytest.raises(BackendError, match=message):
        registry.load("my_package.conformance:backend")
    (tmp_path / "needing.py").write_text("import absent_package")
    if on_path:  # what the backend itself imports is another matter
        with pytest.raises(BackendError, match=r"No module named 'absent_package'$"):
            registry.load("needing:backend")


def test_a_missing_package_is_named_with_the_extra_that_brings_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    metadata = SimpleNamespace(get_all=lambda *_: ["absent"])

    def load() -> Any:
        raise ModuleNotFoundError("No module named 'absent_core'", name="absent_core")

    point = SimpleNamespace(
        name="absent",
        value="m:b",
        load=load,
        dist=SimpleNamespace(name="some-dist", metadata=metadata),
    )
    monkeypatch.setattr(registry, "available", lambda: {"absent": point, "other": point})
    with pytest.raises(BackendError, match=r"'absent_core', .* pip install 'some-dist\[absent\]'"):
        registry.load("absent")
    with pytest.raises(BackendError, match=r"entry point 'other' .* fails to import"):
        registry.load("other")


@pytest.mark.parametrize("said", ["cpu", [3], None, [], RuntimeError("driver")])
def test_devices_must_be_a_list_of_names(said: Any) -> None:
    def devices() -> Any:
        if isinstance(said, Exception):
            raise said
        return said

    with pytest.raises(BackendError, match="devices"):
        devices_of(SimpleNamespace(name="x", devices=devices))  # type: ignore[arg-type]


def test_info_must_be_a_mapping() -> None:
    with pytest.raises(BackendError, match="expected info"):
        info_of(SimpleNamespace(name="x", info=lambda: 3))  # type: ignore[arg-type]


def test_shipped_bases_satisfy_the_protocols() -> None:
    assert isinstance(torch_backend, Backend)
    assert isinstance(FunctionBackend("f"), Backend)
    call = Call("Linear", {"in_features": 1, "out_features": 1}, {}, "float32", "cpu")
    assert isinstance(torch_backend.build(call), Layer)
    assert set(conformance.__all__) >= {"Backend", "Layer", "Call", "Unsupported", "Numerics"}


# --- backends that break the contract ---


class Faulty(SpoiledBackend):
    """torch's answers, with one member replaced."""

    def __init__(self, **members: Any) -> None:
        super().__init__("faulty", lambda y, inputs: y)
        self._members = members

    def build(self, call: Call) -> Any:
        if "build" in self._members:
            return self._members["build"](call)
        layer = super().build(call)
        for name, value in self._members.items():
            setattr(layer, name, types.MethodType(value, layer))
        return layer


def _raising_function(error: BaseException) -> Any:
    def function(*arguments: Any, **keywords: Any) -> Any:
        raise error

    return function


class _SharedBuffer:
    def __init__(self) -> None:
        self.buffer = np.zeros(1)

    def __call__(self, layer: Any, native: Any) -> np.ndarray:
        self.buffer = native.double().numpy()
        return self.buffer


@pytest.mark.parametrize(
    ("members", "check", "message"),
    [
        ({"build": _raising_function(KeyError("odd"))}, "values", "build raised KeyError"),
        ({"build": _raising_function(SystemExit(3))}, "values", "build raised SystemExit"),
        ({"build": lambda call: None}, "values", "build returned NoneType: expected a Layer"),
        (
            {"put": _raising_function(OSError("full"))},
            "values",
            "accepted, then failed: put raised OSError",
        ),
        ({"get": lambda self, y: y.tolist()}, "values", "get returned (list|float): expected"),
        ({"get": lambda self, y: np.array("x")}, "values", "expected numbers"),
        ({"get": lambda self, y: y.double().numpy()[..., :-1]}, "values", "shape of output"),
        ({"dtype": lambda self, y: "float64"}, "shape", "dtype of output\n  got    'float64'"),
        ({"device": lambda self, y: "cuda:0"}, "shape", "device of output\n  got    'cuda:0'"),
    ],
)
def test_broken_contract_is_a_failed_verdict(
    members: dict[str, Any], check: str, message: str
) -> None:
    import re

    verdict = _verdict(Faulty(**members), check=check)
    assert verdict.status == "failed"
    assert verdict.message is not None
    assert re.search(message, verdict.message)
    assert "Linear(" in verdict.message


def test_wrong_number_of_outputs_is_named() -> None:
    doubled = SpoiledBackend("two", lambda y, inputs: y)
    doubled.build = lambda call: _TwoOutputs(torch_backend.build(call))  # type: ignore[method-assign,assignment,return-value]
    verdict = _verdict(doubled, "LSTM")
    assert verdict.status == "failed"
    assert "got 2 outputs, wanted 3" in str(verdict.message)


class _TwoOutputs:
    def __init__(self, layer: Any) -> None:
        self._layer = layer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._layer, name)

    def __call__(self, *inputs: Any, **keywords: Any) -> Any:
        return self._layer(*inputs, **keywords)[:2]


def test_get_may_hand_out_one_buffer_since_the_suite_copies_it_at_once() -> None:
    class Aliasing(FunctionBackend):
        name = "aliasing"
        buffer = np.zeros(1 << 20)

        def get(self, native: Any) -> np.ndarray:
            self.buffer[:] = np.nan
            view = self.buffer[: native.size].reshape(native.shape)
            view[...] = native
            return view

        @implements("Linear", ignores=("in_features", "out_features", "bias"))
        def linear(self, state: Any, input: Any) -> Any:
            y = input @ state["weight"].T
            return y + state["bias"] if "bias" in state else y

    for check in ("shape", "values", "repeat"):
        verdict = _verdict(Aliasing(), check=check)
        assert verdict.status == "passed", verdict.message


def test_a_backend_that_overwrites_its_inputs_does_not_harm_the_cases() -> None:
    class Vandal(FunctionBackend):
        name = "vandal"

        def put(self, array: np.ndarray, layout: str, dtype: str, device: str) -> Any:
            array[...] = 7.0
            return super().put(array, layout, dtype, device)

        @implements("Linear", ignores=("in_features", "out_features", "bias"))
        def linear(self, state: Any, input: Any) -> Any:
            return input @ state["weight"].T

    torch_verdict = _verdict(torch_backend)
    assert _verdict(Vandal()).status == "failed"
    assert _verdict(torch_backend).comparisons == torch_verdict.comparisons > 0


def test_unsupported_everywhere_is_no_pass_and_keeps_its_reasons() -> None:
    verdict = _verdict(Faulty(build=_raising_function(Unsupported("bias=True"))))
    assert verdict.status == "unsupported"
    assert verdict.examples.unsupported == {"bias=True": MAX_DECLINED}
    assert verdict.examples.checked == 0


def test_a_check_that_compared_nothing_is_unchecked() -> None:
    def empty_output(y: Any, inputs: Any) -> Any:
        if y.numel():
            raise Unsupported("numbers")
        return y

    assert (
        _verdict(SpoiledBackend("silent", empty_output), "functional.bilinear").status
        == "unchecked"
    )


@pytest.mark.parametrize(
    "odd", [{"unit_roundoff": np.inf}, {"unit_roundoff": np.nan}, {"ulp": {"tanh": 1e9}}]
)
def test_numerics_with_which_any_answer_would_be_right_are_refused(odd: Any) -> None:
    with pytest.raises(ValueError, match="expected a number from 0 to"):
        conformance.Numerics(**odd)
    backend, original = SpoiledBackend("silent", lambda y, inputs: y), conformance.Numerics()
    for name, value in odd.items():
        object.__setattr__(original, name, value)
    backend.numerics = lambda dtype: original  # type: ignore[method-assign]
    verdict = _verdict(backend)
    assert verdict.status == "failed"
    assert "expected valid numbers" in str(verdict.message)


def test_numerics_must_be_numerics() -> None:
    backend = SpoiledBackend("odd", lambda y, inputs: y)
    backend.numerics = lambda dtype: 1e-3  # type: ignore[method-assign]
    verdict = _verdict(backend)
    assert verdict.status == "failed"
    assert "expected a conformance.Numerics" in str(verdict.message)


def test_a_failure_that_does_not_repeat_is_reported_as_such() -> None:
    calls = iter(range(10**9))

    def fail_once(y: Any, inputs: Any) -> Any:
        return 2 * y + 1 if y.numel() and next(calls) == 3 else y

    verdict = _verdict(SpoiledBackend("flaky", fail_once))
    assert verdict.status == "failed"
    assert "did not fail again" in str(verdict.message)


# --- the bases ---


def test_module_backend_gives_no_credit_for_torchs_code() -> None:
    backend = ModuleBackend("mine", nn=SimpleNamespace(Linear=torch.nn.Linear))
    assert _verdict(backend, "Linear").status == "passed"
    for layer in ("Conv1d", "functional.linear"):
        verdict = _verdict(backend, layer)
        assert verdict.status == "unsupported"
        assert f"layer {layer}" in str(verdict.message)
    functional = ModuleBackend("mine", functional=torch.nn.functional)
    assert _verdict(functional, "functional.bilinear").status == "passed"
    assert _verdict(functional, "Linear").status == "unsupported"


def test_module_backend_places_modules_that_take_no_device_or_dtype() -> None:
    class Plain(torch.nn.Module):
        def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(out_features, in_features))
            self.bias = torch.nn.Parameter(torch.zeros(out_features)) if bias else None

        def forward(self, input: Any) -> Any:
            return torch.nn.functional.linear(input, self.weight, self.bias)

    backend = ModuleBackend("plain", nn=SimpleNamespace(Linear=Plain))
    for dtype in ("float64", "bfloat16"):
        assert _verdict(backend, dtype=dtype).status == "passed"


def test_wrap_is_applied_to_every_module() -> None:
    class Negated(ModuleBackend):
        def wrap(self, module: torch.nn.Module) -> Any:
            return lambda *inputs: -module(*inputs)

    assert _verdict(Negated("negated")).status == "failed"
    # The object that replaces the module is transformed as well.
    verdict = _verdict(Negated("negated"), "AdaptiveLogSoftmaxWithLoss.log_prob")
    assert verdict.status == "failed"
    assert "wrong of" in verdict.message


class _OlderBatchNorm(torch.nn.BatchNorm1d):
    """A BatchNorm1d of an older torch, without the argument `bias`."""

    def __init__(self, num_features: int, device: Any = None, dtype: Any = None) -> None:
        super().__init__(num_features, device=device, dtype=dtype)


@pytest.mark.parametrize(
    ("version", "home", "declined"),
    [
        ("2.3.1", "torch.nn.modules.batchnorm", True),
        ("2.13.0", "torch.nn.modules.batchnorm", False),
        ("2.3.1", "somebody.else", False),
    ],
)
def test_an_argument_that_an_older_torch_lacks_is_declined(
    monkeypatch: pytest.MonkeyPatch, version: str, home: str, declined: bool
) -> None:
    monkeypatch.setattr(torch, "__version__", version)
    monkeypatch.setattr(_OlderBatchNorm, "__module__", home)
    call = Call("BatchNorm1d", {"num_features": 2, "bias": True}, {}, "float32", "cpu", False, {})
    backend = ModuleBackend("older", nn=SimpleNamespace(BatchNorm1d=_OlderBatchNorm))
    if declined:
        with pytest.raises(Unsupported, match=r"bias: torch .* has no such argument"):
            backend.build(call)
    else:
        with pytest.raises(TypeError, match="unexpected keyword argument 'bias'"):
            backend.build(call)
    unknown_argument = replace(call, arguments={"num_features": 2, "odd": True})
    with pytest.raises(TypeError, match="unexpected keyword argument 'odd'"):
        backend.build(unknown_argument)


def test_function_backend_never_swallows_an_argument() -> None:
    class Swallower(FunctionBackend):
        name = "swallower"

        @implements("Conv1d", ignores=("in_channels", "out_channels", "bias", "kernel_size"))
        def conv(self, state: Any, input: Any, stride: Any = 1, **others: Any) -> Any:
            assert not others
            step = stride if isinstance(stride, int) else stride[0]
            kernel = state["weight"].shape[-1]
            length = (input.shape[-1] - kernel) // step + 1
            return np.zeros((*input.shape[:-2], len(state["weight"]), length), np.float32)

    verdict = _verdict(Swallower(), "Conv1d", "shape", examples=60)
    assert verdict.status == "passed"
    reasons = set(verdict.examples.unsupported)
    assert any(reason.startswith("padding=") for reason in reasons)
    assert any(reason.startswith("dilation=") for reason in reasons)


def test_implements_wants_names() -> None:
    with pytest.raises(TypeError, match="expected names of layers"):
        implements(len)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="expected names of layers"):
        implements()


def test_function_backend_identity_may_ignore_everything() -> None:
    class Echo(FunctionBackend):
        name = "echo"

        @implements("Identity", ignores=("everything",))
        def identity(self, state: Any, input: Any) -> Any:
            return input

    assert _verdict(Echo(), "Identity", examples=60).status == "passed"


def test_float16_without_kernels_is_declined_not_failed() -> None:
    class Old(torch.nn.Linear):
        def forward(self, input: Any) -> Any:
            raise RuntimeError("\"addmm_impl_cpu_\" not implemented for 'Half'")

    verdict = _verdict(ModuleBackend("old", nn=SimpleNamespace(Linear=Old)), dtype="float16")
    assert verdict.status == "unsupported"
    assert "not implemented for" in str(verdict.message)
