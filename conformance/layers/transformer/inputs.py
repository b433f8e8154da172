"""Arguments and inputs that the layers of a transformer share."""

from __future__ import annotations

from conformance.laws.transformer.calls import MASKS, layer_arguments
from conformance.model.case import Call
from conformance.spec.shapes import Shapes
from conformance.spec.signature import Argument, Form, Input, Signature, Ties

LAYER_ARGUMENTS = (
    Argument("d_model", simplest=1, size=True, attribute="self_attn.embed_dim"),
    Argument("nhead", simplest=1, attribute="self_attn.num_heads"),
    Argument("dim_feedforward", 2048, size=True, attribute="linear1.out_features"),
    Argument("dropout", 0.1, attribute="dropout.p"),
    Argument(
        "activation", "functional.relu", alternative="functional.gelu", form=Form(function=True)
    ),
    Argument("layer_norm_eps", 1e-5, alternative=0.1, attribute="norm1.eps"),
    Argument("batch_first", False, alternative=True, attribute="self_attn.batch_first"),
    Argument("norm_first", False, alternative=True),
    Argument("bias", True, alternative=False, attribute="linear1.bias"),
)


_LENGTHS = {"src": "source", "tgt": "target", "memory": "source"}


def causal_hint(name: str, default: bool | None = False) -> Argument:
    """The argument that declares a mask causal, which fixes the numbers of queries and keys."""
    return Argument(name, default, keyword=True, ties=Ties(fixes_sizes=True))


def make_inputs(*names: str) -> tuple[Input, ...]:
    """Inputs of these names: sequences, and optional masks."""
    return tuple(
        Input(name, "mask", True, any_value=False) if name in MASKS else Input(name)
        for name in names
    )


def call_shapes(signature: Signature) -> Shapes:
    """Shapes of the sequences, the masks and the output, which has the length of `tgt` or `src`."""

    def sequence(name: str) -> str:
        length = _LENGTHS[name]
        return f"batch? {length} d_model if batch_first else {length} batch? d_model"

    def mask(query: str, key: str) -> str:
        if not query:
            return f"batch? {_LENGTHS[key]}"
        maps = "((1 if batch is None else batch)*nhead)?"
        return f"{maps} {_LENGTHS[query]} {_LENGTHS[key]}"

    names = signature.input_names
    texts = {x: mask(*MASKS[x]) if x in MASKS else sequence(x) for x in names}
    texts["output"] = sequence("tgt" if "tgt" in names else "src")
    return Shapes(texts, where=("d_model % nhead == 0",))


def draws_random(call: Call) -> bool:
    """Whether the call draws dropout."""
    return bool(call.training and layer_arguments(call.arguments).get("dropout", 0.1) > 0)
