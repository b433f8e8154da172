"""The cases of an item: those that every backend gets, and further ones if it declines some."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from conformance.generation.argument_columns import cover_values
from conformance.generation.cache import CacheOfOneLayer
from conformance.generation.cases import Arranged, EveryNth
from conformance.generation.drawing import Found, Sample, draw_cases, make_plain_cases, shrink
from conformance.generation.planned_sizes import (
    Planned,
    kept_places,
    plan_cases,
    plan_large_cases,
    shrink_plan,
)
from conformance.generation.variants import plainest
from conformance.items.planning import Item
from conformance.layers import CATALOGUE
from conformance.matching.features import structure
from conformance.model.case import Case
from conformance.model.checks import MAIN_DTYPE, facts_of

MAX_ROUNDS = 10
"""The largest number of rounds for a backend that declines cases; each has a profile's cases."""
PLAIN_ROUND = MAX_ROUNDS
"""Number of the round with the plainest variants of round 0, for a backend that declines it."""


MIN_CASES_FOR_EXHAUSTIVE = 5
"""From this number of cases on, the last ones are replaced by those that hold every number."""

SAMPLED_LARGE_CASES = 2
"""The largest number of cases that several threads compute, in a profile that samples."""


# The oracle's answer is cached with the object, and two checks need it one after the other.
@lru_cache(maxsize=2)
def _make_exhaustive_cases(layer: str, dtype: str) -> Sequence[Case]:
    make = CATALOGUE[layer].generation.exhaustive_cases
    return () if make is None else make(dtype)


@CacheOfOneLayer
def _plan_cases(layer: str, dtype: str, examples: int, seed: int) -> Sequence[Planned]:
    """The cases with planned sizes, for all checks."""
    return plan_cases(CATALOGUE[layer], draw_cases(layer, dtype, examples, seed))


@CacheOfOneLayer
def _plan_large_cases(
    layer: str, dtype: str, examples: int, seed: int, count: int
) -> Sequence[Planned]:
    """The large cases of a check that has many."""
    return plan_large_cases(CATALOGUE[layer], draw_cases(layer, dtype, examples, seed), count)


@dataclass(frozen=True)
class Stream:
    """The cases of an item, in rounds of equal size.

    Args:
        item: the check, layer, dtype and device that the cases are for.
        profile_examples: examples of the run's profile.
        seed: the run's seed.
        values: approximate number of cases that share a structure.
    """

    item: Item
    profile_examples: int
    seed: int
    values: int = 1

    @property
    def invalid(self) -> bool:
        """Whether the cases are invalid calls."""
        return facts_of(self.item.check).invalid

    @property
    def examples(self) -> int:
        """How many cases are drawn; fewer for invalid calls, which no other check needs."""
        count = self.item.drawn_count(self.profile_examples)
        return -(-count // self.item.step(self.profile_examples)) if self.invalid else count

    @property
    def step(self) -> int:
        """The n for which the item has every n-th drawn case."""
        return 1 if self.invalid else self.item.step(self.profile_examples)

    def cases(self, round: int = 0) -> Sequence[Case]:
        """The cases of a round; those of round 0 are the same for every backend.

        Round 0 ends with cases of planned sizes, and with those that hold every number of the
        dtype, if the layer has them. They come last so that the first failing case is a small one.
        `PLAIN_ROUND` has no drawn cases, but the plainest variants of those of round 0.
        """
        drawn = self._drawn_cases(round)
        if round or self.invalid:
            return drawn
        planned = self.planned_cases()
        places = kept_places(drawn, len(planned)) if planned else range(len(drawn))
        last = [x.case for x in planned]
        if len(drawn) >= MIN_CASES_FOR_EXHAUSTIVE:
            exhaustive = self._exhaustive_cases()
            places, last = places[: len(places) - len(exhaustive)], [*last, *exhaustive]
        return Arranged(drawn, places, last) if last else drawn

    def planned_cases(self) -> Sequence[Planned]:
        """The cases of round 0 whose sizes are planned."""
        item, facts = self.item, facts_of(self.item.check)
        # Of few structures, none can be spared.
        if self.values > 1 or not facts.has_planned_sizes:
            return ()
        planned = _plan_cases(item.layer, item.dtype, self.examples, self.seed)
        is_main = item.dtype == MAIN_DTYPE
        blocks = [x for x in planned if not x.plan.is_large]
        if facts.large_cases:
            count = facts.large_cases if is_main else 1
            count = min(count, SAMPLED_LARGE_CASES) if item.samples else count
            large = _plan_large_cases(item.layer, item.dtype, self.examples, self.seed, count)
            return [*(blocks if is_main else ()), *large]
        return planned if facts.large_in_every_dtype or is_main else blocks

    def _exhaustive_cases(self) -> Sequence[Case]:
        if not facts_of(self.item.check).exhaustive:
            return ()
        return _make_exhaustive_cases(self.item.layer, self.item.dtype)

    def _drawn_cases(self, round: int) -> Sequence[Case]:
        if round == PLAIN_ROUND:
            drawn = make_plain_cases(
                self.item.layer, self.item.dtype, self.examples, self.seed, self.values
            )
        else:
            drawn = draw_cases(
                self.item.layer, self.item.dtype, self.examples, self.seed,
                invalid=self.invalid, values=self.values, round=self._drawn_round(round),
            )  # fmt: skip
        return drawn if self.step == 1 else EveryNth(drawn, self.step, self._first_index(round))

    @property
    def _starts(self) -> int:
        """How many rounds the cases that are drawn at once are enough for.

        Each of these rounds starts a case later, but none is shorter than the first.
        """
        return min(self.step, (self.examples - 1) % self.step + 1)

    def _drawn_round(self, round: int) -> int:
        """The round of drawn cases that a round of the item has its cases from."""
        return 0 if round == PLAIN_ROUND else round // self._starts

    def _first_index(self, round: int) -> int:
        """The index, among the cases that are drawn at once, of the first one that a round has."""
        return 0 if round == PLAIN_ROUND else round % self._starts

    def _round_and_place(self, index: int) -> tuple[int, int]:
        return divmod(index, max(len(self.cases()), 1))

    def round_and_drawn_index(self, index: int) -> tuple[int, int]:
        """The round of drawn cases that a case is of, and its index among all cases of that round.

        Of a case that is not drawn, the index is that of any other.
        """
        round, index_in_round = self._round_and_place(index)
        cases = self.cases()
        if not round and isinstance(cases, Arranged):
            index_in_round = [*cases.places, *range(len(cases))][index_in_round]
        drawn_index = self._first_index(round) + index_in_round * self.step
        return self._drawn_round(round), drawn_index

    def shrink(
        self, index: int, fails: Callable[[Case], Found | None]
    ) -> tuple[Case, Found] | None:
        """Shrink a failing case, given by its index; see `drawing.shrink`."""
        case = self[index]
        planned = next((x for x in self.planned_cases() if x.case is case), None)
        if planned is not None:
            return shrink_plan(CATALOGUE[self.item.layer], planned, fails)
        round, drawn_index = self.round_and_drawn_index(index)
        item = self.item
        sample = Sample(
            item.layer, item.dtype, self.examples, self.seed, self.invalid, self.values, round
        )
        is_plain = self._round_and_place(index)[0] == PLAIN_ROUND
        return shrink(sample, drawn_index, fails, plainest if is_plain else None)

    def __getitem__(self, index: int) -> Case:
        round, index_in_round = self._round_and_place(index)
        return self.cases(round)[index_in_round]


def count_structures(cases: Sequence[Case]) -> int:
    """Count the different structures of cases."""
    return len({structure(case) for case in cases})


def min_structures(cases: Sequence[Case]) -> int:
    """How many structures are needed to reach each value of each argument once."""
    return len(cover_values(cases, 0))
