"""The `Kernel` record and the decorator that enters one in the catalogue."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from planted.kernels.calls import Call


@dataclass(frozen=True)
class Kernel:
    """A function that replaces one operator of torch, below autograd.

    Args:
        name: unique, kebab-case, led by the operator.
        operator: the operator it replaces: `"aten::addmm"`.
        function: takes the operator's arguments, by its names and with its defaults.
        layers: the layers whose computation reaches the operator on the CPU.
        wrong: what is wrong, and on which sizes it shows; None for a correct kernel.
        agrees: calls on which it does what torch does.
        differs: calls on which it does not.
    """

    name: str
    operator: str
    function: Callable[..., Any]
    layers: tuple[str, ...]
    wrong: str | None
    agrees: tuple[Call, ...]
    differs: tuple[Call, ...] = ()


KERNELS: list[Kernel] = []


def kernel(
    name: str,
    operator: str,
    layers: tuple[str, ...],
    wrong: str | None = None,
    *,
    agrees: Sequence[Call],
    differs: Sequence[Call] = (),
) -> Callable[[Any], Any]:
    """Enter the decorated function in the catalogue, unchanged.

    Raises:
        ValueError: the name is taken, or the kernel has not both calls that it gets right and,
            just where something is wrong, calls that it gets wrong.
    """
    if any(entry.name == name for entry in KERNELS):
        raise ValueError(f"{name}: a kernel has this name already")
    if not agrees or (wrong is None) is bool(differs):
        raise ValueError(f"{name}: calls that agree, and that differ where it is wrong, expected")

    def enter(function: Callable[..., Any]) -> Callable[..., Any]:
        KERNELS.append(
            Kernel(name, operator, function, layers, wrong, tuple(agrees), tuple(differs))
        )
        return function

    return enter
