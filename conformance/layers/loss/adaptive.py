"""AdaptiveLogSoftmaxWithLoss: the module, its log_prob and its predict."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import exact_operand
from conformance.laws.loss import adaptive as laws
from conformance.layers.loss.linear import smallest_logarithm
from conformance.layers.loss.parts import LOSS, weight_scale
from conformance.model.case import Case, class_and_method
from conformance.oracles.loss import adaptive as oracle
from conformance.spec.law import Law
from conformance.spec.layer_spec import LayerSpec, Variation
from conformance.spec.parts import Benchmark, Conditions, Generation, Oracle, State
from conformance.spec.propagation import computed
from conformance.spec.shapes import Shapes
from conformance.spec.signature import Argument, Form, Input, Output, Signature
from conformance.spec.state import Shape, StateTensor, uniform_parameters
from conformance.spec.workload import Filling, Workload
from conformance.strategies.invalid.breaks import invalid_cases
from conformance.strategies.invalid.loss import adaptive as invalid
from conformance.strategies.loss import adaptive as cases

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import FactsLike as Facts

_ARGUMENTS = (
    Argument("in_features", simplest=1, size=True),
    Argument("n_classes", simplest=2, size=True),
    Argument("cutoffs", simplest=(1,), attribute="cutoffs.:-1", form=Form(sequence=True)),
    Argument("div_value", 4.0, alternative=2.0),
    Argument("head_bias", False, alternative=True),
)
_NAMES = tuple(a.name for a in _ARGUMENTS)
_FORMULA = (
    "head = log_softmax(head(input)): of the classes below cutoffs[0] and of each cluster",
    "output_n = head_{n,y_n} for y_n < cutoffs[0]",
    "output_n = head_{n,cutoffs[0]+i} + log_softmax(tail_i(input))_{n,y_n-cutoffs[i]}",
    "for cutoffs[i] <= y_n < cutoffs[i+1]; loss = -(1/N) sum_n output_n",
)


def _state_shapes(**arguments: Any) -> dict[str, Shape]:
    return oracle.state_shapes(**{k: v for k, v in arguments.items() if k in _NAMES})


def _state_tensors(arguments: Mapping[str, Any], input: Shape) -> tuple[StateTensor, ...]:
    """The tensors of a Linear for the head and of two for each cluster."""
    tensors: list[StateTensor] = []
    for name, shape in _state_shapes(**arguments).items():
        tensors += uniform_parameters(
            {name: shape}, shape[1] if len(shape) > 1 else arguments["in_features"]
        )
    return tuple(tensors)


def _are_increasing(cutoffs: Sequence[int], classes: int) -> bool:
    ends = (0, *cutoffs, classes)
    return len(cutoffs) > 0 and all(a < b for a, b in pairwise(ends))


def _allows(spec: LayerSpec, case: Case) -> bool:
    """Whether the cutoffs increase within the classes, and targets are classes."""
    count = case.call.arguments["n_classes"]
    targets = (y for y in case.inputs[1:] if y is not None and y.size)
    return _are_increasing(case.call.arguments["cutoffs"], count) and all(
        y.max() < count for y in targets
    )


def _zipf_targets(shapes: tuple[Shape, ...], generator: np.random.Generator) -> np.ndarray:
    """A class for each row, small indices more often, as in a vocabulary sorted by frequency."""
    draws = generator.exponential(500.0, size=shapes[1])
    return np.minimum(draws, _VOCABULARY - 1).astype(np.int64)


# The vocabulary of WikiText-2, as in PyTorch's examples.
_VOCABULARY = 33278
_TIMED_ARGUMENTS = {"in_features": 256, "n_classes": _VOCABULARY, "cutoffs": (2000, 10000)}


def _flops(workload: Workload, weights: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    """Operations: the products of all linear maps, and four for each logit."""
    rows = math.prod(workload.inputs[0][:-1])
    return rows * sum(2 * math.prod(shape) + 4 * shape[0] for shape in weights)


def _layer_spec(name: str, laws: tuple[Law, ...]) -> LayerSpec:
    """The specification of the module, or of a method, which takes no target."""
    method = class_and_method(name)[1]
    valid = partial(cases.adaptive_softmaxes, name, _state_shapes)
    x, target = Input("input"), Input("target", "target", any_value=False)
    inputs: tuple[Shape, ...] = ((64, 256),) if method else ((64, 256), (64,))
    is_predict = method == "predict"
    output = Output("output", dtype=_int64 if is_predict else None, differentiable=not is_predict)
    values, shapes = _METHODS[method]
    signature = Signature(
        _ARGUMENTS,
        (x,) if method else (x, target),
        (output,) if method else (output, LOSS),
        supports_complex=False,
    )
    breaks = invalid.method_breaks if method else invalid.adaptive_breaks
    return LayerSpec(
        name,
        "loss",
        signature=signature,
        shapes=shapes,
        oracle=Oracle(values=values, formula=_FORMULA, propagation=computed),
        generation=Generation(
            cases=valid,
            invalid=invalid_cases(valid, breaks(signature, shapes)),
            examples_fraction=0.2 if method else 0.4,
        ),
        variation=Variation(allows=_allows),
        state=State(_state_tensors),
        conditions=Conditions(derived_facts={"nearest": _smallest_logarithm}),
        laws=laws,
        benchmark=Benchmark(
            workloads=(Workload(name, "64 words", _TIMED_ARGUMENTS, inputs, small=True),),
            filling=Filling(
                contraction=False, scale=weight_scale, array_makers={"target": _zipf_targets}
            ),
            flops=_flops,
        ),
    )


def _smallest_logarithm(facts: Facts) -> float | None:
    """Smallest magnitude of the logarithms that torch's softmax computes in this case."""
    case, precision = facts.case, Precision.of("float64")
    x = case.inputs[0]
    if x is None or not x.size:
        return None
    state = {name: exact_operand(w, precision) for name, w in case.call.state.items()}
    inputs = exact_operand(np.atleast_2d(x), precision)
    clusters = len(case.call.arguments["cutoffs"])
    logarithms = [oracle.head_logs(state, inputs)]
    logarithms += [oracle.cluster_logs(state, inputs, k) for k in range(clusters)]
    return smallest_logarithm(logarithms)


def _int64(case: Case) -> str:
    """The dtype of class indices."""
    return "int64"


_METHODS: Mapping[str, tuple[Callable[..., Any], Shapes]] = {
    "": (
        oracle.adaptive_log_softmax_with_loss,
        Shapes(
            {
                "input": "batch? in_features",
                "target": "batch?",
                "output": "batch?",
                "loss": "()",
            }
        ),
    ),
    "log_prob": (
        oracle.full_log_prob,
        Shapes({"input": "batch in_features", "output": "batch n_classes"}),
    ),
    "predict": (oracle.predict, Shapes({"input": "batch in_features", "output": "batch"})),
}


def layer_specs() -> Iterator[LayerSpec]:
    """The module, then its methods."""
    yield _layer_spec(laws.LOSS, laws.LOSS_LAWS)
    yield _layer_spec(laws.LOG_PROB, laws.LOG_PROB_LAWS)
    yield _layer_spec(laws.PREDICT, laws.PREDICT_LAWS)
