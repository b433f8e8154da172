"""Wrong return values of a layer's members: one verdict names the value and what is expected."""

from __future__ import annotations

from hostile.backends_raising import MEMBERS, fault_pattern
from hostile.entry import Entry, Expected
from hostile.faithful import backend_entry, command, expect_all_pass, expect_verdicts, source

BEFORE = """
import tempfile
from collections import namedtuple

class Truth:
    def __bool__(self):
        raise ValueError("no truth")
    __len__ = __iter__ = __eq__ = __str__ = __repr__ = __bool__
    __hash__ = None

class Plain(np.ndarray):
    pass

class Tuple(tuple):
    '''Another number of outputs each time.'''
    def __len__(self): return 1
    def __iter__(self): return iter(())

class Claimed:
    '''Says that it is a tuple.'''
    __class__ = tuple

class Native:
    '''No one else's business.'''
    def __init__(self, array): object.__setattr__(self, "array", array)
    def no(self, *arguments): raise RuntimeError("natives are opaque")
    __bool__ = __len__ = __iter__ = __eq__ = __str__ = __repr__ = __getitem__ = __array__ = no
    __add__ = __float__ = __hash__ = __copy__ = __deepcopy__ = __reduce_ex__ = no

def endless():
    while True:
        yield np.zeros(1)
"""
EXPECTED = "expected|wanted"
VALUES = command("ReLU", "values")
# Returned in place of an array: y is the right one.
NO_ARRAY: dict[str, tuple[int, str]] = {
    "none": (0, "None"),
    "a-list": (0, "y.tolist()"),
    "objects": (0, "y.astype(object)"),
    "endless": (0, "endless()"),
    "what-has-no-truth": (10, "Truth()"),
}
# The right numbers in odd memory.
ODD = {
    "read-only": "y.flags.writeable = False; return y",
    "big-endian": "return y.astype('>f8') if y.dtype.kind == 'f' else y.astype('>i8')",
    "with-negative-strides": "return np.ascontiguousarray(y[::-1])[::-1] if y.ndim else y",
    "unaligned": "m = bytearray(y.nbytes + 1); z = np.frombuffer(m, y.dtype, y.size, 1)"
    ".reshape(y.shape) if y.size else y; z[...] = y; return z",
    "expanded-where-alike": "return np.broadcast_to(y.flat[0], y.shape) if y.size and "
    "(y == y.flat[0]).all() else y",
    "that-is-cut-out": "z = np.full((*y.shape, 3), np.nan); z[..., 1] = y; return z[..., 1]",
}
# Right numbers in a subclass of array: read as the base array, or refused by name.
CLASSES = {
    "a-subclass": "return y.view(Plain)",
    "masked-nowhere": "return np.ma.masked_array(y)",
    "a-memory-map": "f = tempfile.TemporaryFile(); z = np.memmap(f, y.dtype, 'w+', shape=y.shape) "
    "if y.size else y; z[...] = y; return z",
    "single-precision": "return y.astype('f4')",
    "complex": "return y.astype(complex)",
}
CALLS = {
    "two": "(y, y)",
    "what-claims-to-be-a-tuple": "Claimed()",
    "a-generator": "(x for x in [y])",
    "many": "(y,) * 1_000_000", "what-has-no-truth": "Truth()",
}  # fmt: skip
# Member → its wrong return values by kind, besides None and an object without a truth value.
OTHER_RETURNS: dict[str, dict[str, str]] = {
    "dtype": {"escapes": "'float32\\x1b'",
              "ten-megabytes": "'x' * 10_000_000", "surrogates": "'\\ud800'"},
    "device": {"escapes": "'cpu\\x1b[2J'", "ten-megabytes": "'x' * 10_000_000"},
    "aliases": {"an-array": "np.ones(2, bool)"},
    "fallbacks": {"a-number": "3", "endless": "endless()", "megabytes": "('x\\x1b',) * 1_000_000"},
    "vjp": {"none": "None", "too-many": "(inputs * 2, {})", "endless": "(endless(), {})",
            "a-list-of-names": "(inputs, ['weight'])", "no-names": "(inputs, {3: 4})"},
    "state": {"none": "None", "a-list": "['weight']", "numbers": "{1: 2}", "endless": "endless()",
              "other-names": "{'nonsense\\x1b': np.zeros(1, 'f4')}",
              "natives-that-are-none": "dict.fromkeys(self.tensors)"},
    "attributes": {"what-has-no-text": "{'in_features': Truth()}"},
    "value_and_vjp": {"too-many": "(inputs * 2, inputs * 2, {})"},
    "accumulate": {"none": "None", "too-many": "(inputs * 2, {})"},
}  # fmt: skip


def _get_entries() -> list[Entry]:
    get_source = "def get(self, native):\n    y = super().get(native)\n    {}\n"
    expected = expect_verdicts(
        {"ReLU-values-*": fault_pattern("failed", "get", EXPECTED)}, others=""
    )
    entries = [
        backend_entry(
            f"get-returns-{kind}",
            point,
            source(get_source.format(f"return {value}"), before=BEFORE),
            expected,
        )
        for kind, (point, value) in NO_ARRAY.items()
    ]
    for kind, line in ODD.items():
        entries.append(
            backend_entry(
                f"get-returns-arrays-{kind}",
                0,
                source(get_source.format(line), before=BEFORE),
                expect_all_pass(),
            )
        )
    either = Expected((0, 1), verdicts={"ReLU-values-*": "(passed: |failed: .*(get|shape))"})
    for kind, line in CLASSES.items():
        point = 10 if kind.startswith("masked") else 0
        text = source(get_source.format(line), before=BEFORE)
        entries.append(backend_entry(f"get-returns-{kind}-array", point, text, either))
    return entries


def _call_entries() -> list[Entry]:
    call = "def __call__(self, x):\n    y = self.run(x)[0]\n    return {}\n"
    expected = expect_verdicts(
        {"ReLU-values-*": "failed: .*(output|call|get)"}, others="failed", longest=8000
    )
    entries = [
        backend_entry(
            f"call-returns-{kind}",
            0,
            source(call.format(value), before=BEFORE),
            expected,
            run=VALUES,
        )
        for kind, value in CALLS.items()
    ]
    # Its numbers are right, whatever it says of itself.
    text = source(call.format("Tuple((y,))"), before=BEFORE)
    return [
        *entries,
        backend_entry("call-returns-a-lying-tuple", 0, text, expect_all_pass(), run=VALUES),
    ]


def _member_entries() -> list[Entry]:
    entries = []
    for member, values in OTHER_RETURNS.items():
        layer, check, arguments = MEMBERS[member]
        for kind, value in ({"what-has-no-truth": "Truth()"} | values).items():
            text = source(f"def {member}({arguments}):\n    return {value}\n", before=BEFORE)
            status = "unsupported|failed|hung" if member == "fallbacks" else "failed|crashed|hung"
            # A verdict on readable attributes says "attribute in_features".
            says = f"{member.removesuffix('s')}|get|gradient|names|fell|output"
            expected = Expected(
                (0, 1) if member == "fallbacks" else 1, longest=8000,
                verdicts={f"{layer}-{check}-*": fault_pattern(status, says)},
            )  # fmt: skip
            if kind in ("endless", "megabytes") and member == "fallbacks":
                # These are names too: the message shows as many as fit.
                expected = Expected(
                    1, verdicts={f"{layer}-{check}-*": "unsupported: "}, longest=8000
                )
            point = 10 if "truth" in kind else 0
            run = command(layer, check, "--conformance-timeout=3")
            name = f"{member}-of-a-layer-returns-{kind}"
            entries.append(backend_entry(name, point, text, expected, run=run, seconds=150))
    return entries


OPAQUE = """
    def put(self, array, layout="contiguous", dtype=None):
        return Native(super().put(array, layout, dtype))

    def __call__(self, x):
        return Native(self.run(x.array)[0])

    def get(self, native):
        return super().get(native.array)

    def dtype(self, native):
        return super().dtype(native.array)

    def shape(self, native):
        return native.array.shape

    def aliases(self, a, b):
        return super().aliases(a.array, b.array)

    def load(self, state, layouts=None):
        pass
"""
NAMED_TUPLE = "def __call__(self, x):\n    return namedtuple('Out', 'y')(self.run(x)[0])\n"
HUGE = """
    def get(self, native):
        return np.broadcast_to(np.float64(0), (10**6, 10**6, 10**3))
"""

ENTRIES = (
    *_get_entries(),
    *_call_entries(),
    *_member_entries(),
    backend_entry(
        "natives-that-are-opaque",
        0,
        source(OPAQUE, before=BEFORE),
        expect_all_pass(),
        run=command("ReLU", "values,shape,repeat,special"),
    ),
    backend_entry(
        "outputs-as-a-named-tuple", 0, source(NAMED_TUPLE, before=BEFORE), expect_all_pass()
    ),
    backend_entry(
        "outputs-as-a-list",
        0,
        source("def __call__(self, x):\n    return [self.run(x)[0]]\n"),
        expect_all_pass(),
    ),
    backend_entry(
        "get-returns-a-broadcast-of-petabytes",
        0,
        source(HUGE),
        expect_verdicts({"ReLU-values-*": fault_pattern("failed", "shape|get")}, others=""),
    ),
    backend_entry(
        "call-of-no-layer",
        0,
        source(backend="def build(self, call):\n    return 3\n"),
        expect_verdicts(
            {"ReLU-values-*": fault_pattern("failed", "build", "int", EXPECTED)}, others="failed"
        ),
    ),
    backend_entry(
        "build-returns-none",
        0,
        source(backend="def build(self, call):\n    return None\n"),
        expect_verdicts(
            {"ReLU-values-*": fault_pattern("failed", "build", "None", EXPECTED)}, others="failed"
        ),
    ),
    backend_entry(
        "build-returns-what-has-no-truth",
        10,
        source(backend="def build(self, call):\n    return Truth()\n", before=BEFORE),
        expect_verdicts(
            {"ReLU-values-*": fault_pattern("failed", "build", EXPECTED)}, others="failed"
        ),
    ),
    backend_entry(
        "build-returns-a-class",
        0,
        source(backend="def build(self, call):\n    return Layer\n"),
        expect_verdicts({"ReLU-values-*": "failed: "}, others="failed"),
    ),
)
