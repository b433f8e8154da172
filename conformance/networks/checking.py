"""Hold an implementation of a module against the module's own bounds, on many inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from conformance.backends.implementation import (
    changed_inputs,
    copy_inputs,
    require_plain_tensors,
)
from conformance.bounding.operands import is_array
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
        set_weights: gives both of them the weights of a seed, if both take weights.
    """

    module: Callable[..., Any]
    fast: Callable[..., Any]
    inputs: Callable[[int], Inputs]
    numerics: Numerics | None = None
    set_weights: Callable[[int], None] = lambda seed: None


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
LARGER_BATCH = -1
"""A batch of one more than twice the given size."""
MAX_LARGER_ELEMENTS = 1 << 24
"""Elements of an input in such a batch, at most."""


def plan_calls(seeds: Sequence[int]) -> Iterator[CheckedCall]:
    """The calls to make: every regime for each seed, then other batch sizes and layouts."""
    for seed in seeds:
        for regime in REGIMES:
            yield CheckedCall(seed, regime, None, LAYOUTS[0])
    for batch in (1, 3, LARGER_BATCH):
        yield CheckedCall(seeds[0], "as given", batch, LAYOUTS[0])
    yield CheckedCall(seeds[0], "as given", None, LAYOUTS[1])


def check_call(subject: Subject, call: CheckedCall) -> CheckedCall | None:
    """Make one call, and judge its answer; None if the module itself refuses these inputs."""
    try:
        subject.set_weights(call.seed)
    except Exception as error:
        return replace(call, status="wrong", text=_raised_text(error))
    inputs = make_inputs(subject, call)
    if inputs is None:
        return None
    call = replace(call, shapes=tuple(tuple(x.shape) for x in inputs if torch.is_tensor(x)))
    try:
        want: NetworkBounds = trace_bounds(subject.module, inputs, {}, subject.numerics, call.seed)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        # The given inputs must work; a changed batch may be one that the module does not take.
        if call.batch is not None:
            return None
        return replace(call, status="not certified", text=f"the module raises: {error}")
    if want.uncertified:
        return replace(call, status="not certified", text="\n".join(want.uncertified))
    wanted_form, writes = _call_module(subject.module, inputs)
    copies = copy_inputs(inputs)
    try:
        with torch.no_grad():
            got = subject.fast(*copies)
        require_plain_tensors(got)
    except Unsupported as error:
        text = f"the implementation does not support it: {error}"
        return replace(call, status="not certified", text=text)
    except Exception as error:
        return replace(call, status="wrong", text=_raised_text(error))
    changed = set(changed_inputs(copies, inputs)) - writes
    fault = f"it changes input {min(changed)}" if changed else ""
    fault = fault or _form_fault(got, wanted_form)
    if fault:
        return replace(call, status="wrong", text=fault)
    tensors = list(_tensors_in(got, wanted_form))
    fault = want.find_fault(tensors)
    if fault:
        return replace(call, status="wrong", text=fault)
    margin = want.examine(tensors)
    status = "suspicious" if margin.suspicion > 1 else "right"
    return replace(call, status=status, margin=margin)


def _raised_text(error: Exception) -> str:
    return f"it raises {type(error).__name__}: {str(error).partition(chr(10))[0]}"


def _call_module(module: Callable[..., Any], inputs: Inputs) -> tuple[Any, set[int]]:
    """The form of what a module returns, and the places of the inputs that it changes."""
    copies = copy_inputs(inputs)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        result = module(*copies)
    return _form(result), set(changed_inputs(copies, inputs))


def _form(value: Any) -> Any:
    """The structure of a result: containers of `"tensor"`, for any array, and of plain values.

    Of a number that is not whole only the type counts, since it is computed.
    """
    if torch.is_tensor(value) or is_array(value):
        return "tensor"
    if isinstance(value, Mapping):
        return {str(name): _form(x) for name, x in value.items()}
    if isinstance(value, (tuple, list)):
        return tuple(map(_form, value))
    if isinstance(value, str):
        return repr(value)
    return value if isinstance(value, (bool, int, type(None))) else type(value).__name__


def _tensors_in(value: Any, form: Any) -> Iterator[Any]:
    """The tensors of a result of a form, in the order of the form."""
    if form == "tensor":
        yield value
    elif isinstance(form, Mapping):
        parts = {str(name): x for name, x in value.items()}
        for name, part in form.items():
            yield from _tensors_in(parts[name], part)
    elif isinstance(form, tuple):
        for x, part in zip(value, form, strict=True):
            yield from _tensors_in(x, part)


def _form_fault(got: Any, wanted: Any) -> str:
    """How the structure of an answer differs; empty if it does not."""
    form = _form(got)
    return "" if form == wanted else f"it returns {form}, wanted {wanted}"


def find_first_wrong(subject: Subject, failing: CheckedCall) -> CheckedCall:
    """A failing call with the first submodule that is wrong, if the implementation shows it."""
    inputs = make_inputs(subject, failing)
    if inputs is None:
        return failing
    try:
        outputs = run_modules(subject.fast, copy_inputs(inputs))
    except Exception:  # the call itself may have failed so
        return failing
    if not outputs:
        return failing
    want = trace_bounds(subject.module, inputs, {}, subject.numerics, failing.seed)
    return replace(failing, first_wrong=want.find_first_fault(outputs))


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
        batch = 2 * min(sizes, default=0) + 1 if call.batch == LARGER_BATCH else call.batch
        if len(sizes) != 1 or 0 in sizes or sizes == {batch}:
            return None
        size = batch // min(sizes) * max(x.numel() for x in tensors)
        if call.batch == LARGER_BATCH and size > MAX_LARGER_ELEMENTS:
            return None
        places = torch.arange(batch) % min(sizes)
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
