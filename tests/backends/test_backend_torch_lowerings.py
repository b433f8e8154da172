"""The backend torch-compile: wrong lowerings and wrong generated code fail, also in dry runs."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
import torch
import torch._dynamo
import torch._inductor.config
from support import verdict, with_argument
from torch._inductor.async_compile import AsyncCompile
from torch._inductor.codegen.cpp import CppOverrides, CppVecOverrides
from torch._inductor.lowering import lowerings

from conformance.backends.adapters.torch import kernel_batch
from conformance.backends.adapters.torch.compile import CompileBackend
from conformance.backends.adapters.torch.kernel_batch import compile_together
from conformance.items.planning import Item
from conformance.run.engine import Engine

pytestmark = [
    pytest.mark.in_fork,
    pytest.mark.skipif(
        not any(map(shutil.which, ("g++", "clang++"))), reason="inductor needs a C++ compiler"
    ),
]

aten = torch.ops.aten


@pytest.fixture
def compiled() -> Iterator[CompileBackend]:
    """The backend without inductor's cache of graphs, which does not see a changed lowering."""
    options = {"compile_threads": 1, "cpp.vec_isa_ok": True, "fx_graph_cache": False}
    with torch._inductor.config.patch(options):
        yield CompileBackend("torch-compile")
    torch._dynamo.reset()


# --- kernels compiled together ---


def test_a_dry_run_compiles_the_kernels_of_all_its_calls_at_once(
    compiled: CompileBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    compile_batch = kernel_batch._compile_batch

    def count(kernels: Any) -> None:
        sizes.append(len(kernels))
        compile_batch(kernels)

    monkeypatch.setattr(kernel_batch, "_compile_batch", count)
    item_verdict = verdict(compiled, "LayerNorm", "values", examples=20)
    assert item_verdict.status == "passed", item_verdict.message
    assert len(sizes) == 1
    assert sizes[0] > 5


def test_nothing_runs_in_a_dry_run(compiled: CompileBackend) -> None:
    function = torch.compile(torch.exp, fullgraph=True, backend=compiled._inductor)
    x = torch.ones(3, requires_grad=True)
    seen: list[Any] = []

    def call() -> None:
        y = function(x)
        y.sum().backward()
        seen.extend((y.tolist(), x.grad.tolist()))  # type: ignore[union-attr]
        x.grad = None

    compiled.dry_run(call)
    call()
    e = pytest.approx(2.7182817)
    assert seen == [[0.0] * 3, [0.0] * 3, [e] * 3, [e] * 3]


def test_a_kernel_that_does_not_compile_fails_its_own_call_only() -> None:
    right = '#include <cstdint>\nextern "C" void kernel(float* x) { x[0] = 3; }'
    with compile_together():
        kernels = [AsyncCompile().cpp_pybinding(["float*"], x) for x in (right, right + " x")]
    x = torch.zeros(1)
    kernels[0](x)
    assert x.item() == 3
    with pytest.raises(Exception, match="C\\+\\+ compile error"):
        kernels[1](x)


def test_a_batch_has_a_limited_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_batch, "MAX_SOURCE", 5)
    kernels: Any = [kernel_batch.PendingKernel((), "x" * n, lambda: print) for n in (2, 3, 1, 9, 4)]
    sizes = [[len(x.source) for x in batch] for batch in kernel_batch._split(kernels)]
    assert sizes == [[2, 3], [1], [9], [4]]


# --- wrong lowerings, and wrong generated code ---


def _fails(backend: CompileBackend, layer: str, check: str) -> bool:
    """Whether a case fails at the smoke profile; nothing is shrunk, which takes a minute."""
    engine, item = Engine(backend, 40, 0), Item(layer, check, "float32", "cpu")
    return any(engine.outcome(item, case).status == "failed" for case in engine.cases(item))


def _replaced(change: Callable[[Any], Any]) -> Callable[..., Any]:
    """Change the result of a lowering."""
    return lambda original: lambda *arguments, **options: change(original(*arguments, **options))


def _scaled(factor: float) -> Callable[..., Any]:
    """Multiply the result of a lowering."""
    return _replaced(lambda x: lowerings[aten.mul.Tensor](x, factor))


LOWERINGS: dict[str, tuple[Any, str, str, Callable[..., Any]]] = {
    "average of 1.001 times the elements": (
        aten.avg_pool2d.default, "AvgPool2d", "values", _scaled(1.001),
    ),
    "mean of all": (aten.mean.default, "MSELoss", "values", _scaled(1.001)),
    "gradient of an average": (
        aten.avg_pool2d_backward.default, "AvgPool2d", "gradients", _scaled(0.5),
    ),
    "adaptive average": (
        aten._adaptive_avg_pool2d.default, "AdaptiveAvgPool2d", "values", _scaled(1.0001),
    ),
    "square": (aten.pow.Tensor_Scalar, "MSELoss", "values", with_argument(1, 1)),
    "variance with Bessel's correction": (
        aten.var_mean.correction, "LayerNorm", "values",
        lambda original: lambda *a, **k: original(*a, **{**k, "correction": 1}),
    ),
    "rows of an embedding": (
        aten.embedding.default, "Embedding", "values", _scaled(2.0),
    ),
    "maximum of a row": (
        aten.amax.default, "Softmax", "values", _scaled(0.0),
    ),
    "sigmoid": (aten.sigmoid.default, "Sigmoid", "values", _scaled(1.00001)),
    "tanh": (aten.tanh.default, "Tanh", "values", _scaled(0.99999)),
    "error function": (aten.erf.default, "GELU", "values", _scaled(1.0001)),
    "logarithm": (aten.log1p.default, "Softplus", "values", _scaled(1.00001)),
}  # fmt: skip


def _some_nightly(names: Iterable[str]) -> list[Any]:
    """The first two names; the others are for the night."""
    return [
        pytest.param(name, marks=[pytest.mark.nightly] if k > 1 else [])
        for k, name in enumerate(names)
    ]


@pytest.mark.parametrize("name", _some_nightly(LOWERINGS))
def test_a_wrong_lowering_is_caught(
    name: str, compiled: CompileBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator, layer, check, change = LOWERINGS[name]
    monkeypatch.setitem(lowerings, operator, change(lowerings[operator]))
    assert _fails(compiled, layer, check)


CODE: dict[str, tuple[str, str, str, str]] = {
    "relu, vectorised": ("vec", "relu", "ReLU", "{0}"),
    "relu, the rest of a vector": ("scalar", "relu", "ReLU", "{0}"),
    "minimum of both is the maximum": ("vec", "minimum", "Hardtanh", "at::vec::maximum({0}, {1})"),
    "sigmoid, vectorised": ("vec", "sigmoid", "Sigmoid", "{0}"),
    "exponential": ("vec", "exp", "ELU", "({0}.exp() * decltype({0})(1.0001))"),
    "where, vectorised, the other way": ("vec", "where", "LeakyReLU", "{2}"),
    "where, the rest of a vector": ("scalar", "where", "LeakyReLU", "{1}"),
    "reciprocal square root": ("scalar", "rsqrt", "BatchNorm1d", "(1 / ({0}))"),
}


@pytest.mark.parametrize("name", _some_nightly(CODE))
def test_wrong_generated_code_is_caught(
    name: str, compiled: CompileBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    form, operation, layer, code = CODE[name]
    overrides = CppVecOverrides if form == "vec" else CppOverrides
    monkeypatch.setattr(overrides, operation, staticmethod(code.format))
    assert _fails(compiled, layer, "values")
