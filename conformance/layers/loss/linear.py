"""LinearCrossEntropyLoss: the module and the function."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.arithmetic.precision import Precision
from conformance.arithmetic.reductions import log_softmax
from conformance.arithmetic.rounded import Rounded, exactly
from conformance.laws.loss import linear as laws
from conformance.layers.loss.parts import REDUCTION, scale_of_weights, unreduced
from conformance.layers.loss.parts import rows as batch
from conformance.model.case import Case, is_function
from conformance.oracles.linear import functional_linear
from conformance.oracles.loss import linear as oracle
from conformance.spec.axes import Axes, joined
from conformance.spec.layer_spec import LayerSpec, Variation
from conformance.spec.parts import Benchmark, Conditions, Generation, Oracle
from conformance.spec.propagation import Propagation, computed
from conformance.spec.signature import BY_NAME, Argument, Form, Input, Signature
from conformance.spec.sizes import resized
from conformance.spec.state import Shape, StateTensor, uniform, with_bias
from conformance.spec.workload import Filling, Workload
from conformance.strategies.invalid.breaks import invalid_cases
from conformance.strategies.invalid.loss import linear as invalid
from conformance.strategies.loss import linear as cases

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import FactsLike as Facts

_SIZES = (
    Argument("in_features", plain=1, size=True),
    Argument("num_classes", plain=1, size=True),
    Argument("out_features", (), other=(2,), size=True, form=Form(sequence=True)),
    Argument("bias", False, other=True),
)
_ARGUMENTS = (
    REDUCTION,
    Argument("ignore_index", None, other=-1),
    Argument("label_smoothing", 0.0, other=0.25),
    Argument(
        "options",
        None,
        other=(("batch_chunk_size", 1),),
        form=Form(record="LinearCrossEntropyOptions"),
    ),
)
_FORMULA = (
    "logits = linear(input, linear_weight, linear_bias)",
    "loss = cross_entropy(logits, target, weight)",
)


def _state(arguments: Mapping[str, Any], input: Shape) -> tuple[StateTensor, ...]:
    """A weight for each class, and a Linear's tensors: a row for each class at each position."""
    classes, width = arguments["num_classes"], arguments["in_features"]
    rows = math.prod(arguments.get("out_features", ()), start=classes)
    linear = with_bias((rows, width), rows, arguments.get("bias", False))
    tensors = uniform({f"linear.{name}": shape for name, shape in linear.items()}, width)
    weight = StateTensor("weight", (classes,), buffer=True, constraint="positive")
    return (weight, *tensors)


def _valid(target: np.ndarray, classes: int, ignored: int | None) -> bool:
    """Whether indices are classes or the ignored one; probabilities allow no `ignored`."""
    if target.dtype.kind != "i":
        return ignored is None
    gone = oracle.IGNORED if ignored is None else ignored
    return bool((((target >= 0) & (target < classes)) | (target == gone)).all())


def _refit_function(row: LayerSpec, case: Case, arguments: dict[str, Any]) -> Case | None:
    """The function's case with other arguments, which change no shape; None where invalid."""
    linear, target = case.inputs[1:3]
    assert linear is not None
    assert target is not None
    if not _valid(target, len(linear), arguments.get("ignore_index")):
        return None
    return replace(case, call=replace(case.call, arguments=arguments))


def _refit(row: LayerSpec, case: Case, arguments: dict[str, Any]) -> Case | None:
    """The module's case with other arguments, its arrays resized to them; None where invalid."""
    x, target = case.inputs
    assert x is not None
    assert target is not None
    facts = {**row.signature.defaults, **arguments}
    classes, width, places = (
        facts["num_classes"],
        facts["in_features"],
        tuple(facts["out_features"]),
    )
    if places and x.ndim == 1:
        return None
    kept = target.shape[x.ndim - 1] if target.dtype.kind == "f" else classes
    if kept != classes or not _valid(target, classes, facts["ignore_index"]):
        return None  # resized probabilities would not add up to 1
    leading = (*x.shape[:-1], *((classes,) if target.dtype.kind == "f" else ()))
    if target.dtype.kind == "f" and (*leading, *places) != target.shape:
        return None
    state = case.call.state
    source = np.concatenate([v.reshape(-1) for v in state.values()])
    wanted = row.state_shapes(arguments, x.shape)
    names = [name for name in wanted if name in state or name not in row.state.constructor_tensors]
    arrays = {name: resized(state.get(name, source), wanted[name]) for name in names}
    layouts = {k: v for k, v in case.call.layouts.items() if k in arrays}
    call = replace(case.call, arguments=arguments, state=arrays, layouts=layouts)
    inputs = (resized(x, (*x.shape[:-1], width)), resized(target, (*leading, *places)))
    return replace(case, call=call, inputs=inputs)


def _shared(case: Case) -> tuple[Axes, ...]:
    """The axes of features and, with class indices, those of classes and positions."""
    linear, target = case.inputs[1:3]
    if linear is None or target is None:
        return ()
    found = [joined(case, (0, -1), (1, -1))]
    if target.dtype.kind == "i":
        found.append(joined(case, (1, 0), (3, 0), (4, 0)))
        count = linear.ndim - 2
        found += [joined(case, (1, 1 + k), (2, 1 + k), (3, 1 + k)) for k in range(count)]
    return tuple(found)


def _chunked(found: Facts) -> bool:
    """Whether torch processes the batch in chunks; in other calls it warns that it does not."""
    given, target = found.case.call.arguments, _target(found.case)
    plain = target.dtype.kind == "i" and not given.get("label_smoothing", 0.0)
    return plain and target.ndim < 2 and given.get("options") is not None


def _classes_last(found: Facts) -> bool:
    """Whether the classes are the last dimension of the logits: there are no positions."""
    target = _target(found.case)
    x = found.case.inputs[0]
    assert x is not None
    return target.ndim == x.ndim - (target.dtype.kind == "i")


def _ignores(found: Facts) -> str:
    """Which targets are ignored: `"none"`, `"some"` or `"all"`."""
    target, ignored = _target(found.case), found.case.call.arguments.get("ignore_index")
    gone = target == (oracle.IGNORED if ignored is None else ignored)
    return "none" if not gone.any() else "all" if gone.all() else "some"


def nearest(logs: Iterable[Rounded]) -> float | None:
    """Smallest magnitude of logarithms of probabilities, each array (N, classes).

    Arrays of a single class, whose logarithm is 0, do not count; None where no array counts.
    """
    each = [float(np.nanmin(of.size, initial=np.inf)) for of in logs if of.shape[1] > 1]
    return min(each, default=None)


def _nearest(found: Facts) -> float | None:
    """`nearest` of the logits, where the classes are their last dimension; otherwise None.

    There torch's softmax stores its sum.
    """
    case, precision = found.case, Precision.of("float64")
    x, named = case.inputs[0], case.call.state
    function = is_function(case.call.layer)
    weight = case.inputs[1] if function else named.get("linear.weight")
    bias = case.inputs[3] if function else named.get("linear.bias")
    if x is None or weight is None or not x.size or not _classes_last(found):
        return None
    rows, linear = exactly(np.atleast_2d(x), precision), exactly(weight, precision)
    shift = None if bias is None else exactly(bias, precision)
    return nearest([log_softmax(functional_linear({}, rows, linear, shift), 1)])


def _target(case: Case) -> np.ndarray:
    """The target of a call of the module or of the function."""
    target = case.inputs[2 if is_function(case.call.layer) else 1]
    assert target is not None
    return target


def _classes(shapes: tuple[Shape, ...], generator: np.random.Generator) -> np.ndarray:
    """A class for each sample, from the smallest vocabulary of the workloads."""
    return generator.integers(_SIZES_TIMED[0][3], size=shapes[-1][:1])


# A head of a language model, a small one first.
_SIZES_TIMED = (("64 by 256 to 1000", 64, 256, 1000), ("512 by 768 to 50257", 512, 768, 50257))


def _workloads(layer: str) -> tuple[Workload, ...]:
    found = []
    for k, (name, rows, width, classes) in enumerate(_SIZES_TIMED):
        sizes = {"in_features": width, "num_classes": classes}
        inputs: tuple[Shape, ...] = ((rows, width), (rows,))
        if is_function(layer):
            sizes, inputs = {}, ((rows, width), (classes, width), (rows,))
        found.append(Workload(layer, name, sizes, inputs, small=k == 0))
    return tuple(found[:1] if is_function(layer) else found)


def _flops(workload: Workload, weights: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    """Operations: the products of the linear map, and four for each logit."""
    (rows, width), classes = workload.inputs[0], math.prod(weights[0][:1])
    return 2 * rows * width * classes + 4 * rows * classes


def rows() -> Iterator[LayerSpec]:
    """The specifications of the module and of the function."""
    for name in ("LinearCrossEntropyLoss", "functional.linear_cross_entropy"):
        function = is_function(name)
        x = Input("input", batch_axis=batch)
        target = Input("target", "target", batch_axis=batch, signed=False)
        weights = (
            Input("linear_bias", "bias", optional=True, passed=BY_NAME),
            Input(
                "weight",
                "weight",
                optional=True,
                differentiable=False,
                passed=BY_NAME,
                signed=False,
            ),
        )
        valid = partial(cases.linear_cross_entropies, name)
        breaks = invalid.linear_cross_entropy_breaks(function)
        row = LayerSpec(
            name,
            "loss",
            signature=Signature(
                _ARGUMENTS if function else (*_SIZES, *_ARGUMENTS),
                (x, Input("linear_weight", "weight"), target, *weights)
                if function
                else (x, target),
                (unreduced(batch),),
                complex=False,
            ),
            oracle=Oracle(
                values=oracle.linear_cross_entropy
                if function
                else oracle.linear_cross_entropy_loss,
                shapes=oracle.linear_cross_entropy_shape
                if function
                else oracle.linear_cross_entropy_loss_shape,
                formula=_FORMULA,
                propagation=Propagation(computed.expected),
            ),
            generation=Generation(
                cases=valid,
                invalid=invalid_cases(valid, breaks, () if function else ("weight",)),
                examples=0.4,
            ),
            variation=Variation(refit=_refit_function if function else _refit),
            conditions=Conditions(
                derived={
                    "chunked": _chunked,
                    "classes_last": _classes_last,
                    "ignored": _ignores,
                    "nearest": _nearest,
                }
            ),
            laws=laws.LAWS,
            benchmark=Benchmark(
                workloads=_workloads(name),
                filling=Filling(
                    contraction=False, scale=scale_of_weights, made={"target": _classes}
                ),
                flops=_flops,
            ),
        )
        if function:
            yield replace(
                row,
                signature=replace(row.signature, placed=False),
                variation=replace(row.variation, shared=_shared),
            )
        else:
            yield replace(
                row, state=replace(row.state, tensors=_state, constructor_tensors=("weight",))
            )
