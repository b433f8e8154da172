"""A valid call of a convolution taken apart, to be put together again with a part changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from conformance.strategies.invalid.breaks import DOCUMENTED, Break, resized
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case, is_function

# What torch takes, with an integer for all dimensions.
SIZES = ("stride", "padding", "dilation", "output_padding")
NEUTRAL = {"kernel_size": 1, "stride": 1, "padding": 0, "dilation": 1, "output_padding": 0}
Sizes = tuple[int, ...]


def _plain(value: Any) -> Any:
    """One number for all dimensions where it can be."""
    return value[0] if isinstance(value, tuple) and value and len(set(value)) == 1 else value


@dataclass(frozen=True)
class Convolution:
    """A valid case, taken apart.

    Args:
        case: the case.
        dims: number of spatial dimensions.
        leading: the batch dimension, if there is one.
        in_channels, out_channels, groups: as torch's arguments.
        kernel_size, stride, dilation, output_padding: as torch's, a number for each dimension.
        padding: likewise, or a string.
        lengths: the input's spatial dimensions.
    """

    case: Case
    dims: int
    leading: Sizes
    in_channels: int
    out_channels: int
    groups: int
    kernel_size: Sizes
    stride: Sizes
    padding: Sizes | str
    dilation: Sizes
    output_padding: Sizes
    lengths: Sizes

    @classmethod
    def of(cls, case: Case) -> Convolution:
        """Take a case apart."""
        call, dims = case.call, int(case.call.layer[-2])
        given, (x, *weights) = call.arguments, case.inputs
        assert x is not None

        def sizes(name: str) -> Any:
            value = given.get(name, NEUTRAL[name])
            return (value,) * dims if isinstance(value, int) else value

        groups = given.get("groups", 1)
        if weights and weights[0] is not None:
            shape = weights[0].shape
            kernel, out = shape[2:], shape[1] * groups if transposed(call.layer) else shape[0]
        else:
            kernel, out = sizes("kernel_size"), given["out_channels"]
        return cls(
            case=case,
            dims=dims,
            leading=x.shape[: -dims - 1],
            in_channels=x.shape[-dims - 1],
            out_channels=out,
            groups=groups,
            kernel_size=kernel,
            stride=sizes("stride"),
            padding=sizes("padding"),
            dilation=sizes("dilation"),
            output_padding=sizes("output_padding"),
            lengths=x.shape[-dims:],
        )

    @property
    def pads(self) -> Sizes:
        """Numbers of padding; zeros for a string."""
        return (0,) * self.dims if isinstance(self.padding, str) else self.padding

    @property
    def reach(self) -> Sizes:
        """Distance of a window's last element from its first."""
        return tuple(d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True))

    @property
    def full(self) -> Sizes:
        """A transposed convolution's output before anything is cropped or added."""
        rows = zip(self.lengths, self.stride, self.reach, strict=True)
        return tuple((n - 1) * s + reach + 1 for n, s, reach in rows)

    @property
    def mode(self) -> str:
        """The padding mode."""
        return str(self.case.call.arguments.get("padding_mode", "zeros"))

    def broken(
        self,
        *,
        arguments: dict[str, Any] | None = None,
        output_size: list[int] | None = None,
        **parts: Any,
    ) -> Case:
        """The case put together again with some parts changed.

        Args:
            arguments: written as they are.
            output_size: given to forward; a valid one is left out when any size changes.
        """
        new = replace(self, **parts)
        call, function = self.case.call, is_function(self.case.call.layer)
        written = dict(call.arguments)
        for name in ("in_channels", "out_channels", "kernel_size", "groups", *SIZES):
            fixed = function and name in ("in_channels", "out_channels", "kernel_size")
            if name in parts and not fixed and not (name == "in_channels" and lazy(call.layer)):
                written[name] = _plain(parts[name])
        x, *weights = self.case.inputs
        inputs: list[np.ndarray | None] = [
            resized(x, (*new.leading, new.in_channels, *new.lengths))
        ]
        if function:
            per_group = (
                new.in_channels // max(new.groups, 1),
                new.out_channels // max(new.groups, 1),
            )
            pair = (
                (new.in_channels, per_group[1])
                if transposed(call.layer)
                else (new.out_channels, per_group[0])
            )
            inputs.append(resized(weights[0], (*pair, *new.kernel_size)))
            inputs.append(None if weights[1] is None else resized(weights[1], (new.out_channels,)))
        keywords: Mapping[str, Any] = {}
        if output_size is not None:
            keywords = {"output_size": output_size}
        elif arguments is None and parts.keys() <= {"in_channels", "groups"}:
            keywords = self.case.keywords
        return replace(
            self.case,
            call=replace(call, arguments=written | (arguments or {})),
            inputs=tuple(inputs),
            keywords=keywords,
        )


def lazy(layer: str) -> bool:
    """Whether a layer is one, by its name."""
    return layer.startswith("Lazy")


def transposed(layer: str) -> bool:
    """Whether a layer is one, by its name."""
    return "ranspose" in layer


Apply = Callable[[Draw, Convolution], Case]


def _always(conv: Convolution) -> bool:
    return True


def broken_by(
    name: str,
    argument: str,
    apply: Apply,
    applies: Callable[[Convolution], bool] = _always,
    required: str = DOCUMENTED,
) -> Break:
    """A break that takes the case apart.

    Args:
        name, argument, apply, applies, required: as of `Break`, of a case taken apart.
    """
    return Break(
        name,
        argument,
        lambda draw, case: apply(draw, Convolution.of(case)),
        required,
        lambda case: applies(Convolution.of(case)),
    )


def replaced(sizes: Sizes, index: int, value: int) -> Sizes:
    """Sizes with one of them replaced."""
    return (*sizes[:index], value, *sizes[index + 1 :])


def somewhere(draw: Draw, sizes: Sizes, bad: int) -> Sizes:
    """A number in all dimensions, or in one of them."""
    where = draw(st.integers(0, len(sizes))) if len(sizes) > 1 else 0
    return tuple(bad if where in (0, k + 1) else size for k, size in enumerate(sizes))


def dimension(draw: Draw, conv: Convolution) -> int:
    """Draws one of the dimensions."""
    return int(draw(st.integers(0, conv.dims - 1)))


def bad_size(name: str, values: st.SearchStrategy[int]) -> Apply:
    """Breaks a size in all dimensions, or in one of them.

    Args:
        values: invalid ones.
    """

    def apply(draw: Draw, conv: Convolution) -> Case:
        changed: dict[str, Any] = {name: somewhere(draw, getattr(conv, name), draw(values))}
        return conv.broken(**changed)

    return apply


def written(name: str, values: st.SearchStrategy[Any]) -> Apply:
    """Breaks an argument that nothing else depends on.

    Args:
        values: invalid ones.
    """
    return lambda draw, conv: conv.broken(arguments={name: draw(values)})
