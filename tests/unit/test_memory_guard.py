"""The memory guard ends a kernel at its first access beyond its operands or results."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conformance.reports.results import read
from support import install_backends_module, run_refused_session, run_session

from conformance.backends.poison import poisoned
from conformance.commands.cli import main
from conformance.commands.replay import replay
from conformance.isolation import guard_library
from conformance.isolation.guard_library import build_library, preloaded
from conformance.model.usage_error import UsageError

HAS_COMPILER = any(map(shutil.which, guard_library.COMPILERS))
pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not HAS_COMPILER, reason="needs Linux and a C compiler"
)
BACKENDS = """
import ctypes
from types import SimpleNamespace

import numpy as np
import torch
from conformance.backends import FunctionBackend, ModuleBackend, implements


def beyond(function, direction, *, writes, backward, dimensions=0):
    '''A kernel that also copies one element beyond its operand or its result.'''

    def spoil(x):
        size, one = x.numel() * x.element_size(), x.element_size()
        if not size or x.dim() < dimensions or not x.is_contiguous():
            return
        place = x.data_ptr() + (size if direction > 0 else -one)
        scratch = ctypes.create_string_buffer(one)
        if writes:
            ctypes.memmove(place, scratch, one)
        else:
            ctypes.memmove(scratch, place, one)

    class Kernel(torch.autograd.Function):
        @staticmethod
        def forward(context, x):
            context.save_for_backward(x)
            result = function(x)
            if not backward:
                spoil(result if writes else x)
            return result

        @staticmethod
        def backward(context, cotangent):
            (x,) = context.saved_tensors
            with torch.enable_grad():
                leaf = x.detach().requires_grad_()
                (result,) = torch.autograd.grad(function(leaf), leaf, cotangent.clone())
            result = result.clone()
            if backward:
                spoil(result if writes else x)
            return result

    class Tanh(torch.nn.Tanh):
        def forward(self, input):
            return Kernel.apply(input)

    return SimpleNamespace(Tanh=Tanh)


for access, writes in (("reads", False), ("writes", True)):
    for side, direction in (("behind", 1), ("before", -1)):
        for phase, backward in (("forward", False), ("backward", True)):
            name = f"{access}_{side}_{phase}"
            layers = beyond(torch.tanh, direction, writes=writes, backward=backward)
            globals()[name] = ModuleBackend(name, nn=layers)

layers = beyond(torch.tanh, 1, writes=False, backward=False, dimensions=2)
reads_behind_matrices = ModuleBackend("reads_behind_matrices", nn=layers)
faithful = ModuleBackend("faithful", nn=SimpleNamespace(Tanh=torch.nn.Tanh, Conv2d=torch.nn.Conv2d))


class Plain(FunctionBackend):
    name = "plain"

    @implements("Tanh")
    def tanh(self, state, input):
        scratch = ctypes.create_string_buffer(1)
        ctypes.memmove(scratch, input.ctypes.data + input.nbytes, bool(input.nbytes))
        return np.tanh(input.astype(float)).astype(input.dtype)


plain = Plain()


class After(torch.nn.Tanh):
    def forward(self, input):
        result = super().forward(input)
        place = result.data_ptr()
        if place:
            del result
            ctypes.memmove(ctypes.create_string_buffer(1), place, 1)
        return super().forward(input)


freed = ModuleBackend("freed", nn=SimpleNamespace(Tanh=After))
"""
GUARD = "--conformance-memory-guard"


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Any:
    install_backends_module(pytester, monkeypatch, BACKENDS)

    def run(
        name: str, *options: str, check: str = "values", examples: int = 10
    ) -> tuple[Any, dict[str, Any]]:
        path = pytester.path / "results.jsonl"
        result = run_session(
            pytester, f"--conformance-backend=plugged:{name}", "--conformance-layer=Tanh",
            f"--conformance-check={check}", "--conformance-dtype=float32",
            f"--conformance-examples={examples}", f"--conformance-results={path}", *options,
        )  # fmt: skip
        identity, verdict, _ = map(json.loads, path.read_text().splitlines())
        assert ("memory-guard" in identity["options"]) == (GUARD in options)
        return result, verdict

    return run


@pytest.mark.parametrize("phase", ["forward", "backward"])
@pytest.mark.parametrize(
    ("bug", "said"),
    [
        ("reads_behind", "SIGSEGV*memory guard: a read at byte 0 after the end of a block"),
        ("reads_before", "SIGSEGV*memory guard: a read at byte 4 before the start of a block"),
        ("writes_behind", "memory guard: a write at byte 0 after the end of a block"),
        ("writes_before", "memory guard: a write at byte 1 before the start of a block"),
    ],
)
def test_an_access_one_element_beyond_ends_the_call(
    suite: Any, bug: str, said: str, phase: str
) -> None:
    check = "values" if phase == "forward" else "gradients"
    result, verdict = suite(f"{bug}_{phase}", GUARD, check=check)
    result.stdout.fnmatch_lines(["*memory guarded*"])
    assert verdict["status"] == "crashed"
    lines = verdict["message"]
    for part in said.split("*"):
        assert part in lines
    assert verdict["failure"]["what"] in ("call", "vjp", "value_and_vjp")
    assert verdict["call"].startswith("Tanh() on input ")
    assert verdict["command"].endswith(GUARD)
    assert "Only the memory guard shows it at each call" in verdict["reproducer"]


@pytest.mark.parametrize("bug", ["reads_behind_forward", "writes_before_forward"])
def test_without_the_guard_such_a_kernel_passes(suite: Any, bug: str) -> None:
    _, verdict = suite(bug)
    assert verdict["status"] == "passed"
    assert GUARD not in verdict.get("command", "")


@pytest.mark.parametrize(
    ("name", "check"),
    [
        ("faithful", "values"),
        ("faithful", "gradients"),
        ("faithful", "layout"),
        ("writes_before_backward", "values"),
    ],
)
def test_right_kernels_pass_under_the_guard(suite: Any, name: str, check: str) -> None:
    _, verdict = suite(name, GUARD, check=check)
    assert verdict["status"] == "passed"


def test_operands_of_numpy_lie_against_the_page(suite: Any) -> None:
    _, verdict = suite("plain", GUARD)
    assert verdict["status"] == "crashed"
    assert "a read at byte 0 after the end of a block of 4 bytes" in verdict["message"]
    assert verdict["failure"]["what"] == "call"


def test_a_use_after_free_ends_the_call(suite: Any) -> None:
    _, verdict = suite("freed", GUARD)
    assert verdict["status"] == "crashed"
    assert "memory guard: a read of memory that was freed" in verdict["message"]


def test_the_report_says_that_the_memory_was_guarded(suite: Any, tmp_path: Path) -> None:
    suite("faithful", GUARD, f"--conformance-report={tmp_path / 'report.html'}")
    assert "memory-guard" in (tmp_path / "report.html").read_text()


def test_a_known_failure_can_name_what_the_guard_says(suite: Any, tmp_path: Path) -> None:
    known = tmp_path / "known.toml"
    text = (
        "[[known]]\nlayer = 'Tanh'\ncheck = 'values'\nstatus = 'crashed'\nstrict = false\n"
        "said = '*memory guard: a {}*'\nreason = 'it reads beyond'\n"
        "when = {{ 'input.ndim' = '>1' }}\n"
    )
    option = f"--conformance-known={known}"
    known.write_text(text.format("read"))
    _, verdict = suite("reads_behind_matrices", GUARD, option, examples=200)
    assert verdict["status"] == "known"
    assert verdict["excuses"][0]["excused"] > 1
    known.write_text(text.format("write"))
    _, verdict = suite("reads_behind_matrices", GUARD, option, examples=200)
    assert verdict["status"] == "crashed"
    assert "memory guard: a read" in verdict["message"]
    _, verdict = suite("reads_behind_matrices", option, examples=100)
    assert verdict["status"] == "passed"


def test_an_entry_that_the_command_writes_is_not_stale_without_the_guard(
    suite: Any, pytester: pytest.Pytester, tmp_path: Path
) -> None:
    suite("reads_behind_matrices", GUARD, examples=100)
    known = tmp_path / "known.toml"
    results = str(pytester.path / "results.jsonl")
    assert main(["known", results, "--write", str(known)]) == 0
    known.write_text(known.read_text().replace('reason = ""', 'reason = "it reads beyond"'))
    option = f"--conformance-known={known}"
    result, verdict = suite("reads_behind_matrices", GUARD, option, examples=100)
    assert (result.ret, verdict["status"]) == (0, "known")
    result, verdict = suite("reads_behind_matrices", option, examples=100)
    assert (result.ret, verdict["status"]) == (0, "passed")


def test_a_replay_guards_the_memory_as_the_run_did(suite: Any, pytester: pytest.Pytester) -> None:
    _, verdict = suite("reads_behind_forward", GUARD)
    run = read(pytester.path / "results.jsonl")
    replayed = replay(run, verdict["id"], "plugged:reads_behind_forward")
    assert not replayed.passed
    assert "memory guard: a read at byte 0" in replayed.text
    options = {k: x for k, x in run.identity.options.items() if k != "memory-guard"}
    unguarded_run = replace(run, identity=replace(run.identity, options=options))
    assert replay(unguarded_run, verdict["id"], "plugged:reads_behind_forward").passed


# --- what is refused ---


def _refusal(pytester: pytest.Pytester, *options: str) -> str:
    return run_refused_session(pytester, "--conformance-layer=Tanh", GUARD, *options)


def test_without_a_compiler_it_is_a_usage_error(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    message = _refusal(pytester)
    assert (
        "--conformance-memory-guard=yes: needs a C compiler: CC=no-such-compiler is not" in message
    )
    monkeypatch.delenv("CC")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "none of cc, gcc and clang is installed (Debian: apt install gcc)" in _refusal(pytester)


def test_a_compiler_that_fails_is_quoted(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    compiler = tmp_path / "broken"
    compiler.write_text("#!/bin/sh\necho no headers here >&2\nexit 3\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    message = _refusal(pytester)
    assert "cannot compile the allocator" in message
    assert "no headers here" in message
    # A library that does not take the allocator's place, as on a system without glibc.
    compiler.write_text('#!/bin/sh\nfor last; do out=$target; target=$last; done\n: > "$6"\n')
    assert "it needs glibc" in _refusal(pytester)
    assert not list((tmp_path / "nn-conformance").iterdir())


def test_another_system_is_a_usage_error(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard_library.sys, "platform", "darwin")
    with pytest.raises(UsageError, match="needs Linux with glibc, this is darwin"):
        build_library()


def test_it_needs_a_process_of_its_own(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = _refusal(pytester, "--conformance-isolation=none")
    assert "--conformance-memory-guard=yes: expected --conformance-isolation=process" in message
    install_backends_module(pytester, monkeypatch, BACKENDS + "faithful.isolate = 'none'\n")
    message = _refusal(pytester, "--conformance-backend=plugged:faithful")
    assert "backend 'faithful' runs in pytest's own process" in message


def test_the_environment_turns_it_on(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONFORMANCE_MEMORY_GUARD", "maybe")
    message = run_refused_session(pytester, "--conformance-layer=Tanh")
    assert "CONFORMANCE_MEMORY_GUARD=maybe: expected one of yes, no" in message


# --- the allocator alone ---

START = """
import ctypes, os, threading
import numpy as np
from conformance.backends import memory_guard
from conformance.backends.memory_guard import count_blocks, guarded_memory, sides
from conformance.model.uninitialized import FILL_BYTE

assert memory_guard.start_guard() == ""
c = ctypes.CDLL(None)
for name in ("malloc", "calloc", "realloc", "memalign", "aligned_alloc"):
    getattr(c, name).restype = ctypes.c_void_p
c.malloc_usable_size.restype = ctypes.c_size_t
c.malloc.argtypes = (ctypes.c_size_t,)
c.malloc_usable_size.argtypes = c.free.argtypes = (ctypes.c_void_p,)
c.realloc.argtypes = (ctypes.c_void_p, ctypes.c_size_t)


def aligned(alignment, size):
    pointer = ctypes.c_void_p()
    assert c.posix_memalign(ctypes.byref(pointer), alignment, size) == 0
    return pointer.value


def guarded(allocate):
    before = count_blocks()
    with guarded_memory():
        return allocate(), count_blocks() - before
"""
PASSING = {
    "alignment, filling and size": """
for _ in sides():
    for size in (1, 7, 64, 1000, 4095, 4096, 4097, 1 << 20):
        p, count = guarded(lambda: aligned(64, size))
        assert (p % 64, count) == (0, 1)
        assert ctypes.string_at(p, size) == bytes([FILL_BYTE]) * size
        assert c.malloc_usable_size(p) == size
        ctypes.memset(p, 1, size)
        c.free(p)
""",
    "operands end at the page": """
for side in sides():
    with guarded_memory(operands=True):
        p = aligned(64, 20)
    assert (p + 20) % 4096 == 0 or p % 4096 == 0
    c.free(p)
""",
    "calloc, realloc, memalign, aligned_alloc": """
p, count = guarded(lambda: c.calloc(100, 50))
assert count == 1 and ctypes.string_at(p, 5000) == bytes(5000)
ctypes.memset(p, 5, 5000)
p, count = guarded(lambda: c.realloc(p, 9000))
assert count == 1 and ctypes.string_at(p, 5000) == b"\\5" * 5000
p, count = guarded(lambda: c.realloc(p, 10))
assert count == 0 and ctypes.string_at(p, 10) == b"\\5" * 10
c.free(p)
for function in (c.memalign, c.aligned_alloc):
    p, count = guarded(lambda: function(256, 2048))
    assert (p % 256, count) == (0, 1)
    c.free(p)
assert c.posix_memalign(ctypes.byref(ctypes.c_void_p()), 3, 8) == 22  # EINVAL
assert c.malloc(1 << 62) is None and c.malloc(2**64 - 1) is None
p, count = guarded(lambda: c.malloc(2**64 - 1) or c.memalign(48, 2048))
assert (p % 64, count) == (0, 0)
""",
    "what passes": """
for allocate in (
    lambda: aligned(4096, 5000), lambda: c.malloc(1023), lambda: c.memalign(4096, 5000),
    lambda: bytes(5000),
):
    p, count = guarded(allocate)
    assert count == 0
    if isinstance(p, int):
        c.free(p)
p, count = guarded(lambda: c.malloc(1024))
assert count == 1
""",
    "too many blocks": """
pointers, count = guarded(lambda: [aligned(64, 8) for _ in range(20_000)])
assert (count, count_blocks(passed=True)) == (16_384, 20_000 - 16_384)
assert len(open("/proc/self/maps").read().splitlines()) < 65_530 // 2 + 2_000
for p in pointers:
    c.free(p)
assert len(open("/proc/self/maps").read().splitlines()) < 2_000
assert guarded(lambda: aligned(64, 8))[1] == 1
""",
    "threads and forks": """
def work():
    for k in range(2_000):
        p = aligned(64, 8 + k)
        ctypes.memset(p, 3, 8 + k)
        c.free(p)

with guarded_memory():
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    pids = []
    for _ in range(10):
        pid = os.fork()
        if not pid:
            work()
            os._exit(0)
        pids.append(pid)
    for thread in threads:
        thread.join()
assert all(os.waitpid(pid, 0)[1] == 0 for pid in pids)
""",
    "the arena is used again": """
with guarded_memory():
    kept = aligned(64, 100)
    ctypes.memset(kept, 9, 100)
    for _ in range(40):
        c.free(c.calloc(1, 1 << 30))
assert ctypes.string_at(kept, 100) == b"\\t" * 100
""",
}
ENDING = {
    "a write that only a mark shows": (
        "p, _ = guarded(lambda: aligned(64, 20))\nctypes.memset(p + 21, 0, 1)\nc.free(p)",
        "a write at byte 1 after the end of a block of 20 bytes",
    ),
    "a mark is checked when the backend returns": (
        "with guarded_memory():\n    p = aligned(64, 20)\n    ctypes.memset(p - 3, 0, 1)",
        "a write at byte 3 before the start of a block of 20 bytes",
    ),
    "freed twice": (
        "p, _ = guarded(lambda: aligned(64, 20))\nc.free(p)\nc.free(p)",
        "free() of what is no block, or was freed",
    ),
    "used after it was freed": (
        "p, _ = guarded(lambda: aligned(64, 20))\nc.free(p)\nctypes.memset(p, 0, 1)",
        "a write of memory that was freed",
    ),
    "read in a copy of the process": (
        (
            "with guarded_memory(operands=True):\n    p = aligned(64, 20)\n"
            "pid = os.fork()\nif not pid:\n    ctypes.string_at(p + 24, 1)\n"
            "os.waitpid(pid, 0)\nprint('told:', memory_guard.last_message())\nos.abort()"
        ),
        "told: memory guard: a read at byte 4 after the end of a block of 20 bytes",
    ),
}


def _run_guarded(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", START + program], capture_output=True, text=True, check=False,
        env=preloaded(poisoned(os.environ), build_library()), timeout=300,
    )  # fmt: skip


@pytest.mark.parametrize("name", PASSING)
def test_the_allocator_keeps_its_contract(name: str) -> None:
    completed = _run_guarded(PASSING[name])
    assert (completed.returncode, completed.stderr) == (0, "")


@pytest.mark.parametrize("name", ENDING)
def test_the_allocator_says_what_was_touched(name: str) -> None:
    program, said = ENDING[name]
    completed = _run_guarded(program)
    assert completed.returncode < 0
    assert said in completed.stdout + completed.stderr


def test_what_the_user_preloads_stays() -> None:
    library = Path("/cache/guard.so")
    assert preloaded({}, library)["LD_PRELOAD"] == "/cache/guard.so"
    assert preloaded({"LD_PRELOAD": "a.so"}, library)["LD_PRELOAD"] == "/cache/guard.so:a.so"
