"""`nn-conformance replay` and `bisect`: a failure again, here or on other released versions."""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

from conformance.commands.environments import (
    Environments,
    NotInstalledError,
    default_folder,
    package_of,
)
from conformance.commands.replayed import (
    NOT_INSTALLED,
    NOT_RUN,
    Replayed,
    describe_history,
    find_changes,
)
from conformance.model.plain_text import bounded, visible
from conformance.model.usage_error import UsageError

_FILE_HELP = "results file, or file of known failures"
_ID_HELP = "id of a verdict, a prefix of it, or a glob; of known failures the number of an entry"


def add_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add both commands to the parser of `nn-conformance`."""
    again = commands.add_parser(
        "replay", help="run the minimal case of a verdict again, without Hypothesis"
    )
    again.add_argument("file", type=Path, metavar="FILE", help=_FILE_HELP)
    again.add_argument(
        "id", metavar="ID", nargs="?", default="",
        help=f"{_ID_HELP} (default: all entries)",
    )  # fmt: skip
    again.add_argument(
        "--backend",
        help="backend to run the case on (default: the backend of the results; required if that "
        "is not an installed entry point)",
    )
    again.add_argument("--json", action="store_true", help="print a line of JSON for each outcome")
    again.set_defaults(run=_replay)

    since = commands.add_parser(
        "bisect", help="find the released version with which a failure begins or ends"
    )
    since.add_argument("file", type=Path, metavar="FILE", help=_FILE_HELP)
    since.add_argument("id", metavar="ID", help=_ID_HELP)
    since.add_argument("--backend", help="backend to run the case on, as in replay")
    since.add_argument(
        "--package", help="the package whose versions are tried (default: the backend's)"
    )
    since.add_argument(
        "--versions", metavar="A,B,…",
        help="versions to try (default: the last patch of each supported minor release)",
    )  # fmt: skip
    since.add_argument("--all", action="store_true", help="run every version, instead of halving")
    since.add_argument(
        "--with", dest="requirements", action="append", default=[], metavar="REQUIREMENT",
        help="install this, too: a plug-in of your own, or numpy<2; may be repeated",
    )  # fmt: skip
    since.add_argument(
        "--cache", type=Path, default=None, metavar="DIR",
        help="folder of the environments (default: nn-conformance/versions in the cache folder)",
    )  # fmt: skip
    since.add_argument("--offline", action="store_true", help="use the environments that are there")
    since.set_defaults(run=_bisect)


def _is_known_failures(path: Path) -> bool:
    return path.suffix == ".toml"


def _replay(options: argparse.Namespace) -> int:
    from conformance.commands.replay import replay, replay_entries
    from conformance.reports.results import read

    if _is_known_failures(options.file):
        replayed = replay_entries(options.file, options.id, options.backend)
    elif not options.id:
        raise UsageError("expected the id of a verdict")
    else:
        replayed = iter([replay(read(options.file), options.id, options.backend)])
    passed = True
    for one in replayed:
        passed &= one.passed
        if options.json:
            line = json.dumps({"id": one.id, "outcome": one.outcome, "text": one.text})
        else:
            line = f"{one.id}: {one.text}" if _is_known_failures(options.file) else one.text
        print(visible(line), flush=True)
    return 0 if passed else 1


def _bisect(options: argparse.Namespace) -> int:
    backend, package = _backend_and_package(options)
    environments = Environments(
        package, backend, options.cache or default_folder(), options.offline,
        requirements=tuple(options.requirements),
    )  # fmt: skip
    versions = options.versions.split(",") if options.versions else environments.versions()
    if not versions:
        raise UsageError(f"no version of {package} to try: {environments.folder} has none")
    outcomes = dict[str, str]()

    def run(version: str) -> str:
        if version not in outcomes:
            replayed = _replay_with(environments, version, options, backend)
            outcomes[version] = replayed.outcome
            lines = replayed.text.strip().splitlines() or [""]
            says = bounded(lines[min(1, len(lines) - 1)], 300)  # the first line is the call
            print(visible(f"{package} {version}: {replayed.outcome}: {says}"), flush=True)
        return outcomes[version]

    history = (
        {version: run(version) for version in versions}
        if options.all
        else find_changes(versions, run)
    )
    print(describe_history(package, history))
    print(f"environments: {environments.folder}, {environments.size() / 1e9:.1f} GB")
    return 0


def _backend_and_package(options: argparse.Namespace) -> tuple[str, str]:
    """The backend, and the distribution of the framework that it runs on."""
    from conformance.backends.capabilities import info_of
    from conformance.backends.registry import load
    from conformance.commands.replay import installed_backend
    from conformance.reports.results import read

    if _is_known_failures(options.file):
        backend = options.backend or options.file.stem
        info: Mapping[str, str] = info_of(load(backend))
    else:
        run = read(options.file)
        backend, info = options.backend or installed_backend(run), run.identity.info
    return backend, options.package or package_of(backend, info)


def _replay_with(
    environments: Environments, version: str, options: argparse.Namespace, backend: str
) -> Replayed:
    """Replay in the environment of a version."""
    try:
        python = environments.python_of(version)
    except NotInstalledError as error:
        return Replayed(version, NOT_INSTALLED, str(error))
    command = [
        Path(python).with_name("nn-conformance"), "replay", "--json", f"--backend={backend}",
        options.file.resolve(), options.id,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [x for x in done.stdout.splitlines() if x.startswith("{")]
    if not lines:
        return Replayed(version, NOT_RUN, done.stderr or f"exit status {done.returncode}")
    return Replayed(**json.loads(lines[-1]))
