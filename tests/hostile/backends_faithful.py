"""The faithful backend itself, from which all other entries are derived."""

from __future__ import annotations

from conformance.model.checks import matrix_columns
from hostile.entry import Expected
from hostile.faithful import backend_entry, command, expect_all_pass, expect_verdicts, source

WRONG = "def __call__(self, x):\n    return self.run(x)[0] + x.dtype.type(1)\n"
CHECKS = ",".join(matrix_columns())

ENTRIES = (
    backend_entry("faithful", 0, source(), expect_all_pass()),
    backend_entry(
        "faithful-in-every-check",
        0,
        source(),
        Expected(0, verdicts={"*-values-*": "passed: ", "*-gradients-*": "passed: "}),
        run=command("ReLU,Linear,Dropout", CHECKS),
    ),
    backend_entry(
        "faithful-in-this-process",
        0,
        source(),
        expect_all_pass(),
        run=command("ReLU", "values,shape", "--conformance-isolation=none"),
    ),
    backend_entry(
        "faithful-on-two-workers",
        0,
        source(),
        expect_all_pass(),
        run=command("ReLU,Linear", "values,shape", "-n2"),
    ),
    backend_entry(
        "plainly-wrong", 0, source(WRONG), expect_verdicts({"ReLU-values-*": "failed: "})
    ),
)
