"""The calls of recurrent layers and cells in one form: (time, batch, features)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.spec.law import Move

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

StateArrays = Mapping[str, np.ndarray]
GATES = {"RNN": 1, "LSTM": 4, "GRU": 3}


@dataclass(frozen=True, eq=False)
class RecurrentCall:
    """The operands of a call, in a common form.

    Args:
        trial: the case that they were read from.
        layer: name of the layer or cell.
        x: (time, batch, features); for a cell (batch, features).
        hidden: the initial states (layers·directions, batch, size), for a cell (batch, size); None
            for a state that is left out.
        state: the weights.
        arguments: all except batch_first and dropout.
        lengths: lengths of packed sequences.
    """

    trial: Trial
    layer: str
    x: np.ndarray
    hidden: tuple[np.ndarray | None, ...]
    state: StateArrays
    arguments: Mapping[str, Any]
    lengths: tuple[int, ...] | None = None

    @classmethod
    def of(cls, trial: Trial) -> RecurrentCall:
        """Read a case."""
        case = trial.case
        x, *hidden = case.inputs
        assert x is not None
        form = Form.of(trial)
        count = 2 if "LSTM" in case.call.layer else 1
        states = (*hidden, *(None,) * count)[:count]
        return cls(
            trial,
            case.call.layer,
            form.to_common_form(0)(x),
            tuple(
                None if h is None else form.to_common_form(k)(h) for k, h in enumerate(states, 1)
            ),
            case.call.state,
            {k: v for k, v in case.call.arguments.items() if k not in ("batch_first", "dropout")},
            None if case.keywords.get("lengths") is None else tuple(case.keywords["lengths"]),
        )

    def call(self, **arguments: Any) -> Trial:
        """The call on the same backend.

        Args:
            arguments: more arguments.
        """
        case = self.trial.case
        call = replace(
            case.call,
            layer=self.layer,
            arguments={**self.arguments, **arguments},
            state=dict(self.state),
            layouts={},
        )
        keywords = {} if self.lengths is None else {"lengths": list(self.lengths)}
        inputs = (self.x, *self.hidden)
        return self.trial.trial_of(
            replace(case, call=call, inputs=inputs, keywords=keywords, layouts=())
        )

    def with_arguments(self, **arguments: Any) -> RecurrentCall:
        """The call with changed arguments."""
        return replace(self, arguments={**self.arguments, **arguments})

    def map_states(self, change: Callable[[np.ndarray], np.ndarray]) -> RecurrentCall:
        """The call with a function applied to every given initial state."""
        return replace(self, hidden=tuple(None if h is None else change(h) for h in self.hidden))

    @property
    def is_cell(self) -> bool:
        """Whether the layer is a cell."""
        return self.layer.endswith("Cell")

    @property
    def kind(self) -> str:
        """`RNN`, `LSTM` or `GRU`."""
        return self.layer.removesuffix("Cell")

    @property
    def batch_size(self) -> int:
        """Number of sequences: the last axis but one of `x`."""
        return int(self.x.shape[-2])

    @property
    def layers(self) -> int:
        """Number of stacked layers."""
        return int(self.arguments.get("num_layers", 1))

    @property
    def directions(self) -> tuple[str, ...]:
        """Suffixes of the weights of one layer."""
        return ("", "_reverse") if self.arguments.get("bidirectional", False) else ("",)

    @property
    def hidden_size(self) -> int:
        """Number of hidden units."""
        return int(self.arguments["hidden_size"])

    @property
    def projection_size(self) -> int:
        """Size of a projected hidden state, or 0."""
        return int(self.arguments.get("proj_size", 0))

    @property
    def output_size(self) -> int:
        """Size of the output of one direction."""
        return self.projection_size or self.hidden_size

    def weights(self, layer: int, suffix: str) -> dict[str, np.ndarray]:
        """The weights of one layer and direction, under a cell's names."""
        end = f"_l{layer}{suffix}"
        return {
            name.removesuffix(end): array
            for name, array in self.state.items()
            if name.removesuffix(end) in _NAMES and name.endswith(end)
        }

    def single(self, layer: int, suffix: str, x: np.ndarray) -> RecurrentCall:
        """One layer and direction as a separate layer, with its part of the states.

        Args:
            x: its input, (time, batch, features); reversed in time for the reverse direction.
        """
        index = layer * len(self.directions) + self.directions.index(suffix)
        arguments = {
            k: v for k, v in self.arguments.items() if k not in ("num_layers", "bidirectional")
        }
        return replace(
            self,
            x=x,
            hidden=tuple(None if h is None else h[index : index + 1] for h in self.hidden),
            state={f"{k}_l0": v for k, v in self.weights(layer, suffix).items()},
            arguments={**arguments, "input_size": x.shape[-1]},
        )


_NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")


@dataclass(frozen=True)
class Form:
    """The axes of a case's arrays; `to_common_form(k)` converts array k to `RecurrentCall`'s.

    Args:
        is_cell: whether it is a cell, whose arrays have no axes of time and layers.
        is_batched: whether the arrays have a batch axis.
        batch_first: the layer's argument.
    """

    is_cell: bool
    is_batched: bool
    batch_first: bool

    @classmethod
    def of(cls, trial: Trial) -> Form:
        """Read a case."""
        call, x = trial.case.call, trial.case.inputs[0]
        assert x is not None
        cell = call.layer.endswith("Cell")
        first = bool(call.arguments.get("batch_first", False))
        return cls(cell, x.ndim == (2 if cell else 3), first)

    def to_common_form(self, place: int) -> Move:
        """The move that converts an array to the common form.

        Args:
            place: 0 = the input, or a layer's output; else a state.
        """
        if not self.is_batched:
            return lambda array: array[np.newaxis] if self.is_cell else array[:, np.newaxis]
        if place == 0 and self.batch_first and not self.is_cell:
            return lambda array: array.swapaxes(0, 1)
        return lambda array: array

    def outputs(self, count: int) -> tuple[Move, ...]:
        """The moves that convert a call's outputs to the common form."""
        return tuple(self.to_common_form(place) for place in range(count))
