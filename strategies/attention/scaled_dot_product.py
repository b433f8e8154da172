"""Cases of scaled_dot_product_attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from conformance.strategies.arguments import ArgumentWriter, masks
from conformance.strategies.attention.values import AttentionFiller, regimes
from conformance.strategies.composing import composite
from conformance.strategies.values import seeds
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Call, Case

# Batches and heads, the simplest first.
leading_shapes = st.sampled_from(
    ((1, 1), (), (1,), (2,), (2, 1), (1, 3), (2, 3), (2, 1, 2), (0, 2), (3, 2), (2, 2), (3, 3))
)
lengths = st.sampled_from((1, 2, 3, 4, 5, 8, 2, 3, 16, 17))
key_lengths = st.sampled_from((1, 2, 3, 4, 5, 8, 2, 4, 16, 17, 0))
widths = st.sampled_from((1, 2, 3, 4, 5, 8, 4, 16))
# Kernels process queries in blocks of 32, 64 or more, keys in blocks of 16 to 512: lengths next to
# those.
long_lengths = st.sampled_from((31, 33, 63, 65, 128, 1))
long_key_lengths = st.sampled_from((63, 65, 127, 129, 513, 512))
one_in_eight = st.integers(0, 7).map(lambda n: n == 7)
mask_kinds = st.sampled_from(("none", "none", "bool", "float", "causal"))
scales = st.sampled_from((None, None, None, 1.0, 0.25, 0.5, 2.0, 0.3, -1.0, 0.0))
groups = st.sampled_from((1, 1, 2, 3))
DEFAULTS = {"dropout_p": 0.0, "is_causal": False, "scale": None, "enable_gqa": False}


@composite
def attentions(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of scaled_dot_product_attention."""
    leading = draw(leading_shapes)
    long = draw(one_in_eight)
    if long:
        leading = leading if leading in ((), (1, 1)) else (1, 1)
    rows, columns = (draw(x) for x in ((long_lengths, long_key_lengths) if long else _SHORT))
    width, out = draw(widths), draw(widths)
    kind, scale = draw(mask_kinds), draw(scales)
    # Groups of query heads share a key head, where there are heads.
    shared = draw(groups) if leading else 1
    gqa = shared > 1 or (bool(leading) and draw(one_in_eight))
    writer = ArgumentWriter(draw(masks))
    regime, seed = draw(regimes), draw(seeds)
    if regime in ("saturated", "zero") and scale not in (1.0, 0.25):
        scale = 0.25
    filler = AttentionFiller(regime, dtype, seed)
    heads = (*leading[:-1], leading[-1] * shared) if leading else ()
    query, key, value = filler.operands(heads, leading, rows, columns, (width, out), scale)
    mask = None
    if kind in ("bool", "float"):
        shape = draw(st.sampled_from(_mask_shapes(heads, rows, columns)))
        mask = filler.mask(shape, kind)
    arguments: dict[str, Any] = {
        "dropout_p": 0.0,
        "is_causal": kind == "causal",
        "scale": scale,
        "enable_gqa": gqa,
    }
    labels = {"profile": "long" if long else kind, "regime": regime}
    call = Call(layer, writer.explicit_arguments(arguments, DEFAULTS), {}, dtype, "cpu")
    return Case(call, (query, key, value, mask), labels=labels, seed=seed)


_SHORT = (lengths, key_lengths)


def _mask_shapes(heads: Sequence[int], rows: int, columns: int) -> list[tuple[int, ...]]:
    """Shapes that broadcast to that of the scores, the simplest first.

    If there are as many heads as batches, the mask has one of these axes, or none that tells them
    apart.
    """
    if len(heads) == 2 and heads[0] == heads[1] > 1:
        return [
            (1, heads[1], rows, columns),
            (heads[0], 1, rows, columns),
            (heads[1], rows, columns),
        ]
    shapes = [(rows, columns), (1, columns), (rows, 1), (*heads, rows, columns)]
    if len(heads) > 1:
        ones = tuple(1 for _ in heads[1:])
        shapes += [(heads[0], *ones, 1, columns), (*heads[1:], rows, columns)]
        shapes += [(heads[0], *ones, rows, columns)]
    shapes.append((columns,))
    return list(dict.fromkeys(tuple(shape) for shape in shapes))
