"""The cases of an item: those that every backend gets, and further ones if it declines some."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from conformance.generation.argument_columns import covering
from conformance.generation.cases import Ending, Every
from conformance.generation.drawing import Found, Sample, draw_cases, shrink
from conformance.items.planning import Item
from conformance.layers import CATALOGUE
from conformance.matching.features import structure
from conformance.model.case import Case
from conformance.model.checks import facts_of

ROUNDS = 10
"""The largest number of rounds for a backend that declines cases; each has a profile's cases."""


ENOUGH = 5
"""From this number of cases on, the last ones are replaced by those that hold every number."""


# The oracle's answer is cached with the object, and two checks need it one after the other.
@lru_cache(maxsize=2)
def _whole(layer: str, dtype: str) -> Sequence[Case]:
    make = CATALOGUE[layer].generation.whole
    return () if make is None else make(dtype)


@dataclass(frozen=True)
class Stream:
    """The cases of an item, in rounds of equal size.

    Args:
        item: the item.
        profile: examples of the run's profile.
        seed: the run's seed.
        values: approximate number of cases that share a structure.
    """

    item: Item
    profile: int
    seed: int
    values: int = 1

    @property
    def invalid(self) -> bool:
        """Whether the cases are invalid calls."""
        return facts_of(self.item.check).invalid

    @property
    def examples(self) -> int:
        """How many cases are drawn; fewer for invalid calls, which no other check needs."""
        asked = self.item.drawn(self.profile)
        return -(-asked // self.item.step(self.profile)) if self.invalid else asked

    @property
    def step(self) -> int:
        """The n for which the item has every n-th drawn case."""
        return 1 if self.invalid else self.item.step(self.profile)

    def cases(self, round: int = 0) -> Sequence[Case]:
        """The cases of a round; those of round 0 are the same for every backend.

        Round 0 ends with the cases that hold every number of the dtype, if the layer has them.
        """
        drawn = self._drawn(round)
        whole = () if round or self.invalid or len(drawn) < ENOUGH else self._whole()
        return Ending(drawn, whole) if whole else drawn

    def _whole(self) -> Sequence[Case]:
        if not facts_of(self.item.check).whole:
            return ()
        return _whole(self.item.layer, self.item.dtype)

    def _drawn(self, round: int) -> Sequence[Case]:
        drawn = draw_cases(
            self.item.layer, self.item.dtype, self.examples, self.seed,
            invalid=self.invalid, values=self.values, round=round,
        )  # fmt: skip
        return drawn if self.step == 1 else Every(drawn, self.step)

    def _located(self, index: int) -> tuple[int, int]:
        return divmod(index, max(len(self.cases()), 1))

    def drawn_as(self, index: int) -> tuple[int, int]:
        """The round in which a case is drawn, and its index among all cases of that round."""
        round, place = self._located(index)
        return round, place * self.step

    def shrink(
        self, index: int, fails: Callable[[Case], Found | None]
    ) -> tuple[Case, Found] | None:
        """Shrink a failing case, given by its index; see `drawing.shrink`."""
        round, place = self.drawn_as(index)
        item = self.item
        sample = Sample(
            item.layer, item.dtype, self.examples, self.seed, self.invalid, self.values, round
        )
        return shrink(sample, place, fails)

    def __getitem__(self, index: int) -> Case:
        round, place = self._located(index)
        return self.cases(round)[place]


def structures(cases: Sequence[Case]) -> int:
    """Count the different structures of cases."""
    return len({structure(case) for case in cases})


def needed(cases: Sequence[Case]) -> int:
    """How many structures are needed to reach each value of each argument once."""
    return len(covering(cases, 0))
