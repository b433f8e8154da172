"""torch.compile with inductor: every layer as one compiled graph, forward and backward.

Shapes are static, and `fullgraph=True`: a graph break ends the call, which counts as Unsupported.
`fallbacks()` reports a call in which no compiled graph ran. Kernels that inductor itself takes from
ATen (convolution, matrix product) do not count as a fallback.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch._dynamo
import torch._inductor.config
from torch._inductor.compile_fx import compile_fx

from conformance.backends.module import ModuleBackend, ModuleLayer
from conformance.model.case import Call, Unsupported

# Compiled graphs until dynamo is reset, because each takes memory and adds guards to check.
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


class _CountingInductor:
    """Inductor that counts its compiled graphs and their runs."""

    def __init__(self) -> None:
        self.compiled = self.runs = 0

    def __call__(self, graph: Any, inputs: Sequence[Any]) -> Callable[..., Any]:
        """Compile a graph into a function that counts its runs."""
        compiled: Any = compile_fx(graph, inputs)
        self.compiled += 1

        def run(*arguments: Any) -> Any:
            self.runs += 1
            return compiled(*arguments)

        return run


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
        has_run = self._inductor.runs > runs_before
        self._fallbacks = () if has_run else ("the whole call, no compiled graph ran",)
        return result

    def fallbacks(self) -> Sequence[str]:
        """The parts of the last call that did not run compiled."""
        return self._fallbacks


class CompileBackend(ModuleBackend):
    """torch's layers, compiled by inductor."""

    compile_seconds = 1.5
    budget = "700"

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._inductor, self._graphs_at_reset = _CountingInductor(), 0
        _configure()

    def info(self) -> Mapping[str, str]:
        """Facts about torch, the C++ compiler, and the options of compilation."""
        options = "inductor, fullgraph=True, dynamic=False, allow_rnn=True"
        return {**super().info(), "compiler": _find_compiler(), "compile": options}

    def devices(self) -> Sequence[str]:
        """torch's devices.

        Raises:
            RuntimeError: if there is no C++ compiler, which inductor needs.
        """
        _find_compiler()
        return super().devices()

    def build(self, call: Call) -> CompiledLayer:
        """Build the module or function; its first call compiles it."""
        if self._inductor.compiled - self._graphs_at_reset > MAX_GRAPHS:
            torch._dynamo.reset()
            self._graphs_at_reset = self._inductor.compiled
        layer = super().build(call)
        compiled = torch.compile(
            layer.function, fullgraph=True, dynamic=False, backend=self._inductor
        )
        return CompiledLayer(call, layer.module, compiled, self._inductor)


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
