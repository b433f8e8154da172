"""How torch is called: the arguments, inputs and outputs of a layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from conformance.model.case import Case
from conformance.spec.axes import no_axis
from conformance.spec.shapes import ShapeError, Shapes, Sizes
from conformance.spec.sizes import per_dimension
from conformance.spec.state import Shape

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
        names: of the module's arguments, which shapes may name.
    """

    sequence: bool = False
    of_torch: bool = False
    function: bool = False
    record: str = ""
    module: bool = False
    names: tuple[str, ...] = ()


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
        batch_axis: case → the axis that counts the batch; None where the case has none. Only where
            `LayerSpec.shapes` cannot say it: an argument decides whether rows are apart.
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


def _as_written(arguments: Arguments) -> Arguments:
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
    def named(self) -> frozenset[str]:
        """Names of its arguments, and of those of its modules that shapes may name."""
        return frozenset(name for a in self.arguments for name in (a.name, *a.form.names))

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
            if known.form.names and full.get(known.name) is not None:
                _, inner = full[known.name]
                full |= {name: value for name, value in inner if name in known.form.names}
        return full

    def bind(self, shapes: Shapes, arguments: Arguments, given: Mapping[str, Shape]) -> Sizes:
        """The sizes of a call.

        Args:
            arguments: those that are written out.
            given: inputs by name → shape.

        Raises:
            ShapeError: if they do not fit, or an argument is of another number of dimensions.
        """
        for name in self.per_dimension if self.dims else ():
            value = arguments.get(name)
            if isinstance(value, (tuple, list)) and len(value) not in (1, self.dims):
                raise ShapeError(f"{name} = {value!r} is not of {self.dims} dimensions")
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
