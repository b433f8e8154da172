"""What a function in place of a kernel returned, held against what torch's own kernel returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from conformance.backends.operators import Operator, dtype_name, tensor_text
from conformance.model.untrusted import type_name

UNKNOWN = "something else"
SIGNATURES = 10_000
"""Different calls of which it is kept what torch's own kernel makes of them."""


@dataclass(frozen=True)
class Form:
    """A tensor without its numbers.

    Args:
        dtype, shape: torch's.
        shares: whether it shares memory with an argument, whatever the schema says.
    """

    dtype: torch.dtype
    shape: tuple[int, ...]
    shares: bool = False

    def __str__(self) -> str:
        return f"{dtype_name(self.dtype)} {self.shape}"


class Returns:
    """Knows what torch's own kernel returns.

    Args:
        operator: whose kernel it is.
        invalid: whether the function is asked to refuse invalid calls itself; else those that
            torch's kernel refuses are refused as it does.
    """

    def __init__(self, operator: Operator, *, invalid: bool) -> None:
        self._operator, self._invalid = operator, invalid
        self._known: dict[Any, list[Form | None] | None] = {}
        self._written = operator.written()
        tags = (torch.Tag.dynamic_output_shape, torch.Tag.data_dependent_output)
        self._dependent = any(tag in operator.overload.tags for tag in tags)

    def fault(self, result: Any, given: list[Any], named: dict[str, Any]) -> str:
        """What is wrong with a result, its numbers apart; empty where nothing is.

        Args:
            result: of the function.
            given, named: the arguments of the call.
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
            return ""  # torch's kernel leaves out what it knows that nobody asks for
        if one is None:
            return "" if due == UNKNOWN else f"None, expected {due}"
        if not isinstance(one, torch.Tensor):
            # What is no tensor by the schema is none of torch's own kernel either.
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
        """What torch's own kernel returns of a call; None where that is unknown.

        Args:
            given, named: the arguments.

        Raises:
            Exception: as torch's kernel does of a call that it refuses: a layer of torch's makes
                such calls where torch has a bug, and no function need answer them.
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
        """Call the kernel, after the function.

        Its numbers are erased: memory that a later call is given holds no right answers.
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
    """The tensors that an argument is, or holds."""
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
    """The results of a call, those of a list one by one."""
    if not isinstance(result, (tuple, list)):
        return [result]
    return [x for one in result for x in (one if isinstance(one, (tuple, list)) else (one,))]


def _signature(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.dtype, tuple(value.shape)
    return tuple(map(_signature, value)) if isinstance(value, (tuple, list)) else value


def _kind(value: Any) -> str:
    return "None" if value is None else f"a {type_name(value)}"
