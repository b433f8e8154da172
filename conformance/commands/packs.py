"""`nn-conformance pack` and `judge`: write cases as files, and judge answers to them."""

from __future__ import annotations

import argparse
import fnmatch
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.packs import PackError
from conformance.reports import summary

if TYPE_CHECKING:
    from conformance.model.case import Verdict
    from conformance.packs.pack_format import Manifest, Respondent
    from conformance.reports.results import Run

DEFAULT_EXAMPLES = 20
"""Examples of each item, by default."""


def add_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add both commands to the parser of `nn-conformance`."""
    pack_parser = commands.add_parser(
        "pack", help="write cases with expected values and bounds as files, for any language"
    )
    pack_parser.add_argument("-o", "--output", required=True, type=Path, metavar="DIR",
                      help="new or empty folder for the pack")  # fmt: skip
    pack_parser.add_argument(
        "--layer", default="*", help="comma list of names or globs (default: all)"
    )
    pack_parser.add_argument("--family", default="*", help="comma list of families (default: all)")
    pack_parser.add_argument(
        "--dtype", default="float32", help="comma list of dtypes (default: float32)"
    )
    pack_parser.add_argument(
        "--examples",
        type=int,
        default=DEFAULT_EXAMPLES,
        metavar="N",
        help=f"examples of each layer and dtype (default: {DEFAULT_EXAMPLES})",
    )
    pack_parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="seed of the cases (default: 0)"
    )
    pack_parser.set_defaults(run=_write_pack)

    judge_parser = commands.add_parser(
        "judge", help="judge the answers to a pack, and write results"
    )
    judge_parser.add_argument("pack", type=Path, metavar="DIR", help="folder of the pack")
    judge_parser.add_argument("answers", type=Path, metavar="ANSWERS", help="folder of the answers")
    judge_parser.add_argument("-o", "--output", required=True, type=Path, metavar="RESULTS",
                      help="results file to write")  # fmt: skip
    judge_parser.set_defaults(run=_judge_answers)


def _match_names(text: str, known_names: tuple[str, ...], kind: str) -> list[str]:
    """The known names that a comma list of globs selects, in the order of `known_names`.

    Raises:
        PackError: for a pattern that matches nothing.
    """
    chosen: set[str] = set()
    for pattern in (part.strip() for part in text.split(",")):
        matches = {
            name for name in known_names if name == pattern or fnmatch.fnmatchcase(name, pattern)
        }
        if not matches:
            raise PackError(f"--{kind}={text}: no {kind} {pattern!r}")
        chosen |= matches
    return [name for name in known_names if name in chosen]


def _write_pack(options: argparse.Namespace) -> int:
    from conformance.layers import CATALOGUE, DTYPES
    from conformance.packs.writer import write_pack

    if options.examples < 1:
        raise PackError(f"--examples={options.examples}: expected at least 1")
    families = _match_names(
        options.family, tuple(dict.fromkeys(spec.family for spec in CATALOGUE.values())), "family"
    )
    layers = [
        name
        for name in _match_names(options.layer, tuple(CATALOGUE), "layer")
        if CATALOGUE[name].family in families
    ]
    dtypes = _match_names(options.dtype, DTYPES, "dtype")
    progress_stream = sys.stderr if sys.stderr.isatty() else None
    manifest = write_pack(
        options.output,
        layers,
        dtypes,
        options.examples,
        options.seed,
        lambda item: (
            print(f"\r\x1b[K{item}", end="", file=progress_stream) if progress_stream else None
        ),
    )
    if progress_stream:
        print("\r\x1b[K", end="", file=progress_stream)
    cases = sum(item.cases for item in manifest.items)
    print(f"{options.output}: {len(manifest.items)} items, {cases} cases")
    return 0


def _judge_answers(options: argparse.Namespace) -> int:
    from conformance.packs.judge import judge
    from conformance.reports.results import write
    from conformance.run.machine import current_time

    started = current_time()
    manifest, respondent, verdicts, problems = judge(options.pack, options.answers)
    run = _make_run(manifest, respondent, verdicts, started)
    write(options.output, run)
    for line in problems:
        print(f"nn-conformance judge: {line}", file=sys.stderr)
    outcome = summary.outcome(run)
    print(outcome.headline, outcome.sentence, sep="\n")
    print(options.output)
    return 0 if summary.is_ok(run) and not problems else 1


def _make_run(
    manifest: Manifest, respondent: Respondent, verdicts: tuple[Verdict, ...], started: str
) -> Run:
    from conformance import __version__
    from conformance.layers.layer_facts import facts_of_layers, layers_by_family
    from conformance.reports.results import SCHEMA, Footer, Identity, Run
    from conformance.run.machine import current_time, machine_facts

    layers = [item.layer for item in manifest.items]
    identity = Identity(
        schema=SCHEMA,
        suite=__version__,
        backend=respondent.backend,
        info=respondent.info,
        **machine_facts(),
        devices=("cpu",),
        dtypes=tuple(dict.fromkeys(item.dtype for item in manifest.items)),
        profile="pack",
        seed=manifest.seed,
        examples=manifest.examples,
        shard="1/1",
        options={"pack written by": manifest.suite},
        items=tuple(verdict.id for verdict in verdicts),
        total=len(verdicts),
        git=None,
        started=started,
        layers=facts_of_layers(layers),
        catalogue=layers_by_family(),
    )
    run = Run(identity, verdicts)
    seconds = round(sum(verdict.seconds for verdict in verdicts), 3)
    return replace(
        run, footer=Footer(summary.count_statuses(run), len(verdicts), seconds, current_time())
    )
