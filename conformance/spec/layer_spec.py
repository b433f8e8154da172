"""What the suite knows of one layer, as data, which is all that generic code asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from conformance.model.case import Case, class_and_method, is_function
from conformance.spec.axes import Axes, no_axes, no_axis
from conformance.spec.notation import BATCH, SPACE
from conformance.spec.parts import (
    Benchmark,
    Conditions,
    Generation,
    Lazy,
    Oracle,
    Randomness,
    State,
    Traits,
    never_holds,
)
from conformance.spec.shapes import ShapeError, Shapes, Sizes
from conformance.spec.signature import Arguments, Input, Output, Signature
from conformance.spec.state import Shape, StateTensor

if TYPE_CHECKING:
    from conformance.spec.law import Law


# Namespaces whose functions stand on one page.
_SINGLE_PAGE_NAMESPACES = ("init",)


def _any_call_allowed(spec: LayerSpec, case: Case) -> bool:
    return True


def _no_size_limit(case: Case) -> int:
    return 2**31


@dataclass(frozen=True)
class Variation:
    """How the suite may change a valid call into another valid call.

    Args:
        resize: (spec, case, new arguments) → the case with its arrays resized to the new arguments,
            or None where the call would be invalid. None where `LayerSpec.shapes` gives the sizes,
            or no argument changes a shape.
        allows: (spec, changed case) → whether the documentation allows the call; `LayerSpec.shapes`
            is checked besides.
        independent_axes: case → axes whose size neither an argument nor a weight decides, besides
            batch and spatial axes: the steps of a sequence, every axis of an elementwise layer.
            This and `tied_axes` apply only to layers without `LayerSpec.shapes`.
        tied_axes: case → axes that inputs of a function share with its weights: the features of
            input and weight.
        max_axis_size: case → the largest size that an axis may get: each step of a sequence takes
            time.
        needs_keywords: case → whether the call is invalid without its keywords, as with indices
            into an output whose size a keyword gives.
        reductions: case → valid cases that are smaller, of a layer that is made of others. A
            failing case then shrinks by these. None where Hypothesis shrinks it.
    """

    resize: Callable[[LayerSpec, Case, dict[str, Any]], Case | None] | None = None
    allows: Callable[[LayerSpec, Case], bool] = _any_call_allowed
    independent_axes: Callable[[Case], tuple[Axes, ...]] = no_axes
    tied_axes: Callable[[Case], tuple[Axes, ...]] = no_axes
    max_axis_size: Callable[[Case], int] = _no_size_limit
    needs_keywords: Callable[[Case], bool] = never_holds
    reductions: Callable[[Case], Iterator[Case]] | None = None


@dataclass(frozen=True)
class LayerSpec:
    """All that the suite knows about one layer.

    Args:
        name: the `torch.nn` class, or `functional.` and the function. A method that is called in
            place of the module follows the class: `"Class.method"`.
        family: layers that share their mathematics and a file name: `"convolution"`.
        signature, oracle, generation, variation, state, traits, conditions: see these classes.
        laws: relations between calls that hold for the layer.
        randomness, benchmark: see these classes.
        lazy: for a lazy layer; None for any other.
        in_torch: torch has the layer. If not, names are those of another library, and nothing is
            compared with torch.
        shapes: shapes of inputs, state and outputs in named sizes. Batch and independent axes, the
            shapes of state and outputs, and the effect of arguments on shapes follow from them.
            None where functions in the parts above say this.
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
    def is_function(self) -> bool:
        """Whether the layer is a function: its weights are inputs."""
        return is_function(self.name)

    @property
    def documentation_url(self) -> str:
        """Address of the layer's page in torch's documentation; empty if torch lacks the layer."""
        if not self.in_torch:
            return ""
        name = self.name if self.is_function else class_and_method(self.name)[0]
        namespace = name.partition(".")[0]
        if namespace in _SINGLE_PAGE_NAMESPACES:
            return f"https://docs.pytorch.org/docs/stable/nn.{namespace}.html#torch.nn.{name}"
        return f"https://docs.pytorch.org/docs/stable/generated/torch.nn.{name}.html"

    def role(self, name: str) -> str:
        """The role of an input or a state tensor: one of `signature.ROLES`."""
        input_role = next((x.role for x in self.signature.inputs if x.name == name), None)
        if input_role is not None:
            return input_role
        # Names of state tensors differ by layer and direction; the word in them does not.
        return self.state.roles.get(name, "bias" if "bias" in name else "weight")

    def is_fixed(self, case: Case, index: int) -> bool:
        """Whether the suite may neither change nor move any element of an input."""
        input, arguments = self.signature.inputs[index], self.oracle_arguments(case)
        return input.fixed or any(
            a.ties.constrains == input.name and bool(arguments.get(a.name))
            for a in self.signature.arguments
        )

    def resizable_axes(self, case: Case) -> tuple[Axes, ...]:
        """Groups of input axes whose sizes the suite may change; the batch comes first."""
        if any(a.ties.fixes_sizes and a.name in case.keywords for a in self.signature.arguments):
            return ()
        if self.shapes is not None:
            return self._resizable_axes_by_name(case)
        indices = range(min(len(self.signature.inputs), len(case.inputs)))
        axes = ((k, self.batch_axis(case, k)) for k in indices)
        batch = tuple((k, axis) for k, axis in axes if axis is not None)
        first = case.inputs[0]
        space = (
            [((0, first.ndim - k),) for k in range(self.signature.dims, 0, -1)]
            if first is not None
            else []
        )
        all_groups = (
            batch,
            *space,
            *self.variation.independent_axes(case),
            *self.variation.tied_axes(case),
        )
        return tuple(dict.fromkeys(group for group in all_groups if group))

    def _resizable_axes_by_name(self, case: Case) -> tuple[Axes, ...]:
        sizes = self.sizes(case)
        if sizes is None or self.shapes is None:
            return ()
        names = self.signature.input_names
        groups = self.shapes.shared_axes(tuple(self._input_shapes(case)), sizes)
        state_names = [name for name in self.state_names if name in case.call.state]
        unchangeable = {size for name in state_names for size in self.shapes.tensors[name].names}
        unchangeable |= {*self.shapes.fixed}
        ordered_labels = sorted(groups, key=lambda label: (label[0] != BATCH, label[0] != SPACE))
        axes_of_array = dict[tuple[int, int], Axes]()
        for label in (label for label in ordered_labels if label[0] not in unchangeable):
            axes = tuple((names.index(name), axis) for name, axis in groups[label])
            # One array may be passed as two inputs: its axes change together.
            arrays = [(id(case.inputs[index]), axis) for index, axis in axes]
            joined = dict.fromkeys(
                axes_of_array[array] for array in arrays if array in axes_of_array
            )
            axes = (*(member for group in joined for member in group), *axes)
            axes_of_array |= {(id(case.inputs[index]), axis): axes for index, axis in axes}
        return tuple(dict.fromkeys(axes_of_array.values()))

    def sizes(self, case: Case) -> Sizes | None:
        """Sizes and arguments of a case, by name; None if its shapes do not fit `shapes`."""
        if self.shapes is None:
            return None
        try:
            arguments = {
                **self.oracle_arguments(case),
                **self.oracle.value_inferred_arguments(case),
            }
            return self.signature.bind(self.shapes, arguments, self._input_shapes(case))
        except ShapeError:
            return None

    def _input_shapes(self, case: Case) -> dict[str, Shape]:
        pairs = zip(self.signature.input_names, case.inputs, strict=False)
        return {name: x.shape for name, x in pairs if x is not None}

    def batch_axis(self, case: Case, index: int) -> int | None:
        """The batch axis of an input; None if it has no batch axis or is absent."""
        present = index < len(case.inputs) and case.inputs[index] is not None
        return self._batch_axis_of(self.signature.inputs[index], case) if present else None

    def output_batch_axis(self, case: Case, output: Output) -> int | None:
        """The batch axis of an output; None if it has none."""
        return self._batch_axis_of(output, case)

    def _batch_axis_of(self, tensor: Input | Output, case: Case) -> int | None:
        if self.shapes is None or tensor.batch_axis is not no_axis:
            return tensor.batch_axis(case)
        sizes = self.sizes(case)
        return None if sizes is None else self.shapes.batch_axis(tensor.name, sizes)

    def inferred_arguments(self, input: Shape) -> Arguments:
        """Arguments that a lazy layer infers from the shape of its first input; else empty."""
        return {} if self.lazy is None else self.lazy.inferred_arguments(input)

    def parameter_names(self, case: Case) -> tuple[str, ...]:
        """Names of the state tensors of a case that have gradients."""
        first = case.inputs[0]
        shape = () if first is None else first.shape
        arguments = {**case.call.arguments, **self.inferred_arguments(shape)}
        buffers = {x.name for x in self.state_tensors(arguments, shape) if x.buffer}
        return tuple(name for name in case.call.state if name not in buffers)

    def constrained_names(self, arguments: Arguments, input: Shape) -> frozenset[str]:
        """Names of state tensors whose elements the suite may reorder, but not change."""
        tensors = self.state_tensors({**arguments, **self.inferred_arguments(input)}, input)
        return frozenset(x.name for x in tensors if x.constraint != "any")

    def oracle_arguments(self, case: Case) -> Arguments:
        """The arguments of a case as oracles take them: keywords too, no extra positional ones."""
        arguments = {k: v for k, v in case.call.arguments.items() if k != "*"}
        return {**arguments, **case.keywords}

    def state_shapes(self, arguments: Arguments, input: Shape) -> dict[str, Shape]:
        """Names and shapes of the state tensors, in the order of the state_dict.

        `arguments` are those of the call, without defaults. A lazy layer infers its sizes from
        `input`, the shape of the first input.
        """
        tensors = self.state_tensors({**arguments, **self.inferred_arguments(input)}, input)
        return {x.name: x.shape for x in tensors}

    def state_tensors(self, arguments: Arguments, input: Shape) -> tuple[StateTensor, ...]:
        """The tensors of the state, in the order of the state_dict.

        `arguments` include those that a lazy layer infers; `input` is the shape of the first input.
        """
        if self.state.tensors_from_shapes is None or self.shapes is None:
            return self.state.tensors(arguments, input)
        first = self.signature.input_names[0]
        try:
            sizes = self.signature.bind(self.shapes, arguments, {first: input})
        except ShapeError:
            # The input of an invalid call lacks the axes; most states need the arguments only.
            sizes = self.signature.bind(self.shapes, arguments, {})
        return self.state.tensors_from_shapes(
            arguments, self.shapes.present_shapes(self.state_names, sizes)
        )

    @property
    def state_names(self) -> tuple[str, ...]:
        """Names of the state tensors in `shapes`: all that are neither inputs nor outputs."""
        outputs = {x.name for x in self.signature.outputs}
        names = () if self.shapes is None else self.shapes.texts
        return tuple(n for n in names if n not in outputs and n not in self.signature.input_names)

    def output_shapes(self, case: Case) -> tuple[Shape | None, ...]:
        """Shapes of the outputs by the documentation's formulas."""
        shapes = [None if x is None else x.shape for x in case.inputs]
        return self.output_shapes_for(
            shapes, {**self.oracle_arguments(case), **self.oracle.value_inferred_arguments(case)}
        )

    def output_shapes_for(
        self, inputs: Sequence[Shape | None], arguments: Arguments
    ) -> tuple[Shape | None, ...]:
        """Shapes of the outputs for input shapes; None for an absent output.

        `arguments` are those of the constructor and of the call.
        """
        present = list(inputs)
        while present and present[-1] is None:
            present.pop()
        if self.oracle.shapes is not None:
            return self.oracle.shapes(*present, **arguments)
        assert self.shapes is not None
        names = zip(self.signature.input_names, present, strict=False)
        sizes = self.signature.bind(
            self.shapes, arguments, {n: x for n, x in names if x is not None}
        )
        return tuple(self.shapes.shape(output.name, sizes) for output in self.signature.outputs)

    def expected_attributes(self, arguments: Arguments, input: Shape) -> Arguments:
        """Attributes that a user can read from the layer after its first call, by name."""
        values = {**self.signature.defaults, **arguments, **self.inferred_arguments(input)}
        values |= self.signature.readback(values)
        replacements = {
            a.name: values.get(a.ties.replaces_none)
            for a in self.signature.arguments
            if a.ties.replaces_none
        }
        return {
            name: self.signature.readable_value(
                name, replacements.get(name) if value is None else value
            )
            for name, value in values.items()
            if name != "*" and name not in self.signature.keyword_arguments
        }
