"""Cases of MultiheadAttention."""

from __future__ import annotations

from typing import Any

import numpy as np
from conformance.strategies.arguments import ArgumentWriter, masks
from conformance.strategies.attention.values import AttentionFiller
from conformance.strategies.composing import composite
from conformance.strategies.values import seeds
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Call, Case
from conformance.model.formats import round_to

batches = st.sampled_from((1, 2, 3, None, 0, 2))
lengths = st.sampled_from((1, 2, 3, 4, 5, 8, 17))
heads = st.sampled_from((1, 2, 3, 4))
head_widths = st.sampled_from((1, 2, 4, 3, 16, 8))
# None: the default, embed_dim.
features = st.sampled_from((None, None, None, 1, 3, 8))
one_in_four = st.integers(0, 3).map(lambda n: n == 3)
sharing = st.sampled_from(("apart", "self", "key and value", "self"))
mask_kinds = st.sampled_from(("none", "none", "bool", "float", "causal"))
# Longer than a tile of 64, for causal masks: with `is_causal` the suite cannot change a length.
causal_lengths = st.sampled_from((65, 66))
regimes = st.sampled_from(("ramp", "integers", "zero", "bits", "normal", "mixed"))
yes_no = st.booleans()
DEFAULTS: dict[str, Any] = {
    "dropout": 0.0,
    "bias": True,
    "add_bias_kv": False,
    "add_zero_attn": False,
    "kdim": None,
    "vdim": None,
    "batch_first": False,
}
KEYWORDS: dict[str, Any] = {
    "need_weights": True,
    "average_attn_weights": True,
    "is_causal": False,
}


@composite
def multihead_attentions(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of MultiheadAttention, in eval mode."""
    batch, rows, columns = draw(batches), draw(lengths), draw(lengths)
    count, width = draw(heads), draw(head_widths)
    kind, shared = draw(mask_kinds), draw(sharing)
    is_long = kind == "causal" and draw(yes_no)
    if is_long:
        batch, rows, columns, width = batch and 1, *(draw(causal_lengths) for _ in range(2)), 2
    embed = count * width
    values = {
        "dropout": 0.5 if draw(one_in_four) else 0.0,
        "bias": not draw(one_in_four),
        "add_bias_kv": draw(one_in_four),
        "add_zero_attn": draw(one_in_four),
        "kdim": draw(features),
        "vdim": draw(features),
        "batch_first": draw(yes_no),
    }
    if shared == "self":
        columns, values["kdim"], values["vdim"] = rows, None, None
    if shared == "key and value":
        values["vdim"] = values["kdim"]
    writer = ArgumentWriter(draw(masks))
    padded = draw(one_in_four)
    keyword_values = {
        "need_weights": draw(yes_no),
        "average_attn_weights": draw(yes_no),
        "is_causal": kind == "causal" and (is_long or draw(yes_no)),
    }
    regime, seed = draw(regimes), draw(seeds)
    filler = AttentionFiller(regime, dtype, seed)
    kdim, vdim = (values[name] or embed for name in ("kdim", "vdim"))

    def sequence(length: int, size: int) -> np.ndarray:
        shape = (batch, length) if values["batch_first"] else (length, batch)
        return filler.array((*((length,) if batch is None else shape), size))

    query = sequence(rows, embed)
    key = query if shared == "self" else sequence(columns, kdim)
    value = key if shared != "apart" else sequence(columns, vdim)
    padding, mask = attention_masks(draw, filler, kind, padded, (batch, count, rows, columns))
    arguments = {"embed_dim": embed, "num_heads": count} | writer.explicit_arguments(
        values, DEFAULTS
    )
    keywords = writer.explicit_arguments(keyword_values, KEYWORDS)
    state = _state_tensors(filler, embed, (kdim, vdim), values)
    labels = {"profile": shared, "regime": regime}
    call = Call(layer, arguments, state, dtype, "cpu")
    inputs = (query, key, value, padding, mask)
    return Case(call, inputs, keywords, labels=labels, seed=seed)


def attention_masks(
    draw: Draw,
    filler: AttentionFiller,
    kind: str,
    padded: bool,
    sizes: tuple[int | None, int, int, int],
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Draw key_padding_mask and attn_mask, both boolean (True is masked) or float (−∞ is masked).

    Args:
        kind: one of `mask_kinds`, of attn_mask.
        padded: whether there is a key_padding_mask.
        sizes: size of the batch (None without one), numbers of heads, of queries and of keys.
    """
    batch, heads_, rows, columns = sizes
    boolean = draw(yes_no) if kind in ("none", "causal") else kind == "bool"
    padding = mask = None
    if padded:
        padding = filler.mask(
            (columns,) if batch is None else (batch, columns), _mask_kind(boolean)
        )
    if kind in ("bool", "float"):
        per_head = draw(yes_no)
        shape = ((batch or 1) * heads_ if batch != 0 else 0, rows, columns)
        mask = filler.mask(shape if per_head else shape[1:], _mask_kind(boolean))
    elif kind == "causal":
        attended = np.tril(np.ones((rows, columns), bool))
        mask = attended if boolean else np.where(attended, 0.0, -np.inf)
    return tuple(~x if x is not None and x.dtype == bool else x for x in (padding, mask))  # type: ignore[return-value]


def _mask_kind(boolean: bool) -> str:
    return "bool" if boolean else "float"


def _state_tensors(
    filler: AttentionFiller,
    embed: int,
    key_and_value_widths: tuple[int, int],
    values: dict[str, Any],
) -> dict[str, np.ndarray]:
    """Fill the state with weights that keep projections as large as the inputs."""
    integers = filler.regime in ("ramp", "integers", "zero", "bits")

    def draw_weight(rows: int, columns: int) -> np.ndarray:
        if integers:
            return filler.generator.integers(-1, 1, (rows, columns), endpoint=True) * 1.0
        drawn = filler.generator.standard_normal((rows, columns)) / columns**0.5
        return round_to(drawn, filler.dtype)

    sizes = (embed, *key_and_value_widths)
    parts = [draw_weight(embed, size) for size in sizes]
    if filler.regime == "zero":
        parts[0] = np.zeros_like(parts[0])  # all keys have the same weight
    names = ("q_proj_weight", "k_proj_weight", "v_proj_weight")
    packed = sizes == (embed,) * 3
    state = (
        {"in_proj_weight": np.concatenate(parts)}
        if packed
        else dict(zip(names, parts, strict=False))
    )
    if values["bias"]:
        state["in_proj_bias"] = filler.array((3 * embed,))
        if filler.regime == "zero":
            state["in_proj_bias"][:embed] = 0.0
    if values["add_bias_kv"]:
        state |= {name: filler.array((1, 1, embed)) for name in ("bias_k", "bias_v")}
    state["out_proj.weight"] = draw_weight(embed, embed)
    if values["bias"]:
        state["out_proj.bias"] = filler.array((embed,))
    return state
