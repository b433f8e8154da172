"""Which layer of the catalogue a caller means: by name, as a function or as a module."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import sys
from contextlib import suppress
from functools import lru_cache
from typing import Any

from conformance.layers import CATALOGUE
from conformance.model.case import class_and_method, find_by_layer_name, is_function
from conformance.spec.layer_spec import LayerSpec
from conformance.spec.signature import REQUIRED, Argument

_ALL_BUT_LAST = ":-1"
"""A step of a path: all elements but the last, which the constructor has added."""


def find_layer(target: Any) -> str:
    """The name of the layer that a name, a function of torch, a module or its method is.

    Raises:
        TypeError: if the catalogue has no such layer.
    """
    if isinstance(target, str):
        if target in CATALOGUE:
            return target
        near = difflib.get_close_matches(target, CATALOGUE, n=3)
        hint = f"; nearest: {', '.join(near)}" if near else ""
        raise TypeError(f"no layer {target!r} in the catalogue{hint}")
    module = module_of(target)
    owner, method = (target, "") if module is None else (type(module), "")
    if module is not None and module is not target:
        method = f".{target.__name__}"
    name = _names_by_object().get(id(owner))
    if name is None or name + method not in CATALOGUE:
        described = getattr(target, "__qualname__", type(target).__qualname__)
        raise TypeError(
            f"{described} is not a layer or function of torch.nn that the catalogue has; "
            "the name of one is accepted, too"
        )
    return name + method


def module_of(target: Any) -> Any:
    """The module that is called, or whose method is; None for a function or a name."""
    torch = sys.modules.get("torch")
    owner = getattr(target, "__self__", target)
    return owner if torch is not None and isinstance(owner, torch.nn.Module) else None


@lru_cache(maxsize=1)
def _names_by_object() -> dict[int, str]:
    torch = sys.modules["torch"]
    objects = {
        name: find_by_layer_name(name, torch.nn, torch.nn.functional)
        for name, spec in CATALOGUE.items()
        if (not class_and_method(name)[1] or is_function(name))
        # A container has no bound of its own: it is a network.
        and not spec.signature.graph_arguments
    }
    return {id(found): name for name, found in objects.items() if found is not None}


def parameter_names(spec: LayerSpec) -> tuple[str, ...]:
    """Names of a function's parameters, in the order in which they are passed.

    Most functions of torch take all tensors first. Where they do not, torch is asked.
    """
    torch = sys.modules.get("torch")
    if torch is not None:
        function = find_by_layer_name(spec.name, torch.nn, torch.nn.functional)
        # A function of C++ has no signature.
        with suppress(TypeError, ValueError):
            parameters = inspect.signature(function).parameters
            if not any(p.kind is p.VAR_POSITIONAL for p in parameters.values()):
                return tuple(parameters)
    leading = [x for x in spec.signature.inputs if not x.passing.by_name]
    names = dict.fromkeys(x.passing.part_of or x.name for x in leading)
    # An argument precedes the other tensors, at a place that the catalogue does not know.
    arguments = () if len(leading) < len(spec.signature.inputs) else spec.signature.arguments
    return (*names, *(a.name for a in arguments))


def read_arguments(spec: LayerSpec, module: Any) -> dict[str, Any]:
    """The arguments of a module's constructor, from its attributes; defaults are left out.

    Raises:
        TypeError: if an argument cannot be read.
    """
    arguments = {}
    for argument in spec.signature.arguments:
        if argument.keyword:
            continue
        value = plain_value(argument, _read_attribute(spec, argument, module))
        if argument.default is REQUIRED or value != argument.default:
            arguments[argument.name] = value
    return arguments


def _read_attribute(spec: LayerSpec, argument: Argument, module: Any) -> Any:
    value = module
    try:
        for name in (argument.attribute or argument.name).split("."):
            if name == _ALL_BUT_LAST:
                value = value[:-1]
            else:
                value = value[int(name)] if name.isdecimal() else getattr(value, name)
    except (AttributeError, IndexError):
        raise TypeError(
            f"{spec.name}: its argument {argument.name} cannot be read from the module; "
            "pass the name of a function in its place"
        ) from None
    is_flag = isinstance(argument.default, bool)
    return value if not is_flag or isinstance(value, bool) else value is not None


def plain_value(argument: Argument, value: Any) -> Any:
    """The value of an argument as the suite writes it: objects of torch by name."""
    torch = sys.modules.get("torch")
    form = argument.form
    if torch is not None and value is not None:
        if isinstance(value, torch.dtype) or (form.torch_object and callable(value)):
            return str(getattr(value, "__name__", value)).removeprefix("torch.")
        if form.function and callable(value):
            return _names_by_object().get(id(value), getattr(value, "__name__", ""))
        if form.module and isinstance(value, torch.nn.Module):
            return _module_value(value)
    if form.record and value is not None and not isinstance(value, tuple):
        return _record_pairs(value)
    if isinstance(value, (tuple, list)):
        items = [_plain_number(x) for x in value]
        return tuple(items) if isinstance(value, tuple) else items
    return _plain_number(value)


def _plain_number(value: Any) -> Any:
    is_number = hasattr(value, "item") and hasattr(value, "dtype") and not getattr(value, "ndim", 1)
    return value.item() if is_number else value


def _module_value(module: Any) -> tuple[str, tuple[tuple[str, Any], ...]]:
    """The layer and the arguments of a module that is an argument."""
    name = find_layer(module)
    arguments = read_arguments(CATALOGUE[name], module)
    # A shape of one number is written as that number.
    single = {k: v[0] for k, v in arguments.items() if isinstance(v, tuple) and len(v) == 1}
    return name, tuple({**arguments, **single}.items())


def _record_pairs(value: Any) -> tuple[tuple[str, Any], ...]:
    """The fields of a record that differ from their defaults."""
    pairs = ((x.name, x.default, getattr(value, x.name)) for x in dataclasses.fields(value))
    return tuple((name, plain) for name, default, plain in pairs if plain != default)
