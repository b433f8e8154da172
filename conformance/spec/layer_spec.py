"""What the suite knows of one layer, as data, which is all that generic code asks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    holds_of_none,
)
from conformance.spec.shapes import ShapeError, Shapes, Sizes
from conformance.spec.signature import Arguments, Input, Output, Signature
from conformance.spec.state import Shape, StateTensor

if TYPE_CHECKING:
    from conformance.spec.law import Law


# Namespaces whose functions stand on one page.
_ONE_PAGE = ("init",)


def _any_call(row: LayerSpec, case: Case) -> bool:
    return True


def _any_size(case: Case) -> int:
    return 2**31


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
    needs_keywords: Callable[[Case], bool] = holds_of_none


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
        groups = self.shapes.shared_axes(tuple(self._input_shapes(case)), sizes)
        held = [name for name in self.owned if name in case.call.state]
        owned = {size for name in held for size in self.shapes.tensors[name].names}
        owned |= {*self.shapes.fixed}
        order = sorted(groups, key=lambda label: (label[0] != BATCH, label[0] != SPACE))
        found = dict[tuple[int, int], Axes]()
        for label in (label for label in order if label[0] not in owned):
            axes = tuple((names.index(name), axis) for name, axis in groups[label])
            # Of an array that is two inputs the axes change together.
            arrays = [(id(case.inputs[place]), axis) for place, axis in axes]
            others = dict.fromkeys(found[array] for array in arrays if array in found)
            axes = (*(one for other in others for one in other), *axes)
            found |= {(id(case.inputs[place]), axis): axes for place, axis in axes}
        return tuple(dict.fromkeys(found.values()))

    def sizes(self, case: Case) -> Sizes | None:
        """Sizes and arguments of a case, by name; None where its shapes do not fit `shapes`."""
        if self.shapes is None:
            return None
        try:
            written = {**self.written(case), **self.oracle.counted(case)}
            return self.signature.bind(self.shapes, written, self._input_shapes(case))
        except ShapeError:
            return None

    def _input_shapes(self, case: Case) -> dict[str, Shape]:
        pairs = zip(self.signature.input_names, case.inputs, strict=False)
        return {name: x.shape for name, x in pairs if x is not None}

    def batch_axis(self, case: Case, place: int) -> int | None:
        """The axis of an input that counts the batch; None where it has none, or is left out."""
        given = place < len(case.inputs) and case.inputs[place] is not None
        return self._batch_axis_of(self.signature.inputs[place], case) if given else None

    def output_batch_axis(self, case: Case, output: Output) -> int | None:
        """The axis of an output that counts the batch; None where it has none."""
        return self._batch_axis_of(output, case)

    def _batch_axis_of(self, tensor: Input | Output, case: Case) -> int | None:
        if self.shapes is None or tensor.batch_axis is not no_axis:
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
        first = self.signature.input_names[0]
        try:
            sizes = self.signature.bind(self.shapes, arguments, {first: input})
        except ShapeError:
            # An invalid call's input has no such axes; most states follow from arguments alone.
            sizes = self.signature.bind(self.shapes, arguments, {})
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
