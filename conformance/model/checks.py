"""What each check is: one declaration, which plans, tables, reports and standards ask.

The order is that of the tables' columns. What a check does stands in `conformance.checks`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

ALL = 1 << 30
"""More cases than any item has."""

MEDIUM = 0.3
"""The share of a profile's examples from which on part of a layer's cases is enough."""

IN_FULL = "float32"
"""The dtype in which a check looks at all cases, or at the largest share of them."""

STRICT = ("strict",)
TRAINING = ("training", *STRICT)
INFERENCE = ("inference", *TRAINING)


@dataclass(frozen=True)
class Sampling:
    """How many of the cases a check looks at, and in how many dtypes.

    Args:
        every: in dtypes other than `IN_FULL` it looks at one of so many cases, since what it asks
            depends little on the dtype.
        of_many: of a layer that has all of a profile's examples it looks there at one of so many.
        of_medium: of a layer that has `MEDIUM` of them or more, likewise.
        in_full: in `IN_FULL` it looks at one of so many cases of those two.
        enough, enough_further: where a profile samples it looks at about so many cases, in
            `IN_FULL` and in other dtypes.
        further: in how many dtypes besides a layer's first it is asked in a profile that samples.
    """

    every: int = 1
    of_many: int = 1
    of_medium: int = 1
    in_full: int = 1
    enough: int = 16
    enough_further: int = 4
    further: int = 0

    def step(self, share: float, dtype: str) -> int:
        """Of the cases of a layer and dtype a check looks at every n-th: this n.

        Args:
            share: of a profile's examples that the layer has.
        """
        many, medium = share >= 1, share >= MEDIUM
        if dtype == IN_FULL:
            return self.in_full if medium else 1
        return max(self.every, self.of_many if many else self.of_medium if medium else 1)

    def enough_in(self, dtype: str) -> int:
        """About so many cases of a dtype are looked at where a profile samples."""
        return self.enough if dtype == IN_FULL else self.enough_further


@dataclass(frozen=True)
class CheckFacts:
    """What is known of a check without its code.

    Args:
        name: as `--conformance-check` takes it; the module of `conformance.checks` is called so.
        title: a failure in a title's words.
        question: what it asks for: a sentence of a bug report.
        looks_at: the property, as README's table has it; empty for one that runs on request.
        rank: where one failure is enough, checks of the least rank are asked first: they see most.
        levels: of a standard, those that ask it.
        members: what it calls of a layer besides what every layer has, as `docs/contract.md` says.
        sampling: how many of the cases it looks at.
        invalid: it is given invalid calls instead of valid ones.
        whole: of a function of single numbers it looks at every number of a half precision.
        leads: it runs before the others where a time budget may not suffice for all.
        on_request: it runs only where it is named, and says nothing of conformance.
        plain: its failures say most plainly what is wrong: of one cause they are told first.
        follows_values: a wrong answer spoils it as well, as it holds outputs against the oracle.
        contains_values: no answer is wrong in `values` and right here, so that both see such a bug.
        when: what its operands are, where wrong numbers are told in a title.
    """

    name: str
    title: str
    question: str
    looks_at: str = ""
    rank: int = 0
    levels: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    sampling: Sampling = Sampling()
    invalid: bool = False
    whole: bool = False
    leads: bool = False
    on_request: bool = False
    plain: bool = False
    follows_values: bool = False
    contains_values: bool = False
    when: str = ""


_DECLARED = (
    CheckFacts(
        "shape",
        title="wrong shape",
        question="The outputs have the documented shapes, the dtype and the device.",
        looks_at="number, shapes, dtype and device of the outputs",
        rank=8,
        levels=INFERENCE,
        members=("shape", "device"),
        sampling=Sampling(of_many=2, of_medium=2, enough=24, further=3),
        plain=True,
    ),
    CheckFacts(
        "values",
        title="wrong values",
        question=(
            "Every element equals the formula where no rounding is possible, and elsewhere lies "
            "within the rounding-error bound of any order of summation (`bound` below)."
        ),
        looks_at=(
            "every element: equal where no rounding is possible, else within the derived bound"
        ),
        rank=1,
        levels=INFERENCE,
        members=("state", "updated"),
        sampling=Sampling(enough=ALL, enough_further=ALL, further=3),
        whole=True,
        leads=True,
        plain=True,
    ),
    CheckFacts(
        "gradients",
        title="wrong gradients",
        question=(
            "Gradients of every input and parameter are the derivative of the formula, within the "
            "rounding-error bound."
        ),
        looks_at=(
            "vector-Jacobian products for every input and parameter, against the oracle's own "
            "derivative; a second call; some of them alone; outputs while gradients are recorded"
        ),
        rank=3,
        levels=TRAINING,
        members=("vjp", "vjp_of", "forward_grad", "load"),
        sampling=Sampling(of_many=2, of_medium=2, further=2),
        whole=True,
        leads=True,
        follows_values=True,
        contains_values=True,
    ),
    CheckFacts(
        "laws",
        title="two calls that must agree differ",
        question="Calls that the formula makes equal agree.",
        looks_at=(
            "calls that must agree do, at sizes beyond the drawn ones: a large batch and its rows, "
            "groups and layers side by side, convolution and its adjoint, a layer and its cell, a "
            "long run cut in two, module and function, lazy and eager"
        ),
        rank=2,
        levels=TRAINING,
        sampling=Sampling(of_many=3, of_medium=2),
        follows_values=True,
    ),
    CheckFacts(
        "layout",
        title="the answer depends on the memory layout",
        question="The answer does not depend on how inputs and weights lie in memory.",
        looks_at=(
            "neither the answer nor a gradient depends on the memory layout of inputs, weights, "
            "biases, states or cotangents"
        ),
        rank=4,
        levels=STRICT,
        members=("vjp", "vjp_of", "forward_grad", "aliases"),
        sampling=Sampling(of_many=3, of_medium=2, in_full=2, enough=14),
        follows_values=True,
        contains_values=True,
    ),
    CheckFacts(
        "special",
        title="NaN, infinities or huge values are not propagated",
        question=(
            "NaN, infinities, signed zeros, subnormal and huge values come through the formula as "
            "IEEE 754 arithmetic has it."
        ),
        looks_at=(
            "NaN, ±∞, −0.0, subnormal and huge inputs, NaN and ±∞ among weights and biases, "
            "propagate as IEEE arithmetic says"
        ),
        rank=6,
        levels=INFERENCE,
        sampling=Sampling(of_many=3, enough_further=6, further=1),
        follows_values=True,
        contains_values=True,
        when="for NaN, infinite, huge or tiny numbers",
    ),
    CheckFacts(
        "state",
        title="wrong state",
        question=(
            "state_dict names, shapes and initial values are as documented, and a loaded state is "
            "what the next call uses."
        ),
        looks_at=(
            "state_dict names, order, shapes; a loaded state is what the next call uses; initial "
            "values, lazy layers, train and eval"
        ),
        rank=7,
        levels=TRAINING,
        members=("state", "load", "train", "attributes", "shape"),
        sampling=Sampling(every=4, in_full=3, enough=10),
        follows_values=True,
        contains_values=True,
    ),
    CheckFacts(
        "random",
        title="random numbers are drawn otherwise than documented",
        question=(
            "Masks, rates and scale of what is drawn are as documented, draws differ from call to "
            "call, and nothing is drawn where nothing is to be."
        ),
        looks_at=(
            "of layers that draw random numbers: masks, rates and scale as documented, and when "
            "none are drawn"
        ),
        rank=9,
        levels=TRAINING,
        members=("vjp", "value_and_vjp"),
        sampling=Sampling(of_many=2, of_medium=2),
        follows_values=True,
    ),
    CheckFacts(
        "repeat",
        title="a call depends on other calls",
        question=(
            "The same call gives the same answer every time, and leaves inputs and state alone."
        ),
        looks_at=(
            "the same call twice gives the same, interleaved with others; inputs and state "
            "untouched; no stale weights"
        ),
        rank=5,
        levels=STRICT,
        members=("forward_grad", "state", "load", "updated"),
        sampling=Sampling(every=4, of_many=6, in_full=3, enough=10),
        follows_values=True,
        contains_values=True,
    ),
    CheckFacts(
        "errors",
        title="an invalid call is not refused",
        question="An invalid call is refused by an exception.",
        looks_at=(
            "invalid calls, each with one broken constraint, are refused, and by a sensible "
            "exception"
        ),
        rank=10,
        levels=INFERENCE,
        members=("shape",),
        sampling=Sampling(every=4, enough=30),
        invalid=True,
    ),
    CheckFacts(
        "support",
        title="calls are declined otherwise than declared",
        question=(
            "A call is declined, or supported, by its arguments and shapes, and for the reason "
            "given."
        ),
        rank=11,
        on_request=True,
    ),
)

CHECK_FACTS: dict[str, CheckFacts] = {facts.name: facts for facts in _DECLARED}
"""Every check's declaration by its name."""


def facts_of(check: str) -> CheckFacts:
    """A check's declaration; of a name that this version does not know one that says so little."""
    return CHECK_FACTS.get(check) or CheckFacts(check, f"{check} fails", "")


def columns() -> tuple[str, ...]:
    """The checks that are columns of the matrix, in their order."""
    return tuple(name for name, facts in CHECK_FACTS.items() if not facts.on_request)


def ordered(names: Iterable[str]) -> tuple[str, ...]:
    """Each name once: checks in the order of the columns, others after them as they come."""
    found = dict.fromkeys(names)
    known = [name for name in columns() if name in found]
    return (*known, *(name for name in found if name not in known))


def level(name: str) -> tuple[str, ...]:
    """The checks that a level of a standard asks, in the order of the columns."""
    return tuple(check for check, facts in CHECK_FACTS.items() if name in facts.levels)
