"""MLX's adapter with bugs."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import mlx.nn as nn

from conformance import Call
from conformance.backends import implements
from conformance.backends.adapters.mlx import Mlx
from conformance.model.case import Updated

from . import around
from .bug import plant, plant_around

FAITHFUL = "conformance.backends.adapters.mlx:backend"


@plant(FAITHFUL, "LSTM")
class GatesSwapped(Mlx):
    """The cell's gate comes before the forget gate."""

    @implements("LSTM", passes=("input_size", "hidden_size", "bias", "batch_first"))
    def lstm_with_swapped_gates(
        self, state: Any, x: Any, *states: Any, call: Call, **arguments: Any
    ) -> Any:
        """Of the weights the second and third quarter change places."""

        def swap_gates(w: Any) -> Any:
            i, f, g, o = mx.split(w, 4)
            return mx.concatenate([i, g, f, o])

        swapped_state = {name: swap_gates(w) for name, w in state.items()}
        return self.recurrent(swapped_state, x, *states, call=call, **arguments)


@plant(FAITHFUL, "Conv2d")
class GroupsForgetBias(Mlx):
    """With groups the bias is not added."""

    @implements("Conv2d", passes=("in_channels", "out_channels", "kernel_size", "stride"))
    def conv_without_bias_in_groups(
        self, state: Any, x: Any, *, call: Call, groups: int = 1, padding: Any = 0,
        dilation: Any = 1, bias: bool = True, **arguments: Any,
    ) -> Any:  # fmt: skip
        """A layer without a bias."""
        if groups > 1:
            bias, state = False, {"weight": state["weight"]} if state else {}
        keywords = {"groups": groups, "padding": padding, "dilation": dilation, "bias": bias}
        return self.conv(state, x, call=call, **keywords, **arguments)


@plant(FAITHFUL, "functional.conv1d")
class SamePadsBefore(Mlx):
    """Of an odd number of zeros 'same' puts the larger part before the input."""

    @implements("functional.conv1d", passes=("stride", "dilation", "groups"))
    def functional_conv_padding_before(
        self, state: Any, input: Any, weight: Any, bias: Any = None, *, call: Call,
        padding: Any = 0, **arguments: Any,
    ) -> Any:  # fmt: skip
        """Everything the other way round."""
        if padding != "same":
            keywords = {"call": call, "padding": padding, **arguments}
            return self.functional_conv(state, input, weight, bias, **keywords)
        x, w = input[..., ::-1], weight[..., ::-1]
        return self.functional_conv(state, x, w, bias, call=call, padding=padding, **arguments)[
            ..., ::-1
        ]


@plant(FAITHFUL, "Bilinear")
class InputsExchanged(Mlx):
    """Where both inputs have as many features they are taken for one another."""

    @implements("Bilinear", passes=("in1_features", "in2_features", "out_features", "bias"))
    def bilinear_with_swapped_inputs(
        self, state: Any, x1: Any, x2: Any, *, call: Call, **arguments: Any
    ) -> Any:
        """The weight's inputs exchanged."""
        if x1.shape == x2.shape:
            x1, x2 = x2, x1
        return self.bilinear(state, x1, x2, call=call, **arguments)


@plant(FAITHFUL, "Conv1d", "Conv2d")
class CircularIsZeros(Mlx):
    """Circular padding, which the adapter declines, is zero padding."""

    @implements(
        "Conv1d", "Conv2d",
        passes=("in_channels", "out_channels", "kernel_size", "stride", "padding", "bias"),
    )  # fmt: skip
    def conv_with_zero_padding(
        self, state: Any, x: Any, *, call: Call, padding_mode: str = "zeros", groups: int = 1,
        dilation: Any = 1, **arguments: Any,
    ) -> Any:  # fmt: skip
        """Zeros for all modes."""
        return self.conv(state, x, call=call, groups=groups, dilation=dilation, **arguments)


@plant(FAITHFUL, "BatchNorm1d", "BatchNorm2d")
class RunningVarianceBiased(Mlx):
    """The running variance is the biased one, as MLX had it before 0.32."""

    @implements(
        "BatchNorm1d", "BatchNorm2d",
        passes=("num_features", "eps", "momentum", "affine", "track_running_stats"),
    )  # fmt: skip
    def batch_norm_with_biased_variance(
        self,
        state: Any,
        x: Any,
        *,
        call: Call,
        training: bool,
        momentum: float = 0.1,
        **arguments: Any,
    ) -> Any:
        """The step towards the batch's variance is shortened by (n − 1)/n."""
        keywords = {"call": call, "training": training, "momentum": momentum, **arguments}
        result = self.batch_norm(state, x, **keywords)
        if not isinstance(result, Updated) or not state:
            return result
        n, old_part = x.size // x.shape[1], (1 - momentum) * state["running_var"]
        step = (result.state["running_var"] - old_part) * ((n - 1) / n)
        return Updated(result.outputs, {**result.state, "running_var": old_part + step})


@plant(FAITHFUL, "functional.gelu")
class FastGelu(Mlx):
    """The approximation by tanh is the fast one, x·σ(1.702·x)."""

    @implements("functional.gelu")
    def fast_gelu(self, state: Any, input: Any, *, approximate: str = "none") -> Any:
        """`nn.gelu_fast_approx`."""
        if approximate == "tanh":
            return nn.gelu_fast_approx(input)
        return self.functional_gelu(state, input, approximate=approximate)


@plant(FAITHFUL, "PReLU")
class SlopesOfLastAxis(Mlx):
    """Where the last axis is as long as that of the channels, the slopes are of the last axis."""

    @implements("PReLU", passes=("num_parameters", "init"))
    def prelu_on_last_axis(self, state: Any, x: Any, *, call: Call, **arguments: Any) -> Any:
        """Channels stay where they are."""
        if state and x.ndim > 2 and x.shape[-1] == x.shape[1] == len(state["weight"]):
            return nn.prelu(x, state["weight"])
        return self.prelu(state, x, call=call, **arguments)


@plant(FAITHFUL, "Dropout3d")
class ElementsDropped(Mlx):
    """Single numbers are dropped, not whole channels."""

    @implements("Dropout3d", passes=("p",))
    def drop_elements(
        self, state: Any, x: Any, *, call: Call, training: bool, **arguments: Any
    ) -> Any:
        """`nn.Dropout`."""
        if arguments.get("p", 0.5) == 1:
            return self.dropout(state, x, call=call, training=training, **arguments)
        return nn.Dropout(arguments.get("p", 0.5)).train(training)(x)


@plant(FAITHFUL, "AvgPool1d")
class PaddingNotCounted(Mlx):
    """A mean is of the numbers alone, without the zeros around them."""

    @implements("AvgPool1d", passes=("kernel_size", "stride", "padding"))
    def avg_pool_without_padding(self, state: Any, x: Any, *, call: Call, **arguments: Any) -> Any:
        """Divided by the mean of ones."""
        means = self.pool(state, x, call=call, **arguments)
        return means / self.pool(state, mx.ones_like(x), call=call, **arguments)


@plant(FAITHFUL, "functional.scaled_dot_product_attention")
class CausalFromTheEnd(Mlx):
    """The causal mask is that of MLX with other lengths, too: the last query sees all keys."""

    @implements("functional.scaled_dot_product_attention", passes=("scale", "enable_gqa"))
    def attention_with_lower_right_mask(
        self, state: Any, query: Any, key: Any, value: Any, mask: Any = None, *,
        is_causal: bool = False, **arguments: Any,
    ) -> Any:  # fmt: skip
        """A mask in place of the word, which the adapter declines."""
        if is_causal and mask is None:
            n, m = query.shape[-2], key.shape[-2]
            mask, is_causal = mx.tril(mx.ones((n, m)), m - n) > 0, False
        keywords = {"is_causal": is_causal, **arguments}
        return self.scaled_dot_product_attention(state, query, key, value, mask, **keywords)


@plant(FAITHFUL, "Upsample", "UpsamplingBilinear2d")
class FactorsFromTheEnd(Mlx):
    """The factors of several dimensions are taken from the last to the first."""

    @implements(
        "Upsample", "UpsamplingBilinear2d",
        passes=("size", "mode", "align_corners", "recompute_scale_factor"),
    )  # fmt: skip
    def upsample_with_reversed_factors(
        self, state: Any, x: Any, *, call: Call, scale_factor: Any = None, **arguments: Any
    ) -> Any:
        """A tuple turned round."""
        factor = scale_factor[::-1] if isinstance(scale_factor, tuple) else scale_factor
        return self.upsample(state, x, call=call, scale_factor=factor, **arguments)


@plant(FAITHFUL, "MultiheadAttention")
class MasksOfHeadsTurned(Mlx):
    """Masks of each head count batches within heads, and not heads within batches."""

    @implements(
        "MultiheadAttention",
        passes=(
            "embed_dim", "dropout", "bias", "kdim", "vdim", "batch_first", "need_weights",
            "average_attn_weights", "is_causal",
        ),
    )  # fmt: skip
    def attention_with_swapped_mask_axes(
        self, state: Any, query: Any, key: Any, value: Any, padding: Any = None, mask: Any = None,
        *, num_heads: int, call: Call, **arguments: Any,
    ) -> Any:  # fmt: skip
        """The mask's first axis in the other order."""
        if mask is not None and mask.ndim == 3:
            head_masks = mask.reshape(num_heads, -1, *mask.shape[1:])
            mask = head_masks.swapaxes(0, 1).reshape(mask.shape)
        keywords = {"num_heads": num_heads, "call": call, **arguments}
        return self.multi_head_attention(state, query, key, value, padding, mask, **keywords)


@plant(FAITHFUL, "GaussianNLLLoss", "functional.gaussian_nll_loss")
class EpsIsAdded(Mlx):
    """A variance has eps added to it, where it shall be eps at least."""

    @implements(
        "GaussianNLLLoss", "functional.gaussian_nll_loss", passes=("full", "eps", "reduction")
    )
    def gaussian_nll_loss_adding_eps(
        self, state: Any, input: Any, target: Any, var: Any, **arguments: Any
    ) -> Any:
        """The sum in place of the maximum."""
        eps = arguments.get("eps", 1e-6)
        return self.gaussian_nll_loss(state, input, target, var + eps, **arguments)


@plant(FAITHFUL, "KLDivLoss", "functional.kl_div")
class BatchmeanIsMean(Mlx):
    """The mean of a batch divides by all elements."""

    @implements("KLDivLoss", "functional.kl_div", passes=("log_target",))
    def kl_div_loss_by_elements(
        self, state: Any, input: Any, target: Any, *, reduction: str = "mean", **arguments: Any
    ) -> Any:
        """Another divisor, where there is more than one element in a sample."""
        if reduction == "batchmean" and input.ndim and input.size:
            reduction = "mean"
        return self.kl_div_loss(state, input, target, reduction=reduction, **arguments)


@plant(FAITHFUL, "TransformerEncoderLayer")
class NormsComeFirst(Mlx):
    """Where the order of norms is left out, they come first, which is MLX's own default."""

    @implements(
        "TransformerEncoderLayer",
        passes=(
            "d_model", "nhead", "dim_feedforward", "activation", "layer_norm_eps", "bias",
            "batch_first", "is_causal",
        ),
        ignores=("dropout",),
    )  # fmt: skip
    def layer_with_norms_first(
        self, state: Any, src: Any, *masks: Any, call: Call, norm_first: bool = True,
        **arguments: Any,
    ) -> Any:  # fmt: skip
        """Another default."""
        keywords = {"call": call, "norm_first": norm_first, **arguments}
        return self.transformer_encoder_layer(state, src, *masks, **keywords)


plant_around(
    __name__, Mlx, FAITHFUL,
    {
        around.FirstAnswerKept: "Linear",
        around.StateLacksItsLast: "GRU",
        around.LoadForgotten: "Conv1d",
        around.LayoutsMisread: "Conv2d",
        around.GradientDoubled: "Linear",
        around.GradientsLackOne: "Bilinear",
        around.Drifts: "RNN",
        around.DtypeWidened: "Conv3d",
        around.BatchOfOneDropped: "functional.conv2d",
        around.NanIsZero: "functional.linear",
        around.OddLengthsRaise: "ConvTranspose1d",
        around.InvalidGetsZeros: "functional.conv1d",
    },
)  # fmt: skip
