"""The faithful backend itself, from which all other entries are derived."""

from __future__ import annotations

from conformance.model.checks import columns
from hostile.entry import Due
from hostile.faithful import command, judged, made, source, well

WRONG = "def __call__(self, x):\n    return self.run(x)[0] + x.dtype.type(1)\n"
CHECKS = ",".join(columns())

ENTRIES = (
    made("faithful", 0, source(), well()),
    made(
        "faithful-in-every-check",
        0,
        source(),
        Due(0, verdicts={"*-values-*": "passed: ", "*-gradients-*": "passed: "}),
        run=command("ReLU,Linear,Dropout", CHECKS),
    ),
    made(
        "faithful-in-this-process",
        0,
        source(),
        well(),
        run=command("ReLU", "values,shape", "--conformance-isolation=none"),
    ),
    made(
        "faithful-on-two-workers",
        0,
        source(),
        well(),
        run=command("ReLU,Linear", "values,shape", "-n2"),
    ),
    made("plainly-wrong", 0, source(WRONG), judged({"ReLU-values-*": "failed: "})),
)
