"""Parts of a layer's specification beside its signature."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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

    from conformance.arithmetic.precision import Precision
    from conformance.arithmetic.rounded import Rounded
    from conformance.spec.draws import Draws
    from conformance.spec.trial_protocol import TrialLike


def never(call: Call) -> bool:
    """Return False: the default of predicates on calls."""
    return False


def _always(case: Case) -> bool:
    return True


def never_holds(case: Case) -> bool:
    return False


def no_product(trial: TrialLike) -> None:
    """Return None: the layer adds no bias to a stored product."""


def stateless(arguments: Arguments, input: Shape) -> tuple[StateTensor, ...]:
    """The empty state."""
    return ()


def _no_implied_arguments(case: Case) -> Arguments:
    return {}


def no_value_inferred_arguments(case: Case) -> Arguments:
    """No arguments follow from input values: the default of `Oracle`."""
    return {}


def _every_element_read(arrays: Mapping[str, np.ndarray]) -> Mapping[str, int]:
    return {}


@dataclass(frozen=True)
class Steps:
    """The steps of a recurrent layer.

    Args:
        values: `(output, state, *inputs, **arguments)` → expected outputs, each step computed from
            the backend's own previous output.
        states_visible: case → whether the outputs include the states between the steps.
    """

    values: Callable[..., Any]
    states_visible: Callable[[Case], bool] = _always


@dataclass(frozen=True)
class Oracle:
    """The expected results of a call.

    Args:
        values: the oracle, `(state, *inputs, **arguments)` → one output or a tuple of outputs, or
            `Updated`. An output is `Rounded`, `Choices`, or None where the documentation says None.
        shapes: the shape oracle, `(*input shapes, **arguments)` → a tuple of shapes, None for an
            absent output. None where `LayerSpec.shapes` gives the shapes.
        formula: the documented formula, line by line.
        propagation: how NaN and infinities reach the outputs.
        equivalent_module: the class that computes the same as a function; None for a class, or if
            there is none.
        value_inferred_arguments: case → arguments inferred from input values that decide a shape,
            e.g. num_classes from the largest index.
        steps: for a recurrent layer, else None.
        parts: case, precision → the calls that it is made of, each on the true values of its
            operands, rounded to the dtype. None where the call is one of its own.
    """

    values: Callable[..., Any]
    shapes: Callable[..., tuple[Shape | None, ...]] | None = None
    formula: tuple[str, ...] = ()
    propagation: Propagation = sums
    equivalent_module: str | None = None
    value_inferred_arguments: Callable[[Case], Arguments] = no_value_inferred_arguments
    steps: Steps | None = None
    parts: Callable[[Case, Precision], Iterator[Case]] | None = None


@dataclass(frozen=True)
class Generation:
    """The calls that the suite makes.

    Args:
        cases: dtype → strategy of valid cases.
        invalid: dtype → strategy of invalid cases; None where no call is invalid.
        examples_fraction: share of the profile's examples that the layer needs.
        max_planned_size: the largest size that `conformance.generation.planned_sizes` gives a case;
            smaller where such a case takes seconds, or where arrays between operands and result
            grow faster than they. None = any.
        exhaustive_cases: dtype → cases that each hold every finite number of a 16-bit dtype; empty
            for other dtypes. None where an output element depends on more than one number.
    """

    cases: Callable[[str], SearchStrategy[Case]]
    invalid: Callable[[str], SearchStrategy[Case]] | None = None
    examples_fraction: float = 1.0
    max_planned_size: int | None = None
    exhaustive_cases: Callable[[str], Sequence[Case]] | None = None


@dataclass(frozen=True)
class State:
    """The tensors that a layer owns.

    Args:
        tensors: (arguments, shape of the first input) → the state tensors, in the order of the
            state_dict.
        tensors_from_shapes: (arguments, shapes of the state tensors by name) → the state tensors,
            where `LayerSpec.shapes` gives the shapes.
        constructor_tensors: names of tensors that the constructor takes; a call may lack them.
        roles: of tensors whose names do not say whether they are a weight or a bias.
    """

    tensors: Callable[[Arguments, Shape], tuple[StateTensor, ...]] = stateless
    tensors_from_shapes: (
        Callable[[Arguments, Mapping[str, Shape]], tuple[StateTensor, ...]] | None
    ) = None
    constructor_tensors: tuple[str, ...] = ()
    roles: Mapping[str, str] = field(default_factory=dict)

    def constructor_state(self, state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The tensors of a state that the constructor takes: a layer cannot be built otherwise."""
        return {name: x for name, x in state.items() if name in self.constructor_tensors}


@dataclass(frozen=True)
class Lazy:
    """How the first call changes a lazy layer.

    Args:
        eager: the class of the layer after its first call.
        inferred_arguments: shape of the first input → arguments inferred from it.
    """

    eager: str
    inferred_arguments: Callable[[Shape], Arguments]


@dataclass(frozen=True)
class Traits:
    """Behaviour of a layer that checks depend on.

    Args:
        may_alias_inputs: an output may be an input, or share its memory.
        copies_input: outputs are elements of the input, so NaN, infinities and signs of zero
            survive.
        wide_sums: in half precision, sums are accumulated in float32 and rounded once.
        stored_product: trial → the product that is stored before a bias is added to it, for
            inconvenient memory layouts; None if the layer has no such product.
        train_and_eval_differ: train mode and eval mode differ: the oracle takes `training`.
        updates_state: call → whether it changes the layer's state, or inputs marked `updated`: the
            oracle returns `Updated`.
        valid_in_train_mode: case → whether the case is valid in train mode, too.
        always_batched: inputs always have a batch axis, even if outputs mix its rows.
        every_weight_counts: case → whether each output contains a product with each of its weights,
            whatever the algorithm.
        refuses_special: case → whether the layer refuses NaN and infinities.
        keeps_graph: case → whether the documentation allows several backward passes through the
            graph of one call.
        overrides_derivative: case → whether the documentation defines gradients other than the
            derivative: none for a row of padding, or as if there were no clamp.
        has_sublayers: it is made of layers of the catalogue one after another. In a network these
            count, because a bound through all of them at once is far too wide.
    """

    may_alias_inputs: bool = False
    copies_input: bool = False
    wide_sums: bool = False
    stored_product: Callable[[TrialLike], Rounded | None] = no_product
    train_and_eval_differ: bool = False
    updates_state: Callable[[Call], bool] = never
    valid_in_train_mode: Callable[[Case], bool] = _always
    always_batched: bool = False
    every_weight_counts: Callable[[Case], bool] = _always
    refuses_special: Callable[[Case], bool] = never_holds
    keeps_graph: Callable[[Case], bool] = _always
    overrides_derivative: Callable[[Case], bool] = never_holds
    has_sublayers: bool = False


@dataclass(frozen=True)
class Randomness:
    """The random numbers that a layer draws.

    Args:
        is_used: call → whether it draws any.
        draws: (trial, random generator) → claims about the draws; None if the layer draws none.
    """

    is_used: Callable[[Call], bool] = never
    draws: Callable[[TrialLike, np.random.Generator], Draws] | None = None


@dataclass(frozen=True)
class Conditions:
    """Facts that conditions of known failures can name, besides the arguments.

    Args:
        derived_facts: functions that compute a fact from the facts of a case, by name.
        numeric_facts: argument whose value may be a word → the derived fact that has it in numbers.
        implied_arguments: case → arguments of the module that the arrays of a function imply
            (sizes).
    """

    derived_facts: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)
    numeric_facts: Mapping[str, str] = field(default_factory=dict)
    implied_arguments: Callable[[Case], Arguments] = _no_implied_arguments


@dataclass(frozen=True)
class Benchmark:
    """The calls that benchmarks time.

    Args:
        workloads: the calls.
        filling: how their arrays are filled.
        flops: (workload, weights' shapes, outputs' shapes) → multiplications and additions of the
            textbook algorithm.
        elements_read: inputs and state tensors by name → number of elements that the call must
            read. It lists tensors that are not read in full, as a table whose rows are looked up.
    """

    workloads: tuple[Workload, ...] = ()
    filling: Filling = field(default_factory=Filling)
    flops: Callable[[Workload, Sequence[Shape], Sequence[Shape]], int] | None = None
    elements_read: Callable[[Mapping[str, np.ndarray]], Mapping[str, int]] = _every_element_read
