"""NLLLoss, module and function, and what the rows of all losses of classes have in common."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np

from conformance.arithmetic.rounded import Rounded, exactly
from conformance.laws.loss import nll as laws
from conformance.layers.loss.parts import LOSS, REDUCTION, WEIGHTED, filled, shapes_of
from conformance.model.case import Case, is_function
from conformance.oracles.loss import nll as oracle
from conformance.spec.layer_spec import LayerSpec, Variation
from conformance.spec.parts import Benchmark, Generation, Oracle, State
from conformance.spec.propagation import Propagation
from conformance.spec.signature import Argument, Input, Signature
from conformance.spec.state import Shape
from conformance.spec.trial_protocol import TrialLike
from conformance.spec.workload import Workload
from conformance.strategies.invalid.breaks import invalid_cases
from conformance.strategies.invalid.loss import nll as invalid
from conformance.strategies.loss import nll as cases

IGNORED = Argument("ignore_index", -100, other=-1)
WEIGHT = Input("weight", "weight", optional=True, differentiable=False, signed=False)
SHAPES = shapes_of(
    "batch? *positions",
    input="batch? classes *positions",
    target="batch? *positions",
    weight="classes",
)
_FORMULA = (
    "l_n = -w_{y_n} x_{n,y_n} 1{y_n != ignore_index}",
    "mean: sum_n l_n / sum_n w_{y_n} 1{y_n != ignore_index}",
)


def classes(shapes: tuple[Shape, ...], generator: np.random.Generator) -> np.ndarray:
    """A class for each sample."""
    scores, target = shapes[:2]
    return generator.integers(scores[oracle.class_axis(scores)], size=target)


# ImageNet's classes, the vocabularies of Llama and of GPT-2, Cityscapes' pixels.
_SIZES = (
    ("64 of 1000", (64, 1000), (64,)),
    ("128 of 32000", (128, 32000), (128,)),
    ("512 of 50257", (512, 50257), (512,)),
    ("2 by 19 by 128 by 256", (2, 19, 128, 256), (2, 128, 256)),
)


def workloads(layer: str) -> tuple[Workload, ...]:
    """The calls of a module; the smaller ones of a function."""
    found = [
        Workload(layer, name, {}, (scores, target), small=k == 0)
        for k, (name, scores, target) in enumerate(_SIZES)
    ]
    return tuple(found[:2] if is_function(layer) else found)


def allows(row: LayerSpec, case: Case) -> bool:
    """An index is a class, or ignored; beside probabilities no class is ignored."""
    x, target = case.inputs[:2]
    assert x is not None
    assert target is not None
    ignored = case.call.arguments.get("ignore_index", -100)
    if target.dtype.kind != "i":
        return bool(ignored < 0)
    count = x.shape[oracle.class_axis(x.shape)]
    return bool((((target >= 0) & (target < count)) | (target == ignored)).all())


def stand_in(trial: TrialLike, kept: np.ndarray, *, even: bool = False) -> np.ndarray:
    """What the oracle makes of the scores that are kept, with 0 for all others.

    Args:
        even: with the weight 1 for every class.
    """
    x, *rest = trial.case.inputs
    assert x is not None
    precision = trial.precision

    def known(array: np.ndarray) -> Rounded:
        ones = even and array.dtype.kind == "f"
        return exactly(np.ones(array.shape) if ones else array, precision)

    state = {k: known(w) for k, w in trial.case.call.state.items()}
    others = [None if y is None else known(y) for y in rest]
    (found,) = trial.evaluate(state, [exactly(np.where(kept, x, 0.0), precision), *others])
    return np.asarray(found.value)


def decided(value: np.ndarray, lost: np.ndarray, endless: np.ndarray, whole: Rounded) -> Rounded:
    """The oracle's, and NaN and infinities that no order of a sum changes.

    Args:
        lost, endless: where the result is NaN, and infinite.
        whole: what the oracle makes of the case.
    """
    found = np.where(lost, np.nan, np.where(endless, value, whole.value))
    return Rounded(found, np.where(lost | endless, 0.0, whole.error), whole.precision)


def _settled(trial: TrialLike) -> tuple[Rounded, ...]:
    """NaN is NaN for any weight; 0·∞ of a weight is left open, ∞ − ∞ is not.

    So is an infinity where a part of the sum of the others may overflow to the other one.
    """
    (whole,) = trial.expected
    x = trial.case.inputs[0]
    assert x is not None
    if np.isfinite(x).all():
        return (whole,)
    endless = stand_in(trial, ~np.isfinite(x))
    lost = np.isnan(stand_in(trial, np.isnan(x)))
    lost |= np.isnan(endless) & np.isnan(stand_in(trial, ~np.isfinite(x), even=True))
    return (decided(endless, lost, np.isinf(endless) & ~_overflows(trial, x), whole),)


def _overflows(trial: TrialLike, x: np.ndarray) -> bool:
    """Whether a sum of some of the finite scores, each weighted, may leave the range."""
    if trial.case.call.arguments.get("reduction", "mean") == "none":
        return False
    given = (*trial.case.call.state.values(), *trial.case.inputs[2:])
    weights = [float(w.max()) for w in given if w is not None and w.size]
    with np.errstate(over="ignore"):
        reach = np.abs(x[np.isfinite(x)]).sum() * max((1.0, *weights))
    return bool(reach > trial.precision.largest)


def _flops(workload: Workload, weights: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    """Of each sample: its loss times a weight, and the sum."""
    return 2 * math.prod(workload.inputs[1])


def _of_targets(arrays: Mapping[str, np.ndarray]) -> Mapping[str, int]:
    """Of each sample the score of its class."""
    return {"input": arrays["target"].size}


def rows() -> Iterator[LayerSpec]:
    """The rows, in the order of torch's documentation."""
    for name in ("NLLLoss", "functional.nll_loss"):
        function = is_function(name)
        inputs = (Input("input"), Input("target", "target", signed=False))
        signature = Signature(
            (IGNORED, REDUCTION),
            (*inputs, WEIGHT) if function else inputs,
            (LOSS,),
            complex=False,
            placed=False,
        )
        state = State() if function else WEIGHTED
        valid = partial(cases.log_likelihoods, name)
        breaks = invalid.log_likelihood_breaks(signature, SHAPES)
        yield LayerSpec(
            name,
            "loss",
            signature=signature,
            shapes=SHAPES,
            oracle=Oracle(
                values=oracle.nll_loss if function else oracle.nll_loss_module,
                formula=_FORMULA,
                propagation=Propagation(_settled),
            ),
            generation=Generation(
                cases=valid,
                invalid=invalid_cases(valid, breaks, state.constructor_tensors),
                examples=0.4 if function else 0.75,
            ),
            variation=Variation(allows=allows),
            state=state,
            laws=laws.LAWS,
            benchmark=Benchmark(
                workloads=workloads(name),
                filling=filled(target=classes),
                flops=_flops,
                needed=_of_targets,
            ),
        )
