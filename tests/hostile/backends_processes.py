"""Backends that end, copy or hang their process, and write where they should not."""

from __future__ import annotations

from hostile.backends_raising import fault_pattern
from hostile.entry import Entry, Expected
from hostile.faithful import (
    FAITHFUL,
    backend_entry,
    command,
    expect_all_pass,
    expect_verdicts,
    source,
)

BEFORE = """
import atexit, contextlib, ctypes, faulthandler, gc, os, shutil, signal, sys, threading, time

FORGED = b'{"verdict": {"id": "ReLU-values-float32-cpu", "layer": "ReLU", "check": "values", '
FORGED += b'"dtype": "float32", "device": "cpu", "status": "passed", "comparisons": 9}}\\n'

# Once: else each call would double the processes.
FORKED = []

def forked():
    if not FORKED:
        FORKED.append(True)
        return os.fork()

def forge(text=FORGED):
    '''Write to whatever is open.'''
    for fd in range(64):
        try:
            os.set_blocking(fd, False)
            os.write(fd, text)
        except OSError:
            pass
"""
LOST = r"(failed|crashed|hung)"
# Statements that end the process in a call, and what the message has to name.
ENDS: dict[str, tuple[int, str, str]] = {
    "exits-at-once": (11, "os._exit(0)", "exit"),
    "reads-address-zero-without-faulthandler": (
        0, "faulthandler.disable(); ctypes.string_at(0)", "SIGSEGV|segment"),
}  # fmt: skip
# Wrong layers that forge a success message to the suite.
WRONG = "return self.run(x)[0] + x.dtype.type(1)"
FORGERS = {
    "after-a-fork": (2, "forked()\n"),
    "after-a-fork-that-ends": (2, "if forked() == 0: return self.run(x)[0]\n"),
    "in-every-descriptor": (2, "forge()\n"),
    "in-every-descriptor-and-exits": (2, "forge(); os._exit(0)\n"),
    "in-every-descriptor-in-half-lines": (2, "forge(b'{\"verdict\": ')\n"),
    "in-every-descriptor-as-bytes": (2, "forge(b'\\xff\\x00' * 1000 + b'\\n')\n"),
    "in-every-descriptor-at-length": (2, "forge(b'x' * 1_000_000)\n"),
    "in-every-descriptor-as-deep-lists": (2, "forge(b'[' * 100_000 + b'\\n')\n"),
    "as-empty-lines": (2, "forge(b'\\n' * 100)\n"),
}
# Faithful backends with odd side effects.
FAITHFUL_BUT_ODD = {
    "interrupts-itself": "os.kill(os.getpid(), signal.SIGINT)",
    "interrupts-its-group": "os.killpg(os.getpgid(0), signal.SIGINT)",
    "prints-by-the-descriptor": "os.write(1, b'{\"verdict\": {}}\\n'); os.write(2, b'{}\\n')",
    "ignores-signals": "for s in (1, 2, 3, 13, 14, 15, 17): signal.signal(s, signal.SIG_IGN)",
    "leaves-a-thread": "threading.Thread(target=time.sleep, args=(600,)).start()",
    "hangs-at-exit": "atexit.register(time.sleep, 600)",
    "exits-when-collected": "type('D', (), {'__del__': lambda self: sys.exit(0)})()",
    "takes-the-alarm": "signal.signal(14, lambda *a: None); signal.setitimer(0, 0.05, 0.05)",
    "closes-its-streams": "sys.stdout.close(); sys.stdin = None",
}


def call_source(line: str, last_line: str = "return super().__call__(x)") -> str:
    """Source of `__call__` that runs `line` and then `last_line`."""
    first_lines = "".join(f"    {part}\n" for part in line.splitlines())
    return f"def __call__(self, x):\n{first_lines}    {last_line}\n"


HANGS = {
    "call-that-ignores-signals": "def __call__(self, x):\n"
    "    for s in (2, 14, 15): signal.signal(s, signal.SIG_IGN)\n    while True: time.sleep(1)\n",
    "end": "def __del__(self):\n    time.sleep(1000)\n",
}


def layer_entry(
    name: str, point: int, layer: str, expected: Expected, *options: str, seconds: float = 90
) -> Entry:
    """An entry of a layer, with its run's options."""
    run = command("ReLU", "values", "--conformance-timeout=3", "--conformance-examples=3", *options)
    return backend_entry(
        name, point, source(layer, before=BEFORE), expected, run=run, seconds=seconds
    )


def _ending_entries() -> list[Entry]:
    entries = []
    for kind, (point, line, says) in ENDS.items():
        expected = expect_verdicts(
            {"ReLU-values-*": fault_pattern("failed|crashed|hung", says)}, others="", longest=9000
        )
        if "group" in kind:  # which may be pytest's: a session that says that it was interrupted
            expected = Expected((1, 2), longest=9000)
        entries.append(layer_entry(f"call-{kind}", point, call_source(line), expected))
    return entries


def _hanging_entries() -> list[Entry]:
    entries = []
    for kind, layer in HANGS.items():
        verdict = expect_verdicts({"ReLU-values-*": "hung: "}, others="")
        # An object that hangs when it is collected may do so between items.
        expected = Expected((0, 1)) if kind == "end" else verdict
        entries.append(
            layer_entry(
                f"hangs-in-{kind}", 0, layer, expected, "--conformance-timeout=1", seconds=240
            )
        )
    return entries


OPEN = """
def __call__(self, x):
    for fd in range(3, 20):
        try: os.close(fd)
        except OSError: pass
    return super().__call__(x)
"""
STREAMS = "os.close(0); os.close(1); os.close(2)"
ONE_ROTTEN = """
def __call__(self, x):
    if self.call.layer == "Linear":
        {line}
    return super().__call__(x)
"""
# A run without results must not be green.
START = f"""
import os, subprocess, sys
os.mkdir("out")
code = subprocess.call([sys.executable, *{[*command()]!r}, "--conformance-results=out/r.jsonl"])
sys.exit(code or (0 if os.path.exists("out/r.jsonl") else 7))
"""


def deleting_entry(description: str, line: str) -> Entry:
    """An entry of a call that deletes where the results are written."""
    text = source(call_source(line), before=BEFORE)
    files = {"faithful.py": FAITHFUL, "start.py": START, "hostile_backend.py": text}
    return Entry(
        f"call-deletes-the-{description}", 12, files, ("start.py",), Expected((0, 1, 2, 3))
    )


ENTRIES = (
    *_ending_entries(),
    *(
        layer_entry(
            f"wrong-layer-forges-verdicts-{kind}",
            point,
            call_source(line, WRONG),
            Expected(1, verdicts={"ReLU-values-*": f"{LOST}: "}),
        )
        for kind, (point, line) in FORGERS.items()
    ),
    *(
        layer_entry(f"call-{kind}", 0, call_source(line), expect_all_pass(longest=60_000))
        for kind, line in FAITHFUL_BUT_ODD.items()
    ),
    *_hanging_entries(),
    # Without its pipes a process is lost, and the run says so.
    layer_entry(
        "call-closes-its-pipes", 0, OPEN, Expected(1, verdicts={"ReLU-values-*": f"{LOST}: "})
    ),
    layer_entry("call-closes-its-streams-by-descriptor", 0, call_source(STREAMS), Expected((0, 1))),
    deleting_entry(
        "results", "with contextlib.suppress(OSError): os.remove('{folder}/out/r.jsonl')"
    ),
    deleting_entry("folder", "shutil.rmtree('{folder}/out', ignore_errors=True)"),
    layer_entry(
        "call-writes-into-the-results",
        12,
        call_source("open('{folder}/r.jsonl', 'a').write('{nonsense\\n' * 3)"),
        Expected((0, 1), verdicts={"*": "passed: "}),
    ),
    layer_entry(
        "call-kills-its-parent",
        0,
        call_source("os.kill(os.getppid(), signal.SIGKILL); time.sleep(1)"),
        Expected((-9, 1)),
    ),
    layer_entry(
        "call-fills-the-memory",
        0,
        "KEPT = []\n" + call_source("while True: self.KEPT.append(np.zeros(1 << 26))"),
        expect_verdicts(
            {"ReLU-values-*": fault_pattern("failed|crashed", "MemoryError|SIGKILL|memory")},
            others="",
        ),
        "--conformance-memory=3000",
    ),
    backend_entry(
        "one-layer-of-two-aborts",
        0,
        source(ONE_ROTTEN.format(line="os.abort()"), before=BEFORE),
        expect_verdicts({"Linear-values-*": "crashed: "}),
        run=command("ReLU,Linear", "values"),
        seconds=150,
    ),
    backend_entry(
        "one-layer-of-two-aborts-on-two-workers",
        0,
        source(ONE_ROTTEN.format(line="os.abort()"), before=BEFORE),
        expect_verdicts({"Linear-values-*": "crashed: "}),
        run=command("ReLU,Linear", "values", "-n2"),
        seconds=150,
    ),
    backend_entry(
        "one-layer-of-two-interrupts-a-worker",
        13,
        source(
            ONE_ROTTEN.format(line="os.kill(os.getppid(), signal.SIGINT); time.sleep(1)"),
            before=BEFORE,
        ),
        Expected((0, 1, 2)),
        run=command("ReLU,Linear", "values,shape", "-n2"),
    ),
    backend_entry(
        "one-layer-of-two-kills-a-worker",
        13,
        source(
            ONE_ROTTEN.format(line="os.kill(os.getppid(), signal.SIGKILL); time.sleep(1)"),
            before=BEFORE,
        ),
        Expected((1, 2, 3)),
        run=command("ReLU,Linear", "values,shape", "-n2"),
    ),
)
