"""`nn-conformance`: the parser of the command line, and the short commands on results."""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from conformance.commands import check_kernel as kernel_cli
from conformance.commands import exhaustive as exhaustive_cli
from conformance.commands import layers as layers_cli
from conformance.commands import packs as packs_cli
from conformance.model.files import FileError, clash, write_whole
from conformance.model.plain_text import bounded, visible
from conformance.model.usage_error import UsageError

if TYPE_CHECKING:
    from conformance.model.case import Verdict
    from conformance.reports.results import Run


FAULTS = 200
"""Faults of a file to list, at most."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: without the program's name; None = those of the process.

    Returns:
        The exit status: 0, 1 if a verdict or a file is bad, 2 for a usage error.
    """
    options = _parser().parse_args(arguments)
    try:
        _keep_apart(options)
        code = int(options.run(options))
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The reader of the pipe is gone: Python's flush at exit must not fail once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (UsageError, OSError) as error:
        return _refused(options, str(error))
    except (ValueError, LookupError, TypeError, ArithmeticError, RecursionError) as error:
        # The schema check has accepted each line, so only a developer could use a traceback.
        told = f"{type(error).__name__}: {error}"
        return _refused(options, f"{told}; if the files are valid, this is a bug of nn-conformance")


def _refused(options: argparse.Namespace, problem: str) -> int:
    """Print why a command cannot run, and return the exit status of a usage error."""
    _say(f"nn-conformance {options.command}: {bounded(problem)}", sys.stderr)
    return 2


def _say(text: str, file: TextIO | None = None) -> None:
    """Print text that may hold parts of an untrusted file: escape control characters."""
    out = file or sys.stdout
    shown = visible(text)
    print(shown.encode(out.encoding or "utf-8", "backslashreplace").decode(
        out.encoding or "utf-8", "replace"), file=out)  # fmt: skip


def _keep_apart(options: argparse.Namespace) -> None:
    """Refuse to write over a file that the command reads.

    Raises:
        FileError: with the path.
    """
    given = vars(options)
    outputs = [given[name] for name in ("output", "write", "table") if given.get(name)]
    places = ("results", "before", "after", "files", "lines")
    inputs = [path for name in places if given.get(name) for path in _listed(given[name])]
    found = clash(outputs, inputs)
    if found is not None:
        raise FileError(f"{found[0]} is read and written: expected another file to write")


def _listed(paths: Path | list[Path]) -> list[Path]:
    return paths if isinstance(paths, list) else [paths]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nn-conformance",
        description="Work with conformance results of torch.nn implementations. "
        "The suite itself runs under pytest: pytest -n auto --pyargs conformance.suite",
    )
    results, one_run = "results files; several are merged", "results file"
    id_help = "id of a verdict, a prefix of it, or a glob"
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    render = commands.add_parser("render", help="make one HTML report of results files")
    render.add_argument("results", nargs="+", type=Path, metavar="RESULTS", help=results)
    render.add_argument(
        "-o", "--output", required=True, type=Path, metavar="HTML", help="file to write"
    )
    render.set_defaults(run=_render)

    board = commands.add_parser(
        "scoreboard", help="make one HTML table of layers × backends from results files"
    )
    board.add_argument(
        "results", nargs="+", type=Path, metavar="RESULTS", help="results files of the backends"
    )
    board.add_argument(
        "-o", "--output", required=True, type=Path, metavar="HTML", help="file to write"
    )
    board.set_defaults(run=_scoreboard)

    bug = commands.add_parser("bug-report", help="print an issue about a verdict, in Markdown")
    bug.add_argument("results", type=Path, metavar="RESULTS", help=one_run)
    bug.add_argument("id", metavar="ID", help=id_help)
    bug.add_argument(
        "--known", type=int, default=1, metavar="N",
        help="report the Nth of several known failures that explain the verdict (default: 1)",
    )  # fmt: skip
    bug.add_argument(
        "--cause", type=int, default=1, metavar="N",
        help="report the Nth of several causes of the failure (default: 1)",
    )  # fmt: skip
    bug.add_argument(
        "--backend", help="backend that runs the pinned case of a known failure (default: the "
        "backend of the results, if it is installed)",
    )  # fmt: skip
    bug.set_defaults(run=_bug_report)

    merge = commands.add_parser("merge", help="merge the results files of shards into one")
    merge.add_argument(
        "results", nargs="+", type=Path, metavar="RESULTS", help="results files of the shards"
    )
    merge.add_argument(
        "-o", "--output", required=True, type=Path, metavar="RESULTS", help="file to write"
    )
    merge.set_defaults(run=_merge)

    compare = commands.add_parser(
        "compare", help="compare two runs, or two backends, in one HTML page"
    )
    compare.add_argument("before", type=Path, metavar="A", help="results file of the first run")
    compare.add_argument("after", type=Path, metavar="B", help="results file of the second run")
    compare.add_argument(
        "-o", "--output", required=True, type=Path, metavar="HTML", help="file to write"
    )
    compare.add_argument(
        "--force", action="store_true",
        help="compare even if suite versions, seeds or profiles differ",
    )  # fmt: skip
    compare.set_defaults(run=_compare)

    badge = commands.add_parser("badge", help="draw the outcome of a run as a small SVG picture")
    badge.add_argument("results", nargs="+", type=Path, metavar="RESULTS", help=results)
    badge.add_argument(
        "-o", "--output", required=True, type=Path, metavar="SVG", help="file to write"
    )
    badge.set_defaults(run=_badge)

    summary = commands.add_parser(
        "summary", help="summarize a run in Markdown, for the page of a CI job"
    )
    summary.add_argument("results", nargs="+", type=Path, metavar="RESULTS", help=results)
    summary.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="file to write (default: stdout)"
    )
    summary.add_argument("--all", action="store_true", help="list every cause of failure")
    summary.set_defaults(run=_summary)

    verify = commands.add_parser(
        "verify", help="check that results files are valid, complete and consistent"
    )
    verify.add_argument(
        "results", nargs="+", type=Path, metavar="RESULTS", help="results files to check"
    )
    verify.set_defaults(run=_verify)

    replay = commands.add_parser(
        "replay", help="run the minimal case of a verdict again, without Hypothesis"
    )
    replay.add_argument("results", type=Path, metavar="RESULTS", help=one_run)
    replay.add_argument("id", metavar="ID", help=id_help)
    replay.add_argument(
        "--backend",
        help="backend to run the case on (default: the backend of the results; required if that "
        "is not an installed entry point)",
    )
    replay.set_defaults(run=_replay)

    blame = commands.add_parser(
        "culprit", help="find the first operator of torch that exceeds its own bound in the "
        "minimal case of a verdict",
    )  # fmt: skip
    blame.add_argument("results", type=Path, metavar="RESULTS", help=one_run)
    blame.add_argument("id", metavar="ID", help=id_help)
    blame.add_argument("--backend", help="backend to run the case on, as in replay")
    blame.set_defaults(run=_culprit)

    backends = commands.add_parser("backends", help="list the installed backends")
    backends.set_defaults(run=_backends)
    known = commands.add_parser(
        "known", help="check files of known failures, or write one from results"
    )
    known.add_argument(
        "files", nargs="+", type=Path, metavar="TOML or RESULTS",
        help="files of known failures; with --write, results files",
    )  # fmt: skip
    known.add_argument(
        "--rewrite", action="store_true",
        help="rewrite the pinned cases of the files in the present format",
    )  # fmt: skip
    known.add_argument(
        "--write", type=Path, metavar="TOML",
        help="write an entry for each cause of failure in the results; you fill in the reasons",
    )  # fmt: skip
    known.add_argument(
        "--update", action="store_true",
        help="with --write: keep the entries of an existing file that still hold",
    )  # fmt: skip
    known.add_argument(
        "--seen", action="store_true",
        help="run the pinned cases of the files, and add this machine to the entries that fail",
    )  # fmt: skip
    known.add_argument(
        "--backend",
        help="with --seen: backend to run the cases on (default: the name of the file)",
    )  # fmt: skip
    known.set_defaults(run=_known)
    schema = commands.add_parser("schema", help="print the JSON Schema of a kind of file")
    schema.add_argument(
        "name", choices=("results", "known-failures", "wire"), metavar="NAME",
        help="results, known-failures or wire",
    )  # fmt: skip
    schema.set_defaults(run=_schema)
    packs_cli.add(commands)
    exhaustive_cli.add(commands)
    kernel_cli.add(commands)
    layers_cli.add(commands)
    return parser


def _schema(options: argparse.Namespace) -> int:
    from conformance.reports.schemas import text

    _say(text(options.name).removesuffix("\n"))
    return 0


def _render(options: argparse.Namespace) -> int:
    from conformance.reports import html
    from conformance.reports.merge import merge
    from conformance.reports.results import read

    run = merge([read(path) for path in options.results])
    _write(options.output, html.render(run, results=str(options.results[0])))
    _say(str(options.output))
    return 0


def _scoreboard(options: argparse.Namespace) -> int:
    from conformance.reports.results import read
    from conformance.reports.scoreboard import board
    from conformance.reports.scoreboard_html import render

    found = board([read(path) for path in options.results], [str(p) for p in options.results])
    _write(options.output, render(found))
    _say(str(options.output))
    return 0


def _bug_report(options: argparse.Namespace) -> int:
    from conformance.commands.explanation import explain
    from conformance.reports import bug_report
    from conformance.reports.results import read

    run, causes = bug_report.of_cause(read(options.results), options.id, options.cause)
    subject = explain(run, options.id, options.known, options.backend)
    text = bug_report.render(run, subject, str(options.results), options.cause)
    _say(text.removesuffix("\n"))
    if subject.others:
        print(
            f"nn-conformance bug-report: this is known failure {options.known} of "
            f"{subject.others + 1} that explain the verdict; --known N shows another",
            file=sys.stderr,
        )
    if causes > 1:
        print(
            f"nn-conformance bug-report: this is cause {options.cause} of {causes} for which the "
            "verdict fails; --cause N shows another",
            file=sys.stderr,
        )
    return 0


def _merge(options: argparse.Namespace) -> int:
    from conformance.reports import summary
    from conformance.reports.merge import disagreements, merge, missing_shards
    from conformance.reports.results import read, write

    runs = [read(path) for path in options.results]
    run = merge(runs)
    write(options.output, run)
    told = disagreements(runs)
    for line in told[:FAULTS]:
        _say(bounded(line, 500), sys.stderr)
    if len(told) > FAULTS:
        print(f"… and {len(told) - FAULTS:,} more", file=sys.stderr)
    lost = missing_shards(run)
    if lost:
        _say(f"incomplete: shards missing: {', '.join(lost)}", sys.stderr)
        return 1
    outcome = summary.outcome(run)
    if outcome.headline:
        _say(outcome.headline)
    if outcome.claim:
        _say(outcome.claim)
    _say(outcome.sentence)
    return 0 if summary.ok(run) and not outcome.missing and run.footer is not None else 1


def _compare(options: argparse.Namespace) -> int:
    from conformance.reports.compare import compare, render
    from conformance.reports.results import read

    found = compare(read(options.before), read(options.after), force=options.force)
    _write(options.output, render(found, (str(options.before), str(options.after))))
    _say(found.sentence)
    lacking = max(_lacking(options, run) for run in (found.before, found.after))
    return 1 if found.of("broken") else lacking


def _lacking(options: argparse.Namespace, run: Run) -> int:
    """Report a run that is incomplete or empty.

    Returns:
        1 if there is something to report, else 0.
    """
    from conformance.reports import summary

    outcome = summary.outcome(run)
    empty = not run.verdicts and not run.benchmarks
    gap = outcome.gap or ("The run holds no verdict." if empty else "")
    if gap:
        who = bounded(run.identity.backend, 80)
        _say(f"nn-conformance {options.command}: {who}: incomplete: {gap}", sys.stderr)
    return 1 if gap else 0


def _badge(options: argparse.Namespace) -> int:
    from conformance.reports.badge import badge
    from conformance.reports.merge import merge
    from conformance.reports.results import read

    run = merge([read(path) for path in options.results])
    _write(options.output, badge(run))
    return _lacking(options, run)


def _summary(options: argparse.Namespace) -> int:
    from conformance.reports.markdown import markdown
    from conformance.reports.merge import merge
    from conformance.reports.results import read

    run = merge([read(path) for path in options.results])
    text = markdown(run, every=options.all)
    if options.output is None:
        sys.stdout.buffer.write(text.encode())
    else:
        _write(options.output, text)
    return _lacking(options, run)


def _write(path: Path, text: str) -> None:
    write_whole(path, text)


def _verify(options: argparse.Namespace) -> int:
    return max([_verified(path) for path in options.results])


def _verified(path: Path) -> int:
    from conformance.reports import summary, validation
    from conformance.reports.merge import missing_shards
    from conformance.reports.results import SCHEMA, read

    run = read(path)
    faults = list(run.notes)
    if run.identity.schema > SCHEMA:
        faults.append(f"schema {run.identity.schema} is newer than {SCHEMA}, which is read here")
    faults += validation.faults(run)
    faults += filter(None, map(_case_fault, run.verdicts))
    ids = [verdict.id for verdict in run.verdicts]
    times = sorted(Counter(ids).items())
    faults += [f"{id}: more than one verdict" for id, number in times if number > 1]
    faults += [f"{id}: no verdict" for id in summary.missing(run)]
    faults += [f"shard {shard} is missing" for shard in missing_shards(run)]
    if run.footer is None:
        faults.append("no last line: the session was cut short")
    elif run.footer.verdicts != len(ids):
        faults.append(f"the last line counts {run.footer.verdicts} verdicts, here are {len(ids)}")
    elif {k: v for k, v in run.footer.counts.items() if v} != {
        k: v for k, v in summary.counts(run).items() if v
    }:
        faults.append("the last line's counts are not those of the verdicts")
    for fault in faults[:FAULTS]:
        _say(bounded(fault, 500))
    if len(faults) > FAULTS:
        print(f"… and {len(faults) - FAULTS:,} more")
    _say(f"{path}: {'not valid' if faults else 'valid'}, {len(ids)} verdicts")
    return 1 if faults else 0


def _case_fault(verdict: Verdict) -> str:
    """Why a minimal case of a verdict cannot be decoded; empty if all cases are valid."""
    from conformance.layers.encoding import CaseError, case_of
    from conformance.reports.clusters import by_cause

    try:
        for cause in by_cause(verdict):
            case_of(cause)
    except CaseError as error:
        return str(error)
    return ""


def _culprit(options: argparse.Namespace) -> int:
    from conformance.commands.culprit import culprit
    from conformance.reports.results import read

    judged = culprit(read(options.results), options.id, options.backend)
    _say(judged.call)
    for number, one in enumerate(judged.ran, 1):
        why = f" ({one.says})" if one.says and one is not judged.culprit else ""
        _say(f"{number:4}. {one.text}: {one.outcome}{why}")
    if judged.culprit is not None:
        _say(f"culprit: {judged.culprit.name}")
        _say("\n".join(f"  {line}" for line in judged.culprit.says.splitlines()))
        return 0
    why = (
        "the case passes now"
        if not judged.failure
        else ("no operator that the catalogue knows is outside its bound")
    )
    _say(f"no culprit: {why}")
    return 1


def _replay(options: argparse.Namespace) -> int:
    from conformance.commands.replay import replay
    from conformance.reports.results import read

    passed, text = replay(read(options.results), options.id, options.backend)
    _say(text)
    return 0 if passed else 1


def _backends(options: argparse.Namespace) -> int:
    from conformance.backends.registry import available

    for name, point in sorted(available().items()):
        print(f"{name}\t{point.value}")
    return 0


def _known(options: argparse.Namespace) -> int:
    from conformance.known.migrate import checked

    if options.write is not None:
        return _write_known(options)
    if options.seen:
        return _add_place(options)
    for path in options.files:
        _say(f"{path}: {checked(path, rewrite=options.rewrite)} entries")
    return 0


def _add_place(options: argparse.Namespace) -> int:
    from conformance.commands.known_seen import add_place

    for path in options.files:
        report = add_place(path, options.backend or path.stem)
        for reason, instead in report.passing:
            _say(f"does not show here: {bounded(reason, 500)} (its pinned case {instead})")
        _say(
            f"{path}: {len(report.failing)} entries show on {report.place}, "
            f"{len(report.passing)} do not; {report.untried} cannot be tried"
        )
    return 0


def _write_known(options: argparse.Namespace) -> int:
    from conformance.commands.known_writer import write
    from conformance.reports.merge import merge
    from conformance.reports.results import read

    run = merge([read(path) for path in options.files])
    written = write(run, options.write, update=options.update)
    for reason in written.stale:
        _say(f"stale, left out: {bounded(reason, 500)}")
    _say(f"{options.write}: {written.new} new entries, each of which needs a reason")
    return 0
