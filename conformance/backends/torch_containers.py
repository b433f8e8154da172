"""Containers of modules and parameters hold what a list or a dictionary of Python would.

All short histories of their documented methods are replayed on a list or a dictionary, which says
what the container then holds, in which order, and what each call returns.
https://docs.pytorch.org/docs/stable/generated/torch.nn.ModuleList.html and its neighbours.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import cache
from itertools import chain, count, product
from typing import Any

import torch
from torch.nn import Module, Parameter

MAX_STEPS = 2
"""Of a history; the container holds three items before the first step."""

_Make = Callable[[], Any]
_Step = Callable[[Any, _Make], Any]
"""A container, and what makes a new item → what the call returns."""


class _Leaf(Module):
    """A module with one parameter, one level down, whose number tells it from others."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.inner = Module()
        self.inner.register_parameter("value", Parameter(torch.tensor(float(number))))


def _make_leaf(number: int) -> Module:
    return _Leaf(number)


def _make_tensor(number: int) -> torch.Tensor:
    return torch.tensor(float(number))


def _set(place: int | str) -> _Step:
    return lambda held, make: held.__setitem__(place, make())


def _delete(place: int | str | slice) -> _Step:
    return lambda held, make: held.__delitem__(place)


def _get(place: int | str) -> _Step:
    return lambda held, make: held[place]


def _insert(place: int) -> _Step:
    return lambda held, make: held.insert(place, make()) and None


def _pop(*arguments: Any) -> _Step:
    return lambda held, make: held.pop(*arguments)


def _add_in_place(held: Any, make: _Make) -> None:
    held += [make()]


_READ_LIST: Mapping[str, _Step] = {
    "[-1]": _get(-1),
    "[3]": _get(3),
    "list of [1:]": lambda held, make: list(held[1:]),
    "list of [::-1]": lambda held, make: list(held[::-1]),
    "append": lambda held, make: held.append(make()) and None,
    "extend": lambda held, make: held.extend([make(), make()]) and None,
    "[1] =": _set(1),
    "[-1] =": _set(-1),
}
_ADD_LIST: Mapping[str, _Step] = {**_READ_LIST, "+=": _add_in_place}
_CHANGE_LIST: Mapping[str, _Step] = {
    **_READ_LIST,
    "insert(0)": _insert(0),
    "insert(1)": _insert(1),
    "pop(0)": _pop(0),
    "pop(-1)": _pop(-1),
    "del [0]": _delete(0),
    "del [-1]": _delete(-1),
    "del [1:]": _delete(slice(1, None)),
}
_CHANGE_DICT: Mapping[str, _Step] = {
    "['b']": _get("b"),
    "'b' in": lambda held, make: "b" in held,
    "keys": lambda held, make: list(held.keys()),
    "values": lambda held, make: list(held.values()),
    "items": lambda held, make: list(chain(*held.items())),
    "['a'] =": _set("a"),
    "['d'] =": _set("d"),
    "del ['a']": _delete("a"),
    "del ['no']": _delete("no"),
    "pop('b')": _pop("b"),
    "clear": lambda held, make: held.clear(),
    "update": lambda held, make: held.update(OrderedDict(e=make(), b=make())),
    "update with pairs": lambda held, make: held.update([("f", make()), ("a", make())]),
}
_UPDATE_DICT: Mapping[str, _Step] = {
    **_CHANGE_DICT,
    # A ParameterDict need not keep the order of a plain dictionary.
    "update with a dict": lambda held, make: held.update({"e": make(), "b": make()}),
}
_SET_DEFAULTS: Mapping[str, _Step] = {
    "setdefault('b')": lambda held, make: held.setdefault("b", make()),
    "setdefault('g')": lambda held, make: held.setdefault("g", make()),
    "popitem": lambda held, make: list(held.popitem()),
    "get('no')": lambda held, make: held.get("no"),
    "get('b')": lambda held, make: held.get("b"),
    "reversed": lambda held, make: list(reversed(held)),
    "copy": lambda held, make: list(held.copy().values()),
    "|": lambda held, make: list((held | {"b": make(), "h": make()}).keys()),
}

_STEPS: Mapping[str, tuple[Callable[[int], Any], Mapping[str, _Step]]] = {
    "Sequential": (_make_leaf, _CHANGE_LIST),
    "ModuleList": (_make_leaf, {**_CHANGE_LIST, **_ADD_LIST}),
    "ModuleDict": (_make_leaf, _UPDATE_DICT),
    "ParameterList": (_make_tensor, _ADD_LIST),
    "ParameterDict": (_make_tensor, {**_CHANGE_DICT, **_SET_DEFAULTS}),
}
"""Container → what makes an item of a number, and the documented methods by name."""


_ALONE: tuple[tuple[str, str, _Step], ...] = (
    ("Sequential", "insert(-1)", _insert(-1)),
    ("ModuleDict", "['no']", _get("no")),
    ("ModuleList", "insert(-1)", _insert(-1)),
    ("ParameterDict", "['no']", _get("no")),
)
"""Histories of one step, the last facts: torch gets some of them wrong, which would hide others."""


def container_facts(nn: Any) -> Mapping[str, tuple[Any, Any]]:
    """What containers of a namespace show after a history, and what Python's would, if another.

    Only where these differ: to hand out all 1,300 histories again for each call would cost more
    than the rest of its facts.
    """
    return _facts_of(tuple(getattr(nn, name, None) for name in _STEPS))


@cache
def _facts_of(classes: tuple[Any, ...]) -> Mapping[str, tuple[Any, Any]]:
    histories = [
        (name, history, [steps[x] for x in history])
        for name, (_, steps) in _STEPS.items()
        for length in range(MAX_STEPS + 1)
        for history in product(steps, repeat=length)
    ]
    histories += [(name, (text,), [step]) for name, text, step in _ALONE]
    by_name = dict(zip(_STEPS, classes, strict=True))
    facts = {
        f"{name} after {', then '.join(history) or 'it was made'}": (
            _replay(name, by_name[name], steps),
            _replay(name, dict if name.endswith("Dict") else list, steps),
        )
        for name, history, steps in histories
        if by_name[name] is not None
    }
    return {name: pair for name, pair in facts.items() if pair[0] != pair[1]}


def _replay(name: str, kind: Callable[..., Any], steps: list[_Step]) -> list[Any]:
    """What the calls return or raise, and what the container then holds.

    Args:
        name: of the container.
        kind: the container, or Python's.
    """
    numbers, (make_item, known_steps) = count(), _STEPS[name]

    def make() -> Any:
        return make_item(next(numbers))

    items, is_dict = [make() for _ in "abc"], name.endswith("Dict")
    if is_dict:
        held = kind(dict(zip("abc", items, strict=True)))
    else:
        held = kind(*items) if name == "Sequential" and kind is not list else kind(items)
    returned = list[Any]()
    for step in steps:
        try:
            returned.append(_plain(step(held, make)))
        except Exception as error:
            is_alone = step not in known_steps.values()
            returned.append(type(error).__name__ if is_alone else "an exception")
    return [*returned, *_read(held, is_dict)]


def _plain(value: Any) -> Any:
    """The numbers of items, and other values as they are."""
    if isinstance(value, list):
        return [_plain(x) for x in value]
    if isinstance(value, Module):
        return float(next(value.parameters()).detach())
    return float(value.detach()) if isinstance(value, torch.Tensor) else value


def _read(held: Any, is_dict: bool) -> list[Any]:
    """Length, keys, items, names of the state, names and numbers of what learns, and modes."""
    keys = list(held.keys()) if is_dict else [str(k) for k in range(len(held))]
    items = list(held.values()) if is_dict else list(held)
    numbers = [_plain(x) for x in items]
    content = [len(held), keys, numbers]
    if not isinstance(held, Module):
        suffixes = (".inner.value" if isinstance(x, Module) else "" for x in items)
        paths = [key + suffix for key, suffix in zip(keys, suffixes, strict=True)]
        leaves = sum(isinstance(x, Module) for x in items)
        return [*content, paths, paths, numbers, (leaves, leaves)]
    learning = {name: x for name, x in held.named_parameters() if x.requires_grad}
    held.eval()
    in_eval = sum(not x.inner.training for x in held.modules() if isinstance(x, _Leaf))
    held.train()
    in_train = sum(x.inner.training for x in held.modules() if isinstance(x, _Leaf))
    learned = [_plain(x) for x in learning.values()]
    return [*content, list(held.state_dict()), list(learning), learned, (in_eval, in_train)]
