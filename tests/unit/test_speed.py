"""`benchmarks/speed.py` runs, and times each kind of work separately."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "speed.py"


def test_replay_counts_every_kind_of_work() -> None:
    command = [sys.executable, str(SCRIPT), "--replay", "Linear", "--dtype", "float32"]
    answer = subprocess.run([*command, "--examples", "5"], capture_output=True, check=True)
    seconds_by_kind = json.loads(answer.stdout)
    assert set(seconds_by_kind) == {"drawing", "build", "call", "oracle", "comparison"}
    assert all(seconds > 0 for seconds in seconds_by_kind.values())
