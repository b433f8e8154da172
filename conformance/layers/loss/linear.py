"""LinearCrossEntropyLoss: the module and the function."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.arithmetic.precision import Precision
from conformance.arithmetic.reductions import log_softmax
from conformance.arithmetic.rounded import Rounded, exact_operand
from conformance.laws.loss import linear as laws
from conformance.layers.loss.parts import REDUCTION, loss_output, weight_scale
from conformance.layers.loss.parts import batch_axis as batch
from conformance.model.case import Case, is_function
from conformance.oracles.linear import functional_linear
from conformance.oracles.loss import linear as oracle
from conformance.spec.axes import Axes, present_axes
from conformance.spec.layer_spec import LayerSpec, Variation
from conformance.spec.parts import Benchmark, Conditions, Generation, Oracle, Traits
from conformance.spec.propagation import Propagation, computed
from conformance.spec.signature import BY_NAME, Argument, Form, Input, Signature
from conformance.spec.sizes import resized
from conformance.spec.state import Shape, StateTensor, uniform_parameters, with_bias
from conformance.spec.workload import Filling, Workload
from conformance.strategies.invalid.breaks import invalid_cases
from conformance.strategies.invalid.loss import linear as invalid
from conformance.strategies.loss import linear as cases

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import FactsLike as Facts

_SIZES = (
    Argument("in_features", simplest=1, size=True, attribute="linear.in_features"),
    Argument("num_classes", simplest=1, size=True),
    Argument("out_features", (), alternative=(2,), size=True, form=Form(sequence=True)),
    Argument("bias", False, alternative=True, attribute="linear.bias"),
)
_ARGUMENTS = (
    REDUCTION,
    Argument("ignore_index", None, alternative=-1),
    Argument("label_smoothing", 0.0, alternative=0.25),
    Argument(
        "options",
        None,
        alternative=(("batch_chunk_size", 1),),
        form=Form(record="LinearCrossEntropyOptions"),
    ),
)
_FORMULA = (
    "logits = linear(input, linear_weight, linear_bias)",
    "loss = cross_entropy(logits, target, weight)",
)


def _state_tensors(arguments: Mapping[str, Any], input: Shape) -> tuple[StateTensor, ...]:
    """A weight for each class, and a Linear's tensors: a row for each class at each position."""
    classes, width = arguments["num_classes"], arguments["in_features"]
    rows = math.prod(arguments.get("out_features", ()), start=classes)
    linear = with_bias((rows, width), rows, arguments.get("bias", False))
    tensors = uniform_parameters({f"linear.{name}": shape for name, shape in linear.items()}, width)
    weight = StateTensor("weight", (classes,), buffer=True, constraint="positive")
    return (weight, *tensors)


def _are_valid_targets(target: np.ndarray, classes: int, ignored: int | None) -> bool:
    """Whether indices are classes or the ignored one; probabilities allow no `ignored`."""
    if target.dtype.kind != "i":
        return ignored is None
    ignored_class = oracle.IGNORED if ignored is None else ignored
    return bool((((target >= 0) & (target < classes)) | (target == ignored_class)).all())


def _max_axis_size(case: Case) -> int:
    """Largest size of an axis, so that rows in chunks are at most `MAX_CHUNKS` chunks."""
    chunk_size = dict(case.call.arguments.get("options") or ()).get("batch_chunk_size")
    return laws.MAX_CHUNKS * int(chunk_size) if chunk_size else sys.maxsize


def _resize_function(spec: LayerSpec, case: Case, arguments: dict[str, Any]) -> Case | None:
    """The function's case with other arguments, which change no shape; None where invalid."""
    linear, target = case.inputs[1:3]
    assert linear is not None
    assert target is not None
    if not _are_valid_targets(target, len(linear), arguments.get("ignore_index")):
        return None
    return replace(case, call=replace(case.call, arguments=arguments))


def _resize(spec: LayerSpec, case: Case, arguments: dict[str, Any]) -> Case | None:
    """The module's case with other arguments, its arrays resized to them; None where invalid."""
    x, target = case.inputs
    assert x is not None
    assert target is not None
    complete = {**spec.signature.defaults, **arguments}
    classes, width, positions = (
        complete["num_classes"],
        complete["in_features"],
        tuple(complete["out_features"]),
    )
    if positions and x.ndim == 1:
        return None
    class_count = target.shape[x.ndim - 1] if target.dtype.kind == "f" else classes
    if class_count != classes or not _are_valid_targets(target, classes, complete["ignore_index"]):
        return None  # resized probabilities would not add up to 1
    leading = (*x.shape[:-1], *((classes,) if target.dtype.kind == "f" else ()))
    if target.dtype.kind == "f" and (*leading, *positions) != target.shape:
        return None
    state = case.call.state
    source = np.concatenate([v.reshape(-1) for v in state.values()])
    state_shapes = spec.state_shapes(arguments, x.shape)
    names = [
        name for name in state_shapes if name in state or name not in spec.state.constructor_tensors
    ]
    arrays = {name: resized(state.get(name, source), state_shapes[name]) for name in names}
    layouts = {k: v for k, v in case.call.layouts.items() if k in arrays}
    call = replace(case.call, arguments=arguments, state=arrays, layouts=layouts)
    inputs = (resized(x, (*x.shape[:-1], width)), resized(target, (*leading, *positions)))
    return replace(case, call=call, inputs=inputs)


def _tied_axes(case: Case) -> tuple[Axes, ...]:
    """The axes of features and, with class indices, those of classes and positions."""
    linear, target = case.inputs[1:3]
    if linear is None or target is None:
        return ()
    axes = [present_axes(case, (0, -1), (1, -1))]
    if target.dtype.kind == "i":
        axes.append(present_axes(case, (1, 0), (3, 0), (4, 0)))
        count = linear.ndim - 2
        axes += [present_axes(case, (1, 1 + k), (2, 1 + k), (3, 1 + k)) for k in range(count)]
    return tuple(axes)


def _is_chunked(facts: Facts) -> bool:
    """Whether torch processes the batch in chunks; in other calls it warns that it does not."""
    arguments, target = facts.case.call.arguments, _target(facts.case)
    has_plain_indices = target.dtype.kind == "i" and not arguments.get("label_smoothing", 0.0)
    return has_plain_indices and target.ndim < 2 and arguments.get("options") is not None


def _has_classes_last(facts: Facts) -> bool:
    """Whether the classes are the last dimension of the logits: there are no positions."""
    target = _target(facts.case)
    x = facts.case.inputs[0]
    assert x is not None
    return target.ndim == x.ndim - (target.dtype.kind == "i")


def _ignored_share(facts: Facts) -> str:
    """Which targets are ignored: `"none"`, `"some"` or `"all"`."""
    target, ignored = _target(facts.case), facts.case.call.arguments.get("ignore_index")
    is_ignored = target == (oracle.IGNORED if ignored is None else ignored)
    return "none" if not is_ignored.any() else "all" if is_ignored.all() else "some"


def smallest_logarithm(logs: Iterable[Rounded]) -> float | None:
    """Smallest magnitude of logarithms of probabilities, each array (N, classes).

    Arrays of a single class, whose logarithm is 0, do not count; None where no array counts.
    """
    smallest = [
        float(np.nanmin(array.abs_value, initial=np.inf)) for array in logs if array.shape[1] > 1
    ]
    return min(smallest, default=None)


def _smallest_logit_logarithm(facts: Facts) -> float | None:
    """`smallest_logarithm` of the logits, where the classes are their last dimension; else None.

    There torch's softmax stores its sum.
    """
    case, precision = facts.case, Precision.of("float64")
    x, state = case.inputs[0], case.call.state
    function = is_function(case.call.layer)
    weight = case.inputs[1] if function else state.get("linear.weight")
    bias = case.inputs[3] if function else state.get("linear.bias")
    if x is None or weight is None or not x.size or not _has_classes_last(facts):
        return None
    rows, linear = exact_operand(np.atleast_2d(x), precision), exact_operand(weight, precision)
    rounded_bias = None if bias is None else exact_operand(bias, precision)
    return smallest_logarithm([log_softmax(functional_linear({}, rows, linear, rounded_bias), 1)])


def _keeps_graph(case: Case) -> bool:
    """Whether a second backward pass is allowed: the options rule it out unless they say so."""
    options = case.call.arguments.get("options")
    unreduced = case.call.arguments.get("reduction", "mean") == "none"
    return options is None or unreduced or bool(dict(options).get("allow_retain_graph", False))


def _target(case: Case) -> np.ndarray:
    """The target of a call of the module or of the function."""
    target = case.inputs[2 if is_function(case.call.layer) else 1]
    assert target is not None
    return target


def _class_targets(shapes: tuple[Shape, ...], generator: np.random.Generator) -> np.ndarray:
    """A class for each sample, from the smallest vocabulary of the workloads."""
    return generator.integers(_TIMED_SIZES[0][3], size=shapes[-1][:1])


# A head of a language model, a small one first.
_TIMED_SIZES = (("64 by 256 to 1000", 64, 256, 1000), ("512 by 768 to 50257", 512, 768, 50257))


def _workloads(layer: str) -> tuple[Workload, ...]:
    workloads = []
    for k, (name, rows, width, classes) in enumerate(_TIMED_SIZES):
        sizes = {"in_features": width, "num_classes": classes}
        inputs: tuple[Shape, ...] = ((rows, width), (rows,))
        if is_function(layer):
            sizes, inputs = {}, ((rows, width), (classes, width), (rows,))
        workloads.append(Workload(layer, name, sizes, inputs, small=k == 0))
    return tuple(workloads[:1] if is_function(layer) else workloads)


def _flops(workload: Workload, weights: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    """Operations: the products of the linear map, and four for each logit."""
    (rows, width), classes = workload.inputs[0], math.prod(weights[0][:1])
    return 2 * rows * width * classes + 4 * rows * classes


def layer_specs() -> Iterator[LayerSpec]:
    """The specifications of the module and of the function."""
    for name in ("LinearCrossEntropyLoss", "functional.linear_cross_entropy"):
        function = is_function(name)
        x = Input("input", batch_axis=batch)
        target = Input("target", "target", batch_axis=batch, any_value=False)
        weights = (
            Input("linear_bias", "bias", optional=True, passing=BY_NAME),
            Input(
                "weight",
                "weight",
                optional=True,
                differentiable=False,
                passing=BY_NAME,
                any_value=False,
            ),
        )
        valid = partial(cases.linear_cross_entropies, name)
        breaks = invalid.linear_cross_entropy_breaks(function)
        spec = LayerSpec(
            name,
            "loss",
            signature=Signature(
                _ARGUMENTS if function else (*_SIZES, *_ARGUMENTS),
                (x, Input("linear_weight", "weight"), target, *weights)
                if function
                else (x, target),
                (loss_output(batch),),
                supports_complex=False,
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
                examples_fraction=0.4,
            ),
            variation=Variation(
                resize=_resize_function if function else _resize, max_axis_size=_max_axis_size
            ),
            conditions=Conditions(
                derived_facts={
                    "chunked": _is_chunked,
                    "classes_last": _has_classes_last,
                    "ignored": _ignored_share,
                    "nearest": _smallest_logit_logarithm,
                }
            ),
            traits=Traits(keeps_graph=_keeps_graph),
            laws=laws.LAWS,
            benchmark=Benchmark(
                workloads=_workloads(name),
                filling=Filling(
                    contraction=False, scale=weight_scale, array_makers={"target": _class_targets}
                ),
                flops=_flops,
            ),
        )
        if function:
            yield replace(
                spec,
                signature=replace(spec.signature, takes_device_and_dtype=False),
                variation=replace(spec.variation, tied_axes=_tied_axes),
            )
        else:
            yield replace(
                spec,
                state=replace(spec.state, tensors=_state_tensors, constructor_tensors=("weight",)),
            )
