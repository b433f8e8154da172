"""Translate a call for torch: its arguments, its module or method, and kernels that torch lacks."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from packaging.version import Version

from conformance.model.case import (
    Call,
    Unsupported,
    argument_module_call,
    find_by_layer_name,
    is_function,
)

_NO_KERNEL = re.compile(
    r"not implemented for '?\w*(Half|BFloat16|Complex\w+)'?"
    r"|Could not run '\S+' with arguments from the '(?!CPU|CUDA)\w+' backend"
    r"|\w+_overrideable not implemented",
    re.IGNORECASE,
)

_NO_ARGUMENT = re.compile(r"unexpected keyword argument '(\w+)'")


def constructor_tensors(call: Call) -> dict[str, torch.Tensor]:
    """Tensors of the state that the constructor takes as arguments, e.g. class weights."""
    # Imported here, because importing the backends must not import the strategies.
    from conformance.layers import CATALOGUE

    spec = CATALOGUE.get(call.layer)
    names = () if spec is None else spec.state.constructor_tensors
    options = {"dtype": getattr(torch, call.dtype), "device": call.device}
    return {k: torch.tensor(x, **options) for k, x in call.state.items() if k in names}


def torch_arguments(call: Call, nn: Any = torch.nn) -> dict[str, Any]:
    """Convert the call's arguments to torch's objects: dtypes, functions, records and modules.

    Args:
        nn: namespace of the module classes among the arguments.
    """
    # Imported here, because importing the backends must not import the strategies.
    from conformance.layers import CATALOGUE

    arguments, spec = dict(call.arguments), CATALOGUE.get(call.layer)
    if spec is None:
        return arguments
    for name, value in call.arguments.items():
        if name in spec.signature.torch_objects and value is not None:
            arguments[name] = getattr(torch, value)
        elif name in spec.signature.function_arguments and is_function(value):
            arguments[name] = find_by_layer_name(value, nn, torch.nn.functional)
        elif name in spec.signature.record_arguments and value is not None:
            arguments[name] = getattr(torch.nn, spec.signature.record_arguments[name])(
                **dict(value)
            )
        elif name in spec.signature.module_arguments and value is not None:
            arguments[name] = construct_inner(argument_module_call(call, value), nn)
    return arguments


def construct_inner(call: Call, nn: Any) -> torch.nn.Module:
    """Construct a module that is part of another, of the classes of a namespace."""
    cls = find_by_layer_name(call.layer, nn, None)
    if cls is None:
        raise Unsupported(f"layer {call.layer}")
    return construct_module(cls, call, {}, nn)


def construct_module(
    cls: Callable[..., Any],
    call: Call,
    tensors: Mapping[str, torch.Tensor],
    nn: Any = torch.nn,
    *,
    names_device: bool = True,
) -> torch.nn.Module:
    """Construct the module of a call without loading its state.

    Args:
        cls: the class, or a function that returns the module.
        call: gives the arguments, the dtype and the device.
        tensors: tensors of the state that the constructor takes as arguments.
        nn: namespace of the module classes among the arguments.
        names_device: the device of the call is an argument; else it is torch's default.
    """
    arguments = {**torch_arguments(call, nn), **tensors}
    extra = arguments.pop("*", ())
    placement = {"dtype": getattr(torch, call.dtype)}
    if names_device:
        placement["device"] = torch.device(call.device)
    with decline_missing_kernels(), decline_newer_arguments(cls, call):
        if _takes_placement(cls):
            return cls(*extra, **arguments, **placement)  # type: ignore[no-any-return]
        return cls(*extra, **arguments).to(**placement)  # type: ignore[no-any-return]


@contextmanager
def decline_missing_kernels() -> Iterator[None]:
    """Decline a call for which torch has no kernel.

    torch raises a RuntimeError for a missing kernel of a dtype, or of a device of another package.
    """
    try:
        yield
    except RuntimeError as error:
        if _NO_KERNEL.search(str(error)):
            raise Unsupported(str(error).splitlines()[0].split(". ")[0]) from error
        raise


@contextmanager
def decline_newer_arguments(callee: Any, call: Call) -> Iterator[None]:
    """Decline a call with an argument that this torch lacks because it is older than the catalogue.

    It remains a failure if `callee`, a class or function, is not torch's own.
    """
    try:
        yield
    except TypeError as error:
        match = _NO_ARGUMENT.search(str(error))
        is_torch = str(getattr(callee, "__module__", "")).partition(".")[0] == "torch"
        if match is None or not is_torch or not _is_newer_argument(call.layer, match[1]):
            raise
        raise Unsupported(f"{match[1]}: torch {torch.__version__} has no such argument") from error


def _is_newer_argument(layer: str, argument: str) -> bool:
    """Whether the catalogue is of a later torch than this one, and has the argument."""
    from conformance.layers import CATALOGUE
    from conformance.layers.excluded import TORCH

    is_older = Version(torch.__version__).release[:2] < Version(TORCH).release
    spec = CATALOGUE.get(layer)
    return is_older and spec is not None and spec.signature.argument(argument) is not None


@cache
def _takes_placement(cls: Callable[..., Any]) -> bool:
    """Whether a class takes device and dtype; `RNN(*args, **kwargs)` passes them to its base."""
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


class MethodModule(torch.nn.Module):
    """A module whose call is a method of another module, so that it can be compiled as a module.

    Args:
        module: the other module.
        method: the name of its method.
    """

    def __init__(self, module: torch.nn.Module, method: str) -> None:
        super().__init__()
        self.module, self.method = module, method

    def forward(self, *inputs: Any) -> Any:
        """Call the method with the inputs."""
        return getattr(self.module, self.method)(*inputs)


def trim_trailing_none(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Drop trailing Nones, so that an omitted state is omitted and not passed as None."""
    while inputs and inputs[-1] is None:
        inputs = inputs[:-1]
    return inputs
