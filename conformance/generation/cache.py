"""A cache that holds the results for one layer and dtype at a time."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, update_wrapper
from typing import Generic, ParamSpec, TypeVar

_P = ParamSpec("_P")
_R = TypeVar("_R")


class CacheOfOneLayer(Generic[_P, _R]):
    """A cached function whose first two arguments are a layer and a dtype.

    A call with another layer or dtype clears the cache. Neighbouring items are checks of the same
    layer and dtype, and for a backend that declines cases each of them needs all rounds.

    Args:
        function: takes hashable arguments.
    """

    def __init__(self, function: Callable[_P, _R]) -> None:
        self._cached = cache(function)
        self._layer_and_dtype: tuple[object, ...] = ()
        update_wrapper(self, function)

    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """The function's result, from the cache if possible."""
        if args[:2] != self._layer_and_dtype:
            self.cache_clear()
            self._layer_and_dtype = args[:2]
        return self._cached(*args, **kwargs)  # type: ignore[arg-type]

    def cache_clear(self) -> None:
        """Forget all results, so that the next call computes its own."""
        self._cached.cache_clear()
