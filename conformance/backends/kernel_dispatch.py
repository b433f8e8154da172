"""Replace torch's kernels by functions while a call runs, and check what the functions return."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import torch

from conformance.backends.foreign_calls import HOOKS
from conformance.backends.kernel_output import Returns
from conformance.backends.operators import Operator, call_text
from conformance.model.case import Unreached, Unsupported
from conformance.model.untrusted import type_name, written


class KernelError(RuntimeError):
    """A function under test raised, or returned something that the operator never returns."""


class Override:
    """A function that replaces the kernel of an operator.

    Args:
        operator: the operator whose kernel it replaces.
        function: takes the operator's own arguments.
        invalid: whether the function must refuse invalid calls itself. Otherwise torch's kernel
            refuses them for it.

    Attributes:
        hits: how often the function ran.
        fell_back: whether the function has called the operator that it replaces.
        told: called with the text of each call before it runs, and with an empty text after it.
    """

    def __init__(self, operator: Operator, function: Any, *, invalid: bool = False) -> None:
        self.operator, self.function = operator, function
        self.hits, self.fell_back = 0, False
        self.told: Callable[[str], None] | None = None
        self._within = threading.local()
        self._returns = Returns(operator, invalid=invalid)

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """Run the function with the arguments that torch's dispatcher passes to a kernel.

        Raises:
            KernelError: if the function raises, or returns something that torch's kernel does not.
            Unsupported: if the function declines the call.
        """
        if getattr(self._within, "depth", 0):
            self.fell_back = True
            return self.operator.call_original(*self.operator.whole(arguments, keywords))
        self.hits += 1
        given, named = self.operator.whole(arguments, keywords)
        self._within.depth = 1
        if self.told is not None:
            self.told(call_text(self.operator.name, given, named))
        try:
            result = self.function(*given, **named)
        except Unsupported:
            raise
        except Exception as error:
            self._returns.torchs(given, named)  # raises torch's own error for an invalid call
            what = f"raised {type_name(error)}: {written(error) or 'no message'}"
            failure = KernelError(f"{call_text(self.operator.name, given, named)} {what}")
            raise failure.with_traceback(error.__traceback__) from error
        finally:
            self._within.depth = 0
            if self.told is not None:
                self.told("")
        if wrong := self._returns.fault(result, given, named):
            raise KernelError(f"{call_text(self.operator.name, given, named)} {wrong}")
        return result


class Overrides:
    """Functions that replace torch's kernels inside a `with` block, and only there.

    Args:
        given: pairs of an operator and the function that replaces its kernel.
        invalid: see `Override`.
    """

    _warned: ClassVar[bool] = False

    def __init__(self, given: Sequence[tuple[Operator, Any]], *, invalid: bool = False) -> None:
        self.every = tuple(
            Override(operator, function, invalid=invalid) for operator, function in given
        )
        self._libraries: list[Any] = []
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
        # torch warns once that a kernel is replaced. Here the replacement is intended.
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            self._implement()
        Overrides._warned = bool(told)
        return None

    def _implement(self) -> None:
        for override in self.every:
            # Read the hook here: torch also runs kernels on its own threads, which have no hooks.
            override.told = HOOKS.get().on_inner_call
            operator = override.operator
            made: Any = torch.library.Library
            library = made(operator.name.partition("::")[0], "IMPL")
            self._libraries.append(library)
            library.impl(operator.overload, override, operator.key)

    def withdraw(self) -> None:
        """Restore torch's own kernels."""
        while self._libraries:
            self._libraries.pop()._destroy()

    def hits(self) -> Mapping[str, int]:
        """How often each function has run, by operator."""
        return {override.operator.name: override.hits for override in self.every}

    @property
    def total(self) -> int:
        """How often the functions have run, all together."""
        return sum(override.hits for override in self.every)

    @property
    def kept(self) -> int:
        """How often functions with several results have run, e.g. an output and its mean."""
        return sum(x.hits for x in self.every if len(x.operator.schema.returns) > 1)

    def begin(self) -> None:
        """Clear the record of functions that called the operator they replace."""
        for override in self.every:
            override.fell_back = False

    @contextmanager
    def reached(self) -> Iterator[None]:
        """Require that the computation in a `with` block runs at least one of the functions.

        Raises:
            Unreached: if it runs none of them.
        """
        self.begin()
        before = self.total
        yield
        if self.total == before:
            raise Unreached(", ".join(override.operator.name for override in self.every))

    def fallen_back(self) -> Sequence[str]:
        """The operators that their own replacements have called since `begin`."""
        return tuple(x.operator.name for x in self.every if x.fell_back)
