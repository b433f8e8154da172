"""How long items may take, and when one has to stop."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

# Of a run's time: half of the 20 % within which it is to be kept; the rest is for items that have
# begun by then, each of which has one example whatever it takes.
GRACE = 0.1
# Of an item's share of a run's time: what is kept for it however dear those before it were.
# Without it one dear layer leaves nothing for the rest; were all of the share kept, a second dear
# layer would be left out for the first.
KEPT = 0.5
_FORM = re.compile(r"(?P<seconds>\d+(\.\d+)?)(?P<item>/item)?", re.ASCII)
LONGEST = 1e8
"""Seconds: three years, within which a run may be said to end."""


@dataclass
class Budget:
    """Time for items; of a whole run's, what one leaves over is the next one's.

    What an item takes too much, those still to come do without, each the same.

    Args:
        seconds: for one item.
        items: that are expected to share a run's time, 0 = each has its own.
        grace: seconds that a run may be late.
    """

    seconds: float
    items: float = 0.0
    grace: float = 0.0
    _begun: int = 0
    _saved: float = 0.0

    def begin(self) -> Callable[[], float] | None:
        """An item begins, with at least one example.

        Returns:
            What gives the seconds that it has left, 0 or less when it must stop; None where the
            item has to be left out.
        """
        coming, saved = max(self.items - self._begun, 1.0), self._saved
        self._begun += 1
        if self.items and saved < -self.grace - (1 - KEPT) * self.seconds * coming:
            self._saved += self.seconds
            return None
        allowed = self.seconds + (saved if saved > 0 else saved / coming)
        started = time.monotonic()

        def left() -> float:
            spent = time.monotonic() - started
            self._saved = saved + self.seconds - spent if self.items else 0.0
            return allowed - spent

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
    if match is None or not 0 < float(match["seconds"]) <= LONGEST:
        raise ValueError(
            "expected seconds of the whole run, such as 600, or of each, 2.5/item, "
            f"no more than {LONGEST:.0f}"
        )
    seconds = float(match["seconds"])
    if match["item"]:
        return Budget(seconds)
    each = max(items, 1) / max(workers, 1)
    return Budget(seconds / each, items=each, grace=GRACE * seconds)
