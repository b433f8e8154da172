"""`nn-conformance`: what can be done with results; the list of backends and layers."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from conformance.reports import exhaustive_cli


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: without the program's name; None = the process's own.

    Returns:
        0, 1 where a verdict or a file is bad, 2 for a usage error.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    from conformance.reports.results import ResultsError

    from conformance.backends.door import BackendError

    try:
        return int(options.run(options))
    except (ResultsError, BackendError, exhaustive_cli.UsageError, OSError) as error:
        print(f"nn-conformance {options.command}: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nn-conformance",
        description="Conformance results of torch.nn implementations. "
        "The suite itself runs under pytest: pytest -n auto --pyargs conformance.suite",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    render = commands.add_parser("render", help="results files to one HTML report")
    render.add_argument("results", nargs="+", type=Path, metavar="RESULTS")
    render.add_argument("-o", "--output", required=True, type=Path, metavar="HTML")
    render.set_defaults(run=_render)

    board = commands.add_parser("scoreboard", help="results of several backends to one HTML matrix")
    board.add_argument("results", nargs="+", type=Path, metavar="RESULTS")
    board.add_argument("-o", "--output", required=True, type=Path, metavar="HTML")
    board.set_defaults(run=_scoreboard)

    bug = commands.add_parser("bug-report", help="the text of an issue about a verdict, Markdown")
    bug.add_argument("results", type=Path, metavar="RESULTS")
    bug.add_argument("id", metavar="ID", help="of a verdict, a prefix of it, or a glob")
    bug.add_argument(
        "--known", type=int, default=1, metavar="N",
        help="of several known failures that explain the verdict the Nth",
    )  # fmt: skip
    bug.add_argument(
        "--cause", type=int, default=1, metavar="N",
        help="of a verdict that fails for several causes the Nth",
    )  # fmt: skip
    bug.set_defaults(run=_bug_report)

    merge = commands.add_parser("merge", help="results files of shards to one")
    merge.add_argument("results", nargs="+", type=Path, metavar="RESULTS")
    merge.add_argument("-o", "--output", required=True, type=Path, metavar="RESULTS")
    merge.set_defaults(run=_merge)

    compare = commands.add_parser("compare", help="two runs, or two backends, to one HTML page")
    compare.add_argument("before", type=Path, metavar="A")
    compare.add_argument("after", type=Path, metavar="B")
    compare.add_argument("-o", "--output", required=True, type=Path, metavar="HTML")
    compare.add_argument(
        "--force", action="store_true", help="though suite versions, seeds or profiles differ"
    )
    compare.set_defaults(run=_compare)

    badge = commands.add_parser("badge", help="a run's outcome as a small SVG picture")
    badge.add_argument("results", nargs="+", type=Path, metavar="RESULTS")
    badge.add_argument("-o", "--output", required=True, type=Path, metavar="SVG")
    badge.set_defaults(run=_badge)

    summary = commands.add_parser("summary", help="a run as Markdown, for a CI job's page")
    summary.add_argument("results", nargs="+", type=Path, metavar="RESULTS")
    summary.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: stdout")
    summary.add_argument("--all", action="store_true", help="list every cause of failure")
    summary.set_defaults(run=_summary)

    verify = commands.add_parser("verify", help="check schema, completeness and counts")
    verify.add_argument("results", nargs="+", type=Path, metavar="RESULTS")
    verify.set_defaults(run=_verify)

    replay = commands.add_parser("replay", help="run a verdict's minimal case, without Hypothesis")
    replay.add_argument("results", type=Path, metavar="RESULTS")
    replay.add_argument("id", metavar="ID", help="likewise")
    replay.add_argument("--backend", help="another backend than the one of the results")
    replay.set_defaults(run=_replay)

    backends = commands.add_parser("backends", help="the installed backends")
    backends.set_defaults(run=_backends)
    known = commands.add_parser(
        "known", help="check files of known failures, or write one from results"
    )
    known.add_argument("files", nargs="+", type=Path, metavar="TOML or RESULTS")
    known.add_argument(
        "--rewrite", action="store_true", help="write their pinned cases in the present form"
    )
    known.add_argument(
        "--write", type=Path, metavar="TOML",
        help="a file with an entry for each cause of failure in the results; reasons are yours",
    )  # fmt: skip
    known.add_argument(
        "--update", action="store_true", help="keep entries of --write's file that still hold"
    )
    known.set_defaults(run=_known)
    exhaustive_cli.add(commands)
    layers = commands.add_parser("layers", help="the layers of the suite")
    layers.set_defaults(run=_layers)
    return parser


def _render(options: argparse.Namespace) -> int:
    from conformance.reports import html
    from conformance.reports.merge import merge
    from conformance.reports.results import read

    run = merge([read(path) for path in options.results])
    _write(options.output, html.render(run, results=str(options.results[0])))
    print(options.output)
    return 0


def _scoreboard(options: argparse.Namespace) -> int:
    from conformance.reports.results import read
    from conformance.reports.scoreboard import board
    from conformance.reports.scoreboard_html import render

    found = board([read(path) for path in options.results], [str(p) for p in options.results])
    _write(options.output, render(found))
    print(options.output)
    return 0


def _bug_report(options: argparse.Namespace) -> int:
    from conformance.reports import bug_report
    from conformance.reports.results import UnknownVerdictError, read

    from conformance.failures.explanation import ExplanationError, explain

    run = read(options.results)
    try:
        run, causes = bug_report.of_cause(run, options.id, options.cause)
        subject = explain(run, options.id, options.known)
    except (ExplanationError, UnknownVerdictError, bug_report.NoCauseError) as error:
        print(f"nn-conformance bug-report: {error}", file=sys.stderr)
        return 2
    text = bug_report.render(run, subject, str(options.results), options.cause)
    print(text, end="")
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
    from conformance.reports.merge import merge, missing_shards
    from conformance.reports.results import read, write

    run = merge([read(path) for path in options.results])
    write(options.output, run)
    lost = missing_shards(run)
    if lost:
        print(f"incomplete: shards missing: {', '.join(lost)}", file=sys.stderr)
        return 1
    outcome = summary.outcome(run)
    if outcome.headline:
        print(outcome.headline)
    print(outcome.sentence)
    return 0 if summary.ok(run) and not outcome.missing and run.footer is not None else 1


def _compare(options: argparse.Namespace) -> int:
    from conformance.reports.compare import compare, render
    from conformance.reports.results import read

    found = compare(read(options.before), read(options.after), force=options.force)
    _write(options.output, render(found, (str(options.before), str(options.after))))
    print(found.sentence)
    return 1 if found.of("broken") else 0


def _badge(options: argparse.Namespace) -> int:
    from conformance.reports.badge import badge
    from conformance.reports.merge import merge
    from conformance.reports.results import read

    _write(options.output, badge(merge([read(path) for path in options.results])))
    return 0


def _summary(options: argparse.Namespace) -> int:
    from conformance.reports.markdown import markdown
    from conformance.reports.merge import merge
    from conformance.reports.results import read

    text = markdown(merge([read(path) for path in options.results]), every=options.all)
    if options.output is None:
        sys.stdout.buffer.write(text.encode())
    else:
        _write(options.output, text)
    return 0


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _verify(options: argparse.Namespace) -> int:
    return max([_verified(path) for path in options.results])


def _verified(path: Path) -> int:
    from conformance.reports import summary
    from conformance.reports.merge import missing_shards
    from conformance.reports.results import SCHEMA, read

    run = read(path)
    faults = list(run.notes)
    if run.identity.schema > SCHEMA:
        faults.append(f"schema {run.identity.schema} is newer than {SCHEMA}, which is read here")
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
    for fault in faults:
        print(fault)
    print(f"{path}: {'not valid' if faults else 'valid'}, {len(ids)} verdicts")
    return 1 if faults else 0


def _replay(options: argparse.Namespace) -> int:
    from conformance.reports.results import read

    from conformance.run.replay import ReplayError, replay

    run = read(options.results)
    try:
        passed, text = replay(run, options.id, options.backend)
    except ReplayError as error:
        print(f"nn-conformance replay: {error}", file=sys.stderr)
        return 2
    print(text)
    return 0 if passed else 1


def _backends(options: argparse.Namespace) -> int:
    from conformance.backends.registry import available

    for name, point in sorted(available().items()):
        print(f"{name}\t{point.value}")
    return 0


def _known(options: argparse.Namespace) -> int:
    from conformance.failures.known import KnownError
    from conformance.failures.rewriting import checked

    if options.write is not None:
        return _write_known(options)
    for path in options.files:
        try:
            print(f"{path}: {checked(path, rewrite=options.rewrite)} entries")
        except KnownError as error:
            print(f"nn-conformance known: {error}", file=sys.stderr)
            return 2
    return 0


def _write_known(options: argparse.Namespace) -> int:
    from conformance.reports.merge import merge
    from conformance.reports.results import read

    from conformance.failures.entries import write

    run = merge([read(path) for path in options.files])
    found = write(run, options.write, update=options.update)
    for reason in found.stale:
        print(f"stale, left out: {reason}")
    print(f"{options.write}: {found.new} new entries, each of which needs a reason")
    return 0


def _layers(options: argparse.Namespace) -> int:
    from conformance.layers import CATALOGUE

    for name in CATALOGUE:
        print(name)
    return 0
