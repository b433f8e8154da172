"""Inductor's C++ kernels, compiled many at once.

Inductor calls the C++ compiler once for each kernel. Of a small kernel's 0.4 CPU-seconds, nearly
all goes into the start of the compiler and into headers. In one translation unit, each further
kernel takes 0.02.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any
from unittest.mock import patch

from torch._inductor.async_compile import AsyncCompile
from torch._inductor.codecache import CppPythonBindingsCodeCache

MAX_SOURCE = 100_000
"""Characters in a translation unit: 3 seconds of compilation, so that none exceeds a time limit."""

_ENTRY = re.compile(r"\bvoid\s+kernel\(")
_BATCH = """
{kernels}

void kernel(int64_t number, uintptr_t address) {{
    const int64_t* arguments = reinterpret_cast<const int64_t*>(address);
    switch (number) {{
{cases}
    }}
}}
"""


class PendingKernel:
    """A kernel that is compiled with others, at the latest when it is first called.

    Args:
        types: C++ types of its arguments, `"const float*"` or `"const int64_t"`.
        source: C++ source of its function `kernel`.
        compile_alone: inductor's own way to compile it.
    """

    def __init__(
        self, types: Sequence[str], source: str, compile_alone: Callable[[], Callable[..., None]]
    ) -> None:
        self.types, self.source, self._compile_alone = types, source, compile_alone
        self._function: Callable[..., None] | None = None

    def use_batch(self, batch: Callable[[int, int], None], number: int) -> None:
        """Call the kernel of a number in a compiled batch from now on."""
        slots = (ctypes.c_int64 * max(len(self.types), 1))()
        address = ctypes.addressof(slots)

        def call(*arguments: Any) -> None:
            for place, argument in enumerate(arguments):
                slots[place] = argument if isinstance(argument, int) else argument.data_ptr()
            batch(number, address)

        self._function = call

    def __call__(self, *arguments: Any) -> None:
        """Run the kernel."""
        if self._function is None:
            self._function = self._compile_alone()
        self._function(*arguments)


@contextmanager
def compile_together() -> Iterator[None]:
    """Compile the kernels of the graphs that are compiled inside, all at once at the end."""
    pending: list[PendingKernel] = []
    original = AsyncCompile.cpp_pybinding

    def cpp_pybinding(self: AsyncCompile, types: list[str], source: str) -> Any:
        def compile_alone() -> Any:
            return original(self, types, source)

        passes_pointers = all(x.endswith(("*", "int64_t")) for x in types)
        if not passes_pointers or len(_ENTRY.findall(source)) != 1:
            return compile_alone()
        pending.append(PendingKernel(types, source, compile_alone))
        return pending[-1]

    with patch.object(AsyncCompile, "cpp_pybinding", cpp_pybinding):
        yield
    for batch in _split(pending):
        # If the compiler refuses one of them, each is compiled alone, and its own call fails.
        with suppress(Exception):
            _compile_batch(batch)


def _split(kernels: Sequence[PendingKernel]) -> Iterator[list[PendingKernel]]:
    """Split kernels into groups of up to `MAX_SOURCE` characters; a larger kernel is alone."""
    group: list[PendingKernel] = []
    size = 0
    for kernel in kernels:
        size += len(kernel.source)
        if group and size > MAX_SOURCE:
            yield group
            group, size = [], len(kernel.source)
        group.append(kernel)
    if group:
        yield group


def _compile_batch(kernels: Sequence[PendingKernel]) -> None:
    """Compile kernels in one translation unit, with one function that calls them by number."""
    sources, cases = [], []
    for number, kernel in enumerate(kernels):
        sources.append(_ENTRY.sub(f"void kernel_{number}(", kernel.source))
        arguments = ", ".join(f"({x})arguments[{k}]" for k, x in enumerate(kernel.types))
        cases.append(f"        case {number}: kernel_{number}({arguments}); break;")
    source = _BATCH.format(kernels="\n".join(sources), cases="\n".join(cases))
    batch = CppPythonBindingsCodeCache.load_pybinding(["int64_t", "uintptr_t"], source)
    for number, kernel in enumerate(kernels):
        kernel.use_batch(batch, number)
