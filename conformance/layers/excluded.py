"""Public names of torch.nn and its namespaces that the catalogue leaves out, each with its reason.

A test checks that every name torch exports is either in the catalogue or here, and in one only.
"""

from __future__ import annotations

from collections.abc import Mapping

# Reason → namespace → its names. A namespace that is left out entirely is a name of its parent.
_REASONS = {
    "has no computation of its own": {
        "": """
            DataParallel Module ModuleDict ModuleList ParameterDict ParameterList RNNBase
            RNNCellBase
        """,
    },
    "is a container of tensors or arguments: a parameter, a buffer, a record": {
        "": """
            Buffer LinearCrossEntropyOptions Parameter UninitializedBuffer UninitializedParameter
        """,
        "parameter": """
            Buffer Parameter UninitializedBuffer UninitializedParameter UninitializedTensorMixin
            is_lazy
        """,
        "utils.rnn": "PackedSequence",
    },
    "is deprecated or legacy: undocumented, or documented as an alias": {
        "": "Container NLLLoss2d",
        "functional": """
            adaptive_max_pool1d_with_indices adaptive_max_pool2d_with_indices
            adaptive_max_pool3d_with_indices conv_tbc fractional_max_pool2d_with_indices
            fractional_max_pool3d_with_indices max_pool1d_with_indices max_pool2d_with_indices
            max_pool3d_with_indices multi_head_attention_forward upsample upsample_bilinear
            upsample_nearest
        """,
        "init": """
            constant dirac eye kaiming_normal kaiming_uniform normal orthogonal sparse uniform
            xavier_normal xavier_uniform
        """,
        "utils": "clip_grad_norm remove_spectral_norm remove_weight_norm spectral_norm weight_norm",
    },
    "needs hardware or number formats that no case has": {
        "functional": """
            ScalingType SwizzleType grouped_mm scaled_addmm scaled_addmm_ scaled_grouped_mm
            scaled_mm
        """,
        "attention": "varlen.AuxRequest varlen.varlen_attn varlen.varlen_attn_out",
    },
    "chooses which kernel of attention runs, not what it computes": {
        "attention": """
            SDPBackend WARN_FOR_UNFUSED_KERNELS activate_flash_attention_impl
            current_flash_attention_impl list_flash_attention_impls register_flash_attention_impl
            restore_flash_attention_impl sdpa_kernel
        """,
    },
    "takes functions to compile, or makes their arguments": {
        "attention.flex_attention": """
            AuxOutput AuxRequest BlockMask FlexKernelOptions and_masks create_block_mask
            create_mask flex_attention noop_mask or_masks
        """,
    },
    "is a mask of scaled_dot_product_attention, which the catalogue has with masks": {
        "attention.bias": "CausalBias CausalVariant causal_lower_right causal_upper_left",
    },
    "is the gradient of a convolution, which the convolution's checks cover": {
        "grad": """
            conv1d_input conv1d_weight conv2d_input conv2d_weight conv3d_input conv3d_weight
        """,
    },
    "returns one of many orthogonal matrices: the documentation does not say which": {
        "utils.parametrizations": "orthogonal",
    },
    "returns a number by name, as an argument of an initialiser": {
        "init": "calculate_gain",
    },
    "fuses two modules by the function of their weights that is in the catalogue": {
        "utils": "fuse_conv_bn_eval fuse_linear_bn_eval",
    },
    "moves, exchanges or marks tensors of a module, and computes nothing": {
        "utils": """
            convert_conv2d_weight_memory_format convert_conv3d_weight_memory_format
            parameters_to_vector skip_init vector_to_parameters
        """,
        "utils.parametrize": """
            ParametrizationList cached is_parametrized register_parametrization
            remove_parametrizations transfer_parametrizations_and_params
            type_before_parametrizations
        """,
        "utils.stateless": "functional_call",
    },
    "prunes: decides by scores which weights are masked, and multiplies by the mask": {
        "utils.prune": """
            BasePruningMethod CustomFromMask Identity L1Unstructured LnStructured PruningContainer
            RandomStructured RandomUnstructured custom_from_mask global_unstructured identity
            is_pruned l1_unstructured ln_structured random_structured random_unstructured remove
        """,
    },
    "is a helper of torch's own code": {
        "": "factory_kwargs",
        "functional": """
            assert_int_or_pair boolean_dispatch handle_torch_function has_torch_function
            has_torch_function_unary has_torch_function_variadic
        """,
        "utils.rnn": "invert_permutation",
    },
    "is a namespace of quantised layers, whose numerics differ": {
        "": "intrinsic qat quantizable quantized",
    },
    "is a namespace without layers of its own": {
        "": "backends common_types cpp modules parallel",
        "attention": "experimental",
        "utils": "clip_grad convert_parameters fusion init memory_format",
    },
}

# The same for names that only a torch older than `TORCH` exports.
_OLDER_REASONS = {
    "takes functions to compile, or makes their arguments": {
        "attention.flex_attention": "create_nested_block_mask",
    },
}


def _qualified_names(space: str, names: str) -> tuple[str, ...]:
    return tuple(f"{space}.{name}" if space else name for name in names.split())


TORCH = "2.13"
"""The release of torch whose names are all in the catalogue or here."""

OLDER: Mapping[str, str] = {
    name: reason
    for reason, spaces in _OLDER_REASONS.items()
    for space, names in spaces.items()
    for name in _qualified_names(space, names)
}
"""Name → why the catalogue leaves it out, of names that this release no longer has."""

EXCLUDED: Mapping[str, str] = {
    **{
        name: reason
        for reason, spaces in _REASONS.items()
        for space, names in spaces.items()
        for name in _qualified_names(space, names)
    },
    **OLDER,
}
"""Name below `torch.nn`, such as `"functional.upsample"` → why the catalogue leaves it out."""

ARGUMENTS: Mapping[str, str] = {
    "size_average": "deprecated: replaced by reduction",
    "reduce": "deprecated: replaced by reduction",
    "device": "a case has its own device",
    "dtype": "a case has its own dtype",
    "generator": "an object of torch's own; checks of random draws pass none",
    "custom_encoder": "any module at all; cases use torch's own encoder",
    "custom_decoder": "any module at all; cases use torch's own decoder",
}
"""Argument → why specifications leave it out. The `dtype` of a softmax is a different one."""
