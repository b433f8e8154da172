"""The index: one row for every layer of the suite."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

from hypothesis.strategies import SearchStrategy

from conformance.laws import Law, laws_of
from conformance.model.case import Case
from conformance.oracles import convolution, linear, recurrent
from conformance.oracles import recurrent_cells as cells
from conformance.oracles import recurrent_steps as steps
from conformance.strategies import convolution as conv_cases
from conformance.strategies import invalid as invalid_cases
from conformance.strategies import linear as linear_cases
from conformance.strategies import recurrent as recurrent_cases

DTYPES = ("float32", "float64", "bfloat16", "float16")
COMPLEX = ("complex64", "complex128")


@dataclass(frozen=True)
class Row:
    """All that the suite knows of one layer.

    Args:
        name: of the `torch.nn` class, or `functional.` and the name of the function.
        cases: dtype → strategy of valid cases.
        values: the oracle, `(state, *inputs, **arguments)` → one `Rounded` or a tuple.
        shapes: the shape oracle, `(*input shapes, **arguments)` → a tuple of shapes.
        keeps_dtype: the output has the input's dtype, whatever the call's is.
        complex: the layer has complex forms.
        invalid: dtype → strategy of invalid cases, None where no call is invalid.
        laws: relations between calls that hold of the layer.
        steps: the oracle of each step from the layer's own previous output, `(output, state,
            *inputs, **arguments)`; None where a layer takes no steps.
    """

    name: str
    cases: Callable[[str], SearchStrategy[Case]]
    values: Callable[..., Any]
    shapes: Callable[..., tuple[tuple[int, ...], ...]]
    keeps_dtype: bool = False
    complex: bool = True
    invalid: Callable[[str], SearchStrategy[Case]] | None = None
    laws: tuple[Law, ...] = ()
    steps: Callable[..., Any] | None = None

    @cached_property
    def _parameters(self) -> tuple[inspect.Parameter, ...]:
        return tuple(inspect.signature(self.values).parameters.values())[1:]

    @cached_property
    def required(self) -> tuple[str, ...]:
        """Names of the arguments that have no default, in torch's order."""
        return tuple(
            p.name for p in self._parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty
        )

    @cached_property
    def defaults(self) -> Mapping[str, Any]:
        """The defaults of the other arguments."""
        return {
            p.name: p.default
            for p in self._parameters
            if p.kind is p.KEYWORD_ONLY and p.default is not p.empty
        }

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs, in torch's order."""
        return tuple(p.name for p in self._parameters if p.kind is p.POSITIONAL_OR_KEYWORD)

    def dtypes(self, case: Case) -> str:
        """The dtype that every output of a case must have."""
        first = case.inputs[0]
        if self.keeps_dtype and first is not None and first.dtype.kind == "i":
            return "int64"
        return case.call.dtype


Rows = tuple[tuple[str, Callable[..., Any], Callable[..., Any]], ...]


def _rows() -> Iterator[Row]:
    for prefix, oracle in (("", convolution.conv), ("Lazy", convolution.lazy_conv)):
        for d in (1, 2, 3):
            name = f"{prefix}Conv{d}d"
            yield Row(
                name,
                partial(conv_cases.convolutions, name, d),
                oracle,
                partial(convolution.conv_shape, d),
            )
    for d in (1, 2, 3):
        name = f"functional.conv{d}d"
        yield Row(
            name,
            partial(conv_cases.convolutions, name, d),
            convolution.functional_conv,
            partial(convolution.functional_conv_shape, d),
        )
    for prefix, oracle in (
        ("", convolution.conv_transpose),
        ("Lazy", convolution.lazy_conv_transpose),
    ):
        for d in (1, 2, 3):
            name = f"{prefix}ConvTranspose{d}d"
            yield Row(
                name,
                partial(conv_cases.transposed_convolutions, name, d),
                oracle,
                partial(convolution.conv_transpose_shape, d),
            )
    for d in (1, 2, 3):
        name = f"functional.conv_transpose{d}d"
        yield Row(
            name,
            partial(conv_cases.transposed_convolutions, name, d),
            convolution.functional_conv_transpose,
            partial(convolution.functional_conv_transpose_shape, d),
        )
    layer_rows: tuple[tuple[str, int, Callable[..., Any], Callable[..., Any]], ...] = (
        ("RNN", 1, recurrent.rnn, steps.rnn_steps),
        ("LSTM", 2, recurrent.lstm, steps.lstm_steps),
        ("GRU", 1, recurrent.gru, steps.gru_steps),
    )
    for name, states, layer_oracle, step_oracle in layer_rows:
        yield Row(
            name,
            partial(recurrent_cases.recurrents, name),
            layer_oracle,
            partial(recurrent.layer_shape, states),
            complex=False,
            steps=step_oracle,
        )
    for name, states, cell_oracle in (
        ("RNNCell", 1, cells.rnn_cell),
        ("LSTMCell", 2, cells.lstm_cell),
        ("GRUCell", 1, cells.gru_cell),
    ):
        yield Row(
            name,
            partial(recurrent_cases.cells, name),
            cell_oracle,
            partial(cells.cell_shape, states),
            complex=False,
        )
    yield Row(
        "Identity",
        partial(linear_cases.identities, "Identity"),
        linear.identity,
        linear.identity_shape,
        keeps_dtype=True,
    )
    linear_rows: Rows = (
        ("Linear", linear.linear, linear.linear_shape),
        ("LazyLinear", linear.lazy_linear, linear.lazy_linear_shape),
        ("functional.linear", linear.functional_linear, linear.functional_linear_shape),
    )
    for name, values, shapes in linear_rows:
        yield Row(name, partial(linear_cases.linears, name), values, shapes)
    bilinear_rows: Rows = (
        ("Bilinear", linear.bilinear, linear.bilinear_shape),
        ("functional.bilinear", linear.functional_bilinear, linear.functional_bilinear_shape),
    )
    for name, values, shapes in bilinear_rows:
        yield Row(name, partial(linear_cases.bilinears, name), values, shapes)


CATALOGUE: dict[str, Row] = {
    row.name: replace(
        row, invalid=invalid_cases.invalid(row.name, row.cases), laws=laws_of(row.name)
    )
    for row in _rows()
}
