"""`nn-conformance`: the parser of the command line, and the short commands on results."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from conformance.commands import bisect as bisect_cli
from conformance.commands import check_kernel as kernel_cli
from conformance.commands import check_module as module_cli
from conformance.commands import exhaustive as exhaustive_cli
from conformance.commands import layers as layers_cli
from conformance.commands import packs as packs_cli
from conformance.model.files import FileError, find_overwrite, write_atomically
from conformance.model.plain_text import bounded, visible
from conformance.model.usage_error import UsageError

if TYPE_CHECKING:
    from conformance.model.case import Verdict
    from conformance.reports.results import Run


MAX_LISTED_FAULTS = 200
"""Faults of a file to list, at most."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: without the program's name; None = those of the process.

    Returns:
        The exit status: 0, 1 if a verdict or a file is bad, 2 for a usage error.
    """
    options = _make_parser().parse_args(arguments)
    try:
        _check_paths_differ(options)
        code = int(options.run(options))
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The reader of the pipe is gone: Python's flush at exit must not fail once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (UsageError, OSError) as error:
        return _report_error(options, str(error))
    except (ValueError, LookupError, TypeError, ArithmeticError, RecursionError) as error:
        # The schema check has accepted each line, so only a developer could use a traceback.
        message = f"{type(error).__name__}: {error}"
        return _report_error(
            options, f"{message}; if the files are valid, this is a bug of nn-conformance"
        )


def _report_error(options: argparse.Namespace, problem: str) -> int:
    """Print why a command cannot run, and return the exit status of a usage error."""
    _print_text(f"nn-conformance {options.command}: {bounded(problem)}", sys.stderr)
    return 2


def _print_text(text: str, file: TextIO | None = None) -> None:
    """Print text that may hold parts of an untrusted file: escape control characters."""
    out = file or sys.stdout
    printable = visible(text)
    print(printable.encode(out.encoding or "utf-8", "backslashreplace").decode(
        out.encoding or "utf-8", "replace"), file=out)  # fmt: skip


def _check_paths_differ(options: argparse.Namespace) -> None:
    """Refuse to write over a file that the command reads.

    Raises:
        FileError: with the path.
    """
    values = vars(options)
    outputs = [values[name] for name in ("output", "write", "table") if values.get(name)]
    input_names = ("results", "before", "after", "files", "lines")
    inputs = [path for name in input_names if values.get(name) for path in _as_list(values[name])]
    conflict = find_overwrite(outputs, inputs)
    if conflict is not None:
        raise FileError(f"{conflict[0]} is read and written: expected another file to write")


def _as_list(paths: Path | list[Path]) -> list[Path]:
    return paths if isinstance(paths, list) else [paths]


def _make_parser() -> argparse.ArgumentParser:
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
        "scoreboard",
        help="make one HTML table of layers × backends from results files, or a site "
        "with a page a backend that remembers earlier runs",
    )  # fmt: skip
    board.add_argument(
        "results", nargs="+", type=Path, metavar="RESULTS", help="results files of the backends"
    )
    board.add_argument(
        "-o", "--output", required=True, type=Path, metavar="HTML or FOLDER",
        help="file to write; a name without .html is a folder of static files, to which runs are "
        "added",
    )  # fmt: skip
    board.set_defaults(run=_scoreboard)

    bug_report = commands.add_parser(
        "bug-report", help="print an issue about a verdict, in Markdown"
    )
    bug_report.add_argument("results", type=Path, metavar="RESULTS", help=one_run)
    bug_report.add_argument("id", metavar="ID", help=id_help)
    bug_report.add_argument(
        "--known", type=int, default=1, metavar="N",
        help="report the Nth of several known failures that explain the verdict (default: 1)",
    )  # fmt: skip
    bug_report.add_argument(
        "--cause", type=int, default=1, metavar="N",
        help="report the Nth of several causes of the failure (default: 1)",
    )  # fmt: skip
    bug_report.add_argument(
        "--backend", help="backend that runs the pinned case of a known failure (default: the "
        "backend of the results, if it is installed)",
    )  # fmt: skip
    bug_report.set_defaults(run=_bug_report)

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

    bisect_cli.add_parsers(commands)
    culprit = commands.add_parser(
        "culprit", help="find the first operator of torch that exceeds its own bound in the "
        "minimal case of a verdict",
    )  # fmt: skip
    culprit.add_argument("results", type=Path, metavar="RESULTS", help=one_run)
    culprit.add_argument("id", metavar="ID", help=id_help)
    culprit.add_argument("--backend", help="backend to run the case on, as in replay")
    culprit.set_defaults(run=_culprit)

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
    packs_cli.add_parsers(commands)
    exhaustive_cli.add_parser(commands)
    kernel_cli.add_parser(commands)
    module_cli.add_parser(commands)
    layers_cli.add_parser(commands)
    return parser


def _schema(options: argparse.Namespace) -> int:
    from conformance.reports.schemas import text

    _print_text(text(options.name).removesuffix("\n"))
    return 0


def _render(options: argparse.Namespace) -> int:
    from conformance.reports import html
    from conformance.reports.merge import merge
    from conformance.reports.results import read

    run = merge([read(path) for path in options.results])
    _write(options.output, html.render(run, results=str(options.results[0])))
    _print_text(str(options.output))
    return 0


def _scoreboard(options: argparse.Namespace) -> int:
    from conformance.reports.results import ResultsError, read
    from conformance.reports.scoreboard import board
    from conformance.reports.scoreboard_html import render
    from conformance.reports.scoreboard_site import update_scoreboard

    runs, names = [read(path) for path in options.results], [str(p) for p in options.results]
    if options.output.suffix == ".html":
        _write(options.output, render(board(runs, names)))
        _print_text(str(options.output))
        return 0
    try:
        layers = board(runs, names)
    except ResultsError as error:
        layers = None
        _print_text(f"no table of layers: {bounded(str(error))}", sys.stderr)
    _print_text(str(update_scoreboard(options.output, runs, layers)))
    return 0


def _bug_report(options: argparse.Namespace) -> int:
    from conformance.commands.explanation import explain
    from conformance.reports import bug_report
    from conformance.reports.results import read

    run, causes = bug_report.run_of_cause(read(options.results), options.id, options.cause)
    subject = explain(run, options.id, options.known, options.backend)
    text = bug_report.render(run, subject, str(options.results), options.cause)
    _print_text(text.removesuffix("\n"))
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
    conflicts = disagreements(runs)
    for line in conflicts[:MAX_LISTED_FAULTS]:
        _print_text(bounded(line, 500), sys.stderr)
    if len(conflicts) > MAX_LISTED_FAULTS:
        print(f"… and {len(conflicts) - MAX_LISTED_FAULTS:,} more", file=sys.stderr)
    missing = missing_shards(run)
    if missing:
        _print_text(f"incomplete: shards missing: {', '.join(missing)}", sys.stderr)
        return 1
    outcome = summary.outcome(run)
    if outcome.headline:
        _print_text(outcome.headline)
    if outcome.claim:
        _print_text(outcome.claim)
    _print_text(outcome.sentence)
    return 0 if summary.is_ok(run) and not outcome.missing and run.footer is not None else 1


def _compare(options: argparse.Namespace) -> int:
    from conformance.reports.compare import compare, render
    from conformance.reports.results import read

    comparison = compare(read(options.before), read(options.after), force=options.force)
    _write(options.output, render(comparison, (str(options.before), str(options.after))))
    _print_text(comparison.sentence)
    gap_status = max(_report_gap(options, run) for run in (comparison.before, comparison.after))
    return 1 if comparison.of("broken") else gap_status


def _report_gap(options: argparse.Namespace, run: Run) -> int:
    """Report a run that is incomplete or empty.

    Returns:
        1 if there is something to report, else 0.
    """
    from conformance.reports import summary

    outcome = summary.outcome(run)
    empty = not run.verdicts and not run.benchmarks
    gap = outcome.gap or ("The run holds no verdict." if empty else "")
    if gap:
        backend = bounded(run.identity.backend, 80)
        _print_text(f"nn-conformance {options.command}: {backend}: incomplete: {gap}", sys.stderr)
    return 1 if gap else 0


def _badge(options: argparse.Namespace) -> int:
    from conformance.reports.badge import badge
    from conformance.reports.merge import merge
    from conformance.reports.results import read

    run = merge([read(path) for path in options.results])
    _write(options.output, badge(run))
    return _report_gap(options, run)


def _summary(options: argparse.Namespace) -> int:
    from conformance.reports.markdown import markdown
    from conformance.reports.merge import merge
    from conformance.reports.results import read

    run = merge([read(path) for path in options.results])
    results = shlex.join(map(str, options.results))
    text = markdown(run, all_causes=options.all, results=results)
    if options.output is None:
        sys.stdout.buffer.write(text.encode())
    else:
        _write(options.output, text)
    return _report_gap(options, run)


def _write(path: Path, text: str) -> None:
    write_atomically(path, text)


def _verify(options: argparse.Namespace) -> int:
    return max([_verify_file(path) for path in options.results])


def _verify_file(path: Path) -> int:
    from conformance.reports import summary, validation
    from conformance.reports.merge import missing_shards
    from conformance.reports.results import SCHEMA, read

    run = read(path)
    faults = list(run.notes)
    if run.identity.schema > SCHEMA:
        faults.append(f"schema {run.identity.schema} is newer than {SCHEMA}, which is read here")
    faults += validation.contradictions(run)
    faults += filter(None, map(_case_fault, run.verdicts))
    ids = [verdict.id for verdict in run.verdicts]
    repeats = sorted(Counter(ids).items())
    faults += [f"{id}: more than one verdict" for id, number in repeats if number > 1]
    faults += [f"{id}: no verdict" for id in summary.items_without_verdict(run)]
    faults += [f"shard {shard} is missing" for shard in missing_shards(run)]
    if run.footer is None:
        faults.append("no last line: the session was cut short")
    elif run.footer.verdicts != len(ids):
        faults.append(f"the last line counts {run.footer.verdicts} verdicts, here are {len(ids)}")
    elif {k: v for k, v in run.footer.counts.items() if v} != {
        k: v for k, v in summary.count_statuses(run).items() if v
    }:
        faults.append("the last line's counts are not those of the verdicts")
    for fault in faults[:MAX_LISTED_FAULTS]:
        _print_text(bounded(fault, 500))
    if len(faults) > MAX_LISTED_FAULTS:
        print(f"… and {len(faults) - MAX_LISTED_FAULTS:,} more")
    _print_text(f"{path}: {'not valid' if faults else 'valid'}, {len(ids)} verdicts")
    return 1 if faults else 0


def _case_fault(verdict: Verdict) -> str:
    """Why a minimal case of a verdict cannot be decoded; empty if all cases are valid."""
    from conformance.layers.encoding import CaseError, decode_verdict_case
    from conformance.reports.clusters import split_by_cause

    try:
        for cause in split_by_cause(verdict):
            decode_verdict_case(cause)
    except CaseError as error:
        return str(error)
    return ""


def _culprit(options: argparse.Namespace) -> int:
    from conformance.commands.culprit import find_culprit
    from conformance.reports.results import read

    result = find_culprit(read(options.results), options.id, options.backend)
    _print_text(result.call)
    for number, operator in enumerate(result.operators, 1):
        why = f" ({operator.says})" if operator.says and operator is not result.culprit else ""
        _print_text(f"{number:4}. {operator.text}: {operator.outcome}{why}")
    if result.culprit is not None:
        _print_text(f"culprit: {result.culprit.name}")
        _print_text("\n".join(f"  {line}" for line in result.culprit.says.splitlines()))
        return 0
    why = (
        "the case passes now"
        if not result.failure
        else ("no operator that the catalogue knows is outside its bound")
    )
    _print_text(f"no culprit: {why}")
    return 1


def _backends(options: argparse.Namespace) -> int:
    from conformance.backends.registry import available

    for name, point in sorted(available().items()):
        print(f"{name}\t{point.value}")
    return 0


def _known(options: argparse.Namespace) -> int:
    from conformance.known.migrate import check_file

    if options.write is not None:
        return _write_known(options)
    if options.seen:
        return _add_place(options)
    for path in options.files:
        _print_text(f"{path}: {check_file(path, rewrite=options.rewrite)} entries")
    return 0


def _add_place(options: argparse.Namespace) -> int:
    from conformance.commands.known_seen import add_place

    for path in options.files:
        report = add_place(path, options.backend or path.stem)
        for reason, instead in report.passing:
            _print_text(f"does not show here: {bounded(reason, 500)} (its pinned case {instead})")
        _print_text(
            f"{path}: {len(report.failing)} entries show on {report.place}, "
            f"{len(report.passing)} do not; {report.untried} cannot be tried"
        )
    return 0


def _write_known(options: argparse.Namespace) -> int:
    from conformance.commands.known_writer import write
    from conformance.reports.merge import merge
    from conformance.reports.results import read

    run = merge([read(path) for path in options.files])
    draft = write(run, options.write, update=options.update)
    for reason in draft.stale:
        _print_text(f"stale, left out: {bounded(reason, 500)}")
    for broad in draft.broad:
        _print_text(f"warning: {bounded(broad, 500)}: narrow it by `when` or `said`")
    _print_text(f"{options.write}: {draft.new} new entries, each of which needs a reason")
    return 0
