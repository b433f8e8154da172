"""Check that each planted kernel is right or wrong on the calls that it lists.

`python tools/kernel_check.py [NAME ...]` runs the calls of each kernel with torch, and again with
the kernel in place of its operator, in a separate process. It exits with 1 if a kernel differs
where it should agree, agrees where it should differ, or does not run.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import multiprocessing
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))

from planted import KERNELS
from planted.kernels.kernel import Kernel

_SECONDS = 60


@dataclass(frozen=True)
class Finding:
    """The outcome of one call with a kernel.

    Args:
        kernel: the kernel's name.
        call: the call as written in the catalogue of kernels.
        expected: `"agrees"` or `"differs"`.
        got: `"agrees"`, `"differs"`, `"not reached"` or the exception raised.
        distance: the largest distance from torch.
    """

    kernel: str
    call: str
    expected: str
    got: str
    distance: float

    @property
    def is_expected(self) -> bool:
        return self.got == self.expected


def _largest_distance(actual: list[Tensor], expected: list[Tensor]) -> float:
    """The largest distance of two elements; infinite if only one of them is NaN."""
    farthest = 0.0
    for actual_tensor, expected_tensor in zip(actual, expected, strict=True):
        if (
            actual_tensor.shape != expected_tensor.shape
            or actual_tensor.dtype != expected_tensor.dtype
        ):
            return float("inf")
        distances = (actual_tensor.double() - expected_tensor.double()).abs()
        distances[actual_tensor.isnan() & expected_tensor.isnan()] = 0
        farthest = max(
            farthest, distances.nan_to_num(torch.inf).max().item() if distances.numel() else 0.0
        )
    return farthest


def _is_close(actual: list[Tensor], expected: list[Tensor]) -> bool:
    try:
        torch.testing.assert_close(actual, expected, equal_nan=True)
    except AssertionError:
        return False
    return True


def _run_kernel(kernel: Kernel) -> list[Finding]:
    """Run the calls of a kernel. It stays registered, so the process must end afterwards."""
    calls = [("agrees", call) for call in kernel.agrees]
    calls += [("differs", call) for call in kernel.differs]
    # torch's threads do not survive the fork.
    torch.set_num_threads(1)
    # This fills unwritten memory with NaN.
    torch.use_deterministic_algorithms(True, warn_only=True)
    references = [call.run() for _, call in calls]
    hits = 0

    def count_call(*args: object, **options: object) -> object:
        nonlocal hits
        hits += 1
        return kernel.function(*args, **options)

    library = torch.library.Library("aten", "IMPL")
    library.impl(kernel.operator.removeprefix("aten::"), count_call, "CPU")
    findings = []
    for (expected, call), reference in zip(calls, references, strict=True):
        hits, distance = 0, 0.0
        try:
            actual = call.run()
        except Exception as error:
            got = f"{type(error).__name__}: {error}"
        else:
            distance = _largest_distance(actual, reference)
            got = "agrees" if _is_close(actual, reference) else "differs"
            got = got if hits else "not reached"
        findings.append(Finding(kernel.name, call.text, expected, got, distance))
    return findings


def _send_findings(connection: Connection, kernel: Kernel) -> None:
    connection.send(_run_kernel(kernel))


def check_kernels(kernels: Iterable[Kernel]) -> Iterator[Finding]:
    """Run the calls of each kernel, one process for each kernel.

    Raises:
        TimeoutError: if a kernel takes more than a minute.
        RuntimeError: if the process ends without an answer.
    """
    context = multiprocessing.get_context("fork")
    for kernel in kernels:
        # A pipe cannot send functions, but a forked process inherits them.
        receive, send = context.Pipe(duplex=False)
        process = context.Process(target=_send_findings, args=(send, kernel), daemon=True)
        process.start()
        send.close()
        try:
            if not receive.poll(_SECONDS):
                raise TimeoutError(f"{kernel.name}: no answer within {_SECONDS} s")
            yield from receive.recv()
        except EOFError:
            raise RuntimeError(f"{kernel.name}: the process ended without an answer") from None
        finally:
            process.kill()
            process.join()


def main(names: list[str]) -> int:
    """Print a table of all findings, and return the exit status."""
    unknown = set(names) - {kernel.name for kernel in KERNELS}
    if unknown:
        print(f"no kernel {', '.join(sorted(unknown))} in the catalogue", file=sys.stderr)
        return 2
    kernels = [kernel for kernel in KERNELS if not names or kernel.name in names]
    unexpected = 0
    for finding in check_kernels(kernels):
        unexpected += not finding.is_expected
        mark = " " if finding.is_expected else "✗"
        print(f"{mark} {finding.kernel:62} {finding.got:8} {finding.distance:8.1e} {finding.call}")
    bugs = sum(kernel.wrong is not None for kernel in kernels)
    print(f"{len(kernels)} kernels, {bugs} of them wrong; {unexpected} unexpected findings")
    return 1 if unexpected else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
