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
from conformance.spec.layer_spec import LayerSpec, Variation
from conformance.spec.outputs import input_dtype
from conformance.spec.parts import Benchmark, Generation, Oracle, Traits
from conformance.spec.propagation import copied
from conformance.spec.shapes import Shapes
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
_BATCH_SHAPE = "sequences time *features if batch_first else time sequences *features"
_INDICES = ("sorted_indices", "unsorted_indices")
_FEATURES = {f"sequence{k}": f"length{k} *features" for k in range(cases.MOST)}
_PACK = {
    "data": "elements *features",
    "batch_sizes": "longest",
    **dict.fromkeys(_INDICES, "sequences if not enforce_sorted"),
}
_PACKED = {
    "data": "elements *features",
    "batch_sizes": "steps",
    **dict.fromkeys(_INDICES, "sequences"),
}
_FIXED = ("elements", "steps", "sequences")
_LISTED_OUTPUTS = tuple(Output(f"sequence{k}", dtype=input_dtype) for k in range(cases.MOST))


def _arrays(case: Case) -> list[np.ndarray]:
    return [x for x in case.inputs if x is not None]


def _each(case: Case) -> Mapping[str, Any]:
    return {"each": tuple(map(int, _arrays(case)[1]))}


def _elements(case: Case) -> Mapping[str, Any]:
    lengths = _arrays(case)[1]
    return {"elements": int(lengths.sum()), "longest": int(lengths.max())}


def _lengths(case: Case) -> tuple[int, ...]:
    _, sizes, *indices = _arrays(case)
    return tuple(oracle.lengths_of(sizes.tolist(), indices[1].tolist() if indices else None))


def _count(case: Case) -> Mapping[str, Any]:
    return {"sequences": len(_lengths(case))}


def _each_packed(case: Case) -> Mapping[str, Any]:
    return {"each": _lengths(case)}


def _packable(lengths: Sequence[int], arguments: Mapping[str, Any]) -> bool:
    if arguments.get("enforce_sorted", True):
        return list(lengths) == sorted(lengths, reverse=True)
    return oracle.count_of_orders(lengths) <= _MOST_ORDERS


def _valued(case: Case) -> bool:
    """Whether the sequences' dtype can hold the padding value."""
    value = float(case.call.arguments.get("padding_value", 0.0))
    return _arrays(case)[0].dtype.kind != "i" or value.is_integer()


def _allows_list(row: LayerSpec, case: Case) -> bool:
    """Whether the arguments allow to pad, or to pack, the list."""
    lengths, arguments = [len(x) for x in _arrays(case)], case.call.arguments
    if row.signature.argument("enforce_sorted") is None:
        return _valued(case) and max(lengths) > 0
    return min(lengths) > 0 and _packable(lengths, arguments)


def _allows_batch(row: LayerSpec, case: Case) -> bool:
    """Whether the batch is as long as its longest sequence, and the arguments allow the lengths."""
    x, lengths = _arrays(case)
    arguments = case.call.arguments
    if not 0 < max(lengths) <= x.shape[1 if arguments.get("batch_first", False) else 0]:
        return False
    if row.signature.argument("enforce_sorted") is None:
        return len(lengths) <= cases.MOST
    return bool(min(lengths) > 0) and _packable(lengths.tolist(), arguments)


def _allows_packed(row: LayerSpec, case: Case) -> bool:
    """Whether `total_length` covers the longest sequence, and the dtype holds the padding value."""
    lengths, total = _lengths(case), case.call.arguments.get("total_length")
    return (total is None or total >= max(lengths)) and _valued(case)


def _flops(workload: Workload, weights: Any, outputs: Any) -> int:
    return 0


def _falling(shapes: Any, generator: np.random.Generator) -> np.ndarray:
    """Lengths of a batch, the longest first."""
    lengths = generator.integers(1, _LONG, shapes[1], endpoint=True)
    lengths[0] = _LONG
    return np.sort(lengths)[::-1].copy()


def _full(shapes: Any, generator: np.random.Generator) -> np.ndarray:
    """Batch sizes of equally long sequences: each step has an element of every sequence."""
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
    """A benchmark of one call.

    Args:
        made: input → function that makes it, for inputs that are not ordinary numbers.
    """
    filling = Filling(contraction=False, made=made)
    return Benchmark(workloads=(workload,), filling=filling, flops=_flops)


def _row(
    name: str,
    signature: Signature,
    shapes: Shapes,
    oracle: Oracle,
    generation: Generation,
    variation: Variation,
    laws: tuple[Law, ...],
    benchmark: Benchmark,
) -> LayerSpec:
    """The parts that all layers of the family share."""
    return LayerSpec(
        name,
        "sequences",
        signature=signature,
        shapes=shapes,
        oracle=oracle,
        generation=generation,
        variation=variation,
        traits=Traits(copies=True),
        laws=laws,
        benchmark=benchmark,
    )


def _lists() -> Iterator[LayerSpec]:
    """Functions that take a list of sequences."""
    text = "4 sequences of 32 to 128 steps"
    shapes = tuple((n, 512) for n in (128, 96, 64, 32))
    variation, bundles = Variation(allows=_allows_list), Bundles({"sequences": LIST})
    name = _RNN + "pad_sequence"
    side = Argument("padding_side", "right", other="left")
    yield _row(
        name,
        _called((_FIRST, _VALUE, side), _list(), (_PADDED_OUTPUT,), bundles),
        Shapes({**_FEATURES, "padded": "*padded"}),
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
        Shapes({**_FEATURES, **_PACK}),
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
    """Functions that take a padded batch."""
    variation = Variation(allows=_allows_batch)
    name, text = _RNN + "pack_padded_sequence", "32 sequences of at most 128 steps"
    signature = _called(
        (_FIRST, _SORTED),
        (Input("input"), _index("lengths", Passed(on_host=True))),
        _PACKED_OUTPUTS,
    )
    shapes = Shapes({"input": _BATCH_SHAPE, "lengths": "sequences", **_PACK})
    yield _row(
        name,
        signature,
        shapes,
        Oracle(
            oracle.pack_padded_sequence,
            formula=(
                "data: for each step the elements of the sequences that are longer,",
                "    the longest sequence first; batch_sizes: how many they are",
            ),
            propagation=copied,
            counted=_elements,
        ),
        _generation(partial(cases.padded_batches, name), invalid.padded_breaks(signature, shapes)),
        variation,
        laws.PACK_PADDED,
        _benchmark(Workload(name, text, {}, (_BATCH, (32,)), small=True), lengths=_falling),
    )
    name, first = _RNN + "unpad_sequence", {"batch_first": True}
    signature = _called(
        (_FIRST,),
        (Input("padded_sequences"), _index("lengths", Passed())),
        _LISTED_OUTPUTS,
        Bundles(lists=True),
    )
    shapes = Shapes({"padded_sequences": _BATCH_SHAPE, "lengths": "sequences", **_FEATURES})
    yield _row(
        name,
        signature,
        shapes,
        Oracle(
            oracle.unpad_sequence,
            oracle.unpad_sequence_shape,
            ("the first lengths[b] steps of each sequence b",),
            copied,
            counted=_each,
        ),
        _generation(partial(cases.batches_to_unpad, name), invalid.unpad_breaks(signature, shapes)),
        variation,
        laws.UNPAD,
        _benchmark(
            Workload(name, "6 sequences", first, ((6, 128, 512), (6,)), small=True),
            lengths=_falling,
        ),
    )


def _packed() -> Iterator[LayerSpec]:
    """Functions that take a packed sequence."""
    variation, text = Variation(allows=_allows_packed), "6 sequences of 128"
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
        Shapes(
            {**_PACKED, "padded": _BATCH_SHAPE, "lengths": "sequences"},
            fixed=_FIXED,
            let={"time": "total_length or steps"},
        ),
        Oracle(
            oracle.pad_packed_sequence,
            formula=(_PADDED,),
            propagation=copied,
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
        Shapes({**_PACKED, **_FEATURES}, fixed=_FIXED),
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
    """The family's layers, by what they take."""
    yield from _batches()
    yield from _lists()
    yield from _packed()
