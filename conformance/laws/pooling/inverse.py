"""Laws of the inverse of pooling by maximum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.laws.pooling.maximum import EXACT, TWINS
from conformance.model.case import is_function
from conformance.spec.law import Claim, Claims, Generator, Side, claim, law, many, measured, same
from conformance.spec.sizes import per_dimension

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial


def _both(trial: Trial) -> tuple[np.ndarray, np.ndarray]:
    x, index = trial.case.inputs
    assert x is not None
    assert index is not None
    return x, index


def _leading(trial: Trial) -> int:
    return _both(trial)[0].ndim - int(trial.row.signature.dims)


def _called(
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
    given = dict(call.arguments if arguments is None else arguments)
    asked = given.pop("output_size", trial.case.keywords.get("output_size"))
    wanted = asked if size is None else size
    keywords: dict[str, Any] = {}
    if wanted is not None:
        spatial = tuple(wanted)[-int(trial.row.signature.dims) :] if size is None else tuple(wanted)
        if is_function(name):
            given["output_size"] = spatial
        else:
            keywords["output_size"] = list(spatial)
    call = replace(call, layer=name, arguments=given, layouts={})
    case = replace(trial.case, call=call, inputs=inputs, keywords=keywords, layouts=())
    return trial.other(case)


def _repeated(trial: Trial) -> bool:
    """Whether an index occurs twice in a plane."""
    _, index = _both(trial)
    planes = np.sort(
        index.reshape(-1, int(np.prod(index.shape[-trial.row.signature.dims :]))), axis=1
    )
    return bool((np.diff(planes, axis=1) == 0).any())


@law("rows", "each plane of a large batch is that plane of a small one", EXACT)
def planes(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 channels, drawn from the case's."""
    x, index = _both(trial)
    axis = _leading(trial) - 1
    if x.size > 1 << 14:
        return
    chosen = generator.integers(x.shape[axis], size=many(generator))
    large = _called(trial, x.take(chosen, axis), index.take(chosen, axis))
    yield same(large, trial, wanted_moves=lambda y: y.take(chosen, axis))


@law("singles", "a batch is the stack of its samples, each taken alone without its axis", EXACT)
def singles(trial: Trial, generator: Generator) -> Claims:
    """At most three samples; an unbatched case as a batch of one."""
    x, index = _both(trial)
    if _leading(trial) == 1:
        wide = _called(trial, x[np.newaxis], index[np.newaxis])
        yield same(wide, trial, got_moves=lambda y: y[0])
        return
    for row in generator.permutation(len(x))[:3]:
        alone = _called(trial, x[row], index[row])
        yield same(alone, trial, wanted_moves=lambda y, at=row: y[at])  # type: ignore[misc]


@law("function", "the module is the function of the same backend", EXACT)
def function(trial: Trial, generator: Generator) -> Claims:
    """A module as a function, or a function as a module."""
    yield same(_called(trial, *_both(trial), layer=TWINS[trial.row.name]), trial)


@law("size", "the size that is left out is that of the windows", EXACT)
def size(trial: Trial, generator: Generator) -> Claims:
    """The call with output_size written out, where the case leaves it out."""
    given = trial.case.call.arguments.get("output_size", trial.case.keywords.get("output_size"))
    if given is None:
        yield same(
            _called(trial, *_both(trial), size=trial.shapes[0][-trial.row.signature.dims :]), trial
        )


@law("lifted", "a dimension more, of length 1, changes nothing", EXACT)
def lifted(trial: Trial, generator: Generator) -> Claims:
    """A case of one or two dimensions with one more, first or last."""
    dims, given = int(trial.row.signature.dims), dict(trial.case.call.arguments)
    at, axis = int(generator.integers(2)) * dims, _leading(trial)
    axis += at
    for name, plain in (("kernel_size", 1), ("stride", 1), ("padding", 0)):
        if given.get(name) is not None:
            each = list(per_dimension(given[name], dims))
            each.insert(at, plain)
            given[name] = tuple(each)
    sizes = list(trial.shapes[0][-dims:])
    sizes.insert(at, 1)
    layer = trial.row.name.replace(f"{dims}d", f"{dims + 1}d")
    x, index = (np.expand_dims(array, axis) for array in _both(trial))
    other = _called(trial, x, index, layer=layer, arguments=given, size=tuple(sizes))
    yield same(other, trial, got_moves=lambda y: np.squeeze(y, axis))


@law("pooled", "pooling gives back what is above 0 in windows that lie side by side", EXACT)
def pooled(trial: Trial, generator: Generator) -> Claims:
    """Pooling the unpooled absolute values, without padding and output_size."""
    x, index = _both(trial)
    given, dims = dict(trial.case.call.arguments), int(trial.row.signature.dims)
    kernel = per_dimension(given["kernel_size"], dims)
    stride = given.get("stride")
    apart = stride is None or per_dimension(stride, dims) == kernel
    sized = "output_size" in given or trial.case.keywords
    if not apart or sized or any(per_dimension(given.get("padding", 0), dims)):
        return
    if trial.case.labels.get("profile") == "anywhere" or not x.size or not (x != 0).all():
        return
    whole = _called(trial, np.abs(x), index)
    layer = trial.row.name.replace("Unpool", "Pool").replace("unpool", "pool")
    back = trial.other(
        replace(
            trial.case,
            call=replace(trial.case.call, layer=layer, arguments=given, layouts={}),
            inputs=(whole.answer[0],),
            layouts=(),
        )
    )
    yield _held(back, np.abs(x), whole)


def _held(back: Trial, values: np.ndarray, whole: Trial) -> Claim:
    (got,) = measured(back)
    wanted = replace(got, value=values, error=np.zeros(values.shape))
    return claim(back, (got,), Side(f"the input of {whole.text()}", (wanted,)))


@law("scaled", "the inverse of c·x is c times the inverse of x", EXACT)
def negated(trial: Trial, generator: Generator) -> Claims:
    """The negated input, without repeated indices: for those either element is right."""
    x, index = _both(trial)
    if not _repeated(trial):
        yield same(_called(trial, -x, index), trial, got_moves=lambda y: -y)


LAWS = (planes, singles, function, size, negated, pooled, lifted)
