"""Two planted bugs of a layer in one implementation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from conformance.model.case import is_function
from planted.bug import Bug, attribute_path


def both_bugs(first: Bug, second: Bug) -> Any:
    """An implementation with the first bug, and the second one's answers where these are wrong.

    An element is wrong if the second implementation's differs from torch's own.
    """
    own: Any = torch.nn
    for name in attribute_path(first.layer):
        own = getattr(own, name)
    if is_function(first.layer):

        def function(*arguments: Any, **keywords: Any) -> Any:
            copies = [_copied((arguments, keywords)) for _ in range(2)]
            wanted, wrong = (
                f(*args, **kwargs)
                for f, (args, kwargs) in zip((own, second.implementation), copies, strict=True)
            )
            return _merged(first.implementation(*arguments, **keywords), wrong, wanted)

        function.__name__ = function.__qualname__ = first.target
        return function

    class Layer(first.implementation):  # type: ignore[name-defined, misc]
        def __init__(self, *arguments: Any, **keywords: Any) -> None:
            super().__init__(*arguments, **keywords)
            # In a tuple they are no submodules.
            self._others = tuple(
                cls(*arguments, **keywords) for cls in (own, second.implementation)
            )

        def forward(self, *inputs: Any, **keywords: Any) -> Any:
            state = {name: x.clone() for name, x in self.state_dict(keep_vars=True).items()}
            wanted, wrong = (
                torch.func.functional_call(
                    other.train(self.training), _copied(state), *_copied((inputs, keywords))
                )
                for other in self._others
            )
            return _merged(super().forward(*inputs, **keywords), wrong, wanted)

    Layer.__name__ = Layer.__qualname__ = first.target
    return Layer


def _copied(value: Any) -> Any:
    """A value whose tensors are copies, so that no call changes another's."""
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {name: _copied(x) for name, x in value.items()}
    return type(value)(map(_copied, value)) if type(value) in (tuple, list) else value


def _merged(result: Any, wrong: Any, wanted: Any) -> Any:
    """The result, with each element of `wrong` that differs from `wanted`."""
    if isinstance(result, Tensor) and result.shape == wrong.shape == wanted.shape:
        is_same = (wrong == wanted) | (wrong.isnan() & wanted.isnan())
        return torch.where(is_same, result, wrong)
    if isinstance(result, tuple):
        return tuple(map(_merged, result, wrong, wanted))
    return result if _is_alike(wrong, wanted) else wrong


def _is_alike(wrong: Any, wanted: Any) -> bool:
    return isinstance(wrong, Tensor) and isinstance(wanted, Tensor) and wrong.shape == wanted.shape
