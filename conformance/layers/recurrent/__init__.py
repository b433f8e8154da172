"""RNN, LSTM, GRU and their cells."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from conformance.laws.recurrent import layers as laws
from conformance.laws.recurrent import sequences
from conformance.laws.recurrent.dropout import draws
from conformance.layers.recurrent.propagation import recurrent_propagation
from conformance.model.case import Call, Case
from conformance.oracles.recurrent import cells, steps
from conformance.oracles.recurrent import layers as oracle
from conformance.oracles.recurrent.state import GATES, layer_shapes
from conformance.spec.layer_spec import LayerSpec, Variation
from conformance.spec.parts import Benchmark, Generation, Oracle, Randomness, State, Steps
from conformance.spec.shapes import Shapes
from conformance.spec.signature import (
    REQUIRED,
    Argument,
    Arguments,
    Bundles,
    Input,
    Output,
    Signature,
    Ties,
)
from conformance.spec.state import Shape, StateTensor, uniform_parameters
from conformance.spec.workload import Filling, Workload
from conformance.strategies.invalid.breaks import invalid_cases
from conformance.strategies.invalid.recurrent import layers as invalid
from conformance.strategies.invalid.shapes import shape_breaks
from conformance.strategies.recurrent import layers as cases

_CELL_LAWS = (
    laws.rows,
    laws.singles,
    laws.unbatched,
    laws.zeros,
    laws.units,
    laws.inputs,
    laws.copies,
)
_LAYER_LAWS = (
    *_CELL_LAWS,
    sequences.batch_first,
    sequences.packed,
    sequences.stacked,
    sequences.directions,
    sequences.as_cell,
    sequences.carried,
)
_STEP = "h_t = tanh(x_t W_ih^T + b_ih + h_(t−1) W_hh^T + b_hh), or ReLU in place of tanh"
_FORMULAS = {
    "RNN": (_STEP,),
    "RNNCell": ("h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or ReLU in place of tanh",),
    "LSTM": (
        "i_t = σ(W_ii x_t + b_ii + W_hi h_(t−1) + b_hi)",
        "f_t = σ(W_if x_t + b_if + W_hf h_(t−1) + b_hf)",
        "g_t = tanh(W_ig x_t + b_ig + W_hg h_(t−1) + b_hg)",
        "o_t = σ(W_io x_t + b_io + W_ho h_(t−1) + b_ho)",
        "c_t = f_t ⊙ c_(t−1) + i_t ⊙ g_t",
        "h_t = o_t ⊙ tanh(c_t), and h_t = W_hr h_t with proj_size > 0",
    ),
    "LSTMCell": (
        "i = σ(W_ii x + b_ii + W_hi h + b_hi)",
        "f = σ(W_if x + b_if + W_hf h + b_hf)",
        "g = tanh(W_ig x + b_ig + W_hg h + b_hg)",
        "o = σ(W_io x + b_io + W_ho h + b_ho)",
        "c' = f ⊙ c + i ⊙ g",
        "h' = o ⊙ tanh(c')",
    ),
    "GRU": (
        "r_t = σ(W_ir x_t + b_ir + W_hr h_(t−1) + b_hr)",
        "z_t = σ(W_iz x_t + b_iz + W_hz h_(t−1) + b_hz)",
        "n_t = tanh(W_in x_t + b_in + r_t ⊙ (W_hn h_(t−1) + b_hn))",
        "h_t = (1 − z_t) ⊙ n_t + z_t ⊙ h_(t−1)",
    ),
    "GRUCell": (
        "r = σ(W_ir x + b_ir + W_hr h + b_hr)",
        "z = σ(W_iz x + b_iz + W_hz h + b_hz)",
        "n = tanh(W_in x + b_in + r ⊙ (W_hn h + b_hn))",
        "h' = (1 − z) ⊙ n + z ⊙ h",
    ),
}


def _layer_shapes(kind: str, names: Sequence[str], finals: Sequence[str]) -> Shapes:
    """Shapes of a layer's call, without its parameters, whose names depend on `num_layers`."""
    texts = {"input": "batch? time input_size if batch_first else time batch? input_size"}
    hidden = [f"slots batch? {width}" for width in ("output_size", "hidden_size")]
    texts |= dict(zip(names, hidden, strict=False))
    width = "(directions*output_size)"
    texts["output"] = f"batch? time {width} if batch_first else time batch? {width}"
    texts |= dict(zip(finals, hidden, strict=False))
    has_projection = kind == "LSTM"
    return Shapes(
        texts,
        where=("proj_size < hidden_size",) if has_projection else (),
        let={
            "directions": "2 if bidirectional else 1",
            "slots": "num_layers*directions",
            "output_size": "proj_size or hidden_size" if has_projection else "hidden_size",
        },
    )


def _cell_shapes(kind: str, names: Sequence[str], finals: Sequence[str]) -> Shapes:
    state = "batch? hidden_size"
    return Shapes(
        {
            "input": "batch? input_size",
            **dict.fromkeys(names, state),
            "weight_ih": "gates input_size",
            "weight_hh": "gates hidden_size",
            "bias_ih": "gates if bias",
            "bias_hh": "gates if bias",
            **dict.fromkeys(finals, state),
        },
        let={"gates": f"{GATES[kind]}*hidden_size"},
    )


def _has_hidden_steps(case: Case) -> bool:
    """Whether the outputs are all states of a single layer, and there is more than one step."""
    if case.call.arguments.get("num_layers", 1) > 1:
        return False
    first = case.inputs[0]
    assert first is not None
    batch_first = first.ndim == 3 and case.call.arguments.get("batch_first", False)
    return bool(first.shape[1 if batch_first else 0] != 1)


def _draws_dropout(call: Call) -> bool:
    """Whether the call draws dropout: between layers, in train mode."""
    drops = call.arguments.get("dropout", 0.0) > 0 and call.arguments.get("num_layers", 1) > 1
    return call.training and bool(drops)


def _layer_tensors(
    gates: int, arguments: Mapping[str, Any], input: Shape
) -> tuple[StateTensor, ...]:
    return uniform_parameters(layer_shapes(gates, **arguments), arguments["hidden_size"])


def _cell_tensors(arguments: Arguments, shapes: Mapping[str, Shape]) -> tuple[StateTensor, ...]:
    return uniform_parameters(shapes, arguments["hidden_size"])


def _max_steps(case: Case) -> int:
    """Largest number of steps, so that all layers and directions together have at most 257."""
    arguments = case.call.arguments
    layers = int(arguments.get("num_layers", 1))
    return 257 // (2 * layers if arguments.get("bidirectional", False) else layers)


def _flops(workload: Workload, weights: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    rows = math.prod(workload.inputs[0][:-1])
    return 2 * rows * sum(math.prod(shape) for shape in weights if len(shape) == 2)


def _scale(name: str, arguments: Mapping[str, Any]) -> float:
    """Scale of weights; that of W_hh is 1/width, so that errors do not grow from step to step."""
    width = int(arguments["hidden_size"])
    return 1 / width if name.startswith("weight_hh") else 1 / math.sqrt(width)


# Batch, steps, width of input and state, further arguments.
_LAYERS: tuple[tuple[int, int, int, Mapping[str, Any]], ...] = (
    (8, 12, 128, {}),
    (16, 12, 256, {"bidirectional": True}),
    (16, 10, 512, {"batch_first": True}),
    (8, 5, 1024, {}),
)
_CELLS = ((16, 128), (32, 512), (32, 1024))
_FILLING = Filling(scale=_scale, contraction=False)


def _layer_workloads(name: str) -> Iterator[Workload]:
    for batch, length, width, extra_arguments in _LAYERS:
        text = f"batch {batch}, {length} steps, width {width}"
        leading = (batch, length) if extra_arguments.get("batch_first") else (length, batch)
        arguments = {"input_size": width, "hidden_size": width, **extra_arguments}
        yield Workload(name, text, arguments, ((*leading, width),), width == 128)


def _cell_workloads(name: str, states: int) -> Iterator[Workload]:
    for batch, width in _CELLS:
        arguments = {"input_size": width, "hidden_size": width}
        shapes = ((batch, width),) * (1 + states)
        yield Workload(name, f"batch {batch}, width {width}", arguments, shapes, width == 128)


_SIZES = (Argument("input_size", size=True), Argument("hidden_size", size=True))
_NONLINEARITY = Argument("nonlinearity", "tanh")
_BIAS = Argument("bias", True, alternative=False)


def _layer_arguments(kind: str) -> tuple[Argument, ...]:
    arguments = (
        *_SIZES,
        Argument("num_layers", 1, alternative=2),
        *((_NONLINEARITY,) if kind == "RNN" else ()),
        _BIAS,
        Argument("batch_first", False),
        Argument("dropout", 0.0),
        Argument("bidirectional", False, alternative=True),
        *((Argument("proj_size", 0),) if kind == "LSTM" else ()),
        Argument("lengths", None, keyword=True, ties=Ties(fixes_sizes=True)),
    )
    assert all(a.default is not REQUIRED for a in arguments[2:])
    return arguments


def _layer_spec(kind: str, states: int, values: Any, step_oracle: Any) -> LayerSpec:
    valid = partial(cases.recurrents, kind)
    names = ("h_0", "c_0")[:states]
    finals = ("h_n", "c_n")[:states]
    shapes = _layer_shapes(kind, names, finals)
    signature = Signature(
        _layer_arguments(kind),
        (Input("input"), *(Input(name, "hidden", optional=True) for name in names)),
        (Output("output"), *map(Output, finals)),
        supports_complex=False,
        bundles=Bundles(state_count=states),
    )
    breaks = (*shape_breaks(signature, shapes), *invalid.breaks(kind))
    return LayerSpec(
        kind,
        "recurrent",
        signature=signature,
        shapes=shapes,
        oracle=Oracle(
            values=values,
            formula=_FORMULAS[kind],
            propagation=recurrent_propagation,
            steps=Steps(step_oracle, _has_hidden_steps),
        ),
        generation=Generation(cases=valid, invalid=invalid_cases(valid, breaks)),
        variation=Variation(max_axis_size=_max_steps),
        state=State(partial(_layer_tensors, GATES[kind])),
        laws=_LAYER_LAWS,
        randomness=Randomness(is_used=_draws_dropout, draws=draws),
        benchmark=Benchmark(
            workloads=tuple(_layer_workloads(kind)), filling=_FILLING, flops=_flops
        ),
    )


def _cell_spec(kind: str, states: int, values: Any) -> LayerSpec:
    name = f"{kind}Cell"
    valid = partial(cases.cells, name)
    arguments = (*_SIZES, _BIAS, *((_NONLINEARITY,) if kind == "RNN" else ()))
    names = ("hx", "cx")[:states]
    finals = ("h'", "c'") if states == 2 else ("output",)
    shapes = _cell_shapes(kind, names, finals)
    signature = Signature(
        arguments,
        (Input("input"), *(Input(x, "hidden", optional=True) for x in names)),
        tuple(map(Output, finals)),
        supports_complex=False,
        bundles=Bundles(state_count=states if states > 1 else 0),
    )
    breaks = (*shape_breaks(signature, shapes), *invalid.breaks(name))
    return LayerSpec(
        name,
        "recurrent",
        signature=signature,
        shapes=shapes,
        oracle=Oracle(
            values=values,
            formula=_FORMULAS[name],
            propagation=recurrent_propagation,
        ),
        generation=Generation(cases=valid, invalid=invalid_cases(valid, breaks)),
        state=State(tensors_from_shapes=_cell_tensors),
        laws=(*_CELL_LAWS, laws.as_layer),
        benchmark=Benchmark(
            workloads=tuple(_cell_workloads(name, states)), filling=_FILLING, flops=_flops
        ),
    )


def layer_specs() -> Iterator[LayerSpec]:
    """The family's layers, in the order of torch's documentation."""
    yield _layer_spec("RNN", 1, oracle.rnn, steps.rnn_steps)
    yield _layer_spec("LSTM", 2, oracle.lstm, steps.lstm_steps)
    yield _layer_spec("GRU", 1, oracle.gru, steps.gru_steps)
    yield _cell_spec("RNN", 1, cells.rnn_cell)
    yield _cell_spec("LSTM", 2, cells.lstm_cell)
    yield _cell_spec("GRU", 1, cells.gru_cell)
