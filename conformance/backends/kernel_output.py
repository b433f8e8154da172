"""Compare the results of a replacement function with those of torch's own kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from conformance.backends.operators import Operator, dtype_name, tensor_text
from conformance.backends.torch_layouts import share_memory
from conformance.model.untrusted import type_name

UNKNOWN_FORM = "something else"
MAX_SIGNATURES = 10_000
"""Most call signatures for which the forms of the results of torch's kernel are cached."""


@dataclass(frozen=True)
class TensorForm:
    """Dtype and shape of a tensor.

    `shares_memory` says whether it shares memory with an argument, whatever the schema says.
    """

    dtype: torch.dtype
    shape: tuple[int, ...]
    shares_memory: bool = False

    def __str__(self) -> str:
        return f"{dtype_name(self.dtype)} {self.shape}"


class KernelResults:
    """Compares results with those of torch's own kernel, which it calls once per signature.

    Args:
        operator: the operator whose kernel is replaced.
        invalid: whether the function must refuse invalid calls itself. Otherwise a call that
            torch's kernel refuses raises torch's own error.
    """

    def __init__(self, operator: Operator, *, invalid: bool) -> None:
        self._operator, self._invalid = operator, invalid
        self._forms: dict[Any, list[TensorForm | None] | None] = {}
        self._written_places = operator.written_places()
        tags = (torch.Tag.dynamic_output_shape, torch.Tag.data_dependent_output)
        self._data_dependent = any(tag in operator.overload.tags for tag in tags)

    def find_fault(self, result: Any, positional: list[Any], keyword_only: dict[str, Any]) -> str:
        """Describe what is wrong with the form of a result; empty if nothing is.

        The numbers in the result are not compared.

        Args:
            result: what the function returned.
            positional, keyword_only: positional and keyword-only arguments of the call.
        """
        declared = self._operator.schema.returns
        if len(declared) != 1 and (
            not isinstance(result, (tuple, list)) or len(result) != len(declared)
        ):
            return f"returned {_kind_text(result)}, expected {len(declared)} results in a tuple"
        results = _flatten_results(result)
        forms = self.torch_forms(positional, keyword_only)
        if forms is not None and len(forms) != len(results):
            return f"returned {len(results)} tensors, expected {len(forms)}"
        expected = [UNKNOWN_FORM] * len(results) if forms is None else forms
        arguments = [
            x for value in (*positional, *keyword_only.values()) for x in tensors_in(value)
        ]
        device = next((x.device.type for x in arguments if x.device.type != "cpu"), "cpu")
        for place, (actual, expected_form) in enumerate(zip(results, expected, strict=True)):
            problem = self._form_mismatch(actual, expected_form, device) or self._memory_overlap(
                actual, expected_form, positional, keyword_only
            )
            if problem:
                position_text = (
                    f" (result {place + 1} of {len(results)})" if len(results) > 1 else ""
                )
                return f"returned {problem}{position_text}"
        return ""

    def _form_mismatch(self, actual: Any, expected: TensorForm | str | None, device: str) -> str:
        if expected is None:
            return ""  # torch's kernel leaves out results that nobody needs
        if actual is None:
            return "" if expected == UNKNOWN_FORM else f"None, expected {expected}"
        if not isinstance(actual, torch.Tensor):
            # Where the schema has no tensor, the expected form is None, which is handled above.
            return (
                ""
                if expected == UNKNOWN_FORM
                else f"{_kind_text(actual)}, expected a tensor, {expected}"
            )
        if type(actual) not in (torch.Tensor, torch.nn.Parameter):
            return f"a tensor of its own class, {type_name(actual)}"
        if actual.device.type != device:
            return f"a tensor on {actual.device}, expected one on {device}"
        if isinstance(expected, TensorForm) and (actual.dtype, tuple(actual.shape)) != (
            expected.dtype,
            expected.shape,
        ):
            return f"{tensor_text(actual)}, expected {expected}"
        return ""

    def _memory_overlap(
        self,
        actual: Any,
        expected: TensorForm | str | None,
        positional: list[Any],
        keyword_only: dict[str, Any],
    ) -> str:
        if not isinstance(actual, torch.Tensor) or self._written_places:
            return ""
        if isinstance(expected, TensorForm) and expected.shares_memory:
            return ""
        for place, argument in enumerate(self._operator.schema.arguments):
            value = keyword_only[argument.name] if argument.kwarg_only else positional[place]
            if argument.alias_info is None and any(
                share_memory(actual, x) for x in tensors_in(value)
            ):
                return f"a tensor that shares memory with {argument.name}"
        return ""

    def torch_forms(
        self, positional: list[Any], keyword_only: dict[str, Any]
    ) -> list[TensorForm | None] | None:
        """Forms of the results of torch's own kernel; None where they are unknown.

        Args:
            positional, keyword_only: positional and keyword-only arguments of the call.

        Raises:
            Exception: the error of torch's kernel if it refuses the call. Where torch has a bug,
                its own layers make such calls, and no function has to support them.
        """
        if self._operator.original is None or self._written_places or self._data_dependent:
            return None
        signature = (
            tuple(map(_signature, positional)),
            tuple(map(_signature, keyword_only.values())),
        )
        if signature not in self._forms:
            if len(self._forms) >= MAX_SIGNATURES:
                self._forms.clear()
            self._forms[signature] = self._call_torch(positional, keyword_only)
        return self._forms[signature]

    def _call_torch(
        self, positional: list[Any], keyword_only: dict[str, Any]
    ) -> list[TensorForm | None] | None:
        """Call torch's kernel, always after the function.

        Its results are overwritten, so that memory which a later call reuses holds no right
        answers.
        """
        try:
            results = _flatten_results(self._operator.call_original(positional, keyword_only))
        except Exception as error:
            is_missing = isinstance(error, NotImplementedError) or "not implemented" in str(error)
            if self._invalid or is_missing:
                return None
            raise
        arguments = [
            x for value in (*positional, *keyword_only.values()) for x in tensors_in(value)
        ]
        forms: list[TensorForm | None] = []
        for result in results:
            if not isinstance(result, torch.Tensor):
                forms.append(None)
                continue
            shares_memory = any(share_memory(result, x) for x in arguments)
            forms.append(TensorForm(result.dtype, tuple(result.shape), shares_memory))
            if not shares_memory and result.layout == torch.strided:
                result.fill_(
                    float("nan") if result.is_floating_point() or result.is_complex() else 1
                )
        return forms


def tensors_in(value: Any) -> tuple[torch.Tensor, ...]:
    """The tensor that an argument is, or those in a tuple or list."""
    if isinstance(value, torch.Tensor):
        return (value,)
    if isinstance(value, (tuple, list)):
        return tuple(x for x in value if isinstance(x, torch.Tensor))
    return ()


def _flatten_results(result: Any) -> list[Any]:
    """The results of a call in one list, with nested tuples and lists flattened."""
    if not isinstance(result, (tuple, list)):
        return [result]
    return [x for part in result for x in (part if isinstance(part, (tuple, list)) else (part,))]


def _signature(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.dtype, tuple(value.shape)
    return tuple(map(_signature, value)) if isinstance(value, (tuple, list)) else value


def _kind_text(value: Any) -> str:
    return "None" if value is None else f"a {type_name(value)}"
