"""Call torch's recurrent modules with separate hidden states and with packed sequences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch


def call_recurrent(
    function: Callable[..., Any],
    state_count: int,
    batch_first: bool,
    input: Any,
    *states: Any,
    lengths: Sequence[int] | None = None,
    **keywords: Any,
) -> Any:
    """Call a recurrent module with separate states, and return separate states.

    Args:
        state_count: number of states; the module takes two of them (LSTM) as one tuple.
        input: the padded input.
        states: the initial states; None = left out.
        lengths: lengths of the sequences; the input is then packed, and the output padded again.
        keywords: further keywords of the module's call.
    """
    given_states = tuple(state for state in states if state is not None)
    hidden = ((given_states if state_count > 1 else given_states[0]),) if given_states else ()
    if lengths is None:
        return flatten_states(function(input, *hidden, **keywords))
    total = input.shape[1 if batch_first else 0]
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        input,
        torch.tensor(lengths),
        batch_first=batch_first,
        enforce_sorted=list(lengths) == sorted(lengths, reverse=True),
    )
    output, *rest = flatten_states(function(packed, *hidden, **keywords))
    padded, _ = torch.nn.utils.rnn.pad_packed_sequence(
        output, batch_first=batch_first, total_length=total
    )
    return (padded, *rest)


def flatten_states(outputs: Any) -> Any:
    """(output, (h_n, c_n)) → (output, h_n, c_n)."""
    if not isinstance(outputs, tuple) or isinstance(outputs, torch.nn.utils.rnn.PackedSequence):
        return outputs
    flattened: list[Any] = []
    for output in outputs:
        nested = isinstance(output, tuple) and not isinstance(
            output, torch.nn.utils.rnn.PackedSequence
        )
        flattened.extend(output if nested else [output])
    return tuple(flattened)
