"""Functions that pad, pack and unpack sequences of several lengths."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.laws import sequences as laws
from conformance.model.case import LIST, Case
from conformance.oracles import sequences as oracle
from conformance.spec.axes import Axes, joined
from conformance.spec.layer_spec import LayerSpec, Variation
from conformance.spec.outputs import input_dtype
from conformance.spec.parts import Benchmark, Generation, Oracle, Traits
from conformance.spec.propagation import copied
from conformance.spec.signature import Argument, Bundles, Input, Output, Passed, Signature
from conformance.spec.workload import Filling, Workload
from conformance.strategies import sequences as cases
from conformance.strategies.invalid import sequences as invalid
from conformance.strategies.invalid.breaks import invalid_cases

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    from conformance.spec.law import Law

_RNN = "utils.rnn."
_FIRST = Argument("batch_first", False, other=True)
_VALUE = Argument("padding_value", 0.0, other=1.0)
_SORTED = Argument("enforce_sorted", True, other=False)
_RECORD = "utils.rnn.PackedSequence"
_MOST_ORDERS = 24
_PADDED = "T x B x *, or B x T x *: the sequences in their order, padding_value behind"
# 32 sequences of 128 steps and 512 features.
_BATCH, _LONG = (128, 32, 512), 128


def _whole(case: Case) -> str:
    return "int64"


def _list() -> tuple[Input, ...]:
    names = (f"sequence{k}" for k in range(cases.MOST))
    parts = (
        Input(name, optional=k > 0, passed=Passed(part_of="sequences"))
        for k, name in enumerate(names)
    )
    return tuple(parts)


def _index(name: str, passed: Passed, *, optional: bool = False) -> Input:
    return Input(
        name, "index", optional, differentiable=False, signed=False, fixed=True, passed=passed
    )


def _parts(argument: str) -> tuple[Input, ...]:
    part = Passed(part_of=argument)
    return (
        Input("data", passed=part),
        _index("batch_sizes", replace(part, on_host=True)),
        _index("sorted_indices", part, optional=True),
        _index("unsorted_indices", part, optional=True),
    )


_PACKED_OUTPUTS = (
    Output("data", dtype=input_dtype),
    Output("batch_sizes", dtype=_whole, differentiable=False, on_host=True),
    Output("sorted_indices", dtype=_whole, differentiable=False),
    Output("unsorted_indices", dtype=_whole, differentiable=False),
)
_PADDED_OUTPUT = Output("padded", dtype=input_dtype)
_SINGLE = Bundles()
_LISTED_OUTPUTS = tuple(Output(f"sequence{k}", dtype=input_dtype) for k in range(cases.MOST))


def _arrays(case: Case) -> list[np.ndarray]:
    return [x for x in case.inputs if x is not None]


def _features(first: int, case: Case) -> Iterator[Axes]:
    """The axes behind those of time and batch, of all sequences together."""
    data = [k for k, x in enumerate(case.inputs) if x is not None and x.ndim > first]
    rank = _arrays(case)[0].ndim
    for axis in range(first, rank):
        yield joined(case, *((k, axis) for k in data if _arrays(case)[k].ndim == rank))


def _of_list(case: Case) -> tuple[Axes, ...]:
    """The length of each sequence, and the features of all."""
    return (*(((k, 0),) for k in range(len(case.inputs))), *_features(1, case))


def _of_packed(case: Case) -> tuple[Axes, ...]:
    rank = _arrays(case)[0].ndim
    return tuple(((0, axis),) for axis in range(1, rank))


def _of_batch(case: Case) -> tuple[Axes, ...]:
    """Time, the batch with its lengths, and the features."""
    first = bool(case.call.arguments.get("batch_first", False))
    time, batch = (1, 0) if first else (0, 1)
    rank = _arrays(case)[0].ndim
    return (((0, time),), ((0, batch), (1, 0)), *(((0, axis),) for axis in range(2, rank)))


def _each(case: Case) -> Mapping[str, Any]:
    return {"each": tuple(map(int, _arrays(case)[1]))}


def _lengths(case: Case) -> tuple[int, ...]:
    _, sizes, *indices = _arrays(case)
    return tuple(oracle.lengths_of(sizes.tolist(), indices[1].tolist() if indices else None))


def _count(case: Case) -> Mapping[str, Any]:
    return {"count": len(_lengths(case))}


def _each_packed(case: Case) -> Mapping[str, Any]:
    return {"each": _lengths(case)}


def _packable(lengths: Sequence[int], arguments: Mapping[str, Any]) -> bool:
    if arguments.get("enforce_sorted", True):
        return list(lengths) == sorted(lengths, reverse=True)
    return oracle.count_of_orders(lengths) <= _MOST_ORDERS


def _valued(case: Case, arguments: Mapping[str, Any]) -> bool:
    """Whether the padding is a number that the sequences can have."""
    value = float(arguments.get("padding_value", 0.0))
    return _arrays(case)[0].dtype.kind != "i" or value.is_integer()


def _refit_list(row: LayerSpec, case: Case, arguments: dict[str, Any]) -> Case | None:
    """The case with other arguments, where its list can be padded, or packed, so."""
    lengths = [len(x) for x in _arrays(case)]
    packs = row.signature.argument("enforce_sorted") is not None
    if not _valued(case, arguments) or not max(lengths):
        return None
    if packs and not (min(lengths) > 0 and _packable(lengths, arguments)):
        return None
    return replace(case, call=replace(case.call, arguments=arguments))


def _refit_batch(row: LayerSpec, case: Case, arguments: dict[str, Any]) -> Case | None:
    """The case with other arguments, its batch turned where these ask for that."""
    x, lengths = _arrays(case)
    was, first = (bool(a.get("batch_first", False)) for a in (case.call.arguments, arguments))
    x = x if was is first else np.ascontiguousarray(x.swapaxes(0, 1))
    count, steps = x.shape[:2] if first else x.shape[1::-1]
    packs = row.signature.argument("enforce_sorted") is not None
    if len(lengths) != count or not 0 < max(lengths) <= steps:
        return None
    if packs and not (min(lengths) > 0 and _packable(lengths.tolist(), arguments)):
        return None
    if not packs and count > cases.MOST:
        return None
    call = replace(case.call, arguments=arguments)
    return replace(case, call=call, inputs=(x, lengths))


def _refit_packed(row: LayerSpec, case: Case, arguments: dict[str, Any]) -> Case | None:
    """The case with other arguments, where its sequences have room."""
    lengths, total = _lengths(case), arguments.get("total_length")
    short = total is not None and total < max(lengths)
    if short or not _valued(case, arguments) or sum(lengths) != len(_arrays(case)[0]):
        return None
    return replace(case, call=replace(case.call, arguments=arguments))


def _flops(workload: Workload, weights: Any, outputs: Any) -> int:
    return 0


def _falling(shapes: Any, generator: np.random.Generator) -> np.ndarray:
    """Lengths of a batch, the longest first."""
    lengths = generator.integers(1, _LONG, shapes[1], endpoint=True)
    lengths[0] = _LONG
    return np.sort(lengths)[::-1].copy()


def _full(shapes: Any, generator: np.random.Generator) -> np.ndarray:
    """Sizes of steps that all sequences have."""
    return np.full(shapes[1], shapes[0][0] // shapes[1][0])


def _called(
    arguments: tuple[Argument, ...],
    inputs: tuple[Input, ...],
    outputs: tuple[Output, ...],
    bundles: Bundles = _SINGLE,
) -> Signature:
    return Signature(arguments, inputs, outputs, complex=False, placed=False, bundles=bundles)


def _generation(strategy: Callable[[str], SearchStrategy[Case]], breaks: Any) -> Generation:
    return Generation(cases=strategy, invalid=invalid_cases(strategy, breaks), examples=0.4)


def _benchmark(workload: Workload, **made: Any) -> Benchmark:
    """One call.

    Args:
        made: input → what makes it, where it is not a number like any other.
    """
    filling = Filling(contraction=False, made=made)
    return Benchmark(workloads=(workload,), filling=filling, flops=_flops)


def _row(
    name: str,
    signature: Signature,
    oracle: Oracle,
    generation: Generation,
    variation: Variation,
    laws: tuple[Law, ...],
    benchmark: Benchmark,
) -> LayerSpec:
    """What all rows have in common."""
    return LayerSpec(
        name,
        "sequences",
        signature=signature,
        oracle=oracle,
        generation=generation,
        variation=variation,
        traits=Traits(copies=True),
        laws=laws,
        benchmark=benchmark,
    )


def _lists() -> Iterator[LayerSpec]:
    """Of lists."""
    text = "4 sequences of 32 to 128 steps"
    shapes = tuple((n, 512) for n in (128, 96, 64, 32))
    variation, bundles = Variation(_refit_list, _of_list), Bundles({"sequences": LIST})
    name = _RNN + "pad_sequence"
    side = Argument("padding_side", "right", other="left")
    yield _row(
        name,
        _called((_FIRST, _VALUE, side), _list(), (_PADDED_OUTPUT,), bundles),
        Oracle(
            oracle.pad_sequence,
            oracle.pad_sequence_shape,
            ("T x B x *, or B x T x *: padding_value behind, or before, each sequence",),
            copied,
        ),
        _generation(partial(cases.padded_lists, name), invalid.list_breaks()),
        variation,
        laws.PAD,
        _benchmark(Workload(name, text, {}, shapes, small=True)),
    )
    name = _RNN + "pack_sequence"
    yield _row(
        name,
        _called((_SORTED,), _list(), _PACKED_OUTPUTS, bundles),
        Oracle(
            oracle.pack_sequence,
            oracle.pack_sequence_shape,
            ("pack_padded_sequence of pad_sequence",),
            copied,
        ),
        _generation(partial(cases.packed_lists, name), invalid.packed_list_breaks()),
        variation,
        laws.PACK,
        _benchmark(Workload(name, text, {}, shapes, small=True)),
    )


def _batches() -> Iterator[LayerSpec]:
    """Of padded batches."""
    variation = Variation(_refit_batch, _of_batch)
    name, text = _RNN + "pack_padded_sequence", "32 sequences of at most 128 steps"
    yield _row(
        name,
        _called(
            (_FIRST, _SORTED),
            (Input("input"), _index("lengths", Passed(on_host=True))),
            _PACKED_OUTPUTS,
        ),
        Oracle(
            oracle.pack_padded_sequence,
            oracle.pack_padded_sequence_shape,
            (
                "data: for each step the elements of the sequences that are longer,",
                "    the longest sequence first; batch_sizes: how many they are",
            ),
            copied,
            counted=_each,
        ),
        _generation(partial(cases.padded_batches, name), invalid.padded_breaks()),
        variation,
        laws.PACK_PADDED,
        _benchmark(Workload(name, text, {}, (_BATCH, (32,)), small=True), lengths=_falling),
    )
    name, first = _RNN + "unpad_sequence", {"batch_first": True}
    yield _row(
        name,
        _called(
            (_FIRST,),
            (Input("padded_sequences"), _index("lengths", Passed())),
            _LISTED_OUTPUTS,
            Bundles(lists=True),
        ),
        Oracle(
            oracle.unpad_sequence,
            oracle.unpad_sequence_shape,
            ("the first lengths[b] steps of each sequence b",),
            copied,
            counted=_each,
        ),
        _generation(partial(cases.batches_to_unpad, name), invalid.unpad_breaks()),
        variation,
        laws.UNPAD,
        _benchmark(
            Workload(name, "6 sequences", first, ((6, 128, 512), (6,)), small=True),
            lengths=_falling,
        ),
    )


def _packed() -> Iterator[LayerSpec]:
    """Of packed sequences."""
    variation, text = Variation(_refit_packed, _of_packed), "6 sequences of 128"
    shapes = ((768, 512), (128,))
    name = _RNN + "pad_packed_sequence"
    yield _row(
        name,
        _called(
            (_FIRST, _VALUE, Argument("total_length", None, other=17)),
            _parts("sequence"),
            (_PADDED_OUTPUT, Output("lengths", dtype=_whole, differentiable=False, on_host=True)),
            Bundles({"sequence": _RECORD}),
        ),
        Oracle(
            oracle.pad_packed_sequence,
            oracle.pad_packed_sequence_shape,
            (_PADDED,),
            copied,
            counted=_count,
        ),
        _generation(partial(cases.packed_batches, name, True), invalid.packed_breaks()),
        variation,
        laws.PAD_PACKED,
        _benchmark(Workload(name, text, {}, shapes, small=True), batch_sizes=_full),
    )
    name = _RNN + "unpack_sequence"
    yield _row(
        name,
        _called(
            (),
            _parts("packed_sequences"),
            _LISTED_OUTPUTS,
            Bundles({"packed_sequences": _RECORD}, lists=True),
        ),
        Oracle(
            oracle.unpack_sequence,
            oracle.unpack_sequence_shape,
            ("the sequences, as they were before they were packed",),
            copied,
            counted=_each_packed,
        ),
        _generation(partial(cases.packed_batches, name, False), invalid.unpack_breaks()),
        variation,
        laws.UNPACK,
        _benchmark(Workload(name, text, {}, shapes, small=True), batch_sizes=_full),
    )


def rows() -> Iterator[LayerSpec]:
    """The rows, in the order of torch's documentation."""
    yield from _batches()
    yield from _lists()
    yield from _packed()
