"""Time budgets: how long each item may run."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

# Share of a run's time by which it may be late before items are left out. A run may exceed its
# budget by 20 %: the other half is for items already begun, which always run one example.
GRACE = 0.1
# Share of an item's time that expensive earlier items cannot use up. With 0, one expensive layer
# would leave nothing for the others. With 1, a second expensive layer would be left out because of
# the first.
GUARANTEED_SHARE = 0.5
# Share of the time that earlier items saved which one item may take. With 1, one expensive item
# could take all of it, and each later one would run few examples.
SAVED_SHARE = 0.25
_BUDGET_PATTERN = re.compile(r"(?P<seconds>\d+(\.\d+)?)(?P<item>/item)?", re.ASCII)
MAX_SECONDS = 1e8
"""The largest budget in seconds, about three years."""


@dataclass
class Budget:
    """Time for items, of a whole run or for each item.

    In a whole run's budget, time that an item does not use is kept for later items, each of which
    may take `SAVED_SHARE` of what is left of it. Time that an item uses in excess is taken from
    all remaining items in equal parts.

    Args:
        seconds: time for one item.
        items: number of items that share a run's time; 0 = each item has its own time.
        grace: seconds by which a run may be late.
    """

    seconds: float
    items: float = 0.0
    grace: float = 0.0
    _started_items: int = 0
    _saved_seconds: float = 0.0

    def begin(self) -> Callable[[], float] | None:
        """Begin an item; it runs at least one example.

        Returns:
            A function that returns the item's remaining seconds, 0 or less when it must stop.
            None if the item must be left out.
        """
        remaining_items, saved = max(self.items - self._started_items, 1.0), self._saved_seconds
        self._started_items += 1
        if (
            self.items
            and saved < -self.grace - (1 - GUARANTEED_SHARE) * self.seconds * remaining_items
        ):
            self._saved_seconds += self.seconds
            return None
        share = max(SAVED_SHARE, 1 / remaining_items) if saved > 0 else 1 / remaining_items
        allowed = self.seconds + saved * share
        started = time.monotonic()

        def seconds_left() -> float:
            spent = time.monotonic() - started
            self._saved_seconds = saved + self.seconds - spent if self.items else 0.0
            return allowed - spent

        return seconds_left


def parse_budget(text: str, items: int, workers: int) -> Budget:
    """Parse a budget from the command line.

    Args:
        text: seconds for the whole run, `"600"`, or for each item, `"2.5/item"`.
        items: number of items in the run.
        workers: number of workers that share the items.

    Raises:
        ValueError: for any other text.
    """
    match = _BUDGET_PATTERN.fullmatch(text.strip())
    if match is None or not 0 < float(match["seconds"]) <= MAX_SECONDS:
        raise ValueError(
            "expected seconds of the whole run, such as 600, or of each, 2.5/item, "
            f"no more than {MAX_SECONDS:.0f}"
        )
    seconds = float(match["seconds"])
    if match["item"]:
        return Budget(seconds)
    items_per_worker = max(items, 1) / max(workers, 1)
    return Budget(seconds / items_per_worker, items=items_per_worker, grace=GRACE * seconds)
