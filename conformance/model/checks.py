"""One declaration of each check, for plans, tables, reports and standards.

The order is the order of the tables' columns. The code of the checks is in `conformance.checks`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

ALL_CASES = 1 << 30
"""A number larger than that of any item's cases."""

MEDIUM_SHARE = 0.3
"""Layers with at least this share of a profile's examples need only part of their cases."""

MAIN_DTYPE = "float32"
"""The dtype in which a check tests all cases, or the largest share of them."""

HALF_DTYPES = ("bfloat16", "float16")
OTHER_DTYPES = ("float64", *HALF_DTYPES)

STRICT = ("strict",)
TRAINING = ("training", *STRICT)
INFERENCE = ("inference", *TRAINING)


@dataclass(frozen=True)
class Sampling:
    """How many cases a check tests, and in how many dtypes.

    A step of n means that the check tests one case in n.

    Args:
        step_other_dtypes: step in dtypes other than `MAIN_DTYPE`, for a check that depends little
            on the dtype.
        step_full_share: step in these dtypes for a layer with all of a profile's examples, if
            larger.
        step_medium_share: the same for a layer with a share of at least `MEDIUM_SHARE` of them.
        step_main_dtype: step in `MAIN_DTYPE` for a layer with a share of at least `MEDIUM_SHARE`.
        sample_size: approximate number of cases in `MAIN_DTYPE`, in a profile that samples.
        sample_size_other_dtypes: the same in other dtypes.
        rotated_dtypes: dtypes besides a layer's first of which it runs in only one, in a profile
            that rotates dtypes.
        sampled_extra_dtypes: in a profile that samples, how many dtypes it runs in besides a
            layer's first.
        step_float64: step in float64, except for a layer with all examples; 0 if it is as in other
            dtypes.
        among_cases_of: in a profile that samples, another check that has all its cases, too: the
            oracle's answers are then known.
        takes_extra_cases: of a layer with more than all of a profile's examples it tests these,
            too. Others test as many as of a layer with all of them: what they ask depends little
            on the graph of a network.
    """

    step_other_dtypes: int = 1
    step_full_share: int = 1
    step_medium_share: int = 1
    step_main_dtype: int = 1
    sample_size: int = 16
    sample_size_other_dtypes: int = 4
    rotated_dtypes: tuple[str, ...] = ()
    sampled_extra_dtypes: int = 0
    step_float64: int = 0
    among_cases_of: str = ""
    takes_extra_cases: bool = False

    def step(self, share: float, dtype: str) -> int:
        """The n for which a check tests every n-th case of a layer and dtype.

        Args:
            share: the layer's share of a profile's examples.
        """
        step = self._step_of_all_examples(share, dtype)
        return step if self.takes_extra_cases else step * max(1, int(share))

    def _step_of_all_examples(self, share: float, dtype: str) -> int:
        has_full_share, has_medium_share = share >= 1, share >= MEDIUM_SHARE
        if dtype == MAIN_DTYPE:
            return self.step_main_dtype if has_medium_share else 1
        if self.step_float64 and dtype == "float64":
            return self.step_full_share if has_full_share else self.step_float64
        return max(
            self.step_other_dtypes,
            self.step_full_share
            if has_full_share
            else self.step_medium_share
            if has_medium_share
            else 1,
        )

    def sample_size_in(self, dtype: str) -> int:
        """The approximate number of cases of a dtype in a profile that samples."""
        return self.sample_size if dtype == MAIN_DTYPE else self.sample_size_other_dtypes


@dataclass(frozen=True)
class CheckFacts:
    """What is known of a check without its code.

    Args:
        name: as `--conformance-check` takes it; also the name of its module in
            `conformance.checks`.
        title: its failure, as the title of a report.
        question: the property that it demands, as a sentence of a bug report.
        looks_at: the property, for README's table; empty for a check that runs on request.
        rank: order in which checks run where one failure is enough. The lowest rank finds most.
        levels: the levels of a standard that include it.
        members: optional members of a layer that it calls, see `docs/contract.md`.
        sampling: how many cases it tests.
        invalid: its cases are invalid calls.
        exhaustive: for a function of single numbers, it tests every number of a 16-bit dtype.
        has_planned_sizes: some of its cases are large, see `conformance.generation.planned_sizes`.
        large_in_every_dtype: one of them has more than 65,536 elements not only in `MAIN_DTYPE`.
        large_cases: how many of them in `MAIN_DTYPE` are so large that several threads compute
            them; in other dtypes one.
        high_priority: it runs before other checks if the time budget may not be enough for all.
        on_request: it runs only if the user names it, and is no part of conformance.
        clearest: its failures show most clearly what is wrong; a report shows them first.
        follows_values: wrong values also fail this check, because it compares outputs with the
            oracle.
        contains_values: every answer that is wrong in `values` is also wrong here.
        title_suffix: words about its operands, for titles about wrong numbers.
        runs: checks whose comparisons it makes; their known failures are its own, too.
        script_runs_check: a script runs the check itself, because its steps cannot be written out.
        is_graded: its cases get a grade, for which other grades than the promised one are tried.
            Checks that compare the numbers of `values` and `gradients` once more need none.
        says_nothing_in_copies: it does not apply in a copy of the process.
        calls_first: it makes the call before it asks the oracle, so what is declined costs little.
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
    exhaustive: bool = False
    has_planned_sizes: bool = False
    large_in_every_dtype: bool = False
    large_cases: int = 0
    high_priority: bool = False
    on_request: bool = False
    clearest: bool = False
    follows_values: bool = False
    contains_values: bool = False
    title_suffix: str = ""
    runs: tuple[str, ...] = ()
    script_runs_check: bool = False
    is_graded: bool = True
    says_nothing_in_copies: bool = False
    calls_first: bool = False


_DECLARATIONS = (
    CheckFacts(
        "shape",
        title="wrong shape",
        question="The outputs have the documented shapes, the dtype and the device.",
        looks_at="number, shapes, dtype and device of the outputs",
        rank=8,
        levels=INFERENCE,
        members=("shape", "device"),
        sampling=Sampling(
            step_full_share=2, step_medium_share=2, sample_size=24, sampled_extra_dtypes=3
        ),
        clearest=True,
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
        sampling=Sampling(
            sample_size=ALL_CASES,
            sample_size_other_dtypes=ALL_CASES,
            sampled_extra_dtypes=3,
            takes_extra_cases=True,
        ),
        exhaustive=True,
        has_planned_sizes=True,
        large_in_every_dtype=True,
        high_priority=True,
        clearest=True,
    ),
    CheckFacts(
        "gradients",
        title="wrong gradients",
        question=(
            "Gradients of every input and parameter are the derivative of the formula, within the "
            "rounding-error bound."
        ),
        looks_at=(
            "vector-Jacobian products for every input and parameter, compared with the oracle's "
            "derivative; in a second call, for some operands alone, and where several backward "
            "passes add up; outputs while gradients are recorded"
        ),
        rank=3,
        levels=TRAINING,
        members=("vjp", "vjp_of", "accumulate", "forward_grad", "load", "state"),
        sampling=Sampling(
            step_full_share=2, step_medium_share=2, sampled_extra_dtypes=2, takes_extra_cases=True
        ),
        exhaustive=True,
        has_planned_sizes=True,
        high_priority=True,
        follows_values=True,
        contains_values=True,
    ),
    CheckFacts(
        "laws",
        title="two calls that must agree differ",
        question="Calls that are equal by the formula give the same answer.",
        looks_at=(
            "agreement of calls that are equal by the formula, also at larger sizes than drawn: a "
            "large batch and its rows, groups and separate layers, convolution and its adjoint, a "
            "layer and its cell, a long sequence cut in two, module and function, lazy and eager"
        ),
        rank=2,
        levels=TRAINING,
        sampling=Sampling(step_full_share=3, step_medium_share=2),
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
        sampling=Sampling(
            step_full_share=3, step_medium_share=2, step_main_dtype=2, sample_size=14
        ),
        follows_values=True,
        contains_values=True,
        calls_first=True,
    ),
    CheckFacts(
        "special",
        title="NaN, infinities or huge values are not propagated",
        question=(
            "NaN, infinities, signed zeros, subnormal and huge values propagate through the "
            "formula as in IEEE 754 arithmetic."
        ),
        looks_at=(
            "NaN, ±∞, −0.0, subnormal and huge inputs, NaN and ±∞ among weights and biases, "
            "propagate as in IEEE arithmetic"
        ),
        rank=6,
        levels=INFERENCE,
        sampling=Sampling(step_full_share=3, sample_size_other_dtypes=6, sampled_extra_dtypes=1),
        follows_values=True,
        contains_values=True,
        title_suffix="for NaN, infinite, huge or tiny numbers",
    ),
    CheckFacts(
        "state",
        title="wrong state",
        question=(
            "state_dict names, shapes and initial values are as documented, and the next call uses "
            "a loaded state."
        ),
        looks_at=(
            "state_dict names, order, shapes; use of a loaded state in the next call; initial "
            "values, lazy layers, train and eval mode"
        ),
        rank=7,
        levels=TRAINING,
        members=("state", "load", "train", "attributes", "shape"),
        sampling=Sampling(step_other_dtypes=4, step_main_dtype=3, sample_size=10),
        follows_values=True,
        contains_values=True,
    ),
    CheckFacts(
        "random",
        title="random numbers are not drawn as documented",
        question=(
            "Masks, rates and scale of random numbers are as documented, draws differ from call to "
            "call, and a layer draws only when the documentation says so."
        ),
        looks_at=(
            "for layers that draw random numbers: masks, rates and scale as documented, and no "
            "draws in other modes"
        ),
        rank=9,
        levels=TRAINING,
        members=("vjp", "value_and_vjp", "vmap_random"),
        sampling=Sampling(step_full_share=2, step_medium_share=2),
        follows_values=True,
    ),
    CheckFacts(
        "repeat",
        title="a call depends on other calls",
        question=(
            "The same call gives the same answer every time, and does not change inputs or state."
        ),
        looks_at=(
            "the same answer from the same call, also between other calls; inputs and state "
            "unchanged; no stale weights"
        ),
        rank=5,
        levels=STRICT,
        members=("forward_grad", "state", "load", "updated"),
        sampling=Sampling(
            step_other_dtypes=4, step_full_share=6, step_main_dtype=3, sample_size=10
        ),
        follows_values=True,
        contains_values=True,
    ),
    CheckFacts(
        "errors",
        title="an invalid call is not refused",
        question="An invalid call is refused by an exception.",
        looks_at=(
            "refusal of invalid calls, each with one broken constraint, by a sensible exception"
        ),
        rank=10,
        levels=INFERENCE,
        members=("shape",),
        sampling=Sampling(step_other_dtypes=4, sample_size=30),
        invalid=True,
    ),
    CheckFacts(
        "threads",
        title="the answer depends on threads",
        question=(
            "Outputs, state and gradients are within the rounding-error bound for any number of "
            "threads, and for calls of one layer by several threads at once."
        ),
        looks_at=(
            "the answer and gradients with 2, 3 or 4 threads, at sizes for which kernels start "
            "several; one layer called by several threads at once"
        ),
        rank=11,
        levels=STRICT,
        sampling=Sampling(
            rotated_dtypes=OTHER_DTYPES,
            step_other_dtypes=16,
            step_full_share=8,
            step_medium_share=4,
            step_main_dtype=6,
            sample_size=6,
            among_cases_of="gradients",
        ),
        has_planned_sizes=True,
        large_cases=4,
        follows_values=True,
        contains_values=True,
        runs=("values", "gradients"),
        script_runs_check=True,
        is_graded=False,
        says_nothing_in_copies=True,
    ),
    CheckFacts(
        "transforms",
        title="a transform of the call is wrong",
        question=(
            "Forward-mode derivatives, gradients of gradients and vmap are those of the formula."
        ),
        looks_at=(
            "forward mode and gradients of gradients, held against the oracle's gradients; vmap "
            "of calls and of gradients, one slice of three held against the oracle"
        ),
        rank=12,
        levels=STRICT,
        members=("jvp", "double_vjp", "jvp_vjp", "vmap", "vmap_vjp"),
        sampling=Sampling(
            rotated_dtypes=HALF_DTYPES,
            step_other_dtypes=8,
            step_full_share=4,
            step_medium_share=4,
            step_main_dtype=4,
            sample_size=8,
            sample_size_other_dtypes=2,
            sampled_extra_dtypes=1,
            step_float64=2,
            among_cases_of="gradients",
        ),
        follows_values=True,
        runs=("values", "gradients"),
        script_runs_check=True,
        is_graded=False,
    ),
    CheckFacts(
        "module",
        title="a module is not copied, converted or called as documented",
        question=(
            "Copies of a module have its state and its answers and live apart from it; dtypes, "
            "devices, states, modes, gradients and hooks of a module are as documented."
        ),
        looks_at=(
            "for modules of torch's kind: deepcopy, pickle, torch.save, to_empty, load_state_dict; "
            "half and double, factory arguments, requires_grad_, zero_grad, train and eval, hooks; "
            "containers"
        ),
        rank=13,
        levels=STRICT,
        members=("copy_layer", "module_facts"),
        sampling=Sampling(
            rotated_dtypes=OTHER_DTYPES,
            step_other_dtypes=16,
            step_main_dtype=6,
            sample_size=6,
            sample_size_other_dtypes=2,
            among_cases_of="gradients",
        ),
        follows_values=True,
        runs=("values", "gradients", "state"),
        script_runs_check=True,
        is_graded=False,
    ),
    CheckFacts(
        "autocast",
        title="mixed precision computes in the wrong dtype",
        question=(
            "In an autocast region an operator computes and answers in the dtype that torch.amp "
            "lists for it, within its bound; gradients have the dtype of their operands."
        ),
        looks_at=(
            "`torch.autocast` in bfloat16 and float16: dtypes as torch.amp lists them, values and "
            "gradients within the bound of that dtype; nested and disabled regions; no stale casts"
        ),
        rank=14,
        levels=STRICT,
        members=("autocast",),
        sampling=Sampling(
            step_other_dtypes=8,
            step_main_dtype=6,
            sample_size=6,
            sample_size_other_dtypes=3,
            sampled_extra_dtypes=1,
            among_cases_of="gradients",
        ),
        follows_values=True,
        runs=("values", "gradients"),
        script_runs_check=True,
        is_graded=False,
    ),
    CheckFacts(
        "support",
        title="calls are not declined as declared",
        question=(
            "Whether a call is declined depends only on its arguments and shapes, and the reason "
            "given is true."
        ),
        rank=15,
        on_request=True,
    ),
)

CHECK_FACTS: dict[str, CheckFacts] = {facts.name: facts for facts in _DECLARATIONS}
"""Name of a check → its declaration."""


def facts_of(check: str) -> CheckFacts:
    """The declaration of a check; a minimal one for a name that this version does not know."""
    return CHECK_FACTS.get(check) or CheckFacts(check, f"{check} fails", "")


def matrix_columns() -> tuple[str, ...]:
    """The names of the checks that are columns of the matrix, in their order."""
    return tuple(name for name, facts in CHECK_FACTS.items() if not facts.on_request)


def in_column_order(names: Iterable[str]) -> tuple[str, ...]:
    """Each name once: checks in the order of the columns, then other names in their given order."""
    unique_names = dict.fromkeys(names)
    known = [name for name in matrix_columns() if name in unique_names]
    return (*known, *(name for name in unique_names if name not in known))


def checks_of_level(name: str) -> tuple[str, ...]:
    """The checks that a level of a standard includes, in the order of the columns."""
    return tuple(check for check, facts in CHECK_FACTS.items() if name in facts.levels)
