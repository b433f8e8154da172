"""Parts of a layer's specification beside its signature."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.model.case import Call, Case
from conformance.spec.propagation import Propagation, sums
from conformance.spec.signature import Arguments
from conformance.spec.state import Shape, StateTensor
from conformance.spec.workload import Filling, Workload

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    from conformance.arithmetic.rounded import Rounded
    from conformance.spec.draws import Draws
    from conformance.spec.trial_protocol import TrialLike


def never(call: Call) -> bool:
    """It holds of no call."""
    return False


def _always(case: Case) -> bool:
    return True


def holds_of_none(case: Case) -> bool:
    return False


def no_product(trial: TrialLike) -> None:
    """No bias is added to a stored product."""


def stateless(arguments: Arguments, input: Shape) -> tuple[StateTensor, ...]:
    """The state of a layer that has none."""
    return ()


def _nothing_shown(case: Case) -> Arguments:
    return {}


def nothing_counted(case: Case) -> Arguments:
    """What the numbers of a case tell of a shape, where they tell nothing."""
    return {}


def _all_needed(arrays: Mapping[str, np.ndarray]) -> Mapping[str, int]:
    return {}


@dataclass(frozen=True)
class Steps:
    """The steps of a recurrent layer.

    Args:
        values: the oracle of each step from the layer's own previous output, `(output, state,
            *inputs, **arguments)`.
        shown: case → whether the outputs show the states between the steps.
    """

    values: Callable[..., Any]
    shown: Callable[[Case], bool] = _always


@dataclass(frozen=True)
class Oracle:
    """What a call gives.

    Args:
        values: the oracle, `(state, *inputs, **arguments)` → one output or a tuple: each a
            `Rounded`, `Choices`, or None where the documentation says None; or `Updated`.
        shapes: the shape oracle, `(*input shapes, **arguments)` → a tuple of shapes; None for an
            absent output. None where `LayerSpec.shapes` says it.
        formula: what the documentation says that it computes, line by line.
        propagation: how NaN and infinities travel to the outputs.
        module: the class whose computation a function does; None of any other layer, and where
            there is none.
        counted: case → arguments that its numbers tell, and a shape depends on: as many classes as
            the largest one needs.
        steps: of a recurrent layer; None where a layer takes no steps.
    """

    values: Callable[..., Any]
    shapes: Callable[..., tuple[Shape | None, ...]] | None = None
    formula: tuple[str, ...] = ()
    propagation: Propagation = sums
    module: str | None = None
    counted: Callable[[Case], Arguments] = nothing_counted
    steps: Steps | None = None


@dataclass(frozen=True)
class Generation:
    """Which calls are made.

    Args:
        cases: dtype → strategy of valid cases.
        invalid: dtype → strategy of invalid cases, None where no call is invalid.
        examples: share of the profile's examples that it needs.
        whole: dtype → cases that hold every finite number of a dtype of 16 bits each, none for
            other dtypes; None where an element of the output depends on more than one number.
    """

    cases: Callable[[str], SearchStrategy[Case]]
    invalid: Callable[[str], SearchStrategy[Case]] | None = None
    examples: float = 1.0
    whole: Callable[[str], Sequence[Case]] | None = None


@dataclass(frozen=True)
class State:
    """The tensors that a layer owns.

    Args:
        tensors: (arguments, shape of the first input) → the tensors of its state, in the order of
            its state_dict.
        shaped: (arguments, shapes of its tensors by name) → its tensors, where `LayerSpec.shapes`
            says the shapes.
        constructor_tensors: those that the constructor takes; the call may have none.
        roles: of those whose names do not tell a weight from a bias.
    """

    tensors: Callable[[Arguments, Shape], tuple[StateTensor, ...]] = stateless
    shaped: Callable[[Arguments, Mapping[str, Shape]], tuple[StateTensor, ...]] | None = None
    constructor_tensors: tuple[str, ...] = ()
    roles: Mapping[str, str] = field(default_factory=dict)

    def constructed(self, state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The tensors of a state that the constructor takes: no layer can be built without them."""
        return {name: x for name, x in state.items() if name in self.constructor_tensors}


@dataclass(frozen=True)
class Lazy:
    """What the first call of a lazy layer makes of it.

    Args:
        eager: the class that it is after its first call.
        inferred: shape of the first input → what it reads from it.
    """

    eager: str
    inferred: Callable[[Shape], Arguments]


@dataclass(frozen=True)
class Traits:
    """What checks must know of how a layer behaves.

    Args:
        aliases: an output may be an input, or share its memory.
        copies: outputs are elements of the input: NaN, infinities and signs of zero come through.
        wide_sums: in half precision its sums are accumulated in float32 and rounded once.
        product: trial → the product to which a bias is added after it is stored, where the tensors
            lie inconveniently; None where there is none, or of any other layer.
        modes: train mode and eval mode differ: the oracle takes `training`.
        updates: call → whether it changes the layer's state, or inputs that may be `updated`: the
            oracle returns `Updated`.
        trains: case → whether it may be called in train mode, too.
        batched: its inputs always have a batch axis, whether or not their rows are apart.
        every_weight_counts: case → whether each output has a product with each of its weights,
            whatever the algorithm.
        refuses_special: case → whether a call with NaN or infinities is refused.
    """

    aliases: bool = False
    copies: bool = False
    wide_sums: bool = False
    product: Callable[[TrialLike], Rounded | None] = no_product
    modes: bool = False
    updates: Callable[[Call], bool] = never
    trains: Callable[[Case], bool] = _always
    batched: bool = False
    every_weight_counts: Callable[[Case], bool] = _always
    refuses_special: Callable[[Case], bool] = holds_of_none


@dataclass(frozen=True)
class Randomness:
    """The random numbers that a layer draws.

    Args:
        used: call → whether it draws any.
        draws: (trial, random numbers) → what must hold of them; None where it never draws any.
    """

    used: Callable[[Call], bool] = never
    draws: Callable[[TrialLike, np.random.Generator], Draws] | None = None


@dataclass(frozen=True)
class Conditions:
    """What conditions of known failures can name besides the arguments.

    Args:
        derived: facts, by name.
        numbers: arguments that may be a word → the derived fact that says it in numbers.
        shown: case → arguments that the arrays of a function show, and a module is given.
    """

    derived: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)
    numbers: Mapping[str, str] = field(default_factory=dict)
    shown: Callable[[Case], Arguments] = _nothing_shown


@dataclass(frozen=True)
class Benchmark:
    """What is timed.

    Args:
        workloads: the calls.
        filling: how their arrays are filled.
        flops: (workload, weights' shapes, outputs' shapes) → multiplications and additions of the
            plain algorithm.
        needed: inputs and state tensors by name → how many numbers of one the call has to read,
            where that is not all: of a table the rows that are looked up.
    """

    workloads: tuple[Workload, ...] = ()
    filling: Filling = field(default_factory=Filling)
    flops: Callable[[Workload, Sequence[Shape], Sequence[Shape]], int] | None = None
    needed: Callable[[Mapping[str, np.ndarray]], Mapping[str, int]] = _all_needed
