"""Results that are kept as long as one layer and dtype are asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, update_wrapper
from typing import Generic, ParamSpec, TypeVar

_P = ParamSpec("_P")
_R = TypeVar("_R")


class OfOneLayer(Generic[_P, _R]):
    """A function whose first two arguments are a layer and a dtype, and what it has returned.

    Neighbouring items are the checks of one layer and dtype; of a backend that declines cases each
    of them asks for all rounds. Asked for another layer or dtype it forgets what it has.

    Args:
        function: hashable arguments → result.
    """

    def __init__(self, function: Callable[_P, _R]) -> None:
        self._kept = cache(function)
        self._of: tuple[object, ...] = ()
        update_wrapper(self, function)

    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """The function's result, from before where it was asked the same."""
        if args[:2] != self._of:
            self.cache_clear()
            self._of = args[:2]
        return self._kept(*args, **kwargs)  # type: ignore[arg-type]

    def cache_clear(self) -> None:
        """Forget everything."""
        self._kept.cache_clear()
