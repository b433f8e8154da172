"""Which findings show in which releases: `docs/data/versions.json`, from runs of the pinned cases.

    python tools/versions_seen.py torch                  # the last patch of each minor release
    python tools/versions_seen.py mlx --versions 0.31.0,0.32.4

Each release gets an environment, as in `nn-conformance bisect`, and runs every pinned case of the
backend's known failures, also of those that are listed for other versions. The environment is
deleted afterwards: each torch has 5 GB.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import findings
from measured import DATA, read, write

from conformance.backends.capabilities import devices_of, info_of
from conformance.backends.registry import load
from conformance.commands.environments import (
    Environments,
    NotInstalledError,
    default_folder,
    package_of,
)
from conformance.commands.replayed import MOST_TELLING, NOT_INSTALLED, NOT_RUN
from conformance.known.cpu import describe_place
from conformance.known.entry import KnownFailure

SEEN = DATA / "versions.json"
WRITER = "tools/versions_seen.py"


def outcomes_of_findings(
    entries: Iterable[KnownFailure], lines: Iterable[Mapping[str, str]]
) -> dict[str, str]:
    """Finding → the most telling outcome of its entries, in one release.

    Args:
        entries: those of the file, in its order.
        lines: what `nn-conformance replay FILE --json` printed; ids are numbers of entries.
    """
    by_number = {str(k): entry for k, entry in enumerate(entries, 1)}
    outcomes = dict[str, str]()
    for line in lines:
        kind, what, _ = findings.split_reason(by_number[line["id"]].reason)
        if kind == findings.NO_BUG:
            continue
        key, outcome = f"{kind}: {what}", line["outcome"]
        before = outcomes.get(key, MOST_TELLING[-1])
        outcomes[key] = min(before, outcome, key=MOST_TELLING.index)
    return outcomes


def add_release(
    facts: dict[str, Any], backend: str, version: str, outcomes: Mapping[str, str], seconds: float
) -> None:
    """Add what one release showed to the facts of a backend."""
    own = facts.setdefault(backend, {"releases": {}, "findings": {}})
    day = datetime.now(tz=UTC).date().isoformat()
    own["releases"][version] = {"seconds": round(seconds), "day": day}
    for key, outcome in outcomes.items():
        own["findings"].setdefault(key, {})[version] = outcome


def main() -> None:
    """Run the pinned cases of a backend on the releases, and update the file after each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("backend")
    parser.add_argument("--package", help="the package whose releases are run")
    parser.add_argument("--versions", help="comma list (default: the last patch of each minor)")
    parser.add_argument("--cache", type=Path, default=default_folder(), help="folder to work in")
    options = parser.parse_args()
    backend = load(options.backend)
    info = info_of(backend)
    package = options.package or package_of(options.backend, info)
    environments = Environments(package, options.backend, options.cache)
    path = findings.FOLDER / f"{options.backend}.toml"
    entries = [entry for name, entry in findings.entries() if name == options.backend]
    facts = read(SEEN)
    place = describe_place(package, info, devices_of(backend)[0]).partition(" on ")[2]
    for version in options.versions.split(",") if options.versions else environments.versions():
        started = time.monotonic()
        try:
            python = Path(environments.python_of(version))
        except NotInstalledError as error:
            print(f"{version}: {NOT_INSTALLED}: {error}", file=sys.stderr)
            continue
        command = [python.with_name("nn-conformance"), "replay", "--json", path]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if python.is_relative_to(options.cache):
            shutil.rmtree(python.parents[1])
        lines = [json.loads(x) for x in done.stdout.splitlines() if x.startswith("{")]
        if len(lines) < len(entries):
            print(f"{version}: {NOT_RUN}: {len(lines)} of {len(entries)} entries", file=sys.stderr)
            continue
        outcomes = outcomes_of_findings(entries, lines)
        add_release(facts, options.backend, version, outcomes, time.monotonic() - started)
        facts[options.backend]["place"] = place
        write(SEEN, WRITER, facts)
        print(f"{version}: {sum(x == 'fails' for x in outcomes.values())} of {len(outcomes)} fail")


if __name__ == "__main__":
    main()
