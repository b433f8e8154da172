"""The oracle of a module, made of its function's."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any


def of_module(
    function: Callable[..., Any], *tensors: str, after: int | None = None
) -> Callable[..., Any]:
    """The oracle of the module whose state a function takes as inputs.

    Args:
        function: the function's oracle.
        tensors: of the module's state, in the order in which the function takes them; None stands
            for one that the module has not.
        after: how many inputs the function takes before them; None = all.
    """
    parameters = inspect.signature(function).parameters.values()
    taken = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}

    def values(state: Mapping[str, Any], *inputs: Any, **arguments: Any) -> Any:
        kept = {name: value for name, value in arguments.items() if name in taken}
        place = len(inputs) if after is None else after
        return function({}, *inputs[:place], *map(state.get, tensors), *inputs[place:], **kept)

    values.__doc__ = function.__doc__
    return values
