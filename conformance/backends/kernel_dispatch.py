"""Replace torch's kernels by functions while a call runs, and check what the functions return."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import torch

from conformance.backends.delegation import OperatorWatch
from conformance.backends.foreign_calls import HOOKS
from conformance.backends.kernel_output import KernelResults
from conformance.backends.operators import Operator, call_text
from conformance.model.case import Unreached, Unsupported
from conformance.model.untrusted import exception_text, type_name

MAX_RUNNING = 32
"""Most threads on which a function may run at once; more are calls of the operator by itself."""


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
        on_call: called with the text of each call before it runs, and with an empty text after it.
        watch: sees the operators that the function calls; None = nobody does.
    """

    def __init__(self, operator: Operator, function: Any, *, invalid: bool = False) -> None:
        self.operator, self.function = operator, function
        self.hits, self.fell_back = 0, False
        self.on_call: Callable[[str], None] | None = None
        self.watch: OperatorWatch | None = None
        self._active, self._lock, self._running = threading.local(), threading.Lock(), 0
        self._kernel_results = KernelResults(operator, invalid=invalid)

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """Run the function with the arguments that torch's dispatcher passes to a kernel.

        Raises:
            KernelError: if the function raises, or returns something that torch's kernel does not.
            Unsupported: if the function declines the call.
        """
        if getattr(self._active, "depth", 0) or self._running >= MAX_RUNNING:
            self.fell_back = True
            if self.watch is not None:
                self.watch.note_original(self.operator.name)
            return self.operator.call_original(
                *self.operator.complete_arguments(arguments, keywords)
            )
        self.hits += 1
        positional, keyword_only = self.operator.complete_arguments(arguments, keywords)
        self._active.depth = 1
        with self._lock:
            self._running += 1
        if self.on_call is not None:
            self.on_call(call_text(self.operator.name, positional, keyword_only))
        try:
            result = self._run_function(positional, keyword_only)
        except Unsupported:
            raise
        except Exception as error:
            self._kernel_results.torch_forms(
                positional, keyword_only
            )  # raises torch's own error for an invalid call
            problem = f"raised {type_name(error)}: {exception_text(error) or 'no message'}"
            failure = KernelError(
                f"{call_text(self.operator.name, positional, keyword_only)} {problem}"
            )
            raise failure.with_traceback(error.__traceback__) from error
        finally:
            self._active.depth = 0
            with self._lock:
                self._running -= 1
            if self.on_call is not None:
                self.on_call("")
        if fault := self._kernel_results.find_fault(result, positional, keyword_only):
            raise KernelError(f"{call_text(self.operator.name, positional, keyword_only)} {fault}")
        return result

    def _run_function(self, positional: Sequence[Any], keyword_only: Mapping[str, Any]) -> Any:
        if self.watch is None:
            return self.function(*positional, **keyword_only)
        with self.watch.while_running(self.operator.overload):
            return self.function(*positional, **keyword_only)


class Overrides:
    """Functions that replace torch's kernels inside a `with` block, and only there.

    Args:
        pairs: pairs of an operator and the function that replaces its kernel.
        invalid: see `Override`.
    """

    _warned: ClassVar[bool] = False

    def __init__(self, pairs: Sequence[tuple[Operator, Any]], *, invalid: bool = False) -> None:
        self.overrides = tuple(
            Override(operator, function, invalid=invalid) for operator, function in pairs
        )
        self._libraries: list[Any] = []
        self._depth = 0

    def __enter__(self) -> Overrides:
        self._depth += 1
        if self._depth == 1:
            self._register_kernels()
        return self

    def __exit__(self, *raised: object) -> None:
        self._depth -= 1
        if self._depth == 0:
            self.unregister_kernels()

    def _register_kernels(self) -> None:
        if Overrides._warned:
            return self._add_implementations()
        # torch warns once that a kernel is replaced. Here the replacement is intended.
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            self._add_implementations()
        Overrides._warned = bool(caught)
        return None

    def _add_implementations(self) -> None:
        for override in self.overrides:
            # Read the hook here: torch also runs kernels on its own threads, which have no hooks.
            override.on_call = HOOKS.get().on_inner_call
            override.watch = HOOKS.get().operator_watch
            operator = override.operator
            library_class: Any = torch.library.Library
            library = library_class(operator.name.partition("::")[0], "IMPL")
            self._libraries.append(library)
            library.impl(operator.overload, override, operator.key)

    def unregister_kernels(self) -> None:
        """Restore torch's own kernels."""
        while self._libraries:
            self._libraries.pop()._destroy()

    def hits(self) -> Mapping[str, int]:
        """How often each function has run, by operator."""
        return {override.operator.name: override.hits for override in self.overrides}

    @property
    def total_hits(self) -> int:
        """How often the functions have run, all together."""
        return sum(override.hits for override in self.overrides)

    @property
    def multi_result_hits(self) -> int:
        """How often functions with several results have run, e.g. an output and its mean."""
        return sum(
            override.hits
            for override in self.overrides
            if len(override.operator.schema.returns) > 1
        )

    def reset_fallbacks(self) -> None:
        """Clear the record of functions that called the operator they replace."""
        for override in self.overrides:
            override.fell_back = False

    @contextmanager
    def require_hit(self) -> Iterator[None]:
        """Require that the computation in a `with` block runs at least one of the functions.

        Raises:
            Unreached: if it runs none of them.
        """
        self.reset_fallbacks()
        hits_before = self.total_hits
        yield
        if self.total_hits == hits_before:
            raise Unreached(", ".join(override.operator.name for override in self.overrides))

    def fallen_back_operators(self) -> Sequence[str]:
        """The operators that their own replacements have called since `reset_fallbacks`."""
        return tuple(override.operator.name for override in self.overrides if override.fell_back)
