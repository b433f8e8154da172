"""Cases of dropout: any shape that the layer takes, either mode."""

from __future__ import annotations

from typing import Any

from conformance.strategies.arguments import ArgumentWriter, masks
from conformance.strategies.composing import composite
from conformance.strategies.values import Filler, regimes, seeds
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Call, Case, bare_name, is_function

# Vector code reads 8, 16 or 64 elements at a time, and a tail.
shapes = st.sampled_from(((1,), (), (2,), (3,), (67,), (129,), (0,), (257,))) | st.lists(
    st.integers(0, 5), min_size=2, max_size=4
).map(tuple)
probabilities = st.sampled_from((0.5, 0.5, 0.1, 1 / 3, 0.75, 0.0, 1.0, 0.9, 0.003))
yes_no = st.booleans()
# Ranks of the input of layers that drop channels. Dropout2d reads a rank of three as (N, C, L).
_RANKS = {
    "dropout1d": (3, 2),
    "dropout2d": (4, 3),
    "dropout3d": (5, 4),
    "featurealphadropout": (5, 4),
}
_LENGTHS = st.sampled_from((1, 2, 3, 1, 5, 0, 4))
_ALPHA = ("alpha_dropout", "feature_alpha_dropout")
# Mostly in training: dropout computes nothing otherwise.
modes = st.sampled_from((False, True, True))


def _input_shapes(layer: str) -> st.SearchStrategy[tuple[int, ...]]:
    """Strategy of the shapes that a layer accepts as input."""
    ranks = _RANKS.get(bare_name(layer).lower().replace("_", ""))
    if ranks is None:
        return shapes
    return st.one_of(*(st.tuples(*[_LENGTHS] * rank) for rank in ranks))


@composite
def dropouts(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of dropout.

    Args:
        layer: `"Dropout"`, `"functional.dropout"`, or another name of the family.
    """
    shape, p = draw(_input_shapes(layer)), draw(probabilities)
    training, inplace = draw(modes), draw(yes_no)
    writer = ArgumentWriter(draw(masks))
    regime, seed = draw(regimes), draw(seeds)
    function = is_function(layer)
    training_default = bare_name(layer) not in _ALPHA
    if function and training_default:
        training = not training  # shrinks to the default
        training = training if draw(yes_no) else True
    x = Filler(regime, dtype, seed, 1, factors=1).operand(*shape)
    values: dict[str, Any] = {"p": p}
    defaults: dict[str, Any] = {"p": 0.5, "training": training_default, "inplace": False}
    if function:
        values["training"] = training
    values["inplace"] = inplace
    arguments = writer.explicit_arguments(values, defaults)
    labels = {"profile": "training" if training else "evaluation", "regime": regime}
    call = Call(layer, arguments, {}, dtype, "cpu", training=training and not function)
    return Case(call, (x,), labels=labels, seed=seed)
