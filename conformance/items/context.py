"""The state of an item from its first case to its verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from conformance.items.log import Log
from conformance.items.planning import Item
from conformance.items.stream import Stream
from conformance.known.matches import Excuses
from conformance.model.case import Numerics


@dataclass(frozen=True)
class ItemContext:
    """An item that is being run.

    Args:
        item: a check on a layer, in one dtype on one device.
        numerics: the arithmetic of the grade that the backend promises.
        excuses: the known failures that apply, with counts of the cases that each explains.
        stream: its cases.
        log: the outcomes so far.
        seconds_left: returns the remaining seconds of its budget.
        in_fork: cases run in copies of the process, because a case of the layer has ended it.
    """

    item: Item
    numerics: Numerics
    excuses: Excuses
    stream: Stream
    log: Log
    seconds_left: Callable[[], float]
    in_fork: bool
