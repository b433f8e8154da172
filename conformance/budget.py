"""How long items may take, and when one has to stop."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

_FORM = re.compile(r"(?P<seconds>\d+(\.\d+)?)(?P<item>/item)?")


@dataclass
class Budget:
    """Time for items; what one of a whole run leaves over goes to the next.

    Args:
        seconds: for one item.
        carried: whether the rest of an item's time goes to the next.
    """

    seconds: float
    carried: bool = False
    _left: float = 0.0

    def begin(self) -> Callable[[], float]:
        """An item begins; gives the seconds that it has left, 0 or less when it must stop."""
        allowed = self.seconds + self._left
        started = time.monotonic()

        def left() -> float:
            rest = allowed - (time.monotonic() - started)
            self._left = rest if self.carried else 0.0
            return rest

        return left


def parse(text: str, items: int, workers: int) -> Budget:
    """Read a budget as it is given on the command line.

    Args:
        text: seconds of a whole run, `"600"`, or of each item, `"2.5/item"`.
        items: in the run.
        workers: that share them.

    Raises:
        ValueError: for any other text.
    """
    match = _FORM.fullmatch(text.strip())
    if match is None or float(match["seconds"]) == 0:
        raise ValueError("expected seconds of the whole run, such as 600, or of each, 2.5/item")
    seconds = float(match["seconds"])
    if match["item"]:
        return Budget(seconds)
    return Budget(seconds * max(workers, 1) / max(items, 1), carried=True)
