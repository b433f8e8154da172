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
from conformance.spec.sizes import sizes_of

Shape = tuple[int, ...]
Label = tuple[str, int]
"""Name of a size and index among the axes that it stands for; 0 for a single axis."""


class ShapeError(ValueError):
    """Shapes that do not fit together; the message names tensor, axis and the size required."""


@dataclass(frozen=True)
class Place:
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
        found: sizes that no argument gives, read from tensors: a tuple for several axes, None for
            an absent axis.
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
        """Whether an argument or a definition gives the size."""
        return name in self.defined or self.arguments.get(name) is not None

    def count(self, axis: Axis) -> int | None:
        """Number of axes that an entry stands for; None if that is not known yet."""
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
        """Yield the axes of a tensor one by one, repeated entries expanded."""
        for axis in axes:
            count = self.count(axis)
            if count is None:
                raise ShapeError(f"the number of axes of {axis} is unknown")
            for k in range(count):
                yield Place(axis, k if axis.repeated else None)

    def size(self, place: Place) -> int:
        """Evaluate the size of an axis, in its spatial dimension where it has one."""
        value = place.axis.size.value(_In(self, place.index))
        return int(value)

    def read(self, tensor: str, axes: Sequence[Axis], shape: Shape) -> bool:
        """Learn sizes from a tensor's shape; return False if another tensor must be read first."""
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
            raise ShapeError(f"{tensor} of shape {shape} does not have the rank of ({written})")
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
    """Sizes and arguments seen from one spatial dimension: one number in place of a tuple."""

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
        # The tuple may start with the sizes of batch and channels.
        dims = self.sizes.dims if self.sizes.decided(name) else 0
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
        below: input that holds indices → the size that each index is below; indices are at least
            0: `"input"` → `"num_embeddings"`.
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
        """Names of sizes that an axis has, or that `let` defines."""
        forms = (axes for tensor in self.tensors.values() for axes in tensor.forms)
        return frozenset(axis.name for axes in forms for axis in axes if axis.name) | {*self.let}

    @cached_property
    def constraints(self) -> tuple[Expression, ...]:
        """The constraints of `where`, parsed."""
        return tuple(map(parse_expression, self.where))

    @cached_property
    def defined(self) -> Mapping[str, Expression]:
        """The definitions of `let`, parsed."""
        return {name: parse_expression(text) for name, text in self.let.items()}

    def bind(self, arguments: Mapping[str, Any], dims: int, given: Mapping[str, Shape]) -> Sizes:
        """Find the sizes of a call from all its arguments, with defaults, and shapes of tensors.

        Tensors in `given` that have no shape in `texts` are ignored.
        """
        sizes = Sizes(arguments, dims, {}, self.defined)
        waiting = [(n, axes, given[n]) for n, axes in self._present(sizes) if n in given]
        while waiting:
            later = [item for item in waiting if not sizes.read(*item)]
            if len(later) == len(waiting):
                raise ShapeError(f"{later[0][0]}: its axes cannot be determined")
            waiting = later
        return sizes

    def _present(self, sizes: Sizes) -> Iterator[tuple[str, tuple[Axis, ...]]]:
        for name, tensor in self.tensors.items():
            axes = tensor.chosen(sizes)
            if axes is not None:
                yield name, axes

    def places(self, name: str, sizes: Sizes) -> tuple[Place, ...]:
        """The axes of a tensor in a call; empty for an absent tensor."""
        return tuple(sizes.places(self.tensors[name].chosen(sizes) or ()))

    def shape(self, name: str, sizes: Sizes) -> Shape | None:
        """The shape of a tensor in a call with these sizes; None for an absent tensor.

        Raises:
            ShapeError: if a size would be negative.
        """
        axes = self.tensors[name].chosen(sizes)
        if axes is None:
            return None
        shape = tuple(map(sizes.size, sizes.places(axes)))
        if min(shape, default=0) < 0:
            raise ShapeError(f"{name} would have the shape {shape}")
        return shape

    def limit(self, name: str, sizes: Sizes) -> int | None:
        """The number that an input's indices are below; None for an input without indices."""
        text = self.below.get(name)
        return None if text is None else int(parse_expression(text).value(sizes))

    def present(self, names: Sequence[str], sizes: Sizes) -> dict[str, Shape]:
        """Shapes of the named tensors that are present in a call."""
        shapes = ((name, self.shape(name, sizes)) for name in names)
        return {name: shape for name, shape in shapes if shape is not None}

    def check(self, sizes: Sizes, given: Mapping[str, Shape]) -> None:
        """Raise a `ShapeError` if tensors do not fit together, or a constraint does not hold."""
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
        """The axis whose size is a function of the batch size; None if none or several are."""
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
        """Group axes of equal size that no argument gives: label → (tensor, axis) pairs.

        Sizes that occur in an expression are left out.
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
    """Format the shapes for readers: a line for each tensor, definition and constraint."""
    width = max(map(len, (*shapes.texts, *shapes.let)))
    lines = [f"{name:{width}}  {text}" for name, text in shapes.texts.items()]
    lines += [f"{name:{width}}  = {text}" for name, text in shapes.let.items()]
    lines += [f"{name:{width}}  < {text}" for name, text in shapes.below.items()]
    return (*lines, *(f"where {text}" for text in shapes.where))
