"""Bugs written without sight of the suite: transformers, distances."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from planted.bug import blind


@blind(
    "transformerencoderlayer-norm-first-uses-the-first-norm-twice",
    "TransformerEncoderLayer",
    "values",
)
class _FirstNormTwice(nn.TransformerEncoderLayer):
    """With norm_first the feed-forward block is given norm1 again: a line copied."""

    # Differs: norm_first=True, norm2's weights not norm1's. Agrees: norm_first=False; a new
    # layer.

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        if not self.norm_first:
            return super().forward(*args, **kwargs)
        second = self.norm2
        self.norm2 = self.norm1
        try:
            return super().forward(*args, **kwargs)
        finally:
            self.norm2 = second


@blind("transformerencoderlayer-gelu-by-tanh", "TransformerEncoderLayer", "values")
class _GeluByTanh(nn.TransformerEncoderLayer):
    """activation="gelu" is the tanh approximation, as in ports of GPT-2."""

    # Differs: activation="gelu". Agrees: activation="relu".

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.activation is functional.gelu:
            self.activation = partial(functional.gelu, approximate="tanh")
            self.activation_relu_or_gelu = 0


@blind("transformerdecoderlayer-target-padding-hides-memory", "TransformerDecoderLayer", "values")
class _TargetPadding(nn.TransformerDecoderLayer):
    """The cross attention is given the target's padding mask wherever its length fits."""

    # Differs: tgt_key_padding_mask alone, memory as long as tgt. Agrees: no padding masks.

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        if tgt_key_padding_mask is not None and tgt.shape == memory.shape:
            memory_key_padding_mask = tgt_key_padding_mask
        masks = (tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask)
        return super().forward(tgt, memory, *masks, tgt_is_causal, memory_is_causal)


@blind("transformerencoder-mask-for-the-first-layer-only", "TransformerEncoder", "values")
class _FirstLayerMasked(nn.TransformerEncoder):
    """Only the first layer gets the mask; the others see all positions."""

    # Differs: 2 layers with a mask. Agrees: 1 layer; no mask.

    def forward(
        self,
        src: Tensor,
        mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool | None = None,
    ) -> Tensor:
        if mask is None or self.num_layers < 2:
            return super().forward(src, mask, src_key_padding_mask, is_causal)
        for number, layer in enumerate(self.layers):
            src = layer(src, None if number else mask, src_key_padding_mask)
        return src if self.norm is None else self.norm(src)


@blind("transformerdecoder-norm-after-each-layer", "TransformerDecoder", "values")
class _NormEachLayer(nn.TransformerDecoder):
    """The final norm stands inside the loop over layers."""

    # Differs: 2 layers and a norm. Agrees: 1 layer; norm=None.

    def forward(self, tgt: Tensor, memory: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        layers, count = self.layers, self.num_layers
        try:
            for layer in layers:
                self.layers = nn.ModuleList([layer])
                tgt = super().forward(tgt, memory, *args, **kwargs)
        finally:
            self.layers, self.num_layers = layers, count
        return tgt


@blind(
    "functional-cosine-similarity-axis-of-the-first-input", "functional.cosine_similarity", "shape"
)
def _axis_of_first(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """dim counts the first input's axes, not those of the common shape."""
    # Differs: (3, 4) and (2, 3, 4) with dim=1. Agrees: inputs with as many axes; dim=-1.
    if 0 <= dim < x1.dim() < x2.dim():
        dim -= x1.dim()
    return functional.cosine_similarity(x1, x2, dim, eps)


@blind(
    "functional-pairwise-distance-infinite-norm-drops-the-axis",
    "functional.pairwise_distance",
    "shape",
)
def _drops_axis(
    x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    """keepdim is not handed on for p=inf, which has a branch of its own."""
    # Differs: p=inf, keepdim=True. Agrees: p=2, keepdim=True; p=inf.
    return functional.pairwise_distance(x1, x2, p, eps, keepdim and p != float("inf"))


@blind("functional-pdist-one-row-has-a-distance", "functional.pdist", "shape")
def _one_row(input: Tensor, p: float = 2.0) -> Tensor:
    """One row gives one distance of zero, where there are N (N - 1) / 2 = 0 of them."""
    # Differs: an input of (1, 3). Agrees: an input of (2, 3).
    distances = functional.pdist(input, p)
    return input.new_zeros(1) if input.size(0) == 1 else distances


@blind("functional-normalize-sums-signed-numbers", "functional.normalize", "values")
def _signed(
    input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: Tensor | None = None
) -> Tensor:
    """For p=1 it divides by the sum, not the sum of absolute values."""
    # Differs: p=1 with numbers of both signs. Agrees: p=2; p=1 with positive numbers.
    if p != 1 or out is not None or input.is_complex() or (input >= 0).all():
        return functional.normalize(input, p, dim, eps, out)
    return input / input.sum(dim, keepdim=True).clamp(min=eps).expand_as(input)
