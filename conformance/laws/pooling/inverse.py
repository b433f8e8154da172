"""Laws of the inverse of pooling by maximum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.laws.pooling.maximum import EXACT, TWINS
from conformance.model.case import is_function
from conformance.spec.law import (
    Claim,
    Claims,
    Generator,
    Side,
    claim,
    equality_claim,
    large_size,
    law,
    outputs_with_bounds,
)
from conformance.spec.sizes import per_dimension

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial


def _operands(trial: Trial) -> tuple[np.ndarray, np.ndarray]:
    x, index = trial.case.inputs
    assert x is not None
    assert index is not None
    return x, index


def _leading_axes(trial: Trial) -> int:
    return _operands(trial)[0].ndim - int(trial.spec.signature.dims)


def _call_with(
    trial: Trial,
    *inputs: np.ndarray,
    layer: str = "",
    arguments: Mapping[str, Any] | None = None,
    size: tuple[int, ...] | None = None,
) -> Trial:
    """The call on other inputs, as another layer, or with another output size.

    Args:
        inputs: replace the case's inputs.
        layer: another layer that takes them.
        arguments: replace the case's arguments.
        size: the output's spatial size; None = the case's own.
    """
    call = trial.case.call
    name = layer or call.layer
    call_arguments = dict(call.arguments if arguments is None else arguments)
    written_size = call_arguments.pop("output_size", trial.case.keywords.get("output_size"))
    output_size = written_size if size is None else size
    keywords: dict[str, Any] = {}
    if output_size is not None:
        spatial = (
            tuple(output_size)[-int(trial.spec.signature.dims) :]
            if size is None
            else tuple(output_size)
        )
        if is_function(name):
            call_arguments["output_size"] = spatial
        else:
            keywords["output_size"] = list(spatial)
    call = replace(call, layer=name, arguments=call_arguments, layouts={})
    case = replace(trial.case, call=call, inputs=inputs, keywords=keywords, layouts=())
    return trial.trial_of(case)


def _has_repeated_index(trial: Trial) -> bool:
    """Whether an index occurs twice in a plane."""
    _, index = _operands(trial)
    planes = np.sort(
        index.reshape(-1, int(np.prod(index.shape[-trial.spec.signature.dims :]))), axis=1
    )
    return bool((np.diff(planes, axis=1) == 0).any())


@law("rows", "each plane of a large batch is that plane of a small one", EXACT)
def planes(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 channels, drawn from the case's."""
    x, index = _operands(trial)
    axis = _leading_axes(trial) - 1
    if x.size > 1 << 14:
        return
    chosen = generator.integers(x.shape[axis], size=large_size(generator))
    large = _call_with(trial, x.take(chosen, axis), index.take(chosen, axis))
    yield equality_claim(large, trial, wanted_moves=lambda y: y.take(chosen, axis))


@law("singles", "a batch is the stack of its samples, each taken alone without its axis", EXACT)
def singles(trial: Trial, generator: Generator) -> Claims:
    """At most three samples; an unbatched case as a batch of one."""
    x, index = _operands(trial)
    if _leading_axes(trial) == 1:
        as_batch = _call_with(trial, x[np.newaxis], index[np.newaxis])
        yield equality_claim(as_batch, trial, got_moves=lambda y: y[0])
        return
    for row in generator.permutation(len(x))[:3]:
        alone = _call_with(trial, x[row], index[row])
        yield equality_claim(alone, trial, wanted_moves=lambda y, at=row: y[at])  # type: ignore[misc]


@law("function", "the module is the function of the same backend", EXACT)
def function(trial: Trial, generator: Generator) -> Claims:
    """A module as a function, or a function as a module."""
    yield equality_claim(_call_with(trial, *_operands(trial), layer=TWINS[trial.spec.name]), trial)


@law("size", "the size that is left out is that of the windows", EXACT)
def size(trial: Trial, generator: Generator) -> Claims:
    """The call with output_size written out, where the case leaves it out."""
    written_size = trial.case.call.arguments.get(
        "output_size", trial.case.keywords.get("output_size")
    )
    if written_size is None:
        yield equality_claim(
            _call_with(
                trial, *_operands(trial), size=trial.shapes[0][-trial.spec.signature.dims :]
            ),
            trial,
        )


@law("lifted", "a dimension more, of length 1, changes nothing", EXACT)
def lifted(trial: Trial, generator: Generator) -> Claims:
    """A case of one or two dimensions with one more, first or last."""
    dims, arguments = int(trial.spec.signature.dims), dict(trial.case.call.arguments)
    new_dimension, axis = int(generator.integers(2)) * dims, _leading_axes(trial)
    axis += new_dimension
    for name, trivial in (("kernel_size", 1), ("stride", 1), ("padding", 0)):
        if arguments.get(name) is not None:
            sizes_of_argument = list(per_dimension(arguments[name], dims))
            sizes_of_argument.insert(new_dimension, trivial)
            arguments[name] = tuple(sizes_of_argument)
    sizes = list(trial.shapes[0][-dims:])
    sizes.insert(new_dimension, 1)
    layer = trial.spec.name.replace(f"{dims}d", f"{dims + 1}d")
    x, index = (np.expand_dims(array, axis) for array in _operands(trial))
    other = _call_with(trial, x, index, layer=layer, arguments=arguments, size=tuple(sizes))
    yield equality_claim(other, trial, got_moves=lambda y: np.squeeze(y, axis))


@law("pooled", "pooling gives back what is above 0 in windows that lie side by side", EXACT)
def pooled(trial: Trial, generator: Generator) -> Claims:
    """Pooling the unpooled absolute values, without padding and output_size."""
    x, index = _operands(trial)
    arguments, dims = dict(trial.case.call.arguments), int(trial.spec.signature.dims)
    kernel = per_dimension(arguments["kernel_size"], dims)
    stride = arguments.get("stride")
    is_disjoint = stride is None or per_dimension(stride, dims) == kernel
    has_size = "output_size" in arguments or trial.case.keywords
    if not is_disjoint or has_size or any(per_dimension(arguments.get("padding", 0), dims)):
        return
    if trial.case.labels.get("profile") == "anywhere" or not x.size or not (x != 0).all():
        return
    unpooled = _call_with(trial, np.abs(x), index)
    layer = trial.spec.name.replace("Unpool", "Pool").replace("unpool", "pool")
    back = trial.trial_of(
        replace(
            trial.case,
            call=replace(trial.case.call, layer=layer, arguments=arguments, layouts={}),
            inputs=(unpooled.answer[0],),
            layouts=(),
        )
    )
    yield _pooled_claim(back, np.abs(x), unpooled)


def _pooled_claim(back: Trial, values: np.ndarray, unpooled: Trial) -> Claim:
    (got,) = outputs_with_bounds(back)
    wanted = replace(got, value=values, error=np.zeros(values.shape))
    return claim(back, (got,), Side(f"the input of {unpooled.text()}", (wanted,)))


@law("scaled", "the inverse of c·x is c times the inverse of x", EXACT)
def negated(trial: Trial, generator: Generator) -> Claims:
    """The negated input, without repeated indices: for those either element is right."""
    x, index = _operands(trial)
    if not _has_repeated_index(trial):
        yield equality_claim(_call_with(trial, -x, index), trial, got_moves=lambda y: -y)


LAWS = (planes, singles, function, size, negated, pooled, lifted)
