"""Public names of torch.nn and torch.nn.functional that have no row, each with its reason.

A test holds: what torch exports is in the catalogue or here, and nothing is in both.
"""

from __future__ import annotations

from collections.abc import Mapping

from conformance.layers import CATALOGUE

# Family → its classes and functions; those that have rows by now are not excluded.
_TO_COME = {
    "activation": """
        relu_ leaky_relu_ rrelu_ elu_ selu_ celu_ hardtanh_ threshold_
    """,
    "loss": """
        BCELoss BCEWithLogitsLoss CosineEmbeddingLoss
        GaussianNLLLoss HingeEmbeddingLoss HuberLoss KLDivLoss L1Loss
        MSELoss MarginRankingLoss MultiLabelMarginLoss
        MultiLabelSoftMarginLoss MultiMarginLoss PoissonNLLLoss SmoothL1Loss
        SoftMarginLoss TripletMarginLoss TripletMarginWithDistanceLoss
        binary_cross_entropy binary_cross_entropy_with_logits cosine_embedding_loss
        gaussian_nll_loss hinge_embedding_loss huber_loss kl_div l1_loss
        margin_ranking_loss mse_loss multi_margin_loss
        multilabel_margin_loss multilabel_soft_margin_loss poisson_nll_loss
        smooth_l1_loss soft_margin_loss triplet_margin_loss
        triplet_margin_with_distance_loss
    """,
    "attention": """
        Transformer TransformerDecoder TransformerDecoderLayer TransformerEncoder
        TransformerEncoderLayer
    """,
}
_OTHERWISE = {
    "has no computation of its own": """
        DataParallel Module ModuleDict ModuleList ParameterDict ParameterList RNNBase RNNCellBase
        Sequential
    """,
    "is deprecated or legacy, and documented nowhere or as another name of what is here": """
        NLLLoss2d Container
        multi_head_attention_forward upsample upsample_bilinear upsample_nearest
        conv_tbc
        adaptive_max_pool1d_with_indices adaptive_max_pool2d_with_indices
        adaptive_max_pool3d_with_indices fractional_max_pool2d_with_indices
        fractional_max_pool3d_with_indices max_pool1d_with_indices
        max_pool2d_with_indices max_pool3d_with_indices
    """,
    "needs hardware or formats that no case has": """
        grouped_mm scaled_grouped_mm scaled_mm
    """,
    "is a helper of torch's own code": """
        assert_int_or_pair boolean_dispatch handle_torch_function has_torch_function
        has_torch_function_unary has_torch_function_variadic Optional
    """,
}

_ROWS = {name.removeprefix("functional.") for name in CATALOGUE}

EXCLUDED: Mapping[str, str] = {
    **{
        name: f"its row, of the family {family}, is still to be written"
        for family, names in _TO_COME.items()
        for name in names.split()
        if name not in _ROWS
    },
    **{name: reason for reason, names in _OTHERWISE.items() for name in names.split()},
}
"""Name, without `functional.`, → why it has no row."""
