"""Turn functions that draw into strategies."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from hypothesis import strategies as st

P = ParamSpec("P")
Made = TypeVar("Made")


def composite(
    function: Callable[Concatenate[Any, P], Made],
) -> Callable[P, st.SearchStrategy[Made]]:
    """Apply `st.composite` when the strategy is first used.

    Hypothesis parses the source of each function to which it is applied. A process that draws
    nothing, or cases of one family, skips the hundred others.

    Args:
        function: function whose first parameter is `draw`.
    """

    @cache
    def composed() -> Callable[P, st.SearchStrategy[Made]]:
        return st.composite(function)

    @wraps(function)
    def strategy(*args: P.args, **kwargs: P.kwargs) -> st.SearchStrategy[Made]:
        return composed()(*args, **kwargs)

    del strategy.__wrapped__  # the wrapped signature has `draw`
    return strategy
