"""How a call is written for torch: arguments, the module, a method of it, kernels that it lacks."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from packaging.version import Version

from conformance.model.case import Call, Unsupported, is_function, looked_up, part

_NO_KERNEL = re.compile(
    r"not implemented for '?\w*(Half|BFloat16|Complex\w+)'?"
    r"|Could not run '\S+' with arguments from the '(?!CPU|CUDA)\w+' backend"
    r"|\w+_overrideable not implemented",
    re.IGNORECASE,
)

_NO_ARGUMENT = re.compile(r"unexpected keyword argument '(\w+)'")


def constructor_tensors(call: Call) -> dict[str, torch.Tensor]:
    """Tensors of the state that the constructor takes: class weights."""
    # Loaded here: importing the backends loads no strategies.
    from conformance.layers import CATALOGUE

    row = CATALOGUE.get(call.layer)
    names = () if row is None else row.state.constructor_tensors
    like = {"dtype": getattr(torch, call.dtype), "device": call.device}
    return {k: torch.tensor(x, **like) for k, x in call.state.items() if k in names}


def as_torch_has_them(call: Call, nn: Any = torch.nn) -> dict[str, Any]:
    """The arguments; a name of what torch has as that, named fields as an object that has them.

    Args:
        nn: namespace of the classes of modules among them.
    """
    # Loaded here: importing the backends loads no strategies.
    from conformance.layers import CATALOGUE

    arguments, row = dict(call.arguments), CATALOGUE.get(call.layer)
    if row is None:
        return arguments
    for name, value in call.arguments.items():
        if name in row.signature.of_torch and value is not None:
            arguments[name] = getattr(torch, value)
        elif name in row.signature.functions and is_function(value):
            arguments[name] = looked_up(value, nn, torch.nn.functional)
        elif name in row.signature.records and value is not None:
            arguments[name] = getattr(torch.nn, row.signature.records[name])(**dict(value))
        elif name in row.signature.modules and value is not None:
            arguments[name] = _inner(part(call, value), nn)
    return arguments


def _inner(call: Call, nn: Any) -> torch.nn.Module:
    cls = looked_up(call.layer, nn, None)
    if cls is None:
        raise Unsupported(f"layer {call.layer}")
    return construct(cls, call, {}, nn)


def construct(
    cls: Callable[..., Any], call: Call, tensors: Mapping[str, torch.Tensor], nn: Any = torch.nn
) -> torch.nn.Module:
    """The module of a call, without its state.

    Args:
        cls: its class, or a function that gives it.
        call: that names its arguments, its dtype and its device.
        tensors: those of the state that the constructor takes.
        nn: namespace of the classes of modules among the arguments.
    """
    arguments = {**as_torch_has_them(call, nn), **tensors}
    extra = arguments.pop("*", ())
    placed = {"device": torch.device(call.device), "dtype": getattr(torch, call.dtype)}
    with missing_kernels_declined(), newer_arguments_declined(cls, call):
        if _takes_placement(cls):
            return cls(*extra, **arguments, **placed)  # type: ignore[no-any-return]
        return cls(*extra, **arguments).to(**placed)  # type: ignore[no-any-return]


@contextmanager
def missing_kernels_declined() -> Iterator[None]:
    """torch says that it has no kernel, for a dtype or on a device that others bring, by a
    RuntimeError; that is a declined call.
    """
    try:
        yield
    except RuntimeError as error:
        if _NO_KERNEL.search(str(error)):
            raise Unsupported(str(error).splitlines()[0].split(". ")[0]) from error
        raise


@contextmanager
def newer_arguments_declined(callee: Any, call: Call) -> Iterator[None]:
    """An argument that a torch older than the catalogue lacks is a declined call.

    An argument that a plugged-in class or function lacks stays a failure.

    Args:
        callee: the class or function.
    """
    try:
        yield
    except TypeError as error:
        found = _NO_ARGUMENT.search(str(error))
        torchs = str(getattr(callee, "__module__", "")).partition(".")[0] == "torch"
        if found is None or not torchs or not _newer(call.layer, found[1]):
            raise
        raise Unsupported(f"{found[1]}: torch {torch.__version__} has no such argument") from error


def _newer(layer: str, argument: str) -> bool:
    """Whether the catalogue, of a later torch than this one, knows the argument."""
    from conformance.layers import CATALOGUE
    from conformance.layers.excluded import TORCH

    older = Version(torch.__version__).release[:2] < Version(TORCH).release
    row = CATALOGUE.get(layer)
    return older and row is not None and row.signature.argument(argument) is not None


@cache
def _takes_placement(cls: Callable[..., Any]) -> bool:
    """Whether device and dtype can be passed on: `RNN(*args, **kwargs)` hands them to its base."""
    initialisers = [base.__init__ for base in getattr(cls, "__mro__", ())] or [cls]
    for function in initialisers:
        try:
            parameters = inspect.signature(function).parameters
        except (TypeError, ValueError):
            return False
        if {"device", "dtype"} <= parameters.keys():
            return True
        if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            return False
    return False


class Method(torch.nn.Module):
    """A module that is called as a method of another: what transforms a module transforms that.

    Args:
        module: the other one.
        method: the name of its method.
    """

    def __init__(self, module: torch.nn.Module, method: str) -> None:
        super().__init__()
        self.module, self.method = module, method

    def forward(self, *inputs: Any) -> Any:
        """Call the method."""
        return getattr(self.module, self.method)(*inputs)


def trimmed(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Without the inputs left out at the end: a missing state is left out, not passed as None."""
    while inputs and inputs[-1] is None:
        inputs = inputs[:-1]
    return inputs
