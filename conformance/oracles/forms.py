"""The oracle of a module, made from its function's oracle."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any


def module_oracle(
    function: Callable[..., Any], *tensors: str, after: int | None = None
) -> Callable[..., Any]:
    """The oracle of a module whose function takes the module's state as inputs.

    Args:
        function: the function's oracle.
        tensors: names in the module's state, in the function's order; a tensor that the module
            lacks is passed as None.
        after: number of inputs before these tensors; None = all.
    """
    parameters = inspect.signature(function).parameters.values()
    accepted = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}

    def values(state: Mapping[str, Any], *inputs: Any, **arguments: Any) -> Any:
        used_arguments = {name: value for name, value in arguments.items() if name in accepted}
        split = len(inputs) if after is None else after
        return function(
            {}, *inputs[:split], *map(state.get, tensors), *inputs[split:], **used_arguments
        )

    values.__doc__ = function.__doc__
    return values
