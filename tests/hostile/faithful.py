"""The faithful backend from which hostile ones are made, and functions that make entries."""

from __future__ import annotations

import textwrap

from hostile.entry import USAGE_ERROR, Entry, Expected

FAITHFUL = '''
"""ReLU, Linear and Dropout by NumPy alone."""

import numpy as np

from conformance import Unsupported
from conformance.backends.numpy_layouts import apply_layout

ARGUMENTS = {
    "ReLU": ("inplace",),
    "Linear": ("in_features", "out_features", "bias"),
    "Dropout": ("p", "inplace"),
}
RANDOM = np.random.default_rng(0)


class Layer:
    def __init__(self, call):
        if call.layer not in ARGUMENTS:
            raise Unsupported(f"layer {call.layer}")
        unknown = sorted(set(call.arguments) - set(ARGUMENTS[call.layer]))
        if unknown or call.arguments.get("inplace"):
            raise Unsupported(", ".join(unknown) or "inplace=True")
        sizes = [call.arguments.get(name, 1) for name in ("in_features", "out_features")]
        if min(sizes) < 0 or not 0 <= call.arguments.get("p", 0.5) <= 1:
            raise ValueError(f"no such layer: {call.arguments}")
        self.call, self.training, self.updated = call, call.training, {}
        self.tensors = {}
        self.load(call.state, call.layouts)

    def put(self, array, layout="contiguous", dtype=None):
        return apply_layout(np.array(array, dtype or self.native(array)), layout)

    def native(self, array):
        return self.call.dtype if array.dtype.kind == "f" else array.dtype

    def __call__(self, x):
        return self.run(x)[0]

    def run(self, x):
        name, arguments = self.call.layer, self.call.arguments
        if name == "ReLU":
            return np.maximum(x, x.dtype.type(0)), x > 0
        if name == "Dropout":
            p = arguments.get("p", 0.5)
            if not self.training or p == 0:
                return x.copy(), np.ones_like(x)
            kept = np.zeros_like(x) if p == 1 else (RANDOM.random(x.shape) >= p) / (1 - p)
            factor = kept.astype(x.dtype)
            return x * factor, factor
        if x.ndim == 0 or x.shape[-1] != arguments["in_features"]:
            raise ValueError(f"expected {arguments['in_features']} features, got {x.shape}")
        if not self.tensors:
            raise Unsupported("initial values")
        y = x @ self.tensors["weight"].T
        return (y + self.tensors["bias"] if "bias" in self.tensors else y), None

    def get(self, native):
        return np.array(native, np.float64 if native.dtype.kind == "f" else np.int64)

    def dtype(self, native):
        return str(native.dtype)

    def vjp(self, inputs, cotangents):
        (x,), (c,) = inputs, cotangents
        factor = self.run(x)[1]
        if factor is not None:
            return ((c * factor).astype(x.dtype),), {}
        rows, given = x.reshape(-1, x.shape[-1]), c.reshape(-1, c.shape[-1])
        found = {"weight": given.T @ rows, "bias": given.sum(0)}
        return (c @ self.tensors["weight"],), {name: found[name] for name in self.tensors}

    def state(self):
        return dict(self.tensors)

    def load(self, state, layouts=None):
        self.tensors = {
            name: self.put(array, (layouts or {}).get(name, "contiguous"))
            for name, array in state.items()
        }

    def train(self, mode):
        self.training = mode

    def shape(self, native):
        return native.shape

    def device(self, native):
        return "cpu"

    def aliases(self, a, b):
        return bool(np.shares_memory(a, b))


class Backend:
    name = "hostile"
    layer = Layer

    def info(self):
        return {"numpy": np.__version__}

    def devices(self):
        return ("cpu",)

    def offers(self, layer, dtype, device):
        return layer in ARGUMENTS and dtype in ("float32", "float64")

    def build(self, call):
        return self.layer(call)
'''
MADE = """
import numpy as np

import faithful
from conformance import Numerics, Unsupported

{before}

class Layer(faithful.Layer):
    \"\"\"A layer.\"\"\"
{layer}


class Backend(faithful.Backend):
    layer = Layer
{backend}


backend = Backend()
{after}
"""
RESULTS = "r.jsonl"


def command(layer: str = "ReLU", check: str = "values,shape", *options: str) -> tuple[str, ...]:
    """The command of a run with few items: values of `layer` and `check`, and further options."""
    return (
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", "--pyargs", "conformance.suite"),
        "--conformance-backend=hostile_backend:backend",
        f"--conformance-layer={layer}",
        f"--conformance-check={check}",
        *("--conformance-dtype=float32", "--conformance-examples=5"),
        f"--conformance-results={RESULTS}",
        *options,
    )


def source(layer: str = "", backend: str = "", before: str = "", after: str = "") -> str:
    """The source of a backend's module.

    Args:
        layer, backend: bodies of the two classes, which are faithful except for these.
        before, after: code before and after the classes.
    """

    def body(text: str) -> str:
        return textwrap.indent(textwrap.dedent(text), "    ")

    return MADE.format(
        layer=body(layer),
        backend=body(backend),
        before=textwrap.dedent(before),
        after=textwrap.dedent(after),
    )


def backend_entry(
    name: str,
    point: int,
    text: str,
    expected: Expected,
    *,
    run: tuple[str, ...] = (),
    seconds: float = 60,
) -> Entry:
    """An entry that runs a backend.

    Args:
        name, point, expected, seconds: those of the entry.
        text: source of the backend's module.
        run: the command; empty = the usual one.
    """
    files = {"faithful.py": FAITHFUL, "hostile_backend.py": text}
    return Entry(name, point, files, run or command(), expected, seconds)


def usage_error(
    *patterns: str, code: int | tuple[int, ...] = USAGE_ERROR, never: str = ""
) -> Expected:
    """Expect a usage error of a few lines that names the backend and matches all patterns."""
    return Expected(code, ("hostile", *patterns), never, longest=2000)


def expect_verdicts(verdicts: dict[str, str], others: str = "passed", **fields: object) -> Expected:
    """Expect a run in which some items fail.

    Args:
        verdicts: glob of ids → pattern of status and message.
        others: status of all other items.
        fields: further fields of the outcome.
    """
    return Expected(1, verdicts=verdicts, others=others, **fields)


def expect_all_pass(**fields: object) -> Expected:
    """Expect a run in which all items pass; `fields` are further fields of the outcome."""
    return Expected(0, verdicts={"*": "passed: "}, others="passed", **fields)
