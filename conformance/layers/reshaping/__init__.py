"""Flatten, Unflatten, ChannelShuffle and its two functions; `pixels` has shuffles of pixels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from conformance.laws.reshaping import flatten as laws
from conformance.layers.reshaping import pixels as reshaping_pixels
from conformance.model.case import Case
from conformance.oracles import reshaping as oracle
from conformance.spec.axes import Axes
from conformance.spec.elementwise import every_axis
from conformance.spec.layer_spec import LayerSpec, Variation
from conformance.spec.outputs import input_dtype
from conformance.spec.parts import Benchmark, Generation, Oracle, Traits
from conformance.spec.propagation import copied
from conformance.spec.shapes import Shapes
from conformance.spec.signature import Argument, Form, Input, Output, Signature
from conformance.spec.sizes import resized
from conformance.spec.state import Shape
from conformance.spec.workload import Filling, Workload
from conformance.strategies import reshaping as cases
from conformance.strategies.invalid import reshaping as invalid
from conformance.strategies.invalid.breaks import invalid_cases


def _shape(case: Case) -> Shape:
    x = case.inputs[0]
    assert x is not None
    return x.shape


def _batch_axis(argument: str, case: Case) -> int | None:
    """Axis 0 counts the batch, unless it is the axis that `argument` names."""
    axes = len(_shape(case))
    first_axis: int = case.call.arguments.get(argument, 1)
    return 0 if axes and first_axis % axes else None


def _replace_arguments(case: Case, arguments: Mapping[str, Any]) -> Case:
    return replace(case, call=replace(case.call, arguments=arguments))


def _resize_flatten(spec: LayerSpec, case: Case, arguments: dict[str, Any]) -> Case | None:
    """The case with another range of axes; None if the input does not have it."""
    axes = max(len(_shape(case)), 1)
    ends = [arguments.get(name, spec.signature.defaults[name]) for name in ("start_dim", "end_dim")]
    if not all(-axes <= end < axes for end in ends) or ends[0] % axes > ends[1] % axes:
        return None
    return _replace_arguments(case, arguments)


def _resize_unflatten(spec: LayerSpec, case: Case, arguments: dict[str, Any]) -> Case | None:
    """The case with other sizes, its axis resized to their product; None where invalid."""
    shape, dim, sizes = list(_shape(case)), arguments["dim"], arguments["unflattened_size"]
    if not sizes or not -len(shape) <= dim < len(shape) or list(sizes).count(-1) > 1:
        return None
    known_product = math.prod(size for size in sizes if size != -1)
    if -1 in sizes and not known_product:
        return None
    if -1 not in sizes or shape[dim] % known_product:
        shape[dim] = known_product
    x = case.inputs[0]
    assert x is not None
    return replace(_replace_arguments(case, arguments), inputs=(resized(x, tuple(shape)),))


def _unsplit_axes(case: Case) -> tuple[Axes, ...]:
    """Every axis except the one that is split."""
    split = case.call.arguments["dim"] % len(_shape(case))
    return tuple(group for group in every_axis(case) if group != ((0, split),))


def _shuffle_spec(name: str, spec: LayerSpec) -> LayerSpec:
    valid = partial(cases.shuffles, name)
    timed_arguments = {"groups": 3}
    return replace(
        spec,
        name=name,
        signature=replace(
            spec.signature,
            arguments=(Argument("groups", simplest=1),),
            inputs=(Input("input"),),
            outputs=(Output("output", dtype=input_dtype),),
            takes_device_and_dtype=False,
        ),
        shapes=Shapes(
            {"input": "batch channels *rest", "output": "batch channels *rest"},
            where=("groups > 0", "channels % groups == 0"),
        ),
        oracle=replace(
            spec.oracle,
            values=oracle.channel_shuffle,
            shapes=None,
            formula=("(N, C, *) as (N, g, C/g, *), whose second and third axis change places",),
        ),
        generation=replace(
            spec.generation,
            cases=valid,
            invalid=invalid_cases(valid, invalid.shuffle_breaks()),
            examples_fraction=0.4,
        ),
        variation=Variation(),
        traits=Traits(copies_input=True),
        laws=laws.SHUFFLE,
        benchmark=replace(
            spec.benchmark,
            workloads=(
                Workload(name, "shufflenet 240", timed_arguments, ((8, 240, 28, 28),), small=True),
            ),
        ),
    )


def layer_specs() -> Iterator[LayerSpec]:
    """The family's layers, those of pixels last."""
    batch_axis = partial(_batch_axis, "start_dim")
    valid = partial(cases.flattens, "Flatten")
    flatten = LayerSpec(
        "Flatten",
        "reshaping",
        signature=Signature(
            (Argument("start_dim", 1, alternative=0), Argument("end_dim", -1, alternative=1)),
            (Input("input", batch_axis=batch_axis),),
            (Output("output", batch_axis, input_dtype),),
            takes_device_and_dtype=False,
        ),
        oracle=Oracle(
            values=oracle.flatten,
            shapes=oracle.flatten_shape,
            formula=("(*, S_start, ..., S_end, *) -> (*, prod S_i, *)",),
            propagation=copied,
        ),
        generation=Generation(
            cases=valid,
            invalid=invalid_cases(valid, invalid.flatten_breaks()),
            examples_fraction=0.25,
        ),
        variation=Variation(resize=_resize_flatten, independent_axes=every_axis),
        traits=Traits(may_alias_inputs=True, copies_input=True),
        laws=laws.FLATTEN,
        benchmark=Benchmark(
            workloads=(Workload("Flatten", "vgg 512", {}, ((8, 512, 7, 7),), small=True),),
            filling=Filling(contraction=False),
            flops=lambda workload, weights, outputs: 0,
        ),
    )
    yield flatten
    batch_axis = partial(_batch_axis, "dim")
    valid = partial(cases.unflattens, "Unflatten")
    sizes = {"dim": 1, "unflattened_size": (512, 7, 7)}
    yield replace(
        flatten,
        name="Unflatten",
        signature=replace(
            flatten.signature,
            arguments=(
                Argument("dim", simplest=0),
                Argument("unflattened_size", simplest=(1,), form=Form(sequence=True)),
            ),
            inputs=(Input("input", batch_axis=batch_axis),),
            outputs=(Output("output", batch_axis, input_dtype),),
        ),
        oracle=replace(
            flatten.oracle,
            values=oracle.unflatten,
            shapes=oracle.unflatten_shape,
            formula=("(*, S_dim, *) -> (*, U_1, ..., U_n, *), prod U_i = S_dim",),
        ),
        generation=replace(
            flatten.generation,
            cases=valid,
            invalid=invalid_cases(valid, invalid.unflatten_breaks()),
        ),
        variation=replace(
            flatten.variation, resize=_resize_unflatten, independent_axes=_unsplit_axes
        ),
        laws=laws.UNFLATTEN,
        benchmark=replace(
            flatten.benchmark,
            workloads=(Workload("Unflatten", "vgg 512", sizes, ((8, 25088),), small=True),),
        ),
    )
    yield _shuffle_spec("ChannelShuffle", flatten)
    for name in ("functional.channel_shuffle", "functional.native_channel_shuffle"):
        yield _shuffle_spec(name, flatten)
    yield from reshaping_pixels.layer_specs()
