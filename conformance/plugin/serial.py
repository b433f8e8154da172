"""The serial phase: the benchmarks of a parallel run, after its workers are done.

Workers side by side would slow each other down, and pytest-benchmark is off under xdist. So the
controller runs pytest once more, without xdist, on the benchmarks alone. It copies their lines to
its own results and report.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.plugin.options import FLAGS
from conformance.reports.results import ResultsError, read

if TYPE_CHECKING:
    from conformance.plugin.shared import SessionLike

# Options that the serial phase sets for itself.
_OWN_OPTIONS = ("results", "report", "benchmarks", *FLAGS)


def run_serial_phase(session: SessionLike) -> int:
    """Run the benchmarks, record their lines, and return pytest's exit status.

    Args:
        session: the suite's session on the controller.
    """
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        results = Path(folder) / "benchmarks.jsonl"
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        for name in ("PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT"):
            environment.pop(name, None)
        command = _command(session, results)
        manager = session.config.pluginmanager.get_plugin("capturemanager")
        if manager is None:
            code = subprocess.run(command, env=environment, check=False).returncode
        else:
            with manager.global_and_fixture_disabled():
                sys.stdout.flush()
                code = subprocess.run(command, env=environment, check=False).returncode
        try:
            benchmark_run = read(results)
        except (OSError, ResultsError) as error:
            session.recorder.trouble.append(f"benchmarks: {error}")
            return code or 1
    for line in (*benchmark_run.benchmarks, *benchmark_run.timing):
        session.recorder.append(dict(line))
    return code


def _command(session: SessionLike, results: Path) -> list[str]:
    config = session.config
    settings = session.settings
    options = {k: v for k, v in settings.given_options.items() if k not in _OWN_OPTIONS}
    options |= {"benchmarks": settings.benchmarks, "results": str(results)}
    command = [
        sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider",
        f"--rootdir={config.rootpath}", "--pyargs", "conformance.suite.test_benchmarks",
        *(f"--conformance-{name}={value}" for name, value in options.items()),
        *["--conformance-survey"] * settings.survey,
    ]  # fmt: skip
    if config.inipath is not None:
        command += ["-c", str(config.inipath)]
    json_path = getattr(config.option, "benchmark_json", None)
    if json_path is not None:
        command.append(f"--benchmark-json={Path(json_path).absolute()}")
    # pytest-benchmark's own table lacks torch's numbers.
    return [*command, "--benchmark-quiet"]
