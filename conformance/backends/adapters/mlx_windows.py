"""MLX's pooling and padding.

MLX pools whole windows only, with a divisor of all their elements; it pads by constants, edges and
reflections.
"""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import mlx.nn as nn

from conformance.backends.adapters.mlx_parts import State, channels_last, only
from conformance.backends.function import FunctionBackend, implements
from conformance.model.case import Call, Unsupported


class Windows(FunctionBackend):
    """The part of MLX's adapter for pooling and padding."""

    @implements(
        "MaxPool1d", "MaxPool2d", "MaxPool3d", "AvgPool1d", "AvgPool2d", "AvgPool3d",
        passes=("kernel_size", "stride", "padding"),
    )  # fmt: skip
    def pool(
        self, state: State, x: Any, *, call: Call, dilation: Any = 1, return_indices: bool = False,
        ceil_mode: bool = False, count_include_pad: bool = True,
        divisor_override: int | None = None, **given: Any,
    ) -> Any:  # fmt: skip
        """`nn.MaxPool1d` and so on."""
        dims = int(call.layer[-2])
        if dilation not in (1, (1,) * dims):
            raise Unsupported(f"dilation={dilation!r}")
        only(return_indices=(return_indices, False), ceil_mode=(ceil_mode, False))
        only(count_include_pad=(count_include_pad, True))
        only(divisor_override=(divisor_override, None))
        return _spatial(call, getattr(nn, call.layer)(**given), x)

    @implements(
        *(f"{kind}Pad{n}d" for kind in ("Reflection", "Replication") for n in (1, 2, 3)),
        *(f"{kind}Pad{n}d" for kind in ("Zero", "Constant") for n in (1, 2, 3)),
    )
    def pad(
        self, state: State, x: Any, *, call: Call, padding: Any, value: float | None = None
    ) -> Any:
        """`mx.pad`."""
        dims = int(call.layer[-2])
        kinds = {"Reflection": "reflect", "Replication": "replicate"}
        mode = kinds.get(call.layer[: -len("Pad1d")], "constant")
        pads = (padding,) * (2 * dims) if isinstance(padding, int) else tuple(padding)
        if len(pads) != 2 * dims or x.ndim not in (dims + 1, dims + 2):
            raise ValueError(f"{call.layer}: padding={padding!r} of an input of {x.ndim} axes")
        return _padded(x, pads, mode, value)

    @implements("functional.pad")
    def functional_pad(
        self, state: State, input: Any, *, pad: Any, mode: str = "constant",
        value: float | None = None,
    ) -> Any:  # fmt: skip
        """`mx.pad`, of torch's pairs from the last axis to the first."""
        if len(pad) % 2 or len(pad) > 2 * input.ndim:
            raise ValueError(f"pad={pad!r} of an input of {input.ndim} axes")
        return _padded(input, tuple(pad), mode, value)


def _padded(x: Any, pads: tuple[int, ...], mode: str, value: float | None) -> Any:
    """Padded by pairs from the last axis to the first."""
    modes = {"constant": "constant", "reflect": "reflect", "replicate": "edge"}
    if mode not in modes:
        raise Unsupported(f"mode={mode!r}")
    if any(p < 0 for p in pads):
        raise Unsupported("negative padding")
    if mode != "constant" and value is not None:
        raise ValueError(f"value={value!r} with mode={mode!r}")  # mx.pad does not look at it
    pairs = list(zip(pads[::2], pads[1::2], strict=True))[::-1]
    widths = [(0, 0)] * (x.ndim - len(pairs)) + pairs
    return mx.pad(x, widths, modes[mode], 0 if value is None else value)


def _spatial(call: Call, function: Any, x: Any) -> Any:
    """With or without a batch.

    Raises:
        ValueError: for an input of another rank, which would lose an axis here.
    """
    dims = int(call.layer[-2])
    if x.ndim not in (dims + 1, dims + 2):
        raise ValueError(f"{call.layer}: an input of {x.ndim} axes")
    return channels_last(function, x, batched=x.ndim == dims + 2)
