"""Fill the arrays of a grown case anew."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from conformance.generation.variants import permuted
from conformance.model.case import Case
from conformance.spec.layer_spec import LayerSpec

_STREAM = 0x66696C6C  # random numbers with which a grown case is filled


def refilled(spec: LayerSpec, original: Case, grown: Case, tile: str) -> Case:
    """Label a grown case and fill its arrays anew: numbers of the original ones, any index.

    Growing repeats a few elements, and leaves indices small: a kernel that reads a wrong place
    would read the right number.
    """
    generator, sizes = np.random.default_rng((original.seed, _STREAM)), spec.sizes(grown)
    filled = dict[int, np.ndarray]()
    names = spec.signature.input_names
    for index, x in enumerate(grown.inputs):
        if x is None or id(x) in filled or spec.is_fixed(grown, index):
            continue
        limit = (
            None
            if spec.shapes is None or sizes is None
            else spec.shapes.index_limit(names[index], sizes)
        )
        if limit is not None:
            indices = generator.integers(0, limit, x.shape)
            # One at least is within the last block.
            indices.reshape(-1)[:1] = limit - 1 - generator.integers(0, max(limit // 128, 1))
            filled[id(x)] = indices
        elif x.dtype.kind in "fc":
            any_value = spec.signature.inputs[index].any_value
            filled[id(x)] = _redrawn(generator, original.inputs[index], x, any_value)
    inputs = tuple(None if x is None else filled.get(id(x), x) for x in grown.inputs)
    first = grown.inputs[0]
    shape = () if first is None else first.shape
    constrained = spec.constrained_names(grown.call.arguments, shape)
    state = {
        name: _redrawn(generator, original.call.state.get(name), x, name not in constrained)
        if x.dtype.kind in "fc"
        else x
        for name, x in grown.call.state.items()
    }
    labels = {**grown.labels, "tile": tile}
    call = replace(grown.call, state=state)
    return permuted(replace(grown, call=call, inputs=inputs, labels=labels), 1)


def _redrawn(
    generator: np.random.Generator, original: np.ndarray | None, x: np.ndarray, any_value: bool
) -> np.ndarray:
    """An array of the same shape with random elements of the original, and 0 if they are equal."""
    if original is None or x.size <= original.size:
        return x
    values = original.reshape(-1)
    if any_value and np.all(values == values[0]):
        values = np.append(values, 0.0)
    return values[generator.integers(0, values.size, x.shape)]
