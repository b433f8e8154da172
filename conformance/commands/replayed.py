"""What becomes of a failure when its case runs again, and its history over released versions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

FAILS, OTHERWISE, PASSES = "fails", "fails otherwise", "passes"
DECLINED, INAPPLICABLE, UNTRIED = "declined", "does not apply", "not tried"
NOT_INSTALLED, NOT_RUN = "not installed", "not run"
"""A version of a package has no environment, or gives no answer."""
MOST_TELLING = (FAILS, OTHERWISE, PASSES, DECLINED, INAPPLICABLE, UNTRIED)
"""Of the outcomes of several cases the first one stands for all."""


@dataclass(frozen=True)
class Replayed:
    """What became of a failure when its cases ran again.

    Args:
        id: of the verdict, or the number of the entry.
        outcome: `FAILS` as before, `OTHERWISE` if in another way, or one of the other words above.
        text: the call, if there is one, and what the check says.
    """

    id: str
    outcome: str
    text: str

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong now."""
        return self.outcome in (PASSES, INAPPLICABLE)


def find_changes(versions: Sequence[str], run: Callable[[str], str]) -> Mapping[str, str]:
    """The outcomes of the versions that tell where a failure begins or ends.

    The newest and the oldest are run first, then the middle between two that differ. Versions in
    which nothing is known are passed over. Between two that are alike nothing is run.

    Args:
        versions: the oldest first.
        run: version → outcome.

    Returns:
        Version → outcome, in the order of the versions.
    """
    outcomes = dict[str, str]()

    def first_known(candidates: Sequence[str]) -> str | None:
        for version in candidates:
            outcomes[version] = run(version)
            if outcomes[version] in (FAILS, PASSES):
                return version
        return None

    newest = first_known(versions[::-1])
    oldest = first_known(versions[: versions.index(newest)]) if newest else None
    if newest and oldest:
        low, high = versions.index(oldest), versions.index(newest)
        while outcomes[versions[low]] != outcomes[versions[high]]:
            between = sorted(range(low + 1, high), key=lambda k: abs(2 * k - low - high))
            middle = first_known([versions[k] for k in between if versions[k] not in outcomes])
            if middle is None:
                break
            if outcomes[middle] == outcomes[versions[low]]:
                low = versions.index(middle)
            else:
                high = versions.index(middle)
    return {version: outcomes[version] for version in versions if version in outcomes}


def describe_history(package: str, outcomes: Mapping[str, str]) -> str:
    """One sentence on where a failure begins or ends.

    Args:
        outcomes: of the versions that ran, the oldest first.
    """
    known = [(version, x) for version, x in outcomes.items() if x in (FAILS, PASSES)]
    if not known:
        return f"nothing is known: no version of {package} ran the case"
    changes = [pair for pair in pairwise(known) if pair[0][1] != pair[1][1]]
    first, last = known[0][0], known[-1][0]
    if not changes:
        word = "bad" if known[0][1] == FAILS else "good"
        if len(known) == 1:
            return f"{word} in {package} {first}, the only version that ran the case"
        return f"{word} in {package} {first} and in {last}, the oldest and the newest that ran"
    return "; ".join(
        f"first bad {package} {after}, last good {before}"
        if outcome == FAILS
        else f"mended in {package} {after}, last bad {before}"
        for (before, _), (after, outcome) in changes
    )
