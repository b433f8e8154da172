"""The dtype in which a layer computes inside `torch.autocast`, as the documentation lists it.

https://docs.pytorch.org/docs/stable/amp.html#autocast-op-reference. The lists are per device; of
each only operators that layers call are here, by the names of their functions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from conformance.model.case import class_and_method, is_function

_LOWER, _FLOAT32, _OWN = "lower precision", "float32", "that of its inputs"

_CONVOLUTIONS = tuple(f"conv{kind}{dims}d" for kind in ("", "_transpose") for dims in (1, 2, 3))
_LOSSES = (
    "binary_cross_entropy_with_logits", "cosine_embedding_loss", "cross_entropy",
    "hinge_embedding_loss", "kl_div", "l1_loss", "margin_ranking_loss", "mse_loss",
    "multi_margin_loss", "multilabel_margin_loss", "nll_loss", "poisson_nll_loss",
    "soft_margin_loss", "triplet_margin_loss",
)  # fmt: skip
_LISTS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "cpu": {
        _LOWER: (*_CONVOLUTIONS, "linear", "bmm", "prelu", "scaled_dot_product_attention"),
        _FLOAT32: (
            *_LOSSES, "binary_cross_entropy", "huber_loss", "ctc_loss",
            "avg_pool3d", "max_pool3d", "adaptive_avg_pool3d", "adaptive_max_pool3d",
            "fractional_max_pool2d", "fractional_max_pool3d", "max_unpool2d", "max_unpool3d",
            "reflection_pad1d", "reflection_pad2d",
            "replication_pad1d", "replication_pad2d", "replication_pad3d", "grid_sample",
        ),
    },
    "cuda": {
        _LOWER: (*_CONVOLUTIONS, "linear", "bmm", "prelu", "gru_cell", "lstm_cell", "rnn_cell"),
        _FLOAT32: (
            *_LOSSES, "smooth_l1_loss", "cosine_similarity", "group_norm", "layer_norm",
            "log_softmax", "softmax", "softmin", "softplus", "normalize", "pdist",
            "log", "pow", "norm", "rsqrt", "sum",
        ),
    },
}  # fmt: skip

_COMPOSED: Mapping[str, tuple[str, ...]] = {
    "rnn": ("linear", "tanh"), "gru": ("linear", "tanh"), "lstm": ("linear", "tanh"),
    "rnn_cell": ("rnn_cell", "linear", "tanh"), "gru_cell": ("gru_cell", "linear", "tanh"),
    "lstm_cell": ("lstm_cell", "linear", "tanh"),
    "multihead_attention": ("linear", "softmax"),
    "linear_cross_entropy": ("linear", "cross_entropy"),
    "adaptive_log_softmax_with_loss": ("linear", "log_softmax"),
    "affine_grid": ("bmm", "linspace"),
    "interpolate": ("adaptive_avg_pool3d", "upsample_nearest1d"),
    "pad": ("reflection_pad1d", "constant_pad_nd"),
    "max_unpool1d": ("max_unpool2d", "unsqueeze"),
    "local_response_norm": ("avg_pool3d", "pow", "div"),
    "lp_pool1d": ("pow", "relu"), "lp_pool2d": ("pow", "relu"),
    "lp_pool3d": ("avg_pool3d", "pow", "relu"),
    "gaussian_nll_loss": ("log", "add"), "multilabel_soft_margin_loss": ("sum", "log_sigmoid"),
    "triplet_margin_with_distance_loss": ("norm", "add"), "pairwise_distance": ("norm", "sub"),
    "gumbel_softmax": ("softmax", "add"), "rms_norm": ("rsqrt", "mul"),
    "fuse_conv_bn_weights": ("rsqrt", "mul"), "fuse_linear_bn_weights": ("rsqrt", "mul"),
    "weight_norm": ("linear", "norm"), "spectral_norm": ("linear", "div"),
    "clip_grad_norm_": ("norm", "mul"), "get_total_norm": ("norm", "stack"),
    "clip_grads_with_norm_": ("pow", "mul"), "softmax2d": ("softmax",),
    **{f"transformer{part}": ("linear", "softmax") for part in (
        "", "_encoder_layer", "_decoder_layer", "_encoder", "_decoder",
    )},
    "network": ("linear", "relu"), "sequential": ("linear", "relu"),
}  # fmt: skip
"""Layer that calls other operators → some of these that stand for all dtypes among them."""

_MODULES = {
    "BCEWithLogitsLoss": "binary_cross_entropy_with_logits", "BCELoss": "binary_cross_entropy",
    "CTCLoss": "ctc_loss", "CrossEntropyLoss": "cross_entropy", "KLDivLoss": "kl_div",
    "GaussianNLLLoss": "gaussian_nll_loss", "L1Loss": "l1_loss", "LPPool1d": "lp_pool1d",
    "LPPool2d": "lp_pool2d", "LPPool3d": "lp_pool3d",
    "LinearCrossEntropyLoss": "linear_cross_entropy", "MSELoss": "mse_loss",
    "MultiLabelMarginLoss": "multilabel_margin_loss",
    "MultiLabelSoftMarginLoss": "multilabel_soft_margin_loss", "NLLLoss": "nll_loss",
    "PReLU": "prelu", "PoissonNLLLoss": "poisson_nll_loss", "RMSNorm": "rms_norm",
    "RNN": "rnn", "LSTM": "lstm", "GRU": "gru", "RNNCell": "rnn_cell",
    "LSTMCell": "lstm_cell", "GRUCell": "gru_cell", "SmoothL1Loss": "smooth_l1_loss",
}  # fmt: skip


def computed_dtype(layer: str, device: str, dtype: str, region: str | None) -> str | None:
    """The dtype in which a layer computes and answers; None where its operators differ in it.

    Args:
        layer: a layer of torch's, by its name in the catalogue.
        device: type of the device.
        dtype: of all operands.
        region: of the innermost region; None if that is disabled.
    """
    if region is None or dtype not in ("float32", "float16", "bfloat16"):
        return dtype
    name = _operator(layer)
    if device not in _LISTS or (device == "cuda" and name == "binary_cross_entropy"):
        return None
    dtypes = {_LOWER: region, _FLOAT32: "float32", _OWN: dtype}
    part_dtypes = {dtypes[_rule(device, part)] for part in _COMPOSED.get(name, (name,))}
    return part_dtypes.pop() if len(part_dtypes) == 1 else None


def _operator(layer: str) -> str:
    """The function that a layer calls: `Conv2d` calls `conv2d`."""
    name = layer.split(".")[-1] if is_function(layer) else class_and_method(layer)[0]
    name = name.split(".")[-1].removeprefix("Lazy")
    return _MODULES.get(name) or re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def _rule(device: str, operator: str) -> str:
    return next((rule for rule, names in _LISTS[device].items() if operator in names), _OWN)
