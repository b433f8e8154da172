"""A layer's signature: its arguments, inputs and outputs, as torch has them."""

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
"""The roles of inputs and state tensors."""


@dataclass(frozen=True)
class Form:
    """The form of an argument's value, where that is not a number, a word or a flag.

    Args:
        sequence: the layer stores it as a tuple, even if it is written as one number.
        torch_object: the value is a name in `torch`, of a dtype or a function; torch gets the
            object.
        function: the value is a word, or the name of a function with its namespace,
            `"functional.relu"`; torch gets the word, or the function.
        record: name of a class of torch.nn; the value is (field, value) pairs, and torch gets an
            instance of the class.
        module: the value is the name of a layer and (argument, value) pairs; torch gets the module,
            whose state is part of the outer layer's.
        module_arguments: names of the module's arguments that shapes may use.
        graph: the value is the nodes of a network (`conformance.model.graph.Node`).
    """

    sequence: bool = False
    torch_object: bool = False
    function: bool = False
    record: str = ""
    module: bool = False
    module_arguments: tuple[str, ...] = ()
    graph: bool = False


@dataclass(frozen=True)
class Ties:
    """How an argument depends on the inputs, or on another argument.

    Args:
        fixes_sizes: where it is given, no size of the inputs can change by itself.
        constrains: name of an input that must not change while the argument's value is true:
            `is_causal` says what the mask holds.
        replaces_none: the argument whose value replaces None: `kdim=None` means `embed_dim`.
    """

    fixes_sizes: bool = False
    constrains: str = ""
    replaces_none: str = ""


@dataclass(frozen=True)
class Argument:
    """One argument of a constructor or function that is not a tensor.

    Args:
        name: torch's.
        default: torch's; `REQUIRED` where it has none.
        simplest: the simplest value, for an argument without a default.
        alternative: a value to try in place of the default, to find out whether a failure depends
            on the argument; None = none is tried.
        per_dimension: one number for each spatial dimension, or one for all.
        size: it sets the size of a case, which seldom causes a failure.
        window: its values decide which output sizes are possible.
        axis: it names an axis of the first input; kernels compute along the rows of that axis.
        keyword: it is passed to the call, not to the constructor: `output_size`.
        large_default: its default makes a case large, so the simplest cases write out a smaller
            value.
        attribute: path of the module's attribute that holds it, where that is not its name:
            `"linear1.out_features"`, `"layers.0"`, `"cutoffs.:-1"`. A flag is true where the
            attribute is not None.
        form, ties: see `Form` and `Ties`.
    """

    name: str
    default: Any = REQUIRED
    simplest: Any = None
    alternative: Any = None
    per_dimension: bool = False
    size: bool = False
    window: bool = False
    axis: bool = False
    keyword: bool = False
    large_default: bool = False
    attribute: str = ""
    form: Form = Form()
    ties: Ties = Ties()


@dataclass(frozen=True)
class Passing:
    """How an input is passed to torch, where that is not positionally, unchanged, on the device.

    Args:
        by_name: by keyword: an argument that is not a tensor precedes it.
        explicit_none: torch has no default for it: an absent input is passed as None.
        part_of: torch's argument that this input and its neighbours with the same value are parts
            of, as tensors of one list (`Bundles.composite_arguments`).
        on_host: on the CPU, wherever the other inputs are.
    """

    by_name: bool = False
    explicit_none: bool = False
    part_of: str = ""
    on_host: bool = False


BY_NAME = Passing(by_name=True)


@dataclass(frozen=True)
class Input:
    """One tensor that the documented signature names.

    Args:
        name: torch's.
        role: `"data"`, `"hidden"` (a recurrent state), `"weight"`, `"bias"`, `"index"`, `"target"`,
            `"mask"`, `"statistic"` (a running mean or variance).
        optional: it may be absent.
        batch_axis: case → its batch axis; None where the case has none. Only where
            `LayerSpec.shapes` cannot say it: an argument decides whether rows are independent.
        differentiable: it has a gradient, if its dtype allows one.
        any_value: each element may be replaced by any number. Otherwise elements may at most change
            places (indices, probabilities, variances).
        updated: the call may write into it.
        fixed: elements may neither change nor move: offsets, which never decrease.
        passing: see `Passing`.
    """

    name: str
    role: str = "data"
    optional: bool = False
    batch_axis: Callable[[Case], int | None] = no_axis
    differentiable: bool = True
    any_value: bool = True
    updated: bool = False
    fixed: bool = False
    passing: Passing = Passing()


@dataclass(frozen=True)
class Output:
    """One tensor that a call returns.

    Args:
        name: for messages.
        batch_axis: as for an input.
        dtype: case → torch's name of its dtype; None = the call's dtype.
        differentiable: it depends on inputs or state in a way that has a gradient.
        on_host: torch returns it on the CPU, wherever the inputs are.
    """

    name: str
    batch_axis: Callable[[Case], int | None] = no_axis
    dtype: Callable[[Case], str] | None = None
    differentiable: bool = True
    on_host: bool = False


def _read_as_written(arguments: Arguments) -> Arguments:
    return {}


@dataclass(frozen=True)
class Bundles:
    """Several tensors of the suite that torch takes, or returns, as one object.

    Args:
        composite_arguments: torch's argument that consists of several inputs → its form. `LIST`: a
            list of the inputs that are present. `GRADIENTS`: a list of parameters whose `grad` the
            inputs are; after the call these gradients follow the outputs. Otherwise the name of a
            class of torch.nn that has the inputs as fields.
        state_count: number of hidden states that torch takes, and returns, as one argument.
        returns_list: torch returns the outputs as a list.
    """

    composite_arguments: Mapping[str, str] = field(default_factory=dict)
    state_count: int = 0
    returns_list: bool = False


@dataclass(frozen=True)
class Signature:
    """What a constructor and a call take, and what a call returns.

    Args:
        arguments, inputs, outputs: in torch's order.
        dims: number of spatial dimensions, the last ones of the input's shape.
        supports_complex: the layer supports complex dtypes.
        takes_device_and_dtype: its constructor takes `device` and `dtype`.
        readback: all arguments → the attributes that differ from what was written: an omitted
            stride reads as the kernel size.
        bundles: see `Bundles`.
    """

    arguments: tuple[Argument, ...]
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    dims: int = 0
    supports_complex: bool = True
    takes_device_and_dtype: bool = True
    readback: Callable[[Arguments], Arguments] = _read_as_written
    bundles: Bundles = field(default_factory=Bundles)

    @cached_property
    def required(self) -> tuple[str, ...]:
        """Names of the arguments without a default, in torch's order."""
        return tuple(a.name for a in self.arguments if a.default is REQUIRED)

    @cached_property
    def defaults(self) -> Mapping[str, Any]:
        """The defaults of the arguments that have one, by name."""
        return {a.name: a.default for a in self.arguments if a.default is not REQUIRED}

    @cached_property
    def shape_names(self) -> frozenset[str]:
        """Names of arguments that shapes may use, those of its module arguments included."""
        return frozenset(
            name for a in self.arguments for name in (a.name, *a.form.module_arguments)
        )

    @cached_property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs, in torch's order."""
        return tuple(x.name for x in self.inputs)

    @cached_property
    def cotangent_names(self) -> tuple[str, ...]:
        """Names of the cotangents of its outputs: `grad_output`."""
        return tuple(f"grad_{x.name}" for x in self.outputs)

    @cached_property
    def keyword_arguments(self) -> frozenset[str]:
        """Names of the arguments that are passed to the call."""
        return frozenset(a.name for a in self.arguments if a.keyword)

    @cached_property
    def torch_objects(self) -> frozenset[str]:
        """Names of the arguments whose values are names of objects in `torch`."""
        return frozenset(a.name for a in self.arguments if a.form.torch_object)

    @cached_property
    def function_arguments(self) -> frozenset[str]:
        """Names of the arguments that are functions, or words for them."""
        return frozenset(a.name for a in self.arguments if a.form.function)

    @cached_property
    def record_arguments(self) -> Mapping[str, str]:
        """Arguments that are records, each with the name of its class."""
        return {a.name: a.form.record for a in self.arguments if a.form.record}

    @cached_property
    def module_arguments(self) -> frozenset[str]:
        """Names of the arguments that are modules."""
        return frozenset(a.name for a in self.arguments if a.form.module)

    @cached_property
    def graph_arguments(self) -> frozenset[str]:
        """Names of the arguments that are the nodes of a network."""
        return frozenset(a.name for a in self.arguments if a.form.graph)

    @cached_property
    def window_arguments(self) -> frozenset[str]:
        """Names of the arguments that decide which output sizes are possible."""
        return frozenset(a.name for a in self.arguments if a.window)

    @cached_property
    def per_dimension(self) -> frozenset[str]:
        """Names of the arguments that have one number for each spatial dimension."""
        return frozenset(a.name for a in self.arguments if a.per_dimension)

    def complete_arguments(self, arguments: Arguments) -> dict[str, Any]:
        """All arguments of a call: defaults for the omitted ones, and names inside modules."""
        complete = {**self.defaults, **arguments}
        for argument in self.arguments:
            if argument.ties.replaces_none and complete.get(argument.name) is None:
                complete[argument.name] = complete.get(argument.ties.replaces_none)
            if argument.form.module_arguments and complete.get(argument.name) is not None:
                _, inner = complete[argument.name]
                complete |= {
                    name: value for name, value in inner if name in argument.form.module_arguments
                }
        return complete

    def bind(
        self, shapes: Shapes, arguments: Arguments, input_shapes: Mapping[str, Shape]
    ) -> Sizes:
        """The sizes of a call, from its arguments without defaults and the shapes of its inputs.

        Raises:
            ShapeError: if the shapes do not fit, or an argument has a wrong number of dimensions.
        """
        for name in self.per_dimension if self.dims else ():
            value = arguments.get(name)
            if isinstance(value, (tuple, list)) and len(value) not in (1, self.dims):
                raise ShapeError(f"{name} = {value!r} does not have {self.dims} dimensions")
        return shapes.bind(self.complete_arguments(arguments), self.dims, input_shapes)

    def argument(self, name: str) -> Argument | None:
        """The argument of a name; None if there is none."""
        return next((a for a in self.arguments if a.name == name), None)

    def input_indices(self, *roles: str) -> tuple[int, ...]:
        """Indices of the inputs whose role is one of these."""
        return tuple(k for k, x in enumerate(self.inputs) if x.role in roles)

    def output_dtype(self, case: Case, index: int = 0) -> str:
        """torch's name for the dtype that an output must have."""
        chosen = self.outputs[index].dtype
        return case.call.dtype if chosen is None else chosen(case)

    def readable_value(self, name: str, value: Any) -> Any:
        """Normalize the value of an attribute for comparison: sizes become tuples."""
        argument = self.argument(name)
        if argument is not None and argument.form.sequence:
            return (value,) if isinstance(value, int) else tuple(value)
        if argument is None or not argument.per_dimension or not self.dims:
            return value
        if isinstance(value, (int, tuple, list)) and not isinstance(value, bool):
            return per_dimension(value, self.dims)
        return value
