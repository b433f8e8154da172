"""A run of thirty items that takes some seconds, to be killed within."""

from __future__ import annotations

import os
from pathlib import Path

from hostile.processes import MARK

BACKEND = """import time

import numpy as np
from conformance.backends import FunctionBackend, implements


class Slow(FunctionBackend):
    name = "slow"

    def offers(self, layer, dtype, device):
        return dtype in ("float32", "float64")

    def put(self, array, layout, dtype, device):
        time.sleep(0.003)
        return super().put(array, layout, dtype, device)

    @implements("ReLU", ignores=("inplace",))
    def relu(self, state, input):
        return np.maximum(input, 0)

    @implements("ReLU6", ignores=("inplace",))
    def relu6(self, state, input):
        return np.clip(input, 0, 6)

    @implements("Softsign")
    def softsign(self, state, input):
        return input / (1 + abs(input))

    @implements("Identity")
    def identity(self, state, input):
        return input.copy()

    @implements("Hardtanh", ignores=("inplace",))
    def hardtanh(self, state, input, min_val=-1, max_val=1):
        return np.clip(input, min_val, max_val)


backend = Slow()
"""
ITEMS = 30
COMMAND = (
    "-m", "pytest", "-v", "-p", "no:cacheprovider", "--pyargs", "conformance.suite",
    "--conformance-backend=slow:backend", "--conformance-check=shape,values,repeat",
    "--conformance-layer=ReLU,ReLU6,Softsign,Identity,Hardtanh", "--conformance-examples=5",
    "--conformance-dtype=float32,float64", "--conformance-results=r.jsonl",
)  # fmt: skip


def environment(folder: Path, mark: str) -> dict[str, str]:
    """The environment of this process without the settings of the suite and of pytest.

    Args:
        folder: the folder of the backend's module.
        mark: the mark that identifies the run's processes.
    """
    ours = ("CONFORMANCE_", "PYTEST_", "PYTHON", "TOX_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return inherited | {
        "PYTHONPATH": str(folder), "TMPDIR": str(folder / "tmp"), "OMP_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "200", MARK: mark,
    }  # fmt: skip
