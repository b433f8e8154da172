"""NLLLoss and its function, and the parts that all losses of classes share."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np

from conformance.arithmetic.rounded import Rounded, exact_operand
from conformance.laws.loss import nll as laws
from conformance.layers.loss.parts import CLASS_WEIGHTS, LOSS, REDUCTION, loss_shapes, make_filling
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

IGNORED = Argument("ignore_index", -100, alternative=-1)
WEIGHT = Input("weight", "weight", optional=True, differentiable=False, any_value=False)
SHAPES = loss_shapes(
    "batch? *positions",
    input="batch? classes *positions",
    target="batch? *positions",
    weight="classes",
)
_FORMULA = (
    "l_n = -w_{y_n} x_{n,y_n} 1{y_n != ignore_index}",
    "mean: sum_n l_n / sum_n w_{y_n} 1{y_n != ignore_index}",
)


def class_targets(shapes: tuple[Shape, ...], generator: np.random.Generator) -> np.ndarray:
    """Draw a class for each sample."""
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
    """The timed calls of a module; for a function the two smaller ones."""
    all_workloads = [
        Workload(layer, name, {}, (scores, target), small=k == 0)
        for k, (name, scores, target) in enumerate(_SIZES)
    ]
    return tuple(all_workloads[:2] if is_function(layer) else all_workloads)


def allows(spec: LayerSpec, case: Case) -> bool:
    """Whether indices are classes or ignored; with probabilities, whether no class is ignored."""
    x, target = case.inputs[:2]
    assert x is not None
    assert target is not None
    ignored = case.call.arguments.get("ignore_index", -100)
    if target.dtype.kind != "i":
        return bool(ignored < 0)
    count = x.shape[oracle.class_axis(x.shape)]
    return bool((((target >= 0) & (target < count)) | (target == ignored)).all())


def evaluate_some_scores(
    trial: TrialLike, is_kept: np.ndarray, *, equal_weights: bool = False
) -> np.ndarray:
    """Evaluate the oracle with the scores where `is_kept` is true, and 0 elsewhere.

    Args:
        equal_weights: set the weight of every class to 1.
    """
    x, *other_inputs = trial.case.inputs
    assert x is not None
    precision = trial.precision

    def to_rounded(array: np.ndarray) -> Rounded:
        ones = equal_weights and array.dtype.kind == "f"
        return exact_operand(np.ones(array.shape) if ones else array, precision)

    state = {k: to_rounded(w) for k, w in trial.case.call.state.items()}
    rounded_inputs = [None if y is None else to_rounded(y) for y in other_inputs]
    (output,) = trial.evaluate(
        state, [exact_operand(np.where(is_kept, x, 0.0), precision), *rounded_inputs]
    )
    return np.asarray(output.value)


def replace_special_values(
    value: np.ndarray, is_nan: np.ndarray, is_infinite: np.ndarray, expected: Rounded
) -> Rounded:
    """The oracle's values, with NaN and infinities that no order of a sum changes.

    Args:
        value: holds the infinities, with their sign.
        is_nan, is_infinite: where the result is NaN, and where it is infinite.
        expected: the oracle's values for the whole case.
    """
    values = np.where(is_nan, np.nan, np.where(is_infinite, value, expected.value))
    return Rounded(values, np.where(is_nan | is_infinite, 0.0, expected.error), expected.precision)


def _expected(trial: TrialLike) -> tuple[Rounded, ...]:
    """Expected losses where scores hold NaN or infinities.

    A NaN gives NaN for any weight, and so does ∞ − ∞. Open stay 0·∞ with a weight, and an infinity
    where a part of the other scores' sum may overflow to the opposite one.
    """
    (expected,) = trial.expected
    x = trial.case.inputs[0]
    assert x is not None
    if np.isfinite(x).all():
        return (expected,)
    special_values = evaluate_some_scores(trial, ~np.isfinite(x))
    is_nan = np.isnan(evaluate_some_scores(trial, np.isnan(x)))
    is_nan |= np.isnan(special_values) & np.isnan(
        evaluate_some_scores(trial, ~np.isfinite(x), equal_weights=True)
    )
    return (
        replace_special_values(
            special_values, is_nan, np.isinf(special_values) & ~_may_overflow(trial, x), expected
        ),
    )


def _may_overflow(trial: TrialLike, x: np.ndarray) -> bool:
    """Whether a weighted sum of some finite scores may overflow."""
    if trial.case.call.arguments.get("reduction", "mean") == "none":
        return False
    weight_arrays = (*trial.case.call.state.values(), *trial.case.inputs[2:])
    weights = [float(w.max()) for w in weight_arrays if w is not None and w.size]
    with np.errstate(over="ignore"):
        largest_sum = np.abs(x[np.isfinite(x)]).sum() * max((1.0, *weights))
    return bool(largest_sum > trial.precision.largest)


def _flops(workload: Workload, weights: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    """Two per sample: its loss times a weight, and the sum."""
    return 2 * math.prod(workload.inputs[1])


def _elements_read(arrays: Mapping[str, np.ndarray]) -> Mapping[str, int]:
    """Of the scores, one per sample is read: that of its class."""
    return {"input": arrays["target"].size}


def layer_specs() -> Iterator[LayerSpec]:
    """The specifications of the module and of the function."""
    for name in ("NLLLoss", "functional.nll_loss"):
        function = is_function(name)
        inputs = (Input("input"), Input("target", "target", any_value=False))
        signature = Signature(
            (IGNORED, REDUCTION),
            (*inputs, WEIGHT) if function else inputs,
            (LOSS,),
            supports_complex=False,
            takes_device_and_dtype=False,
        )
        state = State() if function else CLASS_WEIGHTS
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
                propagation=Propagation(_expected),
            ),
            generation=Generation(
                cases=valid,
                invalid=invalid_cases(valid, breaks, state.constructor_tensors),
                examples_fraction=0.4 if function else 0.75,
            ),
            variation=Variation(allows=allows),
            state=state,
            laws=laws.LAWS,
            benchmark=Benchmark(
                workloads=workloads(name),
                filling=make_filling(target=class_targets),
                flops=_flops,
                elements_read=_elements_read,
            ),
        )
