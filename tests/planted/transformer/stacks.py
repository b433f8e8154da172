"""TransformerEncoder, TransformerDecoder and Transformer."""

from __future__ import annotations

import torch
from torch import nn

from planted.bug import plant

ENCODER, DECODER, BOTH = "TransformerEncoder", "TransformerDecoder", "Transformer"


def single_layers(stack):
    """Make a stack one of a single layer, and without its norm, for each of its layers in turn.

    Args:
        stack: an encoder or a decoder.

    Returns:
        The place of each layer, and how many there are.
    """
    original_layers, norm = stack.layers, stack.norm
    stack.norm = None
    try:
        for place, layer in enumerate(original_layers):
            stack.layers = nn.ModuleList([layer])
            yield place, len(original_layers)
    finally:
        stack.layers, stack.norm = original_layers, norm


@plant("encoder-norm-missing", ENCODER, "values")
class EncoderNormMissing(nn.TransformerEncoder):
    """The norm of the stack is loaded, and left out."""

    def forward(self, *inputs, **kwargs):
        original_norm, self.norm = self.norm, None
        try:
            return super().forward(*inputs, **kwargs)
        finally:
            self.norm = original_norm


@plant("encoder-first-layer-for-all", ENCODER, "values")
class EncoderFirstLayerForAll(nn.TransformerEncoder):
    """The first layer's weights serve all layers, as in ALBERT."""

    def forward(self, *inputs, **kwargs):
        original_layers = self.layers
        self.layers = nn.ModuleList([original_layers[0]] * len(original_layers))
        try:
            return super().forward(*inputs, **kwargs)
        finally:
            self.layers = original_layers


@plant("encoder-layers-reversed", ENCODER, "values")
class EncoderLayersReversed(nn.TransformerEncoder):
    """The last layer comes first."""

    def forward(self, *inputs, **kwargs):
        original_layers = self.layers
        self.layers = nn.ModuleList(list(original_layers)[::-1])
        try:
            return super().forward(*inputs, **kwargs)
        finally:
            self.layers = original_layers


@plant("encoder-mask-of-first-layer", ENCODER, "values")
class EncoderMaskOfFirstLayer(nn.TransformerEncoder):
    """The mask reaches the first layer only."""

    def forward(self, src, mask=None, src_key_padding_mask=None, is_causal=None):
        for place, _ in single_layers(self):
            layer_mask = mask if place == 0 else None
            hint = is_causal if place == 0 else None
            src = super().forward(src, layer_mask, src_key_padding_mask, hint)
        return src if self.norm is None else self.norm(src)


@plant("encoder-layers-one-object", ENCODER, "state")
class EncoderLayersOneObject(nn.TransformerEncoder):
    """Layers are no copies, but one object: what is loaded last is in all of them."""

    def __init__(self, encoder_layer, num_layers, *args, **kwargs):
        super().__init__(encoder_layer, num_layers, *args, **kwargs)
        self.layers = nn.ModuleList([encoder_layer] * num_layers)


@plant("encoder-layers-drawn-apart", ENCODER, "state")
class EncoderLayersDrawnApart(nn.TransformerEncoder):
    """Each layer draws initial weights of its own."""

    def __init__(self, *arguments, **kwargs):
        super().__init__(*arguments, **kwargs)
        for layer in self.layers:
            for module in (layer.linear1, layer.linear2):
                module.reset_parameters()


@plant("encoder-padded-rows-shift", ENCODER, "laws")
class EncoderPaddedRowsShift(nn.TransformerEncoder):
    """Of more than eight rows padding is not looked at."""

    def forward(self, src, mask=None, src_key_padding_mask=None, is_causal=None):
        if src_key_padding_mask is not None and src_key_padding_mask.shape[-1] > 8:
            src_key_padding_mask = None
        return super().forward(src, mask, src_key_padding_mask, is_causal)


@plant("decoder-norm-missing", DECODER, "values")
class DecoderNormMissing(nn.TransformerDecoder):
    """The norm of the stack is loaded, and left out."""

    def forward(self, *inputs, **kwargs):
        original_norm, self.norm = self.norm, None
        try:
            return super().forward(*inputs, **kwargs)
        finally:
            self.norm = original_norm


@plant("decoder-norm-between-layers", DECODER, "values")
class DecoderNormBetweenLayers(nn.TransformerDecoder):
    """The norm of the stack comes behind each layer."""

    def forward(self, tgt, *args, **kwargs):
        original_layers = self.layers
        try:
            for layer in original_layers:
                self.layers = nn.ModuleList([layer])
                tgt = super().forward(tgt, *args, **kwargs)
        finally:
            self.layers = original_layers
        return tgt


@plant("decoder-memory-of-last-layer", DECODER, "values")
class DecoderMemoryOfLastLayer(nn.TransformerDecoder):
    """Layers behind the first attend to what came before them, in place of the memory."""

    def forward(self, tgt, memory, *args, **kwargs):
        original_layers, norm, same_shape = self.layers, self.norm, tgt.shape == memory.shape
        self.norm = None
        try:
            for layer in original_layers:
                self.layers = nn.ModuleList([layer])
                output = super().forward(tgt, memory, *args, **kwargs)
                memory = tgt if same_shape else memory
                tgt = output
        finally:
            self.layers, self.norm = original_layers, norm
        return tgt if norm is None else norm(tgt)


@plant("decoder-memory-padding-of-first-layer", DECODER, "values")
class DecoderMemoryPaddingOfFirstLayer(nn.TransformerDecoder):
    """Layers behind the first do not look at memory_key_padding_mask."""

    def forward(
        self, tgt, memory, tgt_mask=None, memory_mask=None, tgt_key_padding_mask=None,
        memory_key_padding_mask=None, **kwargs,
    ):  # fmt: skip
        original_layers, norm, padding = self.layers, self.norm, memory_key_padding_mask
        self.norm = None
        try:
            for layer in original_layers:
                self.layers = nn.ModuleList([layer])
                tgt = super().forward(
                    tgt, memory, tgt_mask, memory_mask, tgt_key_padding_mask, padding, **kwargs
                )
                padding = None
        finally:
            self.layers, self.norm = original_layers, norm
        return tgt if norm is None else norm(tgt)


@plant("decoder-gradient-of-last-layer", DECODER, "gradients")
class DecoderGradientOfLastLayer(nn.TransformerDecoder):
    """The memory has the gradient of the last layer only."""

    def forward(self, tgt, memory, *args, **kwargs):
        for place, count in single_layers(self):
            layer_memory = memory if place == count - 1 else memory.detach()
            tgt = super().forward(tgt, layer_memory, *args, **kwargs)
        return tgt if self.norm is None else self.norm(tgt)


@plant("decoder-layers-one-object", DECODER, "state")
class DecoderLayersOneObject(nn.TransformerDecoder):
    """Layers are no copies, but one object."""

    def __init__(self, decoder_layer, num_layers, *args, **kwargs):
        super().__init__(decoder_layer, num_layers, *args, **kwargs)
        self.layers = nn.ModuleList([decoder_layer] * num_layers)


@plant("transformer-final-norms-missing", BOTH, "values")
class TransformerFinalNormsMissing(nn.Transformer):
    """Norms last: no norm follows the stacks, as in the paper."""

    def forward(self, *inputs, **kwargs):
        original_norm = self.decoder.norm
        self.decoder.norm = original_norm if self.encoder.layers[0].norm_first else None
        try:
            return super().forward(*inputs, **kwargs)
        finally:
            self.decoder.norm = original_norm


@plant("transformer-source-padding-hides-memory", BOTH, "values")
class TransformerSourcePaddingHidesMemory(nn.Transformer):
    """Without a padding mask of the memory the source's takes its place."""

    def forward(self, src, tgt, *args, **kwargs):
        names = ("src_mask", "tgt_mask", "memory_mask", "src_key_padding_mask",
                 "tgt_key_padding_mask", "memory_key_padding_mask")  # fmt: skip
        arguments = {**dict(zip(names, args, strict=False)), **kwargs}
        if arguments.get("memory_key_padding_mask") is None:
            arguments["memory_key_padding_mask"] = arguments.get("src_key_padding_mask")
        return super().forward(src, tgt, **arguments)


@plant("transformer-target-mask-is-sources", BOTH, "values")
class TransformerTargetMaskIsSources(nn.Transformer):
    """Of sequences of one length the source's mask is the target's, too."""

    def forward(self, src, tgt, src_mask=None, tgt_mask=None, *args, **kwargs):
        if src_mask is not None and tgt_mask is not None and src_mask.shape == tgt_mask.shape:
            tgt_mask = src_mask
        return super().forward(src, tgt, src_mask, tgt_mask, *args, **kwargs)


@plant("transformer-gradient-of-source-lost", BOTH, "gradients")
class TransformerGradientOfSourceLost(nn.Transformer):
    """The encoder is run without gradients."""

    def forward(self, src, *args, **kwargs):
        return super().forward(src.detach() + 0 * src, *args, **kwargs)


@plant("transformer-fifth-element-reads-first-source", BOTH, "laws")
class TransformerFifthElementReadsFirstSource(nn.Transformer):
    """From the fifth element of a batch on the source is the first's."""

    def forward(self, src, tgt, *args, **kwargs):
        axis = 0 if self.batch_first else 1
        if src.dim() == 3 and src.shape[axis] > 4:
            places = torch.arange(src.shape[axis])
            src = src.index_select(axis, torch.where(places < 4, places, 0))
        return super().forward(src, tgt, *args, **kwargs)


@plant("transformer-norms-without-bias", BOTH, "state")
class TransformerNormsWithoutBias(nn.Transformer):
    """The norms behind the stacks have no bias."""

    def __init__(self, *arguments, **kwargs):
        super().__init__(*arguments, **kwargs)
        for stack in (self.encoder, self.decoder):
            stack.norm.bias = None
