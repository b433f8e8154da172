"""Hold an implementation of a module against the module's own bounds, on many inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from conformance.model.case import Numerics, Unsupported
from conformance.networks.bounds import NetworkBounds, trace_bounds
from conformance.networks.intermediates import run_modules
from conformance.networks.probes import Margin

Inputs = Sequence[Any]


@dataclass(frozen=True)
class Subject:
    """A module, an implementation of it, and inputs.

    Args:
        module: the module whose bounds hold.
        fast: the implementation, called with the same inputs.
        inputs: seed → inputs.
        numerics: what the implementation may do.
    """

    module: Callable[..., Any]
    fast: Callable[..., Any]
    inputs: Callable[[int], Inputs]
    numerics: Numerics | None = None


@dataclass(frozen=True)
class CheckedCall:
    """One call of the implementation.

    Args:
        seed, regime, batch, layout: how the inputs were made.
        status: `"right"`, `"suspicious"`, `"wrong"`, or `"not certified"`.
        text: what is wrong, or why nothing is certified.
        margin: how far the answer is from the true value; None without one.
        shapes: of the inputs.
        first_wrong: the first submodule whose own output is wrong; empty if none is seen.
    """

    seed: int
    regime: str
    batch: int | None
    layout: str
    status: str = ""
    text: str = ""
    margin: Margin | None = None
    shapes: tuple[tuple[int, ...], ...] = ()
    first_wrong: str = ""


def _outliers(x: Any, generator: torch.Generator) -> Any:
    order = torch.randperm(x.numel(), generator=generator).reshape(x.shape)
    return torch.where(order < max(x.numel() // 64, 1), 1000 * x, x)


REGIMES: dict[str, Callable[[Any, torch.Generator], Any]] = {
    "as given": lambda x, generator: x,
    "whole numbers": lambda x, generator: (3 * x).round(),
    "negative": lambda x, generator: -x,
    "outliers": _outliers,
    "zeros": lambda x, generator: torch.zeros_like(x),
}
"""How floating-point inputs are changed; whole numbers come first when a failure is shrunk."""
LAYOUTS = ("contiguous", "transposed")


def plan_calls(seeds: Sequence[int]) -> Iterator[CheckedCall]:
    """The calls to make: every regime for each seed, then other batch sizes and layouts."""
    for seed in seeds:
        for regime in REGIMES:
            yield CheckedCall(seed, regime, None, LAYOUTS[0])
    for batch in (1, 3):
        yield CheckedCall(seeds[0], "as given", batch, LAYOUTS[0])
    yield CheckedCall(seeds[0], "as given", None, LAYOUTS[1])


def check_call(subject: Subject, call: CheckedCall) -> CheckedCall | None:
    """Make one call, and judge its answer; None if the module itself refuses these inputs."""
    inputs = make_inputs(subject, call)
    if inputs is None:
        return None
    call = replace(call, shapes=tuple(tuple(x.shape) for x in inputs if torch.is_tensor(x)))
    try:
        want: NetworkBounds = trace_bounds(subject.module, inputs, {}, subject.numerics)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        # The given inputs must work; a changed batch may be one that the module does not take.
        if call.batch is not None:
            return None
        return replace(call, status="not certified", text=f"the module raises: {error}")
    if want.uncertified:
        return replace(call, status="not certified", text="\n".join(want.uncertified))
    try:
        with torch.no_grad():
            got = subject.fast(*_copied(inputs))
    except Unsupported as error:
        text = f"the implementation does not support it: {error}"
        return replace(call, status="not certified", text=text)
    except Exception as error:
        text = f"it raises {type(error).__name__}: {str(error).partition(chr(10))[0]}"
        return replace(call, status="wrong", text=text)
    fault = want.find_fault(got)
    if fault:
        return replace(call, status="wrong", text=fault)
    margin = want.examine(got)
    status = "suspicious" if margin.suspicion > 1 else "right"
    return replace(call, status=status, margin=margin)


def find_first_wrong(subject: Subject, failing: CheckedCall) -> CheckedCall:
    """A failing call with the first submodule that is wrong, if the implementation shows it."""
    inputs = make_inputs(subject, failing)
    if inputs is None:
        return failing
    try:
        outputs = run_modules(subject.fast, _copied(inputs))
    except Exception:  # the call itself may have failed so
        return failing
    if not outputs:
        return failing
    want = trace_bounds(subject.module, inputs, {}, subject.numerics)
    return replace(failing, first_wrong=want.find_first_fault(outputs))


def _copied(inputs: Inputs) -> list[Any]:
    return [x.clone() if torch.is_tensor(x) else x for x in inputs]


def make_inputs(subject: Subject, call: CheckedCall) -> list[Any] | None:
    """The inputs of a call; None if they have no batch axis to change."""
    generator = torch.manual_seed(call.seed)
    inputs = [x.detach() if torch.is_tensor(x) else x for x in subject.inputs(call.seed)]
    change = REGIMES[call.regime]
    inputs = [
        change(x, generator) if torch.is_tensor(x) and x.is_floating_point() else x for x in inputs
    ]
    tensors = [x for x in inputs if torch.is_tensor(x)]
    if call.batch is not None:
        sizes = {x.shape[0] if x.ndim else 0 for x in tensors}
        if len(sizes) != 1 or 0 in sizes or sizes == {call.batch}:
            return None
        places = torch.arange(call.batch) % min(sizes)
        inputs = [x[places] if torch.is_tensor(x) else x for x in inputs]
    if call.layout == "transposed":
        inputs = [
            x.transpose(-1, -2).contiguous().transpose(-1, -2)
            if torch.is_tensor(x) and x.ndim > 1
            else x
            for x in inputs
        ]
    return inputs


def shrink(subject: Subject, failing: CheckedCall) -> CheckedCall:
    """A simpler call that is also wrong: one row, contiguous, of whole numbers; else the same."""
    for changes in ({"batch": 1}, {"layout": LAYOUTS[0]}, {"regime": "whole numbers"}):
        simpler = check_call(subject, replace(failing, **changes))
        if simpler is not None and simpler.status == "wrong":
            failing = simpler
    return failing
