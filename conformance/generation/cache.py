"""A cache that holds the results for one layer and dtype at a time."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, update_wrapper
from typing import Generic, ParamSpec, TypeVar

_P = ParamSpec("_P")
_R = TypeVar("_R")


class OfOneLayer(Generic[_P, _R]):
    """A cached function whose first two arguments are a layer and a dtype.

    A call with another layer or dtype clears the cache. Neighbouring items are checks of the same
    layer and dtype, and for a backend that declines cases each of them needs all rounds.

    Args:
        function: takes hashable arguments.
    """

    def __init__(self, function: Callable[_P, _R]) -> None:
        self._kept = cache(function)
        self._of: tuple[object, ...] = ()
        update_wrapper(self, function)

    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """The function's result, from the cache if possible."""
        if args[:2] != self._of:
            self.cache_clear()
            self._of = args[:2]
        return self._kept(*args, **kwargs)  # type: ignore[arg-type]

    def cache_clear(self) -> None:
        """Clear the cache."""
        self._kept.cache_clear()
