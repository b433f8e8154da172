"""`WireBackend`: an implementation in another language, in a process that answers JSON lines."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from conformance.backends.wire_format import (
    RefusedError,
    Tensor,
    decode_tensor,
    encode_tensor,
    to_json,
)
from conformance.backends.wire_server import Server
from conformance.model.case import Call, NotOffered, Numerics, Unsupported


class WireBackend:
    """A backend whose layers a server process builds and calls.

    docs/wire.md describes the protocol: JSON lines on the server's standard input and output.

    Args:
        command: the program and its arguments; a string is split as in a shell.
        name: the backend's name; None = the server's own name.
        base: the backend whose kernels the server calls; empty for none.
    """

    layouts = ("contiguous",)
    refusals = (RefusedError,)

    def __init__(
        self, command: str | Sequence[str], name: str | None = None, base: str = ""
    ) -> None:
        words = shlex.split(command) if isinstance(command, str) else list(command)
        if not words:
            raise ValueError(f"command={command!r}: expected a program")
        self._server, self._name, self.base = Server(words), name, base

    @property
    def name(self) -> str:
        """The name that the user gave, or else the server's own name."""
        return self._name or self._server.hello.name

    def info(self) -> Mapping[str, str]:
        """The command, and the facts that the server reports."""
        hello = self._server.hello
        return {"command": shlex.join(self._server.command), **hello.info}

    def devices(self) -> Sequence[str]:
        """The devices that the server offers."""
        return tuple(self._server.hello.devices)

    def offers(self, layer: str, dtype: str, device: str) -> bool:
        """Whether the server lists the layer and the dtype; True for a list that it leaves out."""
        hello = self._server.hello
        has_layer = hello.layers is None or layer in hello.layers
        return has_layer and (hello.dtypes is None or dtype in hello.dtypes)

    def numerics(self, dtype: str) -> Numerics | None:
        """The deviations from IEEE arithmetic that the server declares; None if there are none."""
        fields = self._server.hello.numerics.get(dtype)
        if fields is None:
            return None
        # JSON has only lists, but fields of `Numerics` are tuples.
        frozen: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in fields.items()
        }
        return Numerics(**frozen)

    @property
    def accepts(self) -> Sequence[str]:
        """Globs of the broken constraints that the server accepts on purpose."""
        return tuple(self._server.hello.accepts)

    def record_requests(self, run: Callable[[], object]) -> list[str]:
        """Start the server anew, run a function, and return the request lines that it caused.

        A server that gets these lines does the same, since its layers have the same numbers.
        """
        self._server.stop()
        self._server.sent = lines = list[str]()
        try:
            run()
        finally:
            self._server.sent = None
        return lines

    def build(self, call: Call) -> WireLayer:
        """Let the server build the layer of a call."""
        other_layouts = [name for name, layout in call.layouts.items() if layout != "contiguous"]
        if other_layouts:
            raise NotOffered(f"layout={call.layouts[other_layouts[0]]!r}")
        if not self.offers(call.layer, call.dtype, call.device):
            raise NotOffered(f"layer {call.layer} in {call.dtype}")
        return WireLayer(self._server, call)


class WireLayer:
    """A layer that lives in the server process, which builds it from the call."""

    def __init__(self, server: Server, call: Call) -> None:
        self._server, self._call, self._layer_number = server, call, -1
        state = self._prepare_tensors({name: self._encode(x) for name, x in call.state.items()})
        built = server.request(
            "build",
            layer=call.layer,
            arguments=to_json(call.arguments),
            state=state,
            dtype=call.dtype,
            device=call.device,
            training=call.training,
        )
        self._server_start, self._layer_number, self._has = (
            server.starts,
            built.layer,
            frozenset(built.has),
        )

    def __del__(self) -> None:
        """Let the next request tell the server to drop the layer."""
        if self._layer_number >= 0 and self._server_start == self._server.starts:
            self._server.dropped_layers.append(self._layer_number)

    def put(self, array: np.ndarray, layout: str = "contiguous", dtype: str | None = None) -> Any:
        """Encode a host array as a tensor, which each call sends to the server."""
        if layout != "contiguous":
            raise NotOffered(f"layout={layout!r}")
        return self._encode(array, dtype)

    def _encode(self, array: np.ndarray, dtype: str | None = None) -> Tensor:
        default_dtype = {"i": "int64", "b": "bool"}.get(array.dtype.kind, self._call.dtype)
        return encode_tensor(array, dtype or default_dtype)

    def _prepare_tensors(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: self._server.prepare_tensor(tensor) for name, tensor in tensors.items()}

    def _request(self, op: str, /, **fields: Any) -> Any:
        if self._server_start != self._server.starts:
            raise RuntimeError("the server that built the layer has ended")
        return self._server.request(op, layer=self._layer_number, **fields)

    def __call__(self, *inputs: Any, **keywords: Any) -> Any:
        """Run the layer, and write into the inputs what the server wrote into them."""
        result = self._request(
            "call", inputs=self._prepare_list(inputs), keywords=to_json(keywords)
        )
        for place, tensor in result.written.items():
            written = self._fetch(tensor)
            input_tensor = inputs[int(place)]
            input_tensor.dtype, input_tensor.shape, input_tensor.data = (
                written.dtype,
                written.shape,
                written.data,
            )
        outputs = tuple(None if y is None else self._fetch(y) for y in result.outputs)
        return outputs[0] if len(outputs) == 1 else outputs

    def _prepare_list(self, tensors: Sequence[Any]) -> list[Any]:
        """Prepare tensors for a request; a repeated tensor becomes the place of its first use."""
        first_places: dict[int, int] = {}
        items: list[Any] = []
        for place, tensor in enumerate(tensors):
            is_repeated = tensor is not None and id(tensor) in first_places
            if is_repeated:
                items.append({"same": first_places[id(tensor)]})
            else:
                first_places[id(tensor)] = place
                items.append(None if tensor is None else self._server.prepare_tensor(tensor))
        return items

    def _fetch(self, tensor: Tensor) -> Tensor:
        return self._server.fetch(tensor)

    def get(self, native: Any) -> np.ndarray:
        """Decode a tensor into a host array."""
        return decode_tensor(native)

    def dtype(self, native: Any) -> str:
        """torch's name of a tensor's dtype."""
        return str(native.dtype)

    def shape(self, native: Any) -> tuple[int, ...]:
        """A tensor's shape, which the server sends with its data."""
        return tuple(native.shape)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """The optional operations that the server offers."""
        if name not in self.__dict__.get("_has", ()):
            raise AttributeError(name)
        offered: dict[str, Callable[..., Any]] = {
            "vjp": self._vjp,
            "state": self._state,
            "load": self._load,
            "train": self._train,
            "attributes": self._attributes,
        }
        return offered[name]

    def _vjp(
        self, inputs: Sequence[Any], cotangents: Sequence[Any], **keywords: Any
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        result = self._request(
            "vjp",
            inputs=self._prepare_list(inputs),
            cotangents=self._prepare_list(cotangents),
            keywords=to_json(keywords),
        )
        return (
            tuple(None if x is None else self._fetch(x) for x in result.inputs),
            {name: self._fetch(x) for name, x in result.parameters.items()},
        )

    def _state(self) -> dict[str, Any]:
        return {name: self._fetch(x) for name, x in self._request("state").state.items()}

    def _load(
        self, state: Mapping[str, np.ndarray], layouts: Mapping[str, str] | None = None
    ) -> None:
        if any(layout != "contiguous" for layout in (layouts or {}).values()):
            raise Unsupported("layouts of a state")
        self._request(
            "load", state=self._prepare_tensors({k: self._encode(x) for k, x in state.items()})
        )

    def _train(self, mode: bool) -> None:
        self._request("train", mode=mode)

    def _attributes(self) -> dict[str, Any]:
        return dict(self._request("attributes").attributes)
