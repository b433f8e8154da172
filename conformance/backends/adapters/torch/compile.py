"""torch.compile with inductor: every layer as one compiled graph, forward and backward.

`torch-compile` compiles for static shapes, `torch-compile-dynamic` for shapes that may change. With
`fullgraph=True` a graph break ends the call, which counts as Unsupported.
`fallbacks()` reports a call in which no compiled graph ran. Kernels that inductor itself takes from
ATen (convolution, matrix product) do not count as a fallback.

In a dry run, graphs return zeros, and the C++ kernels of all graphs are compiled together.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch._dynamo
import torch._inductor.config
from torch._inductor.compile_fx import compile_fx, compile_fx_inner

from conformance.backends.adapters.torch import initialize_autograd
from conformance.backends.adapters.torch.kernel_batch import compile_together
from conformance.backends.module import ModuleBackend, ModuleLayer
from conformance.model.case import Call, Unsupported

# Compiled graphs after which dynamo is reset at the next layer: each takes memory, and adds guards
# to check.
MAX_GRAPHS = 400
# Beyond its own limit of 8 recompilations, torch runs a call uncompiled, or refuses it.
_NO_LIMIT = 1_000_000


def _configure() -> None:
    """Let dynamo compile recurrent modules, recompile without a limit, and keep graphs."""
    config = torch._dynamo.config
    config.allow_rnn = True
    config.recompile_limit = config.accumulated_recompile_limit = _NO_LIMIT
    # torch's way to allow a second backward pass: donated buffers rule it out.
    torch._functorch.config.donated_buffer = False
    # The workers of xdist already use all cores.
    torch._inductor.config.compile_threads = 1
    # After each compilation torch flushes the CPU's caches to time the guards: 26 ms for a log.
    if hasattr(torch._dynamo.guards, "profile_guard_manager"):
        torch._dynamo.guards.profile_guard_manager = lambda *arguments: 0.0


class _CountingInductor:
    """Inductor that counts its compiled graphs and their runs.

    While `returns_zeros` is set, compiled graphs, forward and backward, do not run.
    """

    def __init__(self) -> None:
        self.compiled = self.runs = 0
        self.returns_zeros = False

    def __repr__(self) -> str:
        """The name of the compiler, which dynamo's messages quote."""
        return "inductor"

    def __call__(self, graph: Any, inputs: Sequence[Any]) -> Callable[..., Any]:
        """Compile a graph into a function that counts its runs."""
        compiled: Any = compile_fx(graph, inputs, inner_compile=self._compile_inner)
        self.compiled += 1

        def run(*arguments: Any) -> Any:
            self.runs += 1
            return compiled(*arguments)

        return run

    def _compile_inner(self, graph: Any, inputs: Sequence[Any], **options: Any) -> Any:
        """Compile a graph of ATen operators, forward or backward."""
        compiled: Any = compile_fx_inner(graph, inputs, **options)
        (outputs,) = graph.graph.output_node().args

        def run(arguments: list[Any]) -> Any:
            if not self.returns_zeros:
                return compiled(arguments)
            arguments.clear()
            return [
                _make_zeros(x.meta["val"] if isinstance(x, torch.fx.Node) else x) for x in outputs
            ]

        run._boxed_call = True  # type: ignore[attr-defined]
        return run


def _make_zeros(like: Any) -> Any:
    """Zeros with the shape and strides of a tensor without memory; anything else as it is."""
    if not isinstance(like, torch.Tensor):
        return like
    size = 1 + sum((n - 1) * stride for n, stride in zip(like.shape, like.stride(), strict=True))
    memory = torch.zeros(max(size, 0), dtype=like.dtype, device=like.device)
    return memory.as_strided(like.shape, like.stride())


class CompiledLayer(ModuleLayer):
    """A layer whose calls run compiled.

    Args:
        call, module, function: see `ModuleLayer`; the function is compiled.
        inductor: counts the runs of compiled graphs.
    """

    def __init__(
        self,
        call: Call,
        module: torch.nn.Module | None,
        function: Callable[..., Any],
        inductor: _CountingInductor,
    ) -> None:
        super().__init__(call, module, function)
        self._inductor = inductor
        self._fallbacks: tuple[str, ...] = ()

    def _forward(self, *inputs: Any, **keywords: Any) -> Any:
        if "lengths" in keywords:
            raise Unsupported("lengths: shapes that depend on data")
        runs_before = self._inductor.runs
        try:
            result = super()._forward(*inputs, **keywords)
        except torch._dynamo.exc.Unsupported as error:
            reason = str(error).splitlines()[0]
            # An exception that the traced code raises is the layer's own refusal.
            if reason.startswith("Observed exception"):
                raise
            raise Unsupported(f"graph break: {reason}") from error
        except torch._dynamo.exc.UserError as error:
            if "data-dependent expression" not in str(error):
                raise
            raise Unsupported("graph break: control flow that depends on data") from error
        has_run = self._inductor.runs > runs_before
        self._fallbacks = () if has_run else ("the whole call, no compiled graph ran",)
        return result

    def fallbacks(self) -> Sequence[str]:
        """The parts of the last call that did not run compiled."""
        return self._fallbacks


class CompileBackend(ModuleBackend):
    """torch's layers, compiled by inductor.

    Args:
        base: the backend whose known failures it inherits.
        dynamic: whether sizes are symbols in the compiled graphs.
        less_optimized: backends that optimise less.
    """

    compile_seconds = 1.5  # of a call that no dry run has compiled
    budget = "1200"
    script_printer = "conformance.diagnosis.script_torch:CompiledPrinter"

    def __init__(
        self,
        name: str,
        base: str = "torch",
        less_optimized: tuple[str, ...] = ("torch-decomposed",),
        *,
        dynamic: bool = False,
    ) -> None:
        super().__init__(name)
        # Not by the constructor: generated code stores fewer intermediate results than torch does.
        self.base, self.less_optimized, self.dynamic = base, less_optimized, dynamic
        self._inductor, self._graphs_at_reset = _CountingInductor(), 0
        self._layer = ""
        _configure()
        initialize_autograd()

    def info(self) -> Mapping[str, str]:
        """Facts about torch, the C++ compiler, and the options of compilation."""
        options = f"inductor, fullgraph=True, dynamic={self.dynamic}, allow_rnn=True"
        return {**super().info(), "compiler": _find_compiler(), "compile": options}

    def devices(self) -> Sequence[str]:
        """torch's devices.

        Raises:
            RuntimeError: if there is no C++ compiler, which inductor needs.
        """
        _find_compiler()
        return super().devices()

    def build(self, call: Call) -> CompiledLayer:
        """Build the module or function; its first call compiles it, unless a dry run has."""
        # Not within a layer, whose graphs of a dry run are still to run.
        if call.layer != self._layer:
            self._layer = call.layer
            if self._inductor.compiled - self._graphs_at_reset > MAX_GRAPHS:
                torch._dynamo.reset()
                self._graphs_at_reset = self._inductor.compiled
        layer = super().build(call)
        compiled = torch.compile(
            layer.function, fullgraph=True, dynamic=self.dynamic, backend=self._inductor
        )
        return CompiledLayer(call, layer.module, compiled, self._inductor)

    def dry_run(self, make_calls: Callable[[], None]) -> None:
        """Compile the graphs of calls without running them."""
        self._inductor.returns_zeros = True
        try:
            with compile_together():
                make_calls()
        finally:
            self._inductor.returns_zeros = False


def _find_compiler() -> str:
    """Path of the C++ compiler that inductor will call."""
    for name in (os.environ.get("CXX"), "g++", "clang++"):
        if name and (path := shutil.which(name)):
            return path
    raise RuntimeError(
        "torch.compile generates C++ and needs a compiler: no g++ or clang++ on the path, and none "
        "named by the environment variable CXX"
    )


backend = CompileBackend("torch-compile")
dynamic = CompileBackend(
    "torch-compile-dynamic", "torch-compile", ("torch-compile", "torch-decomposed"), dynamic=True
)
