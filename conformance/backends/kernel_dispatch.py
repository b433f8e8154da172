"""Functions in place of torch's kernels while a call runs; what they return is looked at."""

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
    """A function under test raised, or returned what the operator does not return."""


class Override:
    """A function in place of an operator's kernel.

    Args:
        operator: that it replaces.
        function: with the operator's own arguments.
        invalid: whether it is asked to refuse invalid calls itself, not torch's kernel for it.

    Attributes:
        hits: how often it ran.
        fell_back: whether it has called the operator that it replaces.
        told: called with what runs before it does, and with nothing after it.
    """

    def __init__(self, operator: Operator, function: Any, *, invalid: bool = False) -> None:
        self.operator, self.function = operator, function
        self.hits, self.fell_back = 0, False
        self.told: Callable[[str], None] | None = None
        self._within = threading.local()
        self._returns = Returns(operator, invalid=invalid)

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """Run the function as torch's dispatcher runs a kernel.

        Raises:
            KernelError: if it raises, or returns something else than torch's kernel.
            Unsupported: if it declines the call.
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
            self._returns.torchs(given, named)  # which refuses what torch refuses
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
    """Functions that stand in for torch's kernels within `with`, and nowhere else.

    Args:
        given: operators, each with the function that replaces it.
        invalid: as of `Override`.
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
        # torch tells once that a kernel is replaced, which is what is asked for.
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            self._implement()
        Overrides._warned = bool(told)
        return None

    def _implement(self) -> None:
        for override in self.every:
            # Now, as torch runs kernels on threads of its own, too, where no hooks are in force.
            override.told = HOOKS.get().within
            operator = override.operator
            made: Any = torch.library.Library
            library = made(operator.name.partition("::")[0], "IMPL")
            self._libraries.append(library)
            library.impl(operator.overload, override, operator.key)

    def withdraw(self) -> None:
        """Give torch its own kernels back."""
        while self._libraries:
            self._libraries.pop()._destroy()

    def hits(self) -> Mapping[str, int]:
        """How often each function ran, by operator."""
        return {override.operator.name: override.hits for override in self.every}

    @property
    def total(self) -> int:
        """How often any of them ran."""
        return sum(override.hits for override in self.every)

    @property
    def kept(self) -> int:
        """How often one ran that returns more than the output: a mean, a maximum, indices."""
        return sum(x.hits for x in self.every if len(x.operator.schema.returns) > 1)

    def begin(self) -> None:
        """Forget which functions have fallen back."""
        for override in self.every:
            override.fell_back = False

    @contextmanager
    def reached(self) -> Iterator[None]:
        """Within it a layer computes once.

        Raises:
            Unreached: if that reaches no function.
        """
        self.begin()
        before = self.total
        yield
        if self.total == before:
            raise Unreached(", ".join(override.operator.name for override in self.every))

    def fallen_back(self) -> Sequence[str]:
        """The operators whose functions have called the operator itself since `begin`."""
        return tuple(x.operator.name for x in self.every if x.fell_back)
