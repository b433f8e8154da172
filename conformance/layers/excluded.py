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

ARGUMENTS: Mapping[str, str] = {
    "size_average": "deprecated: reduction stands for it",
    "reduce": "deprecated: reduction stands for it",
    "device": "the case says where it runs",
    "dtype": "the case says in which dtype",
    "custom_encoder": "any module at all: that both stacks are joined is asked of torch's own",
    "custom_decoder": "any module at all: that both stacks are joined is asked of torch's own",
}
"""Argument → why rows leave it out; the dtype of a softmax is another one, and has a place."""
