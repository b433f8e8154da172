"""Compare the results of a replacement function with those of torch's own kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from conformance.backends.operators import Operator, dtype_name, tensor_text
from conformance.model.untrusted import type_name

UNKNOWN = "something else"
SIGNATURES = 10_000
"""Most call signatures for which the forms of the results of torch's kernel are cached."""


@dataclass(frozen=True)
class Form:
    """Dtype and shape of a tensor.

    `shares` says whether it shares memory with an argument, whatever the schema says.
    """

    dtype: torch.dtype
    shape: tuple[int, ...]
    shares: bool = False

    def __str__(self) -> str:
        return f"{dtype_name(self.dtype)} {self.shape}"


class Returns:
    """Compares results with those of torch's own kernel, which it calls once per signature.

    Args:
        operator: the operator whose kernel is replaced.
        invalid: whether the function must refuse invalid calls itself. Otherwise a call that
            torch's kernel refuses raises torch's own error.
    """

    def __init__(self, operator: Operator, *, invalid: bool) -> None:
        self._operator, self._invalid = operator, invalid
        self._known: dict[Any, list[Form | None] | None] = {}
        self._written = operator.written()
        tags = (torch.Tag.dynamic_output_shape, torch.Tag.data_dependent_output)
        self._dependent = any(tag in operator.overload.tags for tag in tags)

    def fault(self, result: Any, given: list[Any], named: dict[str, Any]) -> str:
        """Describe what is wrong with the form of a result; empty if nothing is.

        The numbers in the result are not compared.

        Args:
            result: what the function returned.
            given, named: positional and keyword-only arguments of the call.
        """
        declared = self._operator.schema.returns
        if len(declared) != 1 and (
            not isinstance(result, (tuple, list)) or len(result) != len(declared)
        ):
            return f"returned {_kind(result)}, expected {len(declared)} results in a tuple"
        found = _flat(result)
        known = self.torchs(given, named)
        if known is not None and len(known) != len(found):
            return f"returned {len(found)} tensors, expected {len(known)}"
        wanted = [UNKNOWN] * len(found) if known is None else known
        arguments = [x for value in (*given, *named.values()) for x in tensors(value)]
        device = next((x.device.type for x in arguments if x.device.type != "cpu"), "cpu")
        for place, (one, due) in enumerate(zip(found, wanted, strict=True)):
            wrong = self._unlike(one, due, device) or self._shared(one, due, given, named)
            if wrong:
                of = f" (result {place + 1} of {len(found)})" if len(found) > 1 else ""
                return f"returned {wrong}{of}"
        return ""

    def _unlike(self, one: Any, due: Form | str | None, device: str) -> str:
        if due is None:
            return ""  # torch's kernel leaves out results that nobody needs
        if one is None:
            return "" if due == UNKNOWN else f"None, expected {due}"
        if not isinstance(one, torch.Tensor):
            # Where the schema has no tensor, the expected form is None, which is handled above.
            return "" if due == UNKNOWN else f"{_kind(one)}, expected a tensor, {due}"
        if one.device.type != device:
            return f"a tensor on {one.device}, expected one on {device}"
        if isinstance(due, Form) and (one.dtype, tuple(one.shape)) != (due.dtype, due.shape):
            return f"{tensor_text(one)}, expected {due}"
        return ""

    def _shared(
        self, one: Any, due: Form | str | None, given: list[Any], named: dict[str, Any]
    ) -> str:
        if not isinstance(one, torch.Tensor) or self._written:
            return ""
        if isinstance(due, Form) and due.shares:
            return ""
        for place, argument in enumerate(self._operator.schema.arguments):
            value = named[argument.name] if argument.kwarg_only else given[place]
            if argument.alias_info is None and any(shared(one, x) for x in tensors(value)):
                return f"a tensor that shares memory with {argument.name}"
        return ""

    def torchs(self, given: list[Any], named: dict[str, Any]) -> list[Form | None] | None:
        """Forms of the results of torch's own kernel; None where they are unknown.

        Args:
            given, named: positional and keyword-only arguments of the call.

        Raises:
            Exception: the error of torch's kernel if it refuses the call. Where torch has a bug,
                its own layers make such calls, and no function has to support them.
        """
        if self._operator.original is None or self._written or self._dependent:
            return None
        signature = (tuple(map(_signature, given)), tuple(map(_signature, named.values())))
        if signature not in self._known:
            if len(self._known) >= SIGNATURES:
                self._known.clear()
            self._known[signature] = self._called(given, named)
        return self._known[signature]

    def _called(self, given: list[Any], named: dict[str, Any]) -> list[Form | None] | None:
        """Call torch's kernel, always after the function.

        Its results are overwritten, so that memory which a later call reuses holds no right
        answers.
        """
        try:
            found = _flat(self._operator.call_original(given, named))
        except Exception as error:
            lacking = isinstance(error, NotImplementedError) or "not implemented" in str(error)
            if self._invalid or lacking:
                return None
            raise
        arguments = [x for value in (*given, *named.values()) for x in tensors(value)]
        forms: list[Form | None] = []
        for one in found:
            if not isinstance(one, torch.Tensor):
                forms.append(None)
                continue
            shares = any(shared(one, x) for x in arguments)
            forms.append(Form(one.dtype, tuple(one.shape), shares))
            if not shares and one.layout == torch.strided:
                one.fill_(float("nan") if one.is_floating_point() or one.is_complex() else 1)
        return forms


def tensors(value: Any) -> tuple[torch.Tensor, ...]:
    """The tensor that an argument is, or those in a tuple or list."""
    if isinstance(value, torch.Tensor):
        return (value,)
    if isinstance(value, (tuple, list)):
        return tuple(x for x in value if isinstance(x, torch.Tensor))
    return ()


def shared(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors share memory."""
    if a.layout != torch.strided or b.layout != torch.strided:
        return a is b
    return a is b or a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr() != 0


def _flat(result: Any) -> list[Any]:
    """The results of a call in one list, with nested tuples and lists flattened."""
    if not isinstance(result, (tuple, list)):
        return [result]
    return [x for one in result for x in (one if isinstance(one, (tuple, list)) else (one,))]


def _signature(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.dtype, tuple(value.shape)
    return tuple(map(_signature, value)) if isinstance(value, (tuple, list)) else value


def _kind(value: Any) -> str:
    return "None" if value is None else f"a {type_name(value)}"
