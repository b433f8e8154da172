"""Cases of functions that fold a batch norm into the weights of a layer."""

from __future__ import annotations

from typing import Any

import numpy as np
from conformance.strategies.arguments import ArgumentWriter, masks
from conformance.strategies.composing import composite
from conformance.strategies.values import Filler, regimes, seeds
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Call, Case
from conformance.model.formats import format_of, round_to

# plain; full: optional tensors may be left out; square: as many inputs as outputs; wide: many
# outputs.
profiles = st.sampled_from(("plain", "full", "full", "square", "wide"))
_SIZES = st.sampled_from((1, 2, 3, 4))
_WIDE = st.sampled_from((8, 17, 33))
_KERNELS = st.sampled_from(((), (1,), (3,), (2, 3), (3, 3), (2, 1, 2)))
_EPS = st.sampled_from((1e-5, 1e-3, 0.5, 0.1, 1.0, 1e-5))
# near: spread around 1; whole: whole numbers; none: zeros, where only ε remains; far: any size.
_VARIANCES = st.sampled_from(("near", "whole", "none", "far"))
yes_no = st.booleans()


def _variance(kind: str, filler: Filler, count: int) -> np.ndarray:
    """Draw variances, which are at least 0."""
    generator, dtype = filler.generator, filler.dtype
    if kind == "none":
        return np.zeros(count)
    if kind == "whole":
        return generator.integers(1, 9, count).astype(np.float64)
    spread = generator.standard_normal(count) * (0.3 if kind == "near" else 3.0)
    variance = np.minimum(np.exp(spread), format_of(dtype).largest)
    return np.asarray(round_to(variance, dtype))


@composite
def fusions(draw: Draw, layer: str, convolves: bool, dtype: str) -> Case:
    """Cases of a function.

    Args:
        convolves: whether the weight is a convolution's, and γ and β may be left out.
    """
    profile = draw(profiles)
    is_plain = profile == "plain"
    outputs = draw(_WIDE if profile == "wide" else _SIZES)
    inputs = outputs if profile == "square" else draw(_SIZES)
    kernel = draw(_KERNELS) if convolves else ()
    transposes = convolves and not is_plain and draw(yes_no)
    is_present = [is_plain or draw(yes_no) for _ in range(3)]
    if not convolves:
        is_present[1:] = [True, True]
    eps, kind = draw(_EPS), draw(_VARIANCES)
    writer = ArgumentWriter(draw(masks))
    regime, seed = draw(regimes), draw(seeds)
    filler = Filler(regime, dtype, seed, 1, 3)
    shape = (inputs, outputs, *kernel) if transposes else (outputs, inputs, *kernel)
    weight, gain = filler.operand(*shape), filler.operand(outputs)
    bias, mean, shift = (filler.addend(outputs) for _ in range(3))
    variance = _variance(kind, filler, outputs)
    arrays = (
        weight, bias if is_present[0] else None, mean, variance,
        gain if is_present[1] else None, shift if is_present[2] else None,
    )  # fmt: skip
    arguments: dict[str, Any] = {"bn_eps": eps}
    if convolves:
        arguments |= writer.explicit_arguments({"transpose": transposes}, {"transpose": False})
    labels = {"profile": profile, "regime": regime, "variance": kind}
    return Case(Call(layer, arguments, {}, dtype, "cpu"), arrays, labels=labels, seed=seed)
