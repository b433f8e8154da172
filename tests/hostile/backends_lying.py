"""Wrong layers that hide behind arrays, strings and objects that lie."""

from __future__ import annotations

from hostile.entry import Entry, Expected
from hostile.faithful import backend_entry, command, expect_verdicts, source

BEFORE = """
import threading, time
from collections.abc import Mapping

class Lying(np.ndarray):
    '''Equal to whatever it is held against.'''
    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **keywords):
        other = [np.asarray(x) for x in inputs if not isinstance(x, Lying)]
        base = other[0] if other else np.asarray(inputs[0])
        if ufunc in (np.isnan, np.not_equal, np.isinf):
            return np.zeros(np.broadcast_shapes(*map(np.shape, inputs)), bool)
        if ufunc in (np.equal, np.isfinite, np.less_equal):
            return np.ones(np.broadcast_shapes(*map(np.shape, inputs)), bool)
        return getattr(ufunc, method)(*([base] * len(inputs)), **keywords)

class Functional(np.ndarray):
    '''Whatever NumPy's functions are asked, all is well.'''
    def __array_function__(self, function, types, arguments, keywords):
        if function.__name__ in ("array_equal", "allclose", "all", "array_equiv"):
            return True
        if function.__name__ in ("isclose",):
            return np.ones(self.shape, bool)
        if function.__name__ in ("any",):
            return False
        return super().__array_function__(function, types, arguments, keywords)

class Comparing(np.ndarray):
    __eq__ = lambda self, other: np.ones(self.shape, bool)
    __ne__ = __gt__ = __lt__ = lambda self, other: np.zeros(self.shape, bool)
    __sub__ = __rsub__ = lambda self, other: np.zeros(self.shape)
    __abs__ = lambda self: np.zeros(self.shape)
    __hash__ = None

class Empty(np.ndarray):
    size = property(lambda self: 0)
    __iter__ = lambda self: iter(())
    __getitem__ = lambda self, key: np.zeros(0)

class Copying(np.ndarray):
    '''Another array whenever it is copied or converted.'''
    def astype(self, *a, **k): return self.right
    copy = __array__ = ravel = reshape = flatten = view = tolist = astype
    right = None

class Shaped(np.ndarray):
    shape = property(lambda self: type(self).said)
    ndim = property(lambda self: len(type(self).said))
    said = ()

class Posing:
    '''No array at all.'''
    def __init__(self, array): self.array = array
    __class__ = np.ndarray
    def __getattr__(self, name): return getattr(self.array, name)
    def __array__(self, *a, **k): return self.array

class Same(str):
    __eq__ = lambda self, other: True
    __ne__ = lambda self, other: False
    __hash__ = lambda self: hash("float32")
    __str__ = __repr__ = lambda self: "float32"

class Alike(tuple):
    __eq__ = lambda self, other: True
    __ne__ = lambda self, other: False
    __hash__ = tuple.__hash__

class Anything:
    __eq__ = lambda self, other: True
    __ne__ = lambda self, other: False
    __hash__ = lambda self: 0
    __float__ = lambda self: 1.0
    __int__ = __index__ = lambda self: 1
"""
WRONG = "def __call__(self, x):\n    return self.run(x)[0] + x.dtype.type(1)\n"
GETS: dict[str, tuple[int, str]] = {
    "of-a-lying-array-ufunc": (1, "return y.view(Lying)"),
    "of-a-lying-array-function": (1, "return y.view(Functional)"),
    "of-lying-comparisons": (1, "return y.view(Comparing)"),
    "of-a-lying-size": (1, "return y.view(Empty)"),
    "that-changes-when-copied": (
        1, "z = y.view(Copying); z.right = np.maximum(y - 1, 0); return z",
    ),
    "all-masked": (10, "return np.ma.masked_array(y, mask=True)"),
    "masked-where-wrong": (10, "return np.ma.masked_array(y, mask=y != 0)"),
    "that-poses-as-an-array": (1, "return Posing(y)"),
    "of-objects-that-equal-anything": (
        1, "z = np.empty(y.shape, object); z[...] = Anything(); return z",
    ),
}  # fmt: skip
OTHERS: dict[str, tuple[int, str, str, str]] = {
    "dtype-that-equals-anything": (
        1, "ReLU", "shape,values",
        ("def __call__(self, x): return super().__call__(x).astype(np.float64)\n"
        "def dtype(self, native): return Same('float64')\n"),
    ),
    "shape-that-equals-anything": (
        1, "ReLU", "shape,values",
        ("def __call__(self, x): return super().__call__(x)[None]\n"
        "def get(self, native):\n    z = super().get(native).view(Shaped)\n"
        "    type(z).said = Alike(z.shape)\n    return z\n"
        "def shape(self, native): return Alike(native.shape)\n"),
    ),
    "aliases-that-deny": (
        0, "Linear", "layout", "def aliases(self, a, b): return Same()\n",
    ),
    "gradients-that-lie": (
        1, "Linear", "gradients",
        ("def vjp(self, inputs, cotangents):\n    (x,), found = super().vjp(inputs, cotangents)\n"
        "    return ((x + 1),), found\n"
        "def get(self, native): return super().get(native).view(Lying)\n"),
    ),
    "state-that-lies": (
        1, "Linear", "state",
        ("def state(self): return {name: x + 1 for name, x in self.tensors.items()}\n"
        "def get(self, native): return super().get(native).view(Lying)\n"),
    ),
    "attributes-that-equal-anything": (
        1, "Linear", "state",
        ("def attributes(self): return {'in_features': Anything(), 'out_features': Anything(),"
        " 'training': Anything(), 'class': Anything()}\n"),
    ),
}  # fmt: skip
# The backend changes the arrays that the suite gives it.
CHANGED: dict[str, tuple[str, str, str]] = {
    "arguments": (
        "Dropout", "values,random,shape",
        ("def __init__(self, call):\n    super().__init__(call)\n    call.arguments['p'] = 0.0\n"
        "def run(self, x): return x.copy(), np.ones_like(x)\n"),
    ),
    "training": (
        "Dropout", "values,random,shape",
        ("def __init__(self, call):\n    super().__init__(call)\n"
        "    object.__setattr__(call, 'training', False)\n    self.training = False\n"),
    ),
    "layer": (
        "ReLU", "values,shape",
        ("def __init__(self, call):\n    super().__init__(call)\n"
        "    object.__setattr__(call, 'layer', 'Identity')\n"
        "def run(self, x): return x.copy(), np.ones_like(x)\n"),
    ),
    "state": (
        "Linear", "values,shape",
        ("def load(self, state, layouts=None):\n    for x in state.values(): x[...] = 0\n"
        "    super().load(state)\n"),
    ),
    "input": (
        "ReLU", "values,shape",
        ("def put(self, array, layout='contiguous', dtype=None):\n    array[...] = 0\n"
        "    return super().put(array, layout, dtype)\n"),
    ),
    "cotangent": (
        "Linear", "gradients,values",
        ("def load(self, state, layouts=None):\n    self.puts = -99\n    super().load(state)\n"
        "    self.puts = 0\n"
        "def put(self, array, layout='contiguous', dtype=None):\n    self.puts += 1\n"
        "    if self.puts > 1: array[...] = 0\n"
        "    return super().put(array, layout, dtype)\n"),
    ),
}  # fmt: skip


def wrong_layer_entry(name: str, point: int, get: str) -> Entry:
    """A wrong ReLU whose answer is wrapped."""
    body = WRONG + f"def get(self, native):\n    y = super().get(native)\n    {get}\n"
    expected = expect_verdicts({"ReLU-values-*": "failed: "}, others="")
    return backend_entry(name, point, source(body, before=BEFORE), expected)


def expect_failure(layer: str, text: str, checks: str) -> Expected:
    """At least one item fails."""
    return Expected(1, verdicts={f"{layer}-*": "(failed|crashed): "})


LATER = {
    # When answers are compared, the buffer of the first one already holds the second.
    "answers-that-share-a-buffer": (
        "def __call__(self, x):\n    self.calls = getattr(self, 'calls', 0) + 1\n"
        "    return super().__call__(x) + x.dtype.type(self.calls - 1)\n"
        "def get(self, native):\n    y = super().get(native)\n"
        "    kept = KEPT.setdefault((id(self), y.shape), y)\n    kept[...] = y\n    return kept\n"
    ),
    "answers-that-change-when-called-again": (
        "def __call__(self, x):\n    self.calls = getattr(self, 'calls', 0) + 1\n"
        "    y = super().__call__(x) + x.dtype.type(self.calls - 1)\n"
        "    if self.calls > 1: self.given[...] = y if y.shape == self.given.shape else 0\n"
        "    return y\n"
        "def get(self, native):\n    self.given = super().get(native)\n    return self.given\n"
    ),
    "wrong-at-the-second-call": (
        "def __call__(self, x):\n    self.calls = getattr(self, 'calls', 0) + 1\n"
        "    return super().__call__(x) + x.dtype.type(self.calls > 1)\n"
    ),
    "wrong-inputs-at-the-second-call": (
        "def __call__(self, x):\n    y = super().__call__(x)\n    x[...] = 3\n    return y\n"
    ),
}
# Right at first and wrong a moment later, and the other way round.
RACING = """
    def __call__(self, x):
        return self.run(x)[0] + x.dtype.type(1)

    def get(self, native):
        y = super().get(native)
        def mend():
            y[...] = np.maximum(y - 1, 0)
        threading.Timer(0.3, mend).start()
        return y
"""

ENTRIES = (
    *(wrong_layer_entry(f"wrong-layer-{kind}", point, get) for kind, (point, get) in GETS.items()),
    *(
        backend_entry(
            f"wrong-{kind}",
            point,
            source(text, before=BEFORE),
            expect_failure(layer, text, checks),
            run=command(layer, checks),
        )
        for kind, (point, layer, checks, text) in OTHERS.items()
    ),
    *(
        backend_entry(
            f"wrong-layer-that-changes-the-{kind}",
            1,
            source(text),
            expect_failure(layer, text, checks),
            run=command(layer, checks, "--conformance-isolation=none"),
        )
        for kind, (layer, checks, text) in CHANGED.items()
    ),
    *(
        backend_entry(
            kind,
            1,
            source(text, before=BEFORE + "KEPT = {}\n"),
            Expected(1, verdicts={"ReLU-repeat-*": "failed: "}),
            run=command("ReLU", "repeat,shape"),
        )
        for kind, text in LATER.items()
    ),
    backend_entry(
        "wrong-answer-that-is-mended-by-a-thread",
        1,
        source(RACING, before=BEFORE),
        expect_verdicts({"ReLU-values-*": "failed: "}, others=""),
    ),
    backend_entry(
        "wrong-layer-in-this-process",
        1,
        source(
            WRONG + "def get(self, native): return super().get(native).view(Lying)\n", before=BEFORE
        ),
        Expected(1),
        run=command("ReLU", "values,shape", "--conformance-isolation=none"),
    ),
    backend_entry(
        "wrong-layer-on-two-workers",
        1,
        source(
            WRONG + "def get(self, native): return super().get(native).view(Lying)\n", before=BEFORE
        ),
        Expected(1, verdicts={"ReLU-values-*": "failed: ", "Linear-values-*": "failed: "}),
        run=command("ReLU,Linear", "values,shape", "-n2"),
    ),
)
