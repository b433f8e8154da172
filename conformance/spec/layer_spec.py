"""What the suite knows of one layer, as data, which is all that generic code asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.model.case import Call, Case, class_and_method, is_function
from conformance.spec.axes import Axes, no_axes, no_axis
from conformance.spec.notation import BATCH, SPACE
from conformance.spec.propagation import Propagation, sums
from conformance.spec.shapes import ShapeError, Shapes, Sizes
from conformance.spec.sizes import per_dimension
from conformance.spec.state import Shape, StateTensor
from conformance.spec.workload import Filling, Workload

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    from conformance.arithmetic.rounded import Rounded
    from conformance.spec.draws import Draws
    from conformance.spec.law import Law
    from conformance.spec.trial_like import TrialLike

# Namespaces whose functions stand on one page.
_ONE_PAGE = ("init",)

REQUIRED = object()
"""The default of an argument that has none."""

Arguments = Mapping[str, Any]

ROLES = ("data", "hidden", "weight", "bias", "index", "target", "mask", "statistic")
"""What an input or a state tensor can be."""


@dataclass(frozen=True)
class Form:
    """What the value of an argument is, where that is more than a number, a word or a flag.

    Args:
        sequence: it is kept as a tuple, be it written as one number.
        of_torch: its value is a name in `torch`, of a dtype or a function; torch gets the object.
        function: it is a function, or a word for one: its value is the word, or the name of the
            function with its namespace, `"functional.relu"`, in place of which torch gets that.
        record: name of a class of torch.nn; the value is (field, value) pairs, of which torch gets
            an instance.
        module: it is a module: the value is the name of its layer and (argument, value) pairs; its
            state is a part of the whole's.
    """

    sequence: bool = False
    of_torch: bool = False
    function: bool = False
    record: str = ""
    module: bool = False


@dataclass(frozen=True)
class Ties:
    """What an argument says of the inputs, and of another argument.

    Args:
        fixes_sizes: where it is given, no size of the inputs can change by itself.
        fixes: the input that is fixed where its value is not False: `is_causal` says what the mask
            holds.
        like: the argument whose value None stands for: `kdim` is `embed_dim` then.
    """

    fixes_sizes: bool = False
    fixes: str = ""
    like: str = ""


@dataclass(frozen=True)
class Argument:
    """One argument of a constructor or function that is no tensor.

    Args:
        name: torch's.
        default: torch's; `REQUIRED` where it has none.
        plain: the plainest value, where there is no default to go back to.
        other: a value to try in place of the default, when it is asked what a failure needs; None =
            none is tried.
        per_dimension: it is one number for each spatial dimension, or one for all.
        size: it says how large a case is, which is seldom what is wrong.
        window: its values decide which output sizes are possible.
        keyword: it is given to the call, not to the constructor: `output_size`.
        large: its default makes a case large: in the plainest ones it is written out.
        form: see `Form`.
        ties: see `Ties`.
    """

    name: str
    default: Any = REQUIRED
    plain: Any = None
    other: Any = None
    per_dimension: bool = False
    size: bool = False
    window: bool = False
    keyword: bool = False
    large: bool = False
    form: Form = Form()
    ties: Ties = Ties()


@dataclass(frozen=True)
class Passed:
    """How torch is given an input, where that is not by its place, as it is and where it is.

    Args:
        by_name: by name: an argument that is no tensor stands before it.
        said: torch has no default for it: None is written where it is left out.
        part_of: torch's argument that it is a part of, as its neighbours are that say the same: one
            tensor of a list (`Bundles.wholes`).
        on_host: on the CPU, wherever the others are.
    """

    by_name: bool = False
    said: bool = False
    part_of: str = ""
    on_host: bool = False


BY_NAME = Passed(by_name=True)


@dataclass(frozen=True)
class Input:
    """One tensor that the documented signature names.

    Args:
        name: torch's.
        role: `"data"`, `"hidden"` (a recurrent state), `"weight"`, `"bias"`, `"index"`, `"target"`,
            `"mask"`, `"statistic"` (a running mean or variance).
        optional: it may be left out.
        batch_axis: case → the axis that counts the batch; None where the case has none.
        differentiable: it has a gradient, where its dtype can have one.
        signed: any number may stand in place of any of its elements; otherwise its elements may
            change places at most (indices, probabilities, variances).
        updated: the call may write into it.
        fixed: no element may be another, nor in another place: offsets, which never decrease.
        passed: see `Passed`.
    """

    name: str
    role: str = "data"
    optional: bool = False
    batch_axis: Callable[[Case], int | None] = no_axis
    differentiable: bool = True
    signed: bool = True
    updated: bool = False
    fixed: bool = False
    passed: Passed = Passed()


@dataclass(frozen=True)
class Output:
    """One tensor that a call returns.

    Args:
        name: for messages.
        batch_axis: as of an input.
        dtype: case → torch's name of its dtype; None = the call's dtype.
        differentiable: it depends on inputs or state in a way that has a gradient.
        on_host: torch gives it on the CPU, wherever the inputs are.
    """

    name: str
    batch_axis: Callable[[Case], int | None] = no_axis
    dtype: Callable[[Case], str] | None = None
    differentiable: bool = True
    on_host: bool = False


def never(call: Call) -> bool:
    """It holds of no call."""
    return False


def _always(case: Case) -> bool:
    return True


def _any_call(row: LayerSpec, case: Case) -> bool:
    return True


def _none(case: Case) -> bool:
    return False


def no_product(trial: TrialLike) -> None:
    """No bias is added to a stored product."""


def _any_size(case: Case) -> int:
    return 2**31


def stateless(arguments: Arguments, input: Shape) -> tuple[StateTensor, ...]:
    """The state of a layer that has none."""
    return ()


def _nothing_shown(case: Case) -> Arguments:
    return {}


def nothing_counted(case: Case) -> Arguments:
    """What the numbers of a case tell of a shape, where they tell nothing."""
    return {}


def _as_written(arguments: Arguments) -> Arguments:
    return {}


def _all_needed(arrays: Mapping[str, np.ndarray]) -> Mapping[str, int]:
    return {}


@dataclass(frozen=True)
class Bundles:
    """Tensors of the suite's that torch takes, or returns, as one object.

    Args:
        wholes: arguments of torch's that inputs are parts of → what they are to torch: a `LIST` of
            those that are given; `GRADIENTS`, the `grad` of each of a list of parameters, which
            stand behind the outputs as the call leaves them; or a class of torch.nn, by its name,
            that has them as fields.
        states: number of hidden states that torch takes, and returns, as one argument.
        lists: its outputs are the elements of a list.
    """

    wholes: Mapping[str, str] = field(default_factory=dict)
    states: int = 0
    lists: bool = False


@dataclass(frozen=True)
class Signature:
    """How torch is called: what a constructor and a call take, and what a call returns.

    Args:
        arguments, inputs, outputs: in torch's order.
        dims: number of spatial dimensions, which stand last in the input's shape.
        complex: the layer has complex forms.
        placed: its constructor takes `device` and `dtype`.
        kept_as: all arguments → those that a user reads otherwise than they were written: a stride
            that was left out is the kernel's size.
        bundles: see `Bundles`.
    """

    arguments: tuple[Argument, ...]
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    dims: int = 0
    complex: bool = True
    placed: bool = True
    kept_as: Callable[[Arguments], Arguments] = _as_written
    bundles: Bundles = field(default_factory=Bundles)

    @cached_property
    def required(self) -> tuple[str, ...]:
        """Names of the arguments that have no default, in torch's order."""
        return tuple(a.name for a in self.arguments if a.default is REQUIRED)

    @cached_property
    def defaults(self) -> Mapping[str, Any]:
        """The defaults of the other arguments."""
        return {a.name: a.default for a in self.arguments if a.default is not REQUIRED}

    @cached_property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs, in torch's order."""
        return tuple(x.name for x in self.inputs)

    @cached_property
    def cotangent_names(self) -> tuple[str, ...]:
        """Names of the cotangents of its outputs: `grad_output`."""
        return tuple(f"grad_{x.name}" for x in self.outputs)

    @cached_property
    def keywords(self) -> frozenset[str]:
        """Names of the arguments that are given to the call."""
        return frozenset(a.name for a in self.arguments if a.keyword)

    @cached_property
    def of_torch(self) -> frozenset[str]:
        """Names of the arguments that name what torch has."""
        return frozenset(a.name for a in self.arguments if a.form.of_torch)

    @cached_property
    def functions(self) -> frozenset[str]:
        """Names of the arguments that are functions, or words for them."""
        return frozenset(a.name for a in self.arguments if a.form.function)

    @cached_property
    def records(self) -> Mapping[str, str]:
        """The arguments that are an object of fields, each with the name of its class."""
        return {a.name: a.form.record for a in self.arguments if a.form.record}

    @cached_property
    def modules(self) -> frozenset[str]:
        """Names of the arguments that are modules."""
        return frozenset(a.name for a in self.arguments if a.form.module)

    @cached_property
    def windows(self) -> frozenset[str]:
        """Names of the arguments that decide which output sizes are possible."""
        return frozenset(a.name for a in self.arguments if a.window)

    @cached_property
    def per_dimension(self) -> frozenset[str]:
        """Names of the arguments that have one number for each spatial dimension."""
        return frozenset(a.name for a in self.arguments if a.per_dimension)

    def complete(self, arguments: Arguments) -> dict[str, Any]:
        """All arguments of a call, those that are left out with what they stand for."""
        full = {**self.defaults, **arguments}
        for known in self.arguments:
            if known.ties.like and full.get(known.name) is None:
                full[known.name] = full.get(known.ties.like)
        return full

    def bind(self, shapes: Shapes, arguments: Arguments, given: Mapping[str, Shape]) -> Sizes:
        """The sizes of a call.

        Args:
            arguments: those that are written out.
            given: inputs by name → shape.
        """
        return shapes.bind(self.complete(arguments), self.dims, given)

    def argument(self, name: str) -> Argument | None:
        """One of its arguments; None where it has none of that name."""
        return next((a for a in self.arguments if a.name == name), None)

    def places(self, *roles: str) -> tuple[int, ...]:
        """Places of the inputs that have one of some roles."""
        return tuple(k for k, x in enumerate(self.inputs) if x.role in roles)

    def dtype(self, case: Case, index: int = 0) -> str:
        """torch's name of the dtype that an output must have."""
        chosen = self.outputs[index].dtype
        return case.call.dtype if chosen is None else chosen(case)

    def readable(self, name: str, value: Any) -> Any:
        """An attribute in the form in which it is compared: sizes as tuples."""
        argument = self.argument(name)
        if argument is not None and argument.form.sequence:
            return (value,) if isinstance(value, int) else tuple(value)
        if argument is None or not argument.per_dimension or not self.dims:
            return value
        if isinstance(value, (int, tuple, list)) and not isinstance(value, bool):
            return per_dimension(value, self.dims)
        return value


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
        formula: what the documentation says that it computes, line by line.
        shapes: the shape oracle, `(*input shapes, **arguments)` → a tuple of shapes; None for an
            absent output. None where `LayerSpec.shapes` says it.
        propagation: how NaN and infinities travel to the outputs.
        module: the class whose computation a function does; None of any other layer, and where
            there is none.
        counted: case → arguments that its numbers tell, and a shape depends on: as many classes as
            the largest one needs.
        steps: of a recurrent layer; None where a layer takes no steps.
    """

    values: Callable[..., Any]
    formula: tuple[str, ...]
    shapes: Callable[..., tuple[Shape | None, ...]] | None = None
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
class Variation:
    """How a valid call can be changed into another.

    Args:
        refit: (case, new arguments) → the case with its arrays in the shapes that these ask for, or
            None where the call would be invalid; None where `LayerSpec.shapes` says it, or no
            argument changes a shape.
        allows: (case with other arguments or sizes) → whether the documentation allows the call,
            beside what `LayerSpec.shapes` says.
        free: case → axes besides those of the batch and of space whose size no argument and no
            weight decides: the steps of a sequence, every axis of an elementwise layer; as
            `shared` only of a layer without `LayerSpec.shapes`.
        shared: case → axes that inputs of a function have in common with its weights: the features
            of the input and of the weight.
        longest: case → the largest size of an axis that is drawn: of a sequence each step takes
            time.
        needs_keywords: case → whether the call is invalid without its keywords: indices into an
            output of the size that they say.
    """

    refit: Callable[[LayerSpec, Case, dict[str, Any]], Case | None] | None = None
    allows: Callable[[LayerSpec, Case], bool] = _any_call
    free: Callable[[Case], tuple[Axes, ...]] = no_axes
    shared: Callable[[Case], tuple[Axes, ...]] = no_axes
    longest: Callable[[Case], int] = _any_size
    needs_keywords: Callable[[Case], bool] = _none


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
    refuses_special: Callable[[Case], bool] = _none


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


@dataclass(frozen=True)
class LayerSpec:
    """All that the suite knows of one layer.

    Args:
        name: of the `torch.nn` class, or `functional.` and the name of the function; with the name
            of a method behind it where that is called in place of the module.
        family: layers that share their mathematics, and one file name: `"convolution"`.
        signature, oracle, generation, variation, state, traits, conditions: see these classes.
        laws: relations between calls that hold of the layer.
        randomness: see `Randomness`.
        benchmark: see `Benchmark`.
        lazy: of a lazy layer; None of any other.
        in_torch: torch has it; of another library's the names are of that, and nothing is compared
            with torch.
        shapes: of inputs, state and outputs in named sizes, from which follow what batch and free
            axes are, the state's and the outputs' shapes, and what arguments change; None where the
            parts above say so by functions.
    """

    name: str
    family: str
    signature: Signature
    oracle: Oracle
    generation: Generation
    variation: Variation = field(default_factory=Variation)
    state: State = field(default_factory=State)
    traits: Traits = field(default_factory=Traits)
    conditions: Conditions = field(default_factory=Conditions)
    laws: tuple[Law, ...] = ()
    randomness: Randomness = field(default_factory=Randomness)
    benchmark: Benchmark = field(default_factory=Benchmark)
    lazy: Lazy | None = None
    in_torch: bool = True
    shapes: Shapes | None = None

    @property
    def function(self) -> bool:
        """Whether it is a function, whose weights are inputs."""
        return is_function(self.name)

    @property
    def page(self) -> str:
        """Address of its page in torch's documentation; empty where torch does not have it."""
        if not self.in_torch:
            return ""
        name = self.name if self.function else class_and_method(self.name)[0]
        space = name.partition(".")[0]
        if space in _ONE_PAGE:
            return f"https://docs.pytorch.org/docs/stable/nn.{space}.html#torch.nn.{name}"
        return f"https://docs.pytorch.org/docs/stable/generated/torch.nn.{name}.html"

    def role(self, name: str) -> str:
        """What an input or a state tensor is."""
        found = next((x.role for x in self.signature.inputs if x.name == name), None)
        if found is not None:
            return found
        # Names of state tensors differ by layer and direction; the word in them does not.
        return self.state.roles.get(name, "bias" if "bias" in name else "weight")

    def fixed(self, case: Case, place: int) -> bool:
        """Whether no element of an input may be another, nor in another place."""
        known, written = self.signature.inputs[place], self.written(case)
        return known.fixed or any(
            a.ties.fixes == known.name and bool(written.get(a.name))
            for a in self.signature.arguments
        )

    def axes(self, case: Case) -> tuple[Axes, ...]:
        """Axes of the inputs whose sizes may change, those first that are the batch."""
        if any(a.ties.fixes_sizes and a.name in case.keywords for a in self.signature.arguments):
            return ()
        if self.shapes is not None:
            return self._named_axes(case)
        places = range(min(len(self.signature.inputs), len(case.inputs)))
        axes = ((k, self.batch_axis(case, k)) for k in places)
        batch = tuple((k, axis) for k, axis in axes if axis is not None)
        first = case.inputs[0]
        space = (
            [((0, first.ndim - k),) for k in range(self.signature.dims, 0, -1)]
            if first is not None
            else []
        )
        found = (batch, *space, *self.variation.free(case), *self.variation.shared(case))
        return tuple(dict.fromkeys(group for group in found if group))

    def _named_axes(self, case: Case) -> tuple[Axes, ...]:
        sizes = self.sizes(case)
        if sizes is None or self.shapes is None:
            return ()
        names = self.signature.input_names
        groups = self.shapes.shared_axes(tuple(self._given(case)), sizes)
        owned = {size for name in self.owned for size in self.shapes.tensors[name].names}
        owned |= {*self.shapes.fixed}
        order = sorted(groups, key=lambda label: (label[0] != BATCH, label[0] != SPACE))
        return tuple(
            tuple((names.index(name), axis) for name, axis in groups[label])
            for label in order
            if label[0] not in owned
        )

    def sizes(self, case: Case) -> Sizes | None:
        """Sizes and arguments of a case, by name; None where its shapes do not fit `shapes`."""
        if self.shapes is None:
            return None
        try:
            written = {**self.written(case), **self.oracle.counted(case)}
            return self.signature.bind(self.shapes, written, self._given(case))
        except ShapeError:
            return None

    def _given(self, case: Case) -> dict[str, Shape]:
        pairs = zip(self.signature.input_names, case.inputs, strict=False)
        return {name: x.shape for name, x in pairs if x is not None}

    def batch_axis(self, case: Case, place: int) -> int | None:
        """The axis of an input that counts the batch; None where it has none, or is left out."""
        given = place < len(case.inputs) and case.inputs[place] is not None
        return self._counted(self.signature.inputs[place], case) if given else None

    def output_batch_axis(self, case: Case, output: Output) -> int | None:
        """The axis of an output that counts the batch; None where it has none."""
        return self._counted(output, case)

    def _counted(self, tensor: Input | Output, case: Case) -> int | None:
        if self.shapes is None:
            return tensor.batch_axis(case)
        sizes = self.sizes(case)
        return None if sizes is None else self.shapes.batch_axis(tensor.name, sizes)

    def inferred(self, input: Shape) -> Arguments:
        """What a lazy layer reads from its first input; nothing of any other."""
        return {} if self.lazy is None else self.lazy.inferred(input)

    def parameters(self, case: Case) -> tuple[str, ...]:
        """Names of the state tensors of a case that have gradients."""
        first = case.inputs[0]
        shape = () if first is None else first.shape
        arguments = {**case.call.arguments, **self.inferred(shape)}
        buffers = {x.name for x in self.state_tensors(arguments, shape) if x.buffer}
        return tuple(name for name in case.call.state if name not in buffers)

    def kept(self, name: str, arguments: Arguments, input: Shape) -> bool:
        """Whether only the places of a state tensor's elements may change, not their values."""
        given = {**arguments, **self.inferred(input)}
        found = next((x for x in self.state_tensors(given, input) if x.name == name), None)
        return found is not None and found.constraint != "any"

    def written(self, case: Case) -> Arguments:
        """The arguments of a case as the oracles take them: without extra positional ones."""
        given = {k: v for k, v in case.call.arguments.items() if k != "*"}
        return {**given, **case.keywords}

    def state_shapes(self, arguments: Arguments, input: Shape) -> dict[str, Shape]:
        """Names and shapes of its state, in the order of its state_dict.

        Args:
            arguments: those written out.
            input: shape of the first input, from which a lazy layer infers its sizes.
        """
        found = self.state_tensors({**arguments, **self.inferred(input)}, input)
        return {x.name: x.shape for x in found}

    def state_tensors(self, arguments: Arguments, input: Shape) -> tuple[StateTensor, ...]:
        """The tensors of its state, in the order of its state_dict.

        Args:
            arguments: with those that a lazy layer infers.
            input: shape of the first input.
        """
        if self.state.shaped is None or self.shapes is None:
            return self.state.tensors(arguments, input)
        sizes = self.signature.bind(self.shapes, arguments, {self.signature.input_names[0]: input})
        return self.state.shaped(arguments, self.shapes.present(self.owned, sizes))

    @property
    def owned(self) -> tuple[str, ...]:
        """Names of the tensors that its shapes name and it owns."""
        outputs = {x.name for x in self.signature.outputs}
        names = () if self.shapes is None else self.shapes.texts
        return tuple(n for n in names if n not in outputs and n not in self.signature.input_names)

    def output_shapes(self, case: Case) -> tuple[Shape | None, ...]:
        """Shapes of the outputs by the documentation's formulas."""
        shapes = [None if x is None else x.shape for x in case.inputs]
        return self.shapes_of(shapes, {**self.written(case), **self.oracle.counted(case)})

    def shapes_of(
        self, inputs: Sequence[Shape | None], arguments: Arguments
    ) -> tuple[Shape | None, ...]:
        """Shapes of the outputs of inputs of these shapes; None for an absent one.

        Args:
            arguments: of the constructor and of the call.
        """
        given = list(inputs)
        while given and given[-1] is None:
            given.pop()
        if self.oracle.shapes is not None:
            return self.oracle.shapes(*given, **arguments)
        assert self.shapes is not None
        names = zip(self.signature.input_names, given, strict=False)
        sizes = self.signature.bind(
            self.shapes, arguments, {n: x for n, x in names if x is not None}
        )
        return tuple(self.shapes.shape(output.name, sizes) for output in self.signature.outputs)

    def attributes(self, arguments: Arguments, input: Shape) -> Arguments:
        """What a user can read from the layer after its first call, by name."""
        facts = {**self.signature.defaults, **arguments, **self.inferred(input)}
        facts |= self.signature.kept_as(facts)
        likes = {a.name: facts.get(a.ties.like) for a in self.signature.arguments if a.ties.like}
        return {
            name: self.signature.readable(name, likes.get(name) if value is None else value)
            for name, value in facts.items()
            if name != "*" and name not in self.signature.keywords
        }
