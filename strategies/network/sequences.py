"""Cases of sequences: one to six modules, each called on the result of the one before."""

from __future__ import annotations

from conformance.strategies.composing import composite
from conformance.strategies.network import steps
from conformance.strategies.network.builder import Builder, ShapeOf
from conformance.strategies.network.graphs import TensorsOf, draw_shape, make_case
from conformance.strategies.network.steps import Step
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case

_lengths = st.integers(1, 6)
_yes_no = st.booleans()
_widths = st.sampled_from((1, 2, 3, 4))
_exact_activations = st.sampled_from(("ReLU", "ReLU6", "Hardtanh", "LeakyReLU"))
_activations = st.sampled_from(
    ("ReLU", "GELU", "SiLU", "Tanh", "Sigmoid", "Softplus", "Hardswish", "Mish", "ELU")
)


def _activation(builder: Builder, x: int) -> int:
    name = builder.draw(_exact_activations if builder.exact else _activations)
    return builder.add(name, x, **({"negative_slope": 0.5} if name == "LeakyReLU" else {}))


def _norm(builder: Builder, x: int) -> int | None:
    """A layer, RMS or group norm, or a softmax; all of them round."""
    shape = builder.shape(x)
    if builder.exact or not shape or shape[-1] < 2:
        return None
    name = builder.draw(st.sampled_from(("LayerNorm", "RMSNorm", "GroupNorm", "Softmax")))
    if name == "Softmax":
        return builder.add(name, x, dim=-1)
    if name == "GroupNorm":
        fits = len(shape) > 2 and shape[1] > 0
        return builder.add(name, x, num_groups=1, num_channels=shape[1]) if fits else None
    return builder.add(name, x, normalized_shape=(shape[-1],), eps=1e-5)


def _flatten(builder: Builder, x: int) -> int | None:
    return builder.add("Flatten", x) if len(builder.shape(x)) > 2 else None


def _pad(builder: Builder, x: int) -> int | None:
    if len(builder.shape(x)) != 4:
        return None
    return builder.add("ZeroPad2d", x, padding=builder.draw(st.sampled_from((1, (1, 0, 2, 1)))))


def _transposed_convolution(builder: Builder, x: int) -> int | None:
    shape = builder.shape(x)
    if builder.exact or len(shape) != 4 or max(shape[2:]) > 4:
        return None
    return builder.add(
        "ConvTranspose2d",
        x,
        in_channels=shape[1],
        out_channels=builder.draw(_widths),
        kernel_size=2,
        stride=builder.draw(st.sampled_from((1, 2))),
        bias=builder.draw(_yes_no),
    )


_STEPS: tuple[Step, ...] = (
    _activation, steps.linear, steps.convolution, steps.batch_norm, steps.pool, _norm, _flatten,
    steps.identity, _pad, _transposed_convolution,
)  # fmt: skip
_steps = st.sampled_from(_STEPS)


@composite
def sequences(
    draw: Draw, layer: str, dtype: str, *, shape_of: ShapeOf, tensors_of: TensorsOf
) -> Case:
    """Cases of a sequence in eval mode; the arguments are those of `networks`."""
    exact = draw(_yes_no)
    shape = draw_shape(draw)
    builder = Builder(draw, shape_of, (shape,), exact=exact)
    value = -1
    for _ in range(draw(_lengths)):
        added = draw(_steps)(builder, value)
        value = _activation(builder, value) if added is None else added
    return make_case(draw, layer, dtype, builder, (shape,), (value,), tensors_of)
