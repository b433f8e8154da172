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
from conformance.spec.signature import Argument, Bundles, Input, Output, Passing, Signature
from conformance.spec.workload import Filling, Workload
from conformance.strategies import sequences as cases
from conformance.strategies.invalid import sequences as invalid
from conformance.strategies.invalid.breaks import invalid_cases

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    from conformance.spec.law import Law

_RNN = "utils.rnn."
_FIRST = Argument("batch_first", False, alternative=True)
_VALUE = Argument("padding_value", 0.0, alternative=1.0)
_SORTED = Argument("enforce_sorted", True, alternative=False)
_RECORD = "utils.rnn.PackedSequence"
_MAX_ORDERS = 24
_PADDED = "T x B x *, or B x T x *: the sequences in their order, padding_value behind"
# 32 sequences of 128 steps and 512 features.
_BATCH, _LONG = (128, 32, 512), 128


def _int64(case: Case) -> str:
    return "int64"


def _list_inputs() -> tuple[Input, ...]:
    names = (f"sequence{k}" for k in range(cases.MAX_SEQUENCES))
    parts = (
        Input(name, optional=k > 0, passing=Passing(part_of="sequences"))
        for k, name in enumerate(names)
    )
    return tuple(parts)


def _index_input(name: str, passed: Passing, *, optional: bool = False) -> Input:
    return Input(
        name, "index", optional, differentiable=False, any_value=False, fixed=True, passing=passed
    )


def _packed_inputs(argument: str) -> tuple[Input, ...]:
    part = Passing(part_of=argument)
    return (
        Input("data", passing=part),
        _index_input("batch_sizes", replace(part, on_host=True)),
        _index_input("sorted_indices", part, optional=True),
        _index_input("unsorted_indices", part, optional=True),
    )


_PACKED_OUTPUTS = (
    Output("data", dtype=input_dtype),
    Output("batch_sizes", dtype=_int64, differentiable=False, on_host=True),
    Output("sorted_indices", dtype=_int64, differentiable=False),
    Output("unsorted_indices", dtype=_int64, differentiable=False),
)
_PADDED_OUTPUT = Output("padded", dtype=input_dtype)
_NO_BUNDLES = Bundles()
_BATCH_SHAPE = "sequences time *features if batch_first else time sequences *features"
_INDICES = ("sorted_indices", "unsorted_indices")
_FEATURES = {f"sequence{k}": f"length{k} *features" for k in range(cases.MAX_SEQUENCES)}
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
_LISTED_OUTPUTS = tuple(
    Output(f"sequence{k}", dtype=input_dtype) for k in range(cases.MAX_SEQUENCES)
)


def _present_arrays(case: Case) -> list[np.ndarray]:
    return [x for x in case.inputs if x is not None]


def _lengths_argument(case: Case) -> Mapping[str, Any]:
    return {"each": tuple(map(int, _present_arrays(case)[1]))}


def _element_counts(case: Case) -> Mapping[str, Any]:
    lengths = _present_arrays(case)[1]
    return {"elements": int(lengths.sum()), "longest": int(lengths.max())}


def _lengths(case: Case) -> tuple[int, ...]:
    _, sizes, *indices = _present_arrays(case)
    return tuple(oracle.packed_lengths(sizes.tolist(), indices[1].tolist() if indices else None))


def _sequence_count(case: Case) -> Mapping[str, Any]:
    return {"sequences": len(_lengths(case))}


def _packed_lengths(case: Case) -> Mapping[str, Any]:
    return {"each": _lengths(case)}


def _can_pack(lengths: Sequence[int], arguments: Mapping[str, Any]) -> bool:
    if arguments.get("enforce_sorted", True):
        return list(lengths) == sorted(lengths, reverse=True)
    return oracle.count_valid_orders(lengths) <= _MAX_ORDERS


def _can_hold_padding(case: Case) -> bool:
    """Whether the sequences' dtype can hold the padding value."""
    value = float(case.call.arguments.get("padding_value", 0.0))
    return _present_arrays(case)[0].dtype.kind != "i" or value.is_integer()


def _allows_list(spec: LayerSpec, case: Case) -> bool:
    """Whether the arguments allow to pad, or to pack, the list."""
    lengths, arguments = [len(x) for x in _present_arrays(case)], case.call.arguments
    if spec.signature.argument("enforce_sorted") is None:
        return _can_hold_padding(case) and max(lengths) > 0
    return min(lengths) > 0 and _can_pack(lengths, arguments)


def _allows_batch(spec: LayerSpec, case: Case) -> bool:
    """Whether the batch is as long as its longest sequence, and the arguments allow the lengths."""
    x, lengths = _present_arrays(case)
    arguments = case.call.arguments
    if not 0 < max(lengths) <= x.shape[1 if arguments.get("batch_first", False) else 0]:
        return False
    if spec.signature.argument("enforce_sorted") is None:
        return len(lengths) <= cases.MAX_SEQUENCES
    return bool(min(lengths) > 0) and _can_pack(lengths.tolist(), arguments)


def _allows_packed(spec: LayerSpec, case: Case) -> bool:
    """Whether `total_length` covers the longest sequence, and the dtype holds the padding value."""
    lengths, total = _lengths(case), case.call.arguments.get("total_length")
    return (total is None or total >= max(lengths)) and _can_hold_padding(case)


def _flops(workload: Workload, weights: Any, outputs: Any) -> int:
    return 0


def _decreasing_lengths(shapes: Any, generator: np.random.Generator) -> np.ndarray:
    """Lengths of a batch, the longest first."""
    lengths = generator.integers(1, _LONG, shapes[1], endpoint=True)
    lengths[0] = _LONG
    return np.sort(lengths)[::-1].copy()


def _full_batch_sizes(shapes: Any, generator: np.random.Generator) -> np.ndarray:
    """Batch sizes of equally long sequences: each step has an element of every sequence."""
    return np.full(shapes[1], shapes[0][0] // shapes[1][0])


def _signature(
    arguments: tuple[Argument, ...],
    inputs: tuple[Input, ...],
    outputs: tuple[Output, ...],
    bundles: Bundles = _NO_BUNDLES,
) -> Signature:
    return Signature(
        arguments,
        inputs,
        outputs,
        supports_complex=False,
        takes_device_and_dtype=False,
        bundles=bundles,
    )


def _generation(strategy: Callable[[str], SearchStrategy[Case]], breaks: Any) -> Generation:
    return Generation(
        cases=strategy, invalid=invalid_cases(strategy, breaks), examples_fraction=0.4
    )


def _benchmark(workload: Workload, **made: Any) -> Benchmark:
    """A benchmark of one call.

    Args:
        made: input → function that makes it, for inputs that are not ordinary numbers.
    """
    filling = Filling(contraction=False, array_makers=made)
    return Benchmark(workloads=(workload,), filling=filling, flops=_flops)


def _layer_spec(
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
        traits=Traits(copies_input=True),
        laws=laws,
        benchmark=benchmark,
    )


def _list_specs() -> Iterator[LayerSpec]:
    """Functions that take a list of sequences."""
    text = "4 sequences of 32 to 128 steps"
    shapes = tuple((n, 512) for n in (128, 96, 64, 32))
    variation, bundles = Variation(allows=_allows_list), Bundles({"sequences": LIST})
    name = _RNN + "pad_sequence"
    side = Argument("padding_side", "right", alternative="left")
    yield _layer_spec(
        name,
        _signature((_FIRST, _VALUE, side), _list_inputs(), (_PADDED_OUTPUT,), bundles),
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
    yield _layer_spec(
        name,
        _signature((_SORTED,), _list_inputs(), _PACKED_OUTPUTS, bundles),
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


def _padded_specs() -> Iterator[LayerSpec]:
    """Functions that take a padded batch."""
    variation = Variation(allows=_allows_batch)
    name, text = _RNN + "pack_padded_sequence", "32 sequences of at most 128 steps"
    signature = _signature(
        (_FIRST, _SORTED),
        (Input("input"), _index_input("lengths", Passing(on_host=True))),
        _PACKED_OUTPUTS,
    )
    shapes = Shapes({"input": _BATCH_SHAPE, "lengths": "sequences", **_PACK})
    yield _layer_spec(
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
            value_inferred_arguments=_element_counts,
        ),
        _generation(partial(cases.padded_batches, name), invalid.padded_breaks(signature, shapes)),
        variation,
        laws.PACK_PADDED,
        _benchmark(
            Workload(name, text, {}, (_BATCH, (32,)), small=True), lengths=_decreasing_lengths
        ),
    )
    name, first = _RNN + "unpad_sequence", {"batch_first": True}
    signature = _signature(
        (_FIRST,),
        (Input("padded_sequences"), _index_input("lengths", Passing())),
        _LISTED_OUTPUTS,
        Bundles(returns_list=True),
    )
    shapes = Shapes({"padded_sequences": _BATCH_SHAPE, "lengths": "sequences", **_FEATURES})
    yield _layer_spec(
        name,
        signature,
        shapes,
        Oracle(
            oracle.unpad_sequence,
            oracle.unpad_sequence_shape,
            ("the first lengths[b] steps of each sequence b",),
            copied,
            value_inferred_arguments=_lengths_argument,
        ),
        _generation(partial(cases.batches_to_unpad, name), invalid.unpad_breaks(signature, shapes)),
        variation,
        laws.UNPAD,
        _benchmark(
            Workload(name, "6 sequences", first, ((6, 128, 512), (6,)), small=True),
            lengths=_decreasing_lengths,
        ),
    )


def _packed_specs() -> Iterator[LayerSpec]:
    """Functions that take a packed sequence."""
    variation, text = Variation(allows=_allows_packed), "6 sequences of 128"
    shapes = ((768, 512), (128,))
    name = _RNN + "pad_packed_sequence"
    yield _layer_spec(
        name,
        _signature(
            (_FIRST, _VALUE, Argument("total_length", None, alternative=17)),
            _packed_inputs("sequence"),
            (_PADDED_OUTPUT, Output("lengths", dtype=_int64, differentiable=False, on_host=True)),
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
            value_inferred_arguments=_sequence_count,
        ),
        _generation(partial(cases.packed_batches, name, True), invalid.packed_breaks()),
        variation,
        laws.PAD_PACKED,
        _benchmark(Workload(name, text, {}, shapes, small=True), batch_sizes=_full_batch_sizes),
    )
    name = _RNN + "unpack_sequence"
    yield _layer_spec(
        name,
        _signature(
            (),
            _packed_inputs("packed_sequences"),
            _LISTED_OUTPUTS,
            Bundles({"packed_sequences": _RECORD}, returns_list=True),
        ),
        Shapes({**_PACKED, **_FEATURES}, fixed=_FIXED),
        Oracle(
            oracle.unpack_sequence,
            oracle.unpack_sequence_shape,
            ("the sequences, as they were before they were packed",),
            copied,
            value_inferred_arguments=_packed_lengths,
        ),
        _generation(partial(cases.packed_batches, name, False), invalid.unpack_breaks()),
        variation,
        laws.UNPACK,
        _benchmark(Workload(name, text, {}, shapes, small=True), batch_sizes=_full_batch_sizes),
    )


def layer_specs() -> Iterator[LayerSpec]:
    """The family's layers, by what they take."""
    yield from _padded_specs()
    yield from _list_specs()
    yield from _packed_specs()
