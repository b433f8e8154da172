"""Shapes of a layer's tensors in named sizes: `Shapes` for a layer, `Sizes` for one call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import takewhile
from typing import Any

from conformance.spec.notation import (
    BATCH,
    SPACE,
    Axis,
    Expression,
    TensorShape,
    parse_expression,
    parse_shape,
)
from conformance.spec.sizes import as_size_tuple

Shape = tuple[int, ...]
Label = tuple[str, int]
"""Name of a size and index among the axes that it stands for; 0 for a single axis."""


class ShapeError(ValueError):
    """Shapes that do not fit together; the message names tensor, axis and the size required."""


@dataclass(frozen=True)
class ConcreteAxis:
    """One axis of a tensor in a call.

    Args:
        axis: its entry in the notation.
        index: index among the axes that a repeated entry stands for; None for a single axis.
    """

    axis: Axis
    index: int | None

    @property
    def label(self) -> Label:
        """The label that axes of equal size share; `("", 0)` if the size is an expression."""
        return self.axis.name, self.index or 0


@dataclass(frozen=True)
class Sizes(Mapping[str, Any]):
    """Sizes and arguments of one call, by name.

    Args:
        arguments: all of them, with defaults.
        dims: number of spatial dimensions.
        from_tensors: sizes that no argument gives, read from tensors: a tuple for several axes,
            None for an absent axis.
        defined: sizes that follow from others, by name.
    """

    arguments: Mapping[str, Any]
    dims: int = 0
    from_tensors: dict[str, Any] = field(default_factory=dict)
    defined: Mapping[str, Expression] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        if name in self.defined:
            return self.defined[name].evaluate(self)
        value = self.arguments.get(name)
        return (
            value if name not in self.from_tensors or value is not None else self.from_tensors[name]
        )

    def __iter__(self) -> Iterator[str]:
        return iter({**self.from_tensors, **self.arguments, **self.defined})

    def __len__(self) -> int:
        return len({*self.from_tensors, *self.arguments, *self.defined})

    def is_determined(self, name: str) -> bool:
        """Whether an argument or a definition gives the size."""
        return name in self.defined or self.arguments.get(name) is not None

    def axis_count(self, axis: Axis) -> int | None:
        """Number of axes that an entry stands for; None if that is not known yet."""
        name = axis.name
        if not axis.repeated:
            key = axis.presence_key
            if not axis.optional or self.is_determined(key):
                return 1
            return None if key not in self.from_tensors else int(self.from_tensors[key] is not None)
        if self._is_spatial(axis.size):
            return self.dims
        if name and not self.is_determined(name):
            return len(self.from_tensors[name]) if name in self.from_tensors else None
        if self.dims:
            return self.dims
        return max(len(as_size_tuple(self[n])) for n in axis.size.names)

    def _is_spatial(self, size: Expression) -> bool:
        """Whether a size depends on a spatial dimension, itself or through a definition."""
        return SPACE in size.names or any(
            SPACE in self.defined[name].names for name in size.names if name in self.defined
        )

    def expand(self, axes: Sequence[Axis]) -> Iterator[ConcreteAxis]:
        """Yield the axes of a tensor one by one, repeated entries expanded."""
        for axis in axes:
            count = self.axis_count(axis)
            if count is None:
                raise ShapeError(f"the number of axes of {axis} is unknown")
            for k in range(count):
                yield ConcreteAxis(axis, k if axis.repeated else None)

    def axis_size(self, axis: ConcreteAxis) -> int:
        """Evaluate the size of an axis, in its spatial dimension where it has one."""
        value = axis.axis.size.evaluate(_DimensionView(self, axis.index))
        return int(value)

    def learn_from(self, tensor: str, axes: Sequence[Axis], shape: Shape) -> bool:
        """Learn sizes from a tensor's shape; return False if another tensor must be read first."""
        counts = [self.axis_count(axis) for axis in axes]
        open_axes = [a for a, count in zip(axes, counts, strict=True) if count is None]
        unassigned = len(shape) - sum(count or 0 for count in counts)
        repeated_axes = [a for a in open_axes if a.repeated]
        optional_axes = [a for a in open_axes if not a.repeated]
        solvable = not repeated_axes or all(
            axes.index(a) < axes.index(repeated_axes[0]) for a in optional_axes
        )
        if len(repeated_axes) > 1 or not solvable:
            return False
        if unassigned < 0 or (not repeated_axes and unassigned > len(optional_axes)):
            notation = " ".join(map(str, axes))
            raise ShapeError(f"{tensor} of shape {shape} does not have the rank of ({notation})")
        for k, axis in enumerate(optional_axes):
            self.from_tensors[axis.presence_key] = 0 if k < unassigned else None
        for axis in repeated_axes:
            self.from_tensors[axis.name] = (0,) * max(unassigned - len(optional_axes), 0)
        sizes = dict[str, list[int]]()
        for concrete, size in zip(self.expand(axes), shape, strict=True):
            if concrete.axis.name and not self.is_determined(concrete.axis.name):
                sizes.setdefault(concrete.axis.name, []).append(size)
        repeated = {axis.name for axis in axes if axis.repeated}
        learnt = {axis.name for axis in open_axes}
        for name, values in sizes.items():
            if name in learnt or name not in self.from_tensors:
                self.from_tensors[name] = tuple(values) if name in repeated else values[0]
        return True


@dataclass(frozen=True)
class _DimensionView(Mapping[str, Any]):
    """Sizes and arguments seen from one spatial dimension: one number in place of a tuple."""

    sizes: Sizes
    index: int | None

    def __getitem__(self, name: str) -> Any:
        if name in self.sizes.defined:
            return self.sizes.defined[name].evaluate(self)
        value = self.sizes[name]
        if self.index is None or not isinstance(value, (tuple, list)):
            return value
        if len(value) == 1:
            return value[0]
        # The tuple may start with the sizes of batch and channels.
        dims = self.sizes.dims if self.sizes.is_determined(name) else 0
        return value[self.index + (len(value) - dims if dims else 0)]

    def __iter__(self) -> Iterator[str]:
        return iter(self.sizes)

    def __len__(self) -> int:
        return len(self.sizes)


@dataclass(frozen=True)
class Shapes:
    """The documented shapes of a layer.

    Args:
        texts: name of an input, state tensor or output → its shape, in the notation of
            `conformance.spec.notation`.
        where: constraints on sizes and arguments, in each spatial dimension:
            `"in_channels % groups == 0"`.
        fixed: sizes that must not change because values depend on them, as indices into a plane do.
        let: sizes that follow from sizes and arguments: `"width"` → `"proj_size or hidden_size"`.
        index_limits: input that holds indices → the size that each index is below; indices are at
            least 0: `"input"` → `"num_embeddings"`.
    """

    texts: Mapping[str, str]
    where: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()
    let: Mapping[str, str] = field(default_factory=dict)
    index_limits: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def tensors(self) -> Mapping[str, TensorShape]:
        """The shapes, parsed."""
        return {name: parse_shape(text).for_tensor(name) for name, text in self.texts.items()}

    @cached_property
    def size_names(self) -> frozenset[str]:
        """Names of sizes that an axis has, or that `let` defines."""
        forms = (axes for tensor in self.tensors.values() for axes in tensor.alternatives)
        return frozenset(axis.name for axes in forms for axis in axes if axis.name) | {*self.let}

    @cached_property
    def constraints(self) -> tuple[Expression, ...]:
        """The constraints of `where`, parsed."""
        return tuple(map(parse_expression, self.where))

    @cached_property
    def defined(self) -> Mapping[str, Expression]:
        """The definitions of `let`, parsed."""
        return {name: parse_expression(text) for name, text in self.let.items()}

    def bind(
        self, arguments: Mapping[str, Any], dims: int, tensor_shapes: Mapping[str, Shape]
    ) -> Sizes:
        """Find the sizes of a call from all its arguments, with defaults, and shapes of tensors.

        Tensors in `tensor_shapes` that have no shape in `texts` are ignored.
        """
        sizes = Sizes(arguments, dims, {}, self.defined)
        pending = [
            (n, axes, tensor_shapes[n])
            for n, axes in self._present_tensors(sizes)
            if n in tensor_shapes
        ]
        while pending:
            unresolved = [item for item in pending if not sizes.learn_from(*item)]
            if len(unresolved) == len(pending):
                raise ShapeError(f"{unresolved[0][0]}: its axes cannot be determined")
            pending = unresolved
        return sizes

    def _present_tensors(self, sizes: Sizes) -> Iterator[tuple[str, tuple[Axis, ...]]]:
        for name, tensor in self.tensors.items():
            axes = tensor.axes_for(sizes)
            if axes is not None:
                yield name, axes

    def axes_of(self, name: str, sizes: Sizes) -> tuple[ConcreteAxis, ...]:
        """The axes of a tensor in a call; empty for an absent tensor."""
        return tuple(sizes.expand(self.tensors[name].axes_for(sizes) or ()))

    def shape(self, name: str, sizes: Sizes) -> Shape | None:
        """The shape of a tensor in a call with these sizes; None for an absent tensor.

        Raises:
            ShapeError: if a size would be negative.
        """
        axes = self.tensors[name].axes_for(sizes)
        if axes is None:
            return None
        shape = tuple(map(sizes.axis_size, sizes.expand(axes)))
        if min(shape, default=0) < 0:
            raise ShapeError(f"{name} would have the shape {shape}")
        return shape

    def index_limit(self, name: str, sizes: Sizes) -> int | None:
        """The number that an input's indices are below; None for an input without indices."""
        text = self.index_limits.get(name)
        return None if text is None else int(parse_expression(text).evaluate(sizes))

    def present_shapes(self, names: Sequence[str], sizes: Sizes) -> dict[str, Shape]:
        """Shapes of the named tensors that are present in a call."""
        shapes = ((name, self.shape(name, sizes)) for name in names)
        return {name: shape for name, shape in shapes if shape is not None}

    def validate(self, sizes: Sizes, tensor_shapes: Mapping[str, Shape]) -> None:
        """Raise a `ShapeError` if tensors do not fit together, or a constraint does not hold."""
        for name, axes in self._present_tensors(sizes):
            for k, axis in enumerate(sizes.expand(axes) if name in tensor_shapes else ()):
                size, actual = sizes.axis_size(axis), tensor_shapes[name][k]
                if size != actual:
                    raise ShapeError(f"axis {k} of {name} is {axis.axis} = {size}, not {actual}")
        dimensions = range(sizes.dims) if sizes.dims else (None,)
        for constraint in self.constraints:
            if not all(constraint.evaluate(_DimensionView(sizes, k)) for k in dimensions):
                raise ShapeError(f"{constraint.text} does not hold")

    def batch_axis(self, name: str, sizes: Sizes) -> int | None:
        """The axis whose size is a function of the batch size; None if none or several are."""
        leading = takewhile(
            lambda a: sizes.axis_count(a) is not None, self.tensors[name].axes_for(sizes) or ()
        )
        concrete = sizes.expand(tuple(leading))
        axes = [k for k, axis in enumerate(concrete) if BATCH in axis.axis.size.names]
        batched = len(axes) == 1 and sizes.from_tensors.get(BATCH) is not None
        return axes[0] if batched else None

    def shared_axes(
        self, names: Sequence[str], sizes: Sizes
    ) -> dict[Label, tuple[tuple[str, int], ...]]:
        """Group axes of equal size that no argument gives: label → (tensor, axis) pairs.

        Sizes that occur in an expression are left out.
        """
        groups = dict[Label, list[tuple[str, int]]]()
        expression_sizes = set[str]()
        for name in names:
            for k, concrete in enumerate(self.axes_of(name, sizes)):
                label = concrete.label
                if not label[0]:
                    expression_sizes |= set(concrete.axis.size.names)
                elif not sizes.is_determined(label[0]):
                    groups.setdefault(label, []).append((name, k))
        return {
            label: tuple(axes) for label, axes in groups.items() if label[0] not in expression_sizes
        }


def format_shapes(shapes: Shapes) -> tuple[str, ...]:
    """Format the shapes for readers: a line for each tensor, definition and constraint."""
    width = max(map(len, (*shapes.texts, *shapes.let)))
    lines = [f"{name:{width}}  {text}" for name, text in shapes.texts.items()]
    lines += [f"{name:{width}}  = {text}" for name, text in shapes.let.items()]
    lines += [f"{name:{width}}  < {text}" for name, text in shapes.index_limits.items()]
    return (*lines, *(f"where {text}" for text in shapes.where))
