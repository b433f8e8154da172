"""Hold an implementation of a module against the module's own bounds, on many inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

from conformance.backends.implementation import (
    changed_inputs,
    copy_inputs,
    require_plain_tensors,
)
from conformance.model.case import Numerics, Unsupported
from conformance.networks.bounds import NetworkBounds, trace_bounds
from conformance.networks.forms import form_fault, form_of, tensors_in
from conformance.networks.inputs import (
    LARGER_BATCH,
    LAYOUTS,
    OPTIONAL_REGIMES,
    REGIMES,
    change_inputs,
)
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


def plan_calls(seeds: Sequence[int]) -> Iterator[CheckedCall]:
    """The calls to make: every regime for each seed, then other batch sizes and layouts."""
    plain, *layouts = LAYOUTS
    for seed in seeds:
        for regime in REGIMES:
            yield CheckedCall(seed, regime, None, plain)
    for batch in (1, Random(seeds[0]).randint(2, 8), LARGER_BATCH):
        yield CheckedCall(seeds[0], "as given", batch, plain)
    for layout in layouts:
        yield CheckedCall(seeds[0], "as given", None, layout)


def check_call(subject: Subject, call: CheckedCall) -> CheckedCall | None:
    """Make one call, and judge its answer; None if the module itself refuses these inputs."""
    try:
        subject.set_weights(call.seed)
    except Exception as error:
        return replace(call, status="wrong", text=_raised_text(error))
    inputs = make_inputs(subject, call)
    if inputs is None:
        return None
    shapes = tuple(tuple(x.shape) for x in tree_leaves(inputs) if torch.is_tensor(x))
    call = replace(call, shapes=shapes)
    is_optional = call.batch is not None or call.regime in OPTIONAL_REGIMES
    try:
        wanted_form, writes = _call_module(subject.module, inputs)
        module = _with_written(subject.module, writes)
        want: NetworkBounds = trace_bounds(module, inputs, {}, subject.numerics, call.seed)
    except Unsupported as error:
        return replace(call, status="not certified", text=str(error))
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        # The given inputs must work; a changed batch may be one that the module does not take.
        if is_optional:
            return None
        return replace(call, status="not certified", text=f"the module raises: {error}")
    if want.uncertified and call.regime in OPTIONAL_REGIMES:
        return None
    if want.uncertified:
        return replace(call, status="not certified", text="\n".join(want.uncertified))
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
    changed = set(changed_inputs(copies, inputs)) - set(writes)
    fault = f"it changes input {min(changed)}" if changed else ""
    fault = fault or form_fault(got, wanted_form)
    if fault:
        return replace(call, status="wrong", text=fault)
    tensors = list(tensors_in(got, wanted_form))
    tensors += [x for k in writes for x in tree_leaves(copies[k]) if torch.is_tensor(x)]
    fault = want.find_fault(tensors)
    if fault:
        return replace(call, status="wrong", text=fault)
    margin = want.examine(tensors)
    status = "suspicious" if margin.suspicion > 1 else "right"
    return replace(call, status=status, margin=margin)


def _raised_text(error: Exception) -> str:
    return f"it raises {type(error).__name__}: {str(error).partition(chr(10))[0]}"


def _call_module(module: Callable[..., Any], inputs: Inputs) -> tuple[Any, tuple[int, ...]]:
    """The form of what a module returns, and the places of the inputs that it changes.

    Raises:
        Unsupported: if it changes its own state, which is not judged.
    """
    copies, before = copy_inputs(inputs), _state(module)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        result = module(*copies)
    if changed_inputs([_state(module)], [before]):
        module.load_state_dict(before)  # type: ignore[attr-defined]
        raise Unsupported("the module changes its own state, which is not judged")
    return form_of(result), changed_inputs(copies, inputs)


def _state(module: Any) -> dict[str, Any]:
    """Copies of a module's parameters and buffers; empty for a function."""
    state = module.state_dict() if isinstance(module, torch.nn.Module) else {}
    return {name: x.clone() for name, x in state.items()}


def _with_written(module: Callable[..., Any], writes: Sequence[int]) -> Callable[..., Any]:
    """A module that also returns the inputs that it writes to."""
    if not writes:
        return module

    def with_written(*inputs: Any) -> Any:
        result = module(*inputs)
        return result, [x for k in writes for x in tree_leaves(inputs[k]) if torch.is_tensor(x)]

    return with_written


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
    given_inputs = subject.inputs(call.seed)
    inputs = change_inputs(given_inputs, call.seed, call.regime, call.batch, call.layout)
    if inputs is None or call.batch is None or _takes(subject.module, inputs):
        return inputs
    # As a product takes any number of rows of its first factor, but not of both.
    return change_inputs(
        given_inputs, call.seed, call.regime, call.batch, call.layout, first_only=True
    )


def _takes(module: Callable[..., Any], inputs: Inputs) -> bool:
    try:
        _call_module(module, inputs)
    except Unsupported:
        return True
    except (RuntimeError, ValueError, TypeError, IndexError):
        return False
    return True


def shrink(subject: Subject, failing: CheckedCall) -> CheckedCall:
    """A simpler call that is also wrong: one row, contiguous, of whole numbers; else the same."""
    for changes in ({"batch": 1}, {"layout": "contiguous"}, {"regime": "whole numbers"}):
        simpler = check_call(subject, replace(failing, **changes))
        if simpler is not None and simpler.status == "wrong":
            failing = simpler
    return failing
