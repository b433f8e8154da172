"""A server for the protocol of docs/wire.md, in plain Python: Linear, with its gradients.

Started as `python reference.py [FAULT]`, where `FAULT` is a key of `FAULTS`.
"""

from __future__ import annotations

import json
import math
import os
import signal
import struct
import sys
import time
from base64 import b64decode, b64encode
from typing import Any

FORMATS = {"float32": "f", "float64": "d"}
Matrix = list[list[float]]


def numbers(tensor: dict[str, Any]) -> list[float]:
    """The elements of a tensor."""
    count, kind = math.prod(tensor["shape"]), FORMATS[tensor["dtype"]]
    return list(struct.unpack(f"<{count}{kind}", b64decode(tensor["data"])))


def tensor(elements: list[float], shape: list[int], dtype: str) -> dict[str, Any]:
    """Elements as a tensor."""
    kind = FORMATS[dtype]
    stored = b"".join(struct.pack(f"<{kind}", narrow(x, kind)) for x in elements)
    return {"dtype": dtype, "shape": shape, "data": b64encode(stored).decode()}


def narrow(x: float, kind: str) -> float:
    """Make a number infinite if it overflows the format, since `struct` refuses it."""
    try:
        struct.pack(f"<{kind}", x)
    except OverflowError:
        return math.copysign(math.inf, x)
    return x


class Linear:
    """`y = x·Wᵀ + b`."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.dtype, self.state = request["dtype"], request["state"]

    def _operands(self, x_tensor: dict[str, Any]) -> tuple[list[float], list[float], int, int, int]:
        weight = self.state["weight"]
        out_features, in_features = weight["shape"]
        rows = math.prod(x_tensor["shape"][:-1])
        return numbers(x_tensor), numbers(weight), rows, out_features, in_features

    def call(self, x_tensor: dict[str, Any]) -> dict[str, Any]:
        """The output."""
        x, w, rows, outs, ins = self._operands(x_tensor)
        bias = numbers(self.state["bias"]) if "bias" in self.state else [0.0] * outs
        y = [
            sum(x[r * ins + k] * w[o * ins + k] for k in range(ins)) + bias[o]
            for r in range(rows)
            for o in range(outs)
        ]
        return tensor(y, [*x_tensor["shape"][:-1], outs], self.dtype)

    def vjp(self, x_tensor: dict[str, Any], cotangent: dict[str, Any]) -> dict[str, Any]:
        """Gradients of the input and of the parameters."""
        x, w, rows, outs, ins = self._operands(x_tensor)
        g = numbers(cotangent)
        dx = [
            sum(g[r * outs + o] * w[o * ins + k] for o in range(outs))
            for r in range(rows)
            for k in range(ins)
        ]
        dw = [
            sum(g[r * outs + o] * x[r * ins + k] for r in range(rows))
            for o in range(outs)
            for k in range(ins)
        ]
        parameters = {"weight": tensor(dw, [outs, ins], self.dtype)}
        if "bias" in self.state:
            db = [sum(g[r * outs + o] for r in range(rows)) for o in range(outs)]
            parameters["bias"] = tensor(db, [outs], self.dtype)
        return {"inputs": [tensor(dx, x_tensor["shape"], self.dtype)], "parameters": parameters}


LAYERS: dict[int, Linear] = {}


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """The answer to a request, without the request's number."""
    for number in request.get("drop", ()):
        LAYERS.pop(number, None)
    op = request["op"]
    if op == "hello":
        hello = {"protocol": 1, "name": "reference", "layers": ["Linear"], "files": True}
        return {"ok": {**hello, "dtypes": list(FORMATS), "info": {"language": "Python"}}}
    if op == "build":
        if not request["state"]:
            return {"unsupported": "initialisation"}
        LAYERS[request["id"]] = Linear(request)
        return {"ok": {"layer": request["id"], "has": ["vjp", "state", "load"]}}
    if op == "files":
        return {"ok": {}}
    layer = LAYERS[request["layer"]]
    if op == "load":
        layer.state = request["state"]
        return {"ok": {}}
    if op == "state":
        return {"ok": {"state": layer.state}}
    x_tensor = request["inputs"][0]
    if not x_tensor["shape"] or x_tensor["shape"][-1] != layer.state["weight"]["shape"][1]:
        return {"error": f"in_features is not {x_tensor['shape']}"}
    if op == "call":
        return {"ok": {"outputs": [layer.call(x_tensor)]}}
    return {"ok": layer.vjp(x_tensor, request["cotangents"][0])}


def _die(line: str) -> str:
    print("about to abort", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGABRT)
    return line


def _cut_in_half(line: str) -> str:
    sys.stdout.write(line[: len(line) // 2])
    sys.stdout.flush()
    os._exit(5)


def _sleep_first(line: str) -> str:
    time.sleep(1e6)
    return line


def _shorten_data(line: str) -> str:
    message = json.loads(line)
    message["ok"]["outputs"][0]["data"] = ""
    return json.dumps(message)


FAULTS = {
    "die": _die,
    "half": _cut_in_half,
    "sleep": _sleep_first,
    "short": _shorten_data,
    "garbage": lambda line: "Segmentation fault? No: a print to standard output",
    "number": lambda line: line.replace('{"id": ', '{"id": 1'),
    "twice": lambda line: f"{line}\n{line}",
    "nothing": lambda line: json.dumps({"id": json.loads(line)["id"]}),
}
"""Name → a change of the answer to a call with more than one row."""


def main() -> None:
    """Serve until standard input ends."""
    fault = FAULTS[sys.argv[1]] if sys.argv[1:] else None
    for text in sys.stdin:
        request = json.loads(text)
        line = json.dumps({"id": request["id"], **answer(request)})
        rows = request["op"] == "call" and len(request["inputs"][0]["shape"]) > 1
        print(fault(line) if fault and rows else line, flush=True)


if __name__ == "__main__":
    main()
