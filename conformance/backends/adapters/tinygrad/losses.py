"""tinygrad's losses and attention: methods of `Tensor` whose documentation cites torch's."""

from __future__ import annotations

from typing import Any

from tinygrad import dtypes

from conformance.backends.adapters.shared import State, require_supported
from conformance.backends.function import FunctionBackend, implements
from conformance.model.case import Unsupported


class Losses(FunctionBackend):
    """The part of tinygrad's adapter for losses, one-hot vectors and attention."""

    @implements(
        "CrossEntropyLoss", "functional.cross_entropy", passes=("reduction", "label_smoothing")
    )
    def cross_entropy(
        self, state: State, input: Any, target: Any, weight: Any = None, *,
        ignore_index: int = -100, **arguments: Any,
    ) -> Any:  # fmt: skip
        """`Tensor.cross_entropy`, which has no weights and no ignored class."""
        require_supported(ignore_index=(ignore_index, -100))
        if dtypes.is_int(target.dtype) and (target == ignore_index).any().item():
            raise Unsupported("a target that is ignored")
        _decline_inputs(weight=state.get("weight", weight))
        return input.cross_entropy(target, **arguments)

    @implements("NLLLoss", "functional.nll_loss", passes=("reduction",))
    def nll_loss(
        self, state: State, input: Any, target: Any, weight: Any = None, *,
        ignore_index: int = -100, **arguments: Any,
    ) -> Any:  # fmt: skip
        """`Tensor.nll_loss`, which takes weights and an ignored class."""
        return input.nll_loss(target, state.get("weight", weight), ignore_index, **arguments)

    @implements("BCELoss", "functional.binary_cross_entropy", passes=("reduction",))
    def binary_cross_entropy(
        self, state: State, input: Any, target: Any, weight: Any = None, **arguments: Any
    ) -> Any:
        """`Tensor.binary_crossentropy`."""
        _decline_inputs(weight=state.get("weight", weight))
        return input.binary_crossentropy(target, **arguments)

    @implements(
        "BCEWithLogitsLoss", "functional.binary_cross_entropy_with_logits", passes=("reduction",)
    )
    def binary_cross_entropy_with_logits(
        self, state: State, input: Any, target: Any, weight: Any = None, pos_weight: Any = None,
        **arguments: Any,
    ) -> Any:  # fmt: skip
        """`Tensor.binary_crossentropy_logits`."""
        _decline_inputs(weight=state.get("weight", weight))
        arguments["pos_weight"] = state.get("pos_weight", pos_weight)
        return input.binary_crossentropy_logits(target, **arguments)

    @implements("functional.one_hot")
    def one_hot(self, state: State, tensor: Any, *, num_classes: int = -1) -> Any:
        """`Tensor.one_hot` with an explicit number of classes."""
        if num_classes == -1:
            raise Unsupported("num_classes=-1")
        return tensor.one_hot(num_classes)

    @implements("functional.scaled_dot_product_attention", passes=("is_causal", "enable_gqa"))
    def scaled_dot_product_attention(
        self,
        state: State,
        query: Any,
        key: Any,
        value: Any,
        attn_mask: Any = None,
        **arguments: Any,
    ) -> Any:
        """`Tensor.scaled_dot_product_attention`, which drops out only in train mode."""
        return query.scaled_dot_product_attention(key, value, attn_mask, **arguments)


def _decline_inputs(**inputs: Any) -> None:
    """Decline inputs for which tinygrad has no argument."""
    for name, value in inputs.items():
        if value is not None:
            raise Unsupported(name)
