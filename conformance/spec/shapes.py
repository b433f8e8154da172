"""Shapes of a layer's tensors in named sizes: said once, read in a call, and written from sizes."""

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
from conformance.spec.sizes import sizes_of

Shape = tuple[int, ...]
Label = tuple[str, int]
"""The name of a size, and which of its axes where it stands for several (0 of one)."""


class ShapeError(ValueError):
    """Shapes that do not fit together: which tensor, which axis, and what it would have to be."""


@dataclass(frozen=True)
class Place:
    """One axis of a tensor in a call.

    Args:
        axis: what the notation says of it.
        index: which of the axes that a repeated one stands for; None of a single one.
    """

    axis: Axis
    index: int | None

    @property
    def label(self) -> Label:
        """What axes of the same size have in common; `("", 0)` where the size is an expression."""
        return self.axis.name, self.index or 0


@dataclass(frozen=True)
class Sizes(Mapping[str, Any]):
    """Sizes and arguments of one call, by name.

    Args:
        arguments: all of them, those that are left out with what they stand for.
        dims: number of spatial dimensions.
        found: sizes that no argument gives, as the tensors have them; a tuple for several axes;
            None for an axis that is absent.
        defined: sizes that follow from others, by name.
    """

    arguments: Mapping[str, Any]
    dims: int = 0
    found: dict[str, Any] = field(default_factory=dict)
    defined: Mapping[str, Expression] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        if name in self.defined:
            return self.defined[name].value(self)
        value = self.arguments.get(name)
        return value if name not in self.found or value is not None else self.found[name]

    def __iter__(self) -> Iterator[str]:
        return iter({**self.found, **self.arguments, **self.defined})

    def __len__(self) -> int:
        return len({*self.found, *self.arguments, *self.defined})

    def decided(self, name: str) -> bool:
        """Whether an argument says what a size is."""
        return name in self.defined or self.arguments.get(name) is not None

    def count(self, axis: Axis) -> int | None:
        """Number of axes that an entry stands for; None where that is not known yet."""
        name = axis.name
        if not axis.repeated:
            key = axis.presence
            if not axis.optional or self.decided(key):
                return 1
            return None if key not in self.found else int(self.found[key] is not None)
        if SPACE in self._names(axis.size):
            return self.dims
        if name and not self.decided(name):
            return len(self.found[name]) if name in self.found else None
        if self.dims:
            return self.dims
        return max(len(sizes_of(self[n])) for n in axis.size.names)

    def _names(self, size: Expression) -> set[str]:
        inner = (self.defined[n].names for n in size.names if n in self.defined)
        return {*size.names, *(name for names in inner for name in names)}

    def places(self, axes: Sequence[Axis]) -> Iterator[Place]:
        """The axes of a tensor, one by one."""
        for axis in axes:
            count = self.count(axis)
            if count is None:
                raise ShapeError(f"the number of axes of {axis} is unknown")
            for k in range(count):
                yield Place(axis, k if axis.repeated else None)

    def size(self, place: Place) -> int:
        """The size of an axis."""
        value = place.axis.size.value(_In(self, place.index))
        return int(value)

    def read(self, tensor: str, axes: Sequence[Axis], shape: Shape) -> bool:
        """Learn sizes from a tensor; False where another tensor has to be read first."""
        counts = [self.count(axis) for axis in axes]
        open_axes = [a for a, count in zip(axes, counts, strict=True) if count is None]
        spare = len(shape) - sum(count or 0 for count in counts)
        groups = [a for a in open_axes if a.repeated]
        options = [a for a in open_axes if not a.repeated]
        leading = not groups or all(axes.index(a) < axes.index(groups[0]) for a in options)
        if len(groups) > 1 or not leading:
            return False
        if spare < 0 or (not groups and spare > len(options)):
            written = " ".join(map(str, axes))
            raise ShapeError(f"{tensor} of shape {shape} has not the rank of ({written})")
        for k, axis in enumerate(options):
            self.found[axis.presence] = 0 if k < spare else None
        for axis in groups:
            self.found[axis.name] = (0,) * max(spare - len(options), 0)
        sizes = dict[str, list[int]]()
        for place, size in zip(self.places(axes), shape, strict=True):
            if place.axis.name and not self.decided(place.axis.name):
                sizes.setdefault(place.axis.name, []).append(size)
        repeated = {axis.name for axis in axes if axis.repeated}
        learnt = {axis.name for axis in open_axes}
        for name, several in sizes.items():
            if name in learnt or name not in self.found:
                self.found[name] = tuple(several) if name in repeated else several[0]
        return True


@dataclass(frozen=True)
class _In(Mapping[str, Any]):
    """Sizes and arguments as they are in one of the spatial dimensions."""

    sizes: Sizes
    index: int | None

    def __getitem__(self, name: str) -> Any:
        if name in self.sizes.defined:
            return self.sizes.defined[name].value(self)
        value = self.sizes[name]
        if self.index is None or not isinstance(value, (tuple, list)):
            return value
        if len(value) == 1:
            return value[0]
        # A size may be given with those of the batch and of the channels before it.
        dims = self.sizes.dims if self.sizes.decided(name) else 0
        return value[self.index + (len(value) - dims if dims else 0)]

    def __iter__(self) -> Iterator[str]:
        return iter(self.sizes)

    def __len__(self) -> int:
        return len(self.sizes)


@dataclass(frozen=True)
class Shapes:
    """What a layer's documentation says of shapes.

    Args:
        texts: inputs, tensors of the state, outputs by name → shape, in the notation of
            `conformance.spec.notation`.
        where: what else holds of sizes and arguments, in each spatial dimension:
            `"in_channels % groups == 0"`.
        fixed: sizes that no case can change, for values depend on them: indices into a plane.
        let: sizes that follow from sizes and arguments: `"width"` → `"proj_size or hidden_size"`.
        below: inputs that hold indices → the size that each index is below, and at least 0:
            `"input"` → `"num_embeddings"`.
    """

    texts: Mapping[str, str]
    where: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()
    let: Mapping[str, str] = field(default_factory=dict)
    below: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def tensors(self) -> Mapping[str, TensorShape]:
        """The shapes, parsed."""
        return {name: parse_shape(text).within(name) for name, text in self.texts.items()}

    @cached_property
    def size_names(self) -> frozenset[str]:
        """Names of sizes that an axis has by itself, or that follow from others."""
        forms = (axes for tensor in self.tensors.values() for axes in tensor.forms)
        return frozenset(axis.name for axes in forms for axis in axes if axis.name) | {*self.let}

    @cached_property
    def constraints(self) -> tuple[Expression, ...]:
        """What else holds, parsed."""
        return tuple(map(parse_expression, self.where))

    @cached_property
    def defined(self) -> Mapping[str, Expression]:
        """Sizes that follow from others, parsed."""
        return {name: parse_expression(text) for name, text in self.let.items()}

    def bind(self, arguments: Mapping[str, Any], dims: int, given: Mapping[str, Shape]) -> Sizes:
        """The sizes of a call.

        Args:
            arguments: all of them, with their defaults.
            given: tensors by name → shape. One that the notation does not know is left out.
        """
        sizes = Sizes(arguments, dims, {}, self.defined)
        waiting = [(n, axes, given[n]) for n, axes in self._present(sizes) if n in given]
        while waiting:
            later = [item for item in waiting if not sizes.read(*item)]
            if len(later) == len(waiting):
                raise ShapeError(f"{later[0][0]}: nothing tells which axes it has")
            waiting = later
        return sizes

    def _present(self, sizes: Sizes) -> Iterator[tuple[str, tuple[Axis, ...]]]:
        for name, tensor in self.tensors.items():
            axes = tensor.chosen(sizes)
            if axes is not None:
                yield name, axes

    def places(self, name: str, sizes: Sizes) -> tuple[Place, ...]:
        """The axes of a tensor in a call; none of a tensor that is absent."""
        return tuple(sizes.places(self.tensors[name].chosen(sizes) or ()))

    def shape(self, name: str, sizes: Sizes) -> Shape | None:
        """The shape that a tensor has in a call with these sizes; None where it is absent.

        Raises:
            ShapeError: where a size would be below 0.
        """
        axes = self.tensors[name].chosen(sizes)
        if axes is None:
            return None
        shape = tuple(map(sizes.size, sizes.places(axes)))
        if min(shape, default=0) < 0:
            raise ShapeError(f"{name} would have the shape {shape}")
        return shape

    def limit(self, name: str, sizes: Sizes) -> int | None:
        """What an input's indices are below; None of an input that holds none."""
        text = self.below.get(name)
        return None if text is None else int(parse_expression(text).value(sizes))

    def present(self, names: Sequence[str], sizes: Sizes) -> dict[str, Shape]:
        """Shapes of those of some tensors that a call has."""
        shapes = ((name, self.shape(name, sizes)) for name in names)
        return {name: shape for name, shape in shapes if shape is not None}

    def check(self, sizes: Sizes, given: Mapping[str, Shape]) -> None:
        """Raise a `ShapeError` where tensors do not fit together, or a constraint does not hold."""
        for name, axes in self._present(sizes):
            for k, place in enumerate(sizes.places(axes) if name in given else ()):
                size, actual = sizes.size(place), given[name][k]
                if size != actual:
                    raise ShapeError(f"axis {k} of {name} is {place.axis} = {size}, not {actual}")
        dimensions = range(sizes.dims) if sizes.dims else (None,)
        for constraint in self.constraints:
            if not all(constraint.value(_In(sizes, k)) for k in dimensions):
                raise ShapeError(f"{constraint.text} does not hold")

    def batch_axis(self, name: str, sizes: Sizes) -> int | None:
        """The axis that counts the batch, or several for each of it; None of none, or two."""
        known = takewhile(
            lambda a: sizes.count(a) is not None, self.tensors[name].chosen(sizes) or ()
        )
        places = sizes.places(tuple(known))
        axes = [k for k, place in enumerate(places) if BATCH in place.axis.size.names]
        batched = len(axes) == 1 and sizes.found.get(BATCH) is not None
        return axes[0] if batched else None

    def shared_axes(
        self, names: Sequence[str], sizes: Sizes
    ) -> dict[Label, tuple[tuple[str, int], ...]]:
        """Axes that have one size, which no argument gives: its label → tensors and axes.

        A size that is also a part of an expression is none of these.
        """
        found = dict[Label, list[tuple[str, int]]]()
        bound = set[str]()
        for name in names:
            for k, place in enumerate(self.places(name, sizes)):
                label = place.label
                if not label[0]:
                    bound |= set(place.axis.size.names)
                elif not sizes.decided(label[0]):
                    found.setdefault(label, []).append((name, k))
        return {label: tuple(axes) for label, axes in found.items() if label[0] not in bound}


def shape_lines(shapes: Shapes) -> tuple[str, ...]:
    """The shapes as a person reads them, a tensor a line, and what else holds."""
    width = max(map(len, (*shapes.texts, *shapes.let)))
    lines = [f"{name:{width}}  {text}" for name, text in shapes.texts.items()]
    lines += [f"{name:{width}}  = {text}" for name, text in shapes.let.items()]
    lines += [f"{name:{width}}  < {text}" for name, text in shapes.below.items()]
    return (*lines, *(f"where {text}" for text in shapes.where))
