"""Turn functions that draw into strategies."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from hypothesis import strategies as st

P = ParamSpec("P")
Drawn = TypeVar("Drawn")


def composite(
    function: Callable[Concatenate[Any, P], Drawn],
) -> Callable[P, st.SearchStrategy[Drawn]]:
    """Apply `st.composite` when the strategy is first used.

    Hypothesis parses the source of each function to which it is applied. A process that draws
    nothing, or cases of one family, skips the hundred others.

    Args:
        function: function whose first parameter is `draw`.
    """

    @cache
    def build_strategy() -> Callable[P, st.SearchStrategy[Drawn]]:
        return st.composite(function)

    @wraps(function)
    def strategy(*args: P.args, **kwargs: P.kwargs) -> st.SearchStrategy[Drawn]:
        return build_strategy()(*args, **kwargs)

    del strategy.__wrapped__  # the wrapped signature has `draw`
    return strategy
