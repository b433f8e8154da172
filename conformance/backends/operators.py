"""Find operators of torch by name, with their overload, schema and kernel on a device."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from conformance.model.untrusted import safe_repr

_IMPLICIT, _EXPLICIT = "CompositeImplicitAutograd", "CompositeExplicitAutograd"


@dataclass(frozen=True)
class Operator:
    """One overload of an operator, and where its kernels are registered.

    Args:
        name: `"aten::addmm"`, `"aten::addmm.out"`.
        overload: torch's own object.
        key: dispatch key of the device, `"CPU"`.
        original: torch's kernel before any replacement; None where this version of torch has no
            function to get it (before 2.9).
    """

    name: str
    overload: Any
    key: str
    original: Any

    @property
    def schema(self) -> Any:
        """torch's schema of the overload: arguments, returns and aliases."""
        return self.overload._schema

    def written_places(self) -> frozenset[int]:
        """Positions of the arguments that the operator writes into."""
        return frozenset(
            place
            for place, argument in enumerate(self.schema.arguments)
            if argument.alias_info is not None and argument.alias_info.is_write
        )

    def complete_arguments(
        self, arguments: Sequence[Any], keywords: Mapping[str, Any]
    ) -> tuple[list[Any], dict[str, Any]]:
        """Complete a kernel's arguments by the schema: the positional, and the keyword-only ones.

        torch leaves out default values, and passes a number in place of a zero-dimensional tensor
        made from it. A kernel runs below autograd, so arguments are detached; those that the
        operator writes into stay the same objects.
        """
        by_argument = arguments_by_name(self.schema, arguments, keywords)
        positional = [by_argument[a.name] for a in self.schema.arguments if not a.kwarg_only]
        keyword_only = {a.name: by_argument[a.name] for a in self.schema.arguments if a.kwarg_only}
        places = [k for k, a in enumerate(self.schema.arguments) if str(a.type) == "Tensor"]
        for place in places:
            if place < len(positional) and isinstance(positional[place], (int, float, complex)):
                positional[place] = _number_tensor(positional[place], positional)
        written_places = self.written_places()
        for place, value in enumerate(positional):
            if place not in written_places:
                positional[place] = _detach(value)
        return positional, keyword_only

    def call_original(self, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> Any:
        """Call torch's own kernel; the arguments must be complete, see `complete_arguments`."""
        if self.original is None:
            raise RuntimeError(f"{self.name}: this version of torch cannot return its kernel")
        keys = torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, self.key))
        return self.original.call_boxed(keys, *arguments, **keywords)

    def check_signature(self, function: Any) -> None:
        """Check that a function can replace the operator.

        Raises:
            TypeError: if it is not callable, or its signature does not fit the schema.
        """
        if not callable(function):
            raise TypeError(f"{self.name}: expected a callable, got {safe_repr(function)}")
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError):
            return  # compiled functions may have no signature
        places = [None for a in self.schema.arguments if not a.kwarg_only]
        keyword_only = {a.name: None for a in self.schema.arguments if a.kwarg_only}
        try:
            signature.bind(*places, **keyword_only)
        except TypeError as error:
            name = getattr(function, "__name__", type(function).__name__)
            raise TypeError(
                f"{self.name}: expected a callable that takes {_parameters_text(self.schema)}, "
                f"got {name}{signature}: {error}"
            ) from None


def arguments_by_name(
    schema: Any, arguments: Sequence[Any], keywords: Mapping[str, Any]
) -> dict[str, Any]:
    """The arguments of a call by name, with the schema's default where torch leaves one out."""
    defaults = {a.name: a.default_value for a in schema.arguments}
    positional = zip(defaults, arguments, strict=False)
    return {**defaults, **dict(positional), **keywords}


def call_text(name: str, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> str:
    """A call as messages show it: `"aten::mm(float32 (2, 3), float32 (3, 4))"`."""
    parts = [_argument_text(x) for x in arguments]
    parts += [f"{name}={_argument_text(x)}" for name, x in keywords.items()]
    return f"{name}({', '.join(parts)})"


def _argument_text(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return tensor_text(value)
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(_argument_text, value))}]"
    return f"{value!s:.60}"


def tensor_text(tensor: torch.Tensor) -> str:
    """Dtype and shape of a tensor: `"float32 (2, 3)"`."""
    return f"{dtype_name(tensor.dtype)} {tuple(tensor.shape)}"


def dtype_name(dtype: torch.dtype) -> str:
    """torch's name of a dtype without the prefix: `"float32"`."""
    return str(dtype).removeprefix("torch.")


def _detach(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach() if value.requires_grad else value
    return list(map(_detach, value)) if isinstance(value, (list, tuple)) else value


def _number_tensor(number: Any, arguments: Sequence[Any]) -> torch.Tensor:
    """A zero-dimensional tensor of a number; float64 beside floating tensors, to keep its digits.

    A zero-dimensional tensor does not change the dtype of an operation with other floating ones.
    """
    floating = any(isinstance(x, torch.Tensor) and x.is_floating_point() for x in arguments)
    dtype = torch.float64 if floating and type(number) is float else None
    return torch.tensor(number, dtype=dtype)


def _parameters_text(schema: Any) -> str:
    """The schema's parameters: `"(Tensor self, Tensor mat1, *, Scalar beta=1)"`."""
    text = str(schema)
    return text[text.index("(") : text.rindex(" ->")]


def find_operator(name: Any, device: str) -> Operator:
    """Find an operator and its kernel on a device.

    Args:
        name: `"aten::addmm"`, or with an overload, `"aten::addmm.out"`; `"aten::addmm.default"`
            also names the default overload.
        device: torch's name of the device.

    Raises:
        TypeError: if the name is not a string.
        ValueError: if torch has no such operator or overload, or no kernel that can be replaced.
    """
    if not isinstance(name, str):
        raise TypeError(f"operator {safe_repr(name)}: expected a name such as 'aten::addmm'")
    space, colons, qualified_name = name.partition("::")
    base, dot, overload = qualified_name.partition(".")
    if not colons or not space or not base or (dot and not overload):
        hint = f"; did you mean 'aten::{name}'?" if not colons else ""
        raise ValueError(f"operator {name!r}: expected a name such as 'aten::addmm'{hint}")
    packet: Any = getattr(getattr(torch.ops, space), base, None)
    if not isinstance(packet, torch._ops.OpOverloadPacket):
        raise ValueError(
            f"operator {name!r}: torch has no such operator{_suggest_name(space, base)}"
        )
    overload_names = packet.overloads()  # type: ignore[no-untyped-call]
    overload_name = overload or "default"
    if overload_name not in overload_names:
        choices = ", ".join(f"{space}::{base}.{x}" for x in overload_names)
        raise ValueError(f"operator {name!r}: no such overload, expected one of {choices}")
    full_name = f"{space}::{base}" + ("" if overload_name == "default" else f".{overload_name}")
    key = dispatch_key(device)
    _require_kernel(full_name, key)
    return Operator(full_name, getattr(packet, overload_name), key, _find_kernel(full_name, key))


def dispatch_key(device: str) -> str:
    """The dispatch key under which torch registers kernels of a device: `"CUDA"` for `"cuda:0"`.

    Raises:
        ValueError: if torch has no such type of device.
    """
    try:
        return str(torch._C._dispatch_key_for_device(torch.device(device).type))
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device {device!r}: expected one such as 'cpu': {reason}") from None


def _suggest_name(space: str, base: str) -> str:
    names = {
        schema.name.removeprefix(f"{space}::")
        for schema in torch._C._jit_get_all_schemas()
        if schema.name.startswith(f"{space}::")
    }
    matches = difflib.get_close_matches(base, sorted(names), n=1)
    return f"; did you mean '{space}::{matches[0]}'?" if matches else ""


def _require_kernel(name: str, key: str) -> None:
    """Require a kernel below autograd, because only such a kernel can be replaced.

    Raises:
        ValueError: if there is none; the message says why.
    """
    try:
        has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key(name, key)
    except RuntimeError:
        raise ValueError(f"operator {name!r} exists in TorchScript only: no call runs it") from None
    if has_kernel or torch._C._dispatch_has_kernel_for_dispatch_key(name, _EXPLICIT):
        return
    if torch._C._dispatch_has_kernel_for_dispatch_key(name, _IMPLICIT):
        raise ValueError(
            f"operator {name!r} consists of other operators above autograd: expected one of these "
            "(aten::addmm for aten::linear, aten::native_layer_norm for aten::layer_norm)"
        )
    raise ValueError(
        f"operator {name!r} has no kernel for {key} in torch {torch.__version__}: "
        "expected an operator that has one"
    )


def _find_kernel(name: str, key: str) -> Callable[..., Any] | None:
    get: Callable[..., Any] | None = getattr(torch.library, "get_kernel", None)
    return None if get is None else get(name, key)
