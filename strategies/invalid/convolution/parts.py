"""Parts of a valid convolution call, and its reconstruction with some parts changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from conformance.strategies.invalid.breaks import Break, resized
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case, is_function

# Arguments for which torch accepts one integer for all dimensions.
SIZES = ("stride", "padding", "dilation", "output_padding")
NEUTRAL = {"kernel_size": 1, "stride": 1, "padding": 0, "dilation": 1, "output_padding": 0}
Sizes = tuple[int, ...]


def _one_number_or_tuple(value: Any) -> Any:
    """One number where all dimensions have the same; otherwise the value itself."""
    return value[0] if isinstance(value, tuple) and value and len(set(value)) == 1 else value


@dataclass(frozen=True)
class Convolution:
    """The parts of a valid case.

    Args:
        dims: number of spatial dimensions.
        leading: the size of the batch, if there is one.
        kernel_size, stride, dilation, output_padding: one number for each dimension.
        padding: one number for each dimension, or a string.
        lengths: lengths of the input's spatial dimensions.
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
    def from_case(cls, case: Case) -> Convolution:
        """Read the parts of a case."""
        call, dims = case.call, int(case.call.layer[-2])
        arguments, (x, *weights) = call.arguments, case.inputs
        assert x is not None

        def sizes(name: str) -> Any:
            value = arguments.get(name, NEUTRAL[name])
            return (value,) * dims if isinstance(value, int) else value

        groups = arguments.get("groups", 1)
        if weights and weights[0] is not None:
            shape = weights[0].shape
            kernel, out = shape[2:], shape[1] * groups if is_transposed(call.layer) else shape[0]
        else:
            kernel, out = sizes("kernel_size"), arguments["out_channels"]
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
    def numeric_padding(self) -> Sizes:
        """The padding as numbers; zeros for a string."""
        return (0,) * self.dims if isinstance(self.padding, str) else self.padding

    @property
    def reach(self) -> Sizes:
        """Distance of a window's last element from its first."""
        return tuple(d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True))

    @property
    def full_lengths(self) -> Sizes:
        """Lengths of a transposed convolution's output without padding and output_padding."""
        dimensions = zip(self.lengths, self.stride, self.reach, strict=True)
        return tuple((n - 1) * s + reach + 1 for n, s, reach in dimensions)

    @property
    def padding_mode(self) -> str:
        """The padding mode, by default zeros."""
        return str(self.case.call.arguments.get("padding_mode", "zeros"))

    def rebuild(
        self,
        *,
        arguments: dict[str, Any] | None = None,
        output_size: list[int] | None = None,
        **parts: Any,
    ) -> Case:
        """Rebuild the case with some parts changed.

        Args:
            arguments: arguments to pass as they are.
            output_size: passed to forward; otherwise the old one is left out if a size changes.
        """
        changed = replace(self, **parts)
        call, function = self.case.call, is_function(self.case.call.layer)
        written_arguments = dict(call.arguments)
        for name in ("in_channels", "out_channels", "kernel_size", "groups", *SIZES):
            implied_by_weight = function and name in ("in_channels", "out_channels", "kernel_size")
            if (
                name in parts
                and not implied_by_weight
                and not (name == "in_channels" and is_lazy(call.layer))
            ):
                written_arguments[name] = _one_number_or_tuple(parts[name])
        x, *weights = self.case.inputs
        inputs: list[np.ndarray | None] = [
            resized(x, (*changed.leading, changed.in_channels, *changed.lengths))
        ]
        if function:
            per_group = (
                changed.in_channels // max(changed.groups, 1),
                changed.out_channels // max(changed.groups, 1),
            )
            channel_sizes = (
                (changed.in_channels, per_group[1])
                if is_transposed(call.layer)
                else (changed.out_channels, per_group[0])
            )
            inputs.append(resized(weights[0], (*channel_sizes, *changed.kernel_size)))
            inputs.append(
                None if weights[1] is None else resized(weights[1], (changed.out_channels,))
            )
        keywords: Mapping[str, Any] = {}
        if output_size is not None:
            keywords = {"output_size": output_size}
        elif arguments is None and parts.keys() <= {"in_channels", "groups"}:
            keywords = self.case.keywords
        return replace(
            self.case,
            call=replace(call, arguments=written_arguments | (arguments or {})),
            inputs=tuple(inputs),
            keywords=keywords,
        )


def is_lazy(layer: str) -> bool:
    """Whether the name is that of a lazy layer."""
    return layer.startswith("Lazy")


def is_transposed(layer: str) -> bool:
    """Whether the name is that of a transposed convolution."""
    return "ranspose" in layer


Apply = Callable[[Draw, Convolution], Case]


def _always(conv: Convolution) -> bool:
    return True


def convolution_break(
    name: str,
    argument: str,
    apply: Apply,
    applies: Callable[[Convolution], bool] = _always,
) -> Break:
    """A `Break` whose functions take a `Convolution` in place of a case."""
    return Break(
        name,
        argument,
        lambda draw, case: apply(draw, Convolution.from_case(case)),
        applies=lambda case: applies(Convolution.from_case(case)),
    )


def replace_at(sizes: Sizes, index: int, value: int) -> Sizes:
    """The sizes with the one at `index` replaced."""
    return (*sizes[:index], value, *sizes[index + 1 :])


def put_somewhere(draw: Draw, sizes: Sizes, bad: int) -> Sizes:
    """Put a number into all dimensions, or into one that is drawn."""
    dimension_or_all = draw(st.integers(0, len(sizes))) if len(sizes) > 1 else 0
    return tuple(bad if dimension_or_all in (0, k + 1) else size for k, size in enumerate(sizes))


def draw_dimension(draw: Draw, conv: Convolution) -> int:
    """Draw one of the spatial dimensions."""
    return int(draw(st.integers(0, conv.dims - 1)))


def break_size(name: str, values: st.SearchStrategy[int]) -> Apply:
    """Break a size in all dimensions or in one of them; `values` are invalid numbers."""

    def apply(draw: Draw, conv: Convolution) -> Case:
        changed: dict[str, Any] = {name: put_somewhere(draw, getattr(conv, name), draw(values))}
        return conv.rebuild(**changed)

    return apply


def break_argument(name: str, values: st.SearchStrategy[Any]) -> Apply:
    """Break an argument on which nothing else depends; `values` are invalid."""
    return lambda draw, conv: conv.rebuild(arguments={name: draw(values)})
