"""Cases of a transformer's layers, of their stacks, and of the Transformer."""

from __future__ import annotations

from typing import Any

import numpy as np
from conformance.strategies.arguments import ArgumentWriter, masks
from conformance.strategies.attention.multihead import attention_masks, mask_kinds
from conformance.strategies.attention.values import AttentionFiller
from conformance.strategies.composing import composite
from conformance.strategies.transformer.values import EXACT, EXACT_EPS, TransformerFiller, regimes
from conformance.strategies.values import seeds
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Call, Case

batches = st.sampled_from((1, 2, 3, None, 0, 2))
lengths = st.sampled_from((1, 2, 3, 4, 5, 8))
# Powers of two, so that the mean over all keys is exact.
exact_lengths = st.sampled_from((1, 2, 4, 2, 4, 8))
heads = st.sampled_from((1, 2, 3, 4, 2))
head_widths = st.sampled_from((1, 2, 4, 3))
exact_sizes = st.sampled_from(((4, 2), (4, 1), (8, 2), (8, 4)))
# None stands for the default, 2048.
inner_sizes = st.sampled_from((None, 1, 2, 3, 5, 8, 16, 4))
exact_inner_sizes = st.sampled_from((None, 8, 9, 16, 8, 12))
activations = st.sampled_from(
    ("functional.relu", "relu", "gelu", "functional.gelu", "functional.silu", "functional.relu6")
)
exact_activations = st.sampled_from(("functional.relu", "relu", "functional.relu6"))
epsilons = st.sampled_from((1e-5, 1e-5, 0.1, EXACT_EPS))
dropouts = st.sampled_from((0.1, 0.0, 0.5, 0.1, 0.0))
one_in_four = st.integers(0, 3).map(lambda n: n == 3)
yes_no = st.booleans()
DEFAULTS: dict[str, Any] = {
    "dim_feedforward": 2048,
    "dropout": 0.1,
    "activation": "functional.relu",
    "layer_norm_eps": 1e-5,
    "batch_first": False,
    "norm_first": False,
    "bias": True,
}
HINT_DEFAULTS: dict[str, Any] = {
    "is_causal": False,
    "tgt_is_causal": False,
    "memory_is_causal": False,
}
# Defaults of stacks: with None torch detects a causal mask.
STACK_HINT_DEFAULTS: dict[str, Any] = dict.fromkeys(("is_causal", "src_is_causal", "tgt_is_causal"))
counts = st.sampled_from((1, 2, 3, 2))
# None stands for the default, 6.
many_counts = st.sampled_from((1, 2, 1, None, 2, 1))
norms = st.sampled_from((False, True))

TRANSFORMER = "Transformer"


class TransformerDraw:
    """Draws the parts of a case that all these layers have.

    Args:
        deep: the case has several layers.
    """

    def __init__(self, draw: Draw, dtype: str, *, deep: bool = False) -> None:
        self.draw, self.dtype = draw, dtype
        self.regime = draw(regimes(dtype, deep))
        self.is_exact = self.regime == EXACT
        self.batch: int | None = draw(batches)
        self.layer_arguments = self._draw_layer_arguments()
        self.written = ArgumentWriter(draw(masks))
        # An exact mean needs equal rows, or one key for each query.
        self.equal_rows = (
            self.is_exact and not self.layer_arguments["norm_first"] and not draw(yes_no)
        )
        self.single_keys = (
            self.is_exact and not self.layer_arguments["norm_first"] and not self.equal_rows
        )
        self.seed: int = draw(seeds)
        self.filler = TransformerFiller(
            self.regime, dtype, self.seed, self.layer_arguments, self.equal_rows
        )
        self.mask_filler = AttentionFiller(
            "zero" if self.is_exact else self.regime, dtype, self.seed
        )

    def _draw_layer_arguments(self) -> dict[str, Any]:
        """Draw all arguments of a layer."""
        draw, exact = self.draw, self.is_exact
        if exact:
            d_model, count = draw(exact_sizes)
            inner = draw(exact_inner_sizes)
        else:
            count, width = draw(heads), draw(head_widths)
            d_model, inner = count * width, draw(inner_sizes)
        return {
            "d_model": d_model,
            "nhead": count,
            "dim_feedforward": inner or DEFAULTS["dim_feedforward"],
            "dropout": draw(dropouts),
            "activation": draw(exact_activations if exact else activations),
            "layer_norm_eps": EXACT_EPS if exact else draw(epsilons),
            "batch_first": draw(yes_no),
            "norm_first": draw(yes_no),
            "bias": not draw(one_in_four),
        }

    def explicit_arguments(self) -> dict[str, Any]:
        """The arguments of a layer that the call writes out."""
        required = {name: self.layer_arguments[name] for name in ("d_model", "nhead")}
        optional = {name: x for name, x in self.layer_arguments.items() if name not in required}
        return required | self.written.explicit_arguments(optional, DEFAULTS)

    def module(self, name: str) -> tuple[str, tuple[tuple[str, Any], ...]]:
        """The layer that a stack repeats, as its argument."""
        return name, tuple(self.explicit_arguments().items())

    def norm(self) -> tuple[str, tuple[tuple[str, Any], ...]]:
        """The final norm of a stack, as its argument."""
        arguments = {
            "normalized_shape": self.layer_arguments["d_model"],
            "eps": self.layer_arguments["layer_norm_eps"],
        }
        return "LayerNorm", tuple({**arguments, "bias": self.layer_arguments["bias"]}.items())

    def causal_hint(self, causal: bool, mask: np.ndarray | None) -> bool | None:
        """Value of a stack's causal hint: the truth, or None."""
        return causal if causal or (mask is not None and not self.draw(yes_no)) else None

    def draw_length(self) -> int:
        """Draw the length of a sequence."""
        return int(self.draw(exact_lengths if self.is_exact else lengths))

    def draw_sequence(self, length: int, *, memory: bool = False) -> np.ndarray:
        """Fill a sequence (length, batch, features), or (batch, length, features)."""
        shape: tuple[int, ...] = (length,)
        if self.batch is not None:
            shape = (
                (self.batch, length)
                if self.layer_arguments["batch_first"]
                else (length, self.batch)
            )
        return self.filler.sequence(*shape, self.layer_arguments["d_model"], memory=memory)

    def draw_masks(
        self, rows: int, columns: int
    ) -> tuple[np.ndarray | None, np.ndarray | None, bool]:
        """Draw a mask, a padding mask, and the causal hint."""
        kind, padded = self.draw(mask_kinds), self.draw(one_in_four)
        if self.is_exact:
            kind, padded = self._limit_to_one_mask(kind, padded)
        sizes = (self.batch, self.layer_arguments["nhead"], rows, columns)
        padding, mask = attention_masks(self.draw, self.mask_filler, kind, padded, sizes)
        if self.is_exact:
            padding = None if padding is None else self._leave_power_of_two(padding)
            mask = mask if mask is None or kind == "causal" else self._leave_power_of_two(mask)
        return mask, padding, kind == "causal" and self.draw(yes_no)

    def _limit_to_one_mask(self, kind: str, padded: bool) -> tuple[str, bool]:
        """In `halves`: drop one of two masks, and add one if each query must have a single key."""
        if self.single_keys and kind in ("none", "causal"):
            return "none" if padded else "bool", padded
        return (kind, False) if self.draw(yes_no) else ("none" if padded else kind, padded)

    def _leave_power_of_two(self, mask: np.ndarray) -> np.ndarray:
        """A mask of the same form that leaves each query 1, 2, 4, … keys."""
        columns = mask.shape[-1]
        max_exponent = 0 if self.single_keys else columns.bit_length() - 1
        order = np.broadcast_to(np.arange(columns), mask.shape)
        order = self.mask_filler.generator.permuted(order, axis=-1)
        exponents = self.mask_filler.generator.integers(
            0, max_exponent, (*mask.shape[:-1], 1), endpoint=True
        )
        hidden = order >= 2**exponents
        return hidden if mask.dtype == bool else np.where(hidden, -np.inf, 0.0)

    def build_case(
        self,
        layer: str,
        arguments: dict[str, Any],
        state: dict[str, np.ndarray],
        inputs: tuple[np.ndarray | None, ...],
        hints: dict[str, Any],
    ) -> Case:
        """Build the case; `hints` are the causal hints of its masks."""
        defaults = {
            **HINT_DEFAULTS,
            **({} if "d_model" in arguments and layer != TRANSFORMER else STACK_HINT_DEFAULTS),
        }
        keywords = self.written.explicit_arguments(hints, defaults)
        order = "norm_first" if self.layer_arguments["norm_first"] else "norm last"
        labels = {"profile": order, "regime": self.regime}
        call = Call(layer, arguments, state, self.dtype, "cpu")
        return Case(call, inputs, keywords, labels=labels, seed=self.seed)


@composite
def encoder_layers(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of TransformerEncoderLayer, in eval mode."""
    shared_parts = TransformerDraw(draw, dtype)
    length = shared_parts.draw_length()
    src = shared_parts.draw_sequence(length)
    mask, padding, causal = shared_parts.draw_masks(length, length)
    state = shared_parts.filler.layer(("self_attn",), "")
    return shared_parts.build_case(
        layer, shared_parts.explicit_arguments(), state, (src, mask, padding), {"is_causal": causal}
    )


@composite
def decoder_layers(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of TransformerDecoderLayer, in eval mode."""
    shared_parts = TransformerDraw(draw, dtype)
    length = shared_parts.draw_length()
    columns = shared_parts.draw_length() if draw(yes_no) else length
    tgt, memory = (
        shared_parts.draw_sequence(length),
        shared_parts.draw_sequence(columns, memory=True),
    )
    mask, padding, causal = shared_parts.draw_masks(length, length)
    other_mask, other_padding, other_causal = shared_parts.draw_masks(length, columns)
    state = shared_parts.filler.layer(("self_attn", "multihead_attn"), "")
    inputs = (tgt, memory, mask, other_mask, padding, other_padding)
    hints = {"tgt_is_causal": causal, "memory_is_causal": other_causal}
    return shared_parts.build_case(layer, shared_parts.explicit_arguments(), state, inputs, hints)


@composite
def encoders(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of TransformerEncoder, in eval mode."""
    shared_parts = TransformerDraw(draw, dtype, deep=True)
    length, count, has_norm = shared_parts.draw_length(), draw(counts), draw(norms)
    src = shared_parts.draw_sequence(length)
    mask, padding, causal = shared_parts.draw_masks(length, length)
    state = shared_parts.filler.stack(("self_attn",), count, "norm" if has_norm else "")
    optional = {
        "norm": shared_parts.norm() if has_norm else None,
        "enable_nested_tensor": not draw(one_in_four),
        "mask_check": not draw(one_in_four),
    }
    if has_norm:
        state |= {f"norm.{name}": x for name, x in shared_parts.filler.norm("").items()}
    if not optional["mask_check"] and padding is not None:
        padding = np.sort(padding, -1) if padding.dtype == bool else -np.sort(-padding, -1)
    arguments = {
        "encoder_layer": shared_parts.module("TransformerEncoderLayer"),
        "num_layers": count,
    }
    defaults = {"norm": None, "enable_nested_tensor": True, "mask_check": True}
    arguments |= shared_parts.written.explicit_arguments(optional, defaults)
    hints = {"is_causal": shared_parts.causal_hint(causal, mask)}
    return shared_parts.build_case(layer, arguments, state, (src, mask, padding), hints)


@composite
def decoders(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of TransformerDecoder, in eval mode."""
    shared_parts = TransformerDraw(draw, dtype, deep=True)
    length, count = shared_parts.draw_length(), draw(counts)
    columns = shared_parts.draw_length() if draw(yes_no) else length
    has_norm = draw(norms)
    tgt, memory = (
        shared_parts.draw_sequence(length),
        shared_parts.draw_sequence(columns, memory=True),
    )
    mask, padding, causal = shared_parts.draw_masks(length, length)
    other_mask, other_padding, other_causal = shared_parts.draw_masks(length, columns)
    state = shared_parts.filler.stack(
        ("self_attn", "multihead_attn"), count, "norm" if has_norm else ""
    )
    if has_norm:
        state |= {f"norm.{name}": x for name, x in shared_parts.filler.norm("").items()}
    arguments = {
        "decoder_layer": shared_parts.module("TransformerDecoderLayer"),
        "num_layers": count,
    }
    optional = {"norm": shared_parts.norm() if has_norm else None}
    arguments |= shared_parts.written.explicit_arguments(optional, {"norm": None})
    inputs = (tgt, memory, mask, other_mask, padding, other_padding)
    hints = {
        "tgt_is_causal": shared_parts.causal_hint(causal, mask),
        "memory_is_causal": other_causal,
    }
    return shared_parts.build_case(layer, arguments, state, inputs, hints)


@composite
def transformers(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of Transformer, in eval mode."""
    shared_parts = TransformerDraw(draw, dtype, deep=True)
    columns = shared_parts.draw_length()
    length = shared_parts.draw_length() if draw(yes_no) else columns
    encoders_, decoders_ = draw(many_counts), draw(many_counts)
    src, tgt = shared_parts.draw_sequence(columns), shared_parts.draw_sequence(length)
    src_mask, src_padding, src_causal = shared_parts.draw_masks(columns, columns)
    tgt_mask, tgt_padding, tgt_causal = shared_parts.draw_masks(length, length)
    mask, padding, causal = shared_parts.draw_masks(length, columns)
    filler, state = shared_parts.filler, dict[str, np.ndarray]()
    stacks = (("encoder", ("self_attn",), encoders_, "memory"),
             ("decoder", ("self_attn", "multihead_attn"), decoders_, ""))  # fmt: skip
    for name, attentions, count, consumer in stacks:
        stack_state = filler.stack(attentions, 6 if count is None else count, "norm")
        stack_state |= {f"norm.{k}": x for k, x in filler.norm(consumer).items()}
        state |= {f"{name}.{k}": x for k, x in stack_state.items()}
    stack_sizes = {"num_encoder_layers": encoders_ or 6, "num_decoder_layers": decoders_ or 6}
    arguments = shared_parts.explicit_arguments()
    arguments |= shared_parts.written.explicit_arguments(stack_sizes, dict.fromkeys(stack_sizes, 6))
    inputs = (src, tgt, src_mask, tgt_mask, mask, src_padding, tgt_padding, padding)
    hints = {
        "src_is_causal": shared_parts.causal_hint(src_causal, src_mask),
        "tgt_is_causal": shared_parts.causal_hint(tgt_causal, tgt_mask),
        "memory_is_causal": causal,
    }
    return shared_parts.build_case(layer, arguments, state, inputs, hints)
