"""Functions in place of torch's kernels while a call runs; what they return is looked at."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch

from conformance.backends.asking import Inside
from conformance.backends.operators import Operator
from conformance.model.case import Unsupported
from conformance.model.foreign import type_name, written

SIGNATURES = 10_000
"""Different calls of which it is kept what torch's own kernel makes of them."""


class KernelError(RuntimeError):
    """A function under test raised, or returned what the operator does not return."""


class Override:
    """A function in place of an operator's kernel.

    Args:
        operator: that it replaces.
        function: with the operator's own arguments.

    Attributes:
        hits: how often it ran.
        fell_back: whether it has called the operator that it replaces.
    """

    def __init__(self, operator: Operator, function: Any) -> None:
        self.operator, self.function = operator, function
        self.hits, self.fell_back = 0, False
        self._within = threading.local()
        self._known: dict[Any, tuple[Any, ...] | None] = {}
        self._written = operator.written()

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """Run the function as torch's dispatcher runs a kernel.

        Raises:
            KernelError: if it raises, or returns something else than torch's kernel.
            Unsupported: if it declines the call.
        """
        if getattr(self._within, "depth", 0):
            self.fell_back = True
            return self.operator.call_original(arguments, keywords)
        self.hits += 1
        given, named = self.operator.whole(arguments, keywords)
        self._within.depth = 1
        if Inside.told is not None:
            Inside.told(self._text(given, named))
        try:
            result = self.function(*given, **named)
        except Unsupported:
            raise
        except Exception as error:
            what = f"raised {type_name(error)}: {written(error) or 'no message'}"
            raise KernelError(f"{self._text(given, named)} {what}") from error
        finally:
            self._within.depth = 0
            if Inside.told is not None:
                Inside.told("")
        self._hold(result, given, named)
        return result

    def _hold(self, result: Any, given: list[Any], named: dict[str, Any]) -> None:
        returns = self.operator.schema.returns
        several = result if len(returns) != 1 else (result,)
        wrong = ""
        if not isinstance(several, (tuple, list)) or len(several) != len(returns):
            wrong = f"returned {_kind(result)}, expected {len(returns)} results in a tuple"
        for place, (one, declared) in enumerate(zip(several, returns, strict=False)):
            if not wrong and "Tensor" in str(declared.type):
                wrong = self._fault(one, declared, given, named)
                wrong = wrong and f"returned {wrong}{_of(place, len(returns))}"
        if not wrong:
            wrong = self._unlike_torch(several, given, named)
        if wrong:
            raise KernelError(f"{self._text(given, named)} {wrong}")

    def _fault(self, one: Any, declared: Any, given: list[Any], named: dict[str, Any]) -> str:
        """What is wrong with a result whatever torch's own kernel gives."""
        if one is None and not (declared.alias_info and declared.alias_info.is_write):
            return ""  # a gradient that was not asked for; held against torch's own after this
        if not isinstance(one, torch.Tensor):
            return "" if "List" in str(declared.type) else f"{_kind(one)}, expected a tensor"
        if one.device.type != self._device(given, named):
            return f"a tensor on {one.device}, expected one on {self._device(given, named)}"
        if declared.alias_info is not None:
            return ""
        for place, argument in enumerate(self.operator.schema.arguments):
            value = named[argument.name] if argument.kwarg_only else given[place]
            for other in _tensors(value):
                if place not in self._written and _shared(one, other):
                    return f"a tensor that shares memory with {argument.name}"
        return ""

    def _device(self, given: list[Any], named: dict[str, Any]) -> str:
        tensors = [x for value in (*given, *named.values()) for x in _tensors(value)]
        kinds = [x.device.type for x in tensors if x.device.type != "cpu"]
        return kinds[0] if kinds else "cpu"

    def _unlike_torch(self, several: Sequence[Any], given: list[Any], named: dict[str, Any]) -> str:
        """How the results' dtypes and shapes differ from those of torch's own kernel."""
        if self.operator.original is None or self._written:
            return ""
        signature = (tuple(map(_signature, given)), tuple(map(_signature, named.values())))
        if signature not in self._known:
            if len(self._known) >= SIGNATURES:
                self._known.clear()
            self._known[signature] = self._expected(given, named)
        expected = self._known[signature]
        if expected is None:
            return ""
        for place, (one, wanted) in enumerate(zip(several, expected, strict=True)):
            if _form(one) != wanted:
                got, due = _told(_form(one)), _told(wanted)
                return f"returned {got}, expected {due}{_of(place, len(several))}"
        return ""

    def _expected(self, given: list[Any], named: dict[str, Any]) -> tuple[Any, ...] | None:
        """Dtype and shape of each result of torch's own kernel; None where it gives none.

        It runs after the function, and its numbers are erased: memory that a later call is given
        holds no right answers.
        """
        try:
            result = self.operator.call_original(tuple(given), named)
        except Exception:
            return None
        several = result if isinstance(result, (tuple, list)) else (result,)
        forms = tuple(map(_form, several))
        for one in several:
            if isinstance(one, torch.Tensor) and not any(
                _shared(one, x) for value in (*given, *named.values()) for x in _tensors(value)
            ):
                one.fill_(float("nan") if one.is_floating_point() or one.is_complex() else 1)
        return forms

    def _text(self, given: list[Any], named: dict[str, Any]) -> str:
        """The call: `"aten::mm(float32 (2, 3), float32 (3, 4))"`."""
        parts = [_argument(x) for x in given]
        parts += [f"{name}={_argument(x)}" for name, x in named.items()]
        return f"{self.operator.name}({', '.join(parts)})"


class Overrides:
    """Functions that stand in for torch's kernels within `with`, and nowhere else.

    Args:
        given: operators, each with the function that replaces it.
    """

    _warned: ClassVar[bool] = False

    def __init__(self, given: Sequence[tuple[Operator, Any]]) -> None:
        self.every = tuple(Override(operator, function) for operator, function in given)
        self._libraries: list[torch.library.Library] = []
        self._depth = 0

    def __enter__(self) -> Overrides:
        self._depth += 1
        if self._depth == 1:
            self._register()
        return self

    def __exit__(self, *raised: object) -> None:
        self._depth -= 1
        if self._depth == 0:
            self.withdraw()

    def _register(self) -> None:
        if Overrides._warned:
            return self._implement()
        # torch tells once that a kernel is replaced, which is what is asked for.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._implement()
        Overrides._warned = True
        return None

    def _implement(self) -> None:
        for override in self.every:
            operator = override.operator
            library = torch.library.Library(operator.name.partition("::")[0], "IMPL")
            self._libraries.append(library)
            library.impl(operator.overload, override, operator.key)

    def withdraw(self) -> None:
        """Give torch its own kernels back."""
        while self._libraries:
            self._libraries.pop()._destroy()  # type: ignore[no-untyped-call]

    def hits(self) -> Mapping[str, int]:
        """How often each function ran, by operator."""
        return {override.operator.name: override.hits for override in self.every}

    @property
    def total(self) -> int:
        """How often any of them ran."""
        return sum(override.hits for override in self.every)

    def names(self) -> str:
        """The operators, as a message lists them."""
        return ", ".join(override.operator.name for override in self.every)

    def begin(self) -> None:
        """Forget which functions have fallen back."""
        for override in self.every:
            override.fell_back = False

    def fallen_back(self) -> Sequence[str]:
        """The operators whose functions have called the operator itself since `begin`."""
        return tuple(x.operator.name for x in self.every if x.fell_back)


def _tensors(value: Any) -> tuple[torch.Tensor, ...]:
    if isinstance(value, torch.Tensor):
        return (value,)
    if isinstance(value, (tuple, list)):
        return tuple(x for x in value if isinstance(x, torch.Tensor))
    return ()


def _shared(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a is b or a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr() != 0


def _signature(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.dtype, tuple(value.shape)
    return tuple(map(_signature, value)) if isinstance(value, (tuple, list)) else value


def _form(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.dtype, tuple(value.shape)
    return None


def _told(form: Any) -> str:
    return "nothing" if form is None else f"{_dtype(form[0])} {form[1]}"


def _dtype(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _kind(value: Any) -> str:
    return "None" if value is None else f"a {type_name(value)}"


def _of(place: int, number: int) -> str:
    return "" if number == 1 else f" (result {place + 1} of {number})"


def _argument(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"{_dtype(value.dtype)} {tuple(value.shape)}"
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(_argument, value))}]"
    return f"{value!r:.60}"
