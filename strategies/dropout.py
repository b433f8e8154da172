"""Cases of dropout: any shape, either mode."""

from __future__ import annotations

from typing import Any

from conformance.strategies.arguments import Written, masks
from conformance.strategies.values import Filler, regimes, seeds
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Call, Case, is_function

# Vector code reads 8, 16 or 64 elements at a time, and a tail.
shapes = st.sampled_from(((1,), (), (2,), (3,), (67,), (129,), (0,), (257,))) | st.lists(
    st.integers(0, 5), min_size=2, max_size=4
).map(tuple)
probabilities = st.sampled_from((0.5, 0.5, 0.1, 1 / 3, 0.75, 0.0, 1.0, 0.9))
yes_no = st.booleans()
# Mostly in training, which is what there is to see.
modes = st.sampled_from((False, True, True))


@st.composite
def dropouts(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of dropout.

    Args:
        layer: `"Dropout"` or `"functional.dropout"`.
        dtype: torch's name of the dtype.
    """
    shape, p = draw(shapes), draw(probabilities)
    training, inplace = draw(modes), draw(yes_no)
    written = Written(draw(masks))
    regime, seed = draw(regimes), draw(seeds)
    function = is_function(layer)
    if function:
        training = not training  # the plainest is the default
        training = training if draw(yes_no) else True
    x = Filler(regime, dtype, seed, 1, factors=1).operand(*shape)
    values: dict[str, Any] = {"p": p}
    defaults: dict[str, Any] = {"p": 0.5, "training": True, "inplace": False}
    if function:
        values["training"] = training
    values["inplace"] = inplace
    arguments = written.optional(values, defaults)
    labels = {"profile": "training" if training else "evaluation", "regime": regime}
    call = Call(layer, arguments, {}, dtype, "cpu", training=training and not function)
    return Case(call, (x,), labels=labels, seed=seed)
