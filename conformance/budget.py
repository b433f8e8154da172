"""How long items may take, and when one has to stop."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

# Of a run's time: half of the 20 % within which it is to be kept; the rest is for items that have
# begun by then, each of which has one example whatever it takes.
GRACE = 0.1
_FORM = re.compile(r"(?P<seconds>\d+(\.\d+)?)(?P<item>/item)?")


@dataclass
class Budget:
    """Time for items; of a whole run's, what one leaves over or takes too much is the next one's.

    Args:
        seconds: for one item.
        carried: whether the rest of an item's time goes to the next.
        grace: seconds that a run may be late; items that would begin later are left out.
    """

    seconds: float
    carried: bool = False
    grace: float = math.inf
    _left: float = 0.0

    def begin(self) -> Callable[[], float] | None:
        """An item begins, with at least one example.

        Returns:
            What gives the seconds that it has left, 0 or less when it must stop; None where the
            item has to be left out.
        """
        allowed = self.seconds + self._left
        if allowed < -self.grace:
            self._left = allowed
            return None
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
    share = seconds * max(workers, 1) / max(items, 1)
    return Budget(share, carried=True, grace=GRACE * seconds)
