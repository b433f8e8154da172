"""How a function that draws becomes a strategy."""

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
    """`st.composite`, applied when the strategy is first made.

    Hypothesis parses the source of each function that it is applied to. A process that draws
    nothing, or cases of one family, is spared that of a hundred others.

    Args:
        function: takes `draw` first.
    """

    @cache
    def composed() -> Callable[P, st.SearchStrategy[Made]]:
        return st.composite(function)

    @wraps(function)
    def strategy(*args: P.args, **kwargs: P.kwargs) -> st.SearchStrategy[Made]:
        return composed()(*args, **kwargs)

    del strategy.__wrapped__  # its signature has `draw`
    return strategy
