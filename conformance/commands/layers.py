"""`nn-conformance layers`: the names of torch.nn that the suite covers or excludes."""

from __future__ import annotations

import argparse
import fnmatch
import json
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from conformance.model.plain_text import visible

if TYPE_CHECKING:
    from conformance.backends.coverage_audit import CoverageAudit

WIDTH = 80


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser of `nn-conformance`."""
    parser = commands.add_parser(
        "layers", help="list the names of torch.nn that the suite covers, excludes or misses"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--names", action="store_true", help="print only the layers, one a line")
    form.add_argument("--json", action="store_true", help="print the lists as JSON")
    form.add_argument(
        "--shapes", metavar="GLOB", help="print the shape of each tensor of the matching layers"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the covered, excluded and missing names, or what an option selects.

    Returns:
        0 even if names are missing, because the user cannot change that; 2 for an unknown layer.
    """
    if options.names:
        from conformance.layers import CATALOGUE

        print("\n".join(CATALOGUE))
        return 0
    if options.shapes is not None:
        return _print_shapes(options.shapes)
    from conformance.backends.coverage_audit import audit_coverage

    audit = audit_coverage()
    output = (
        json.dumps(asdict(audit), indent=1) if options.json else "\n".join(account_lines(audit))
    )
    print(visible(output))
    return 0


def _print_shapes(pattern: str) -> int:
    """Print the shapes of the layers that match a glob; return 2 if none matches."""
    from conformance.layers import CATALOGUE
    from conformance.spec.shapes import format_shapes

    specs = [spec for name, spec in CATALOGUE.items() if fnmatch.fnmatchcase(name, pattern)]
    if not specs:
        print(f"no layer {pattern!r} (nn-conformance layers --names lists them)", file=sys.stderr)
        return 2
    for spec in specs:
        print(spec.name)
        lines = (
            format_shapes(spec.shapes) if spec.shapes else ("computed by functions of the layer",)
        )
        print("".join(f"  {line}\n" for line in lines), end="")
    return 0


def account_lines(account: CoverageAudit) -> Iterator[str]:
    """The audit of the installed torch as text, in lines of at most 80 columns."""
    from conformance.layers.excluded import TORCH

    torch = f"torch {account.version}"
    layers = sum(map(len, account.covered.values()))
    yield f"Covered: {_count_text(layers, 'layer')} of {torch}, by family"
    for family, names in account.covered.items():
        yield from _group_lines(f"{family} ({len(names)})", names)
    excluded = sum(map(len, account.excluded.values()))
    yield f"\nExcluded: {_count_text(excluded, 'name')} of torch.nn, each with its reason"
    for reason, names in account.excluded.items():
        yield from _group_lines(f"{reason} ({len(names)})", names)
    if account.undecided:
        number = _count_text(len(account.undecided), "name")
        yield f"\nMissing: {number} of {torch} that the suite does not know"
        yield from _name_lines(account.undecided)
        yield from _wrapped(
            "The suite does not check them; it checks everything else as usual. This version of "
            f"nn-conformance knows the names of torch {TORCH}. For a newer torch, update it (pip "
            "install -U nn-conformance). If the newest version does not know the names either, "
            "add the layer (CONTRIBUTING.md, Add a layer), exclude it with a reason "
            "(conformance/layers/excluded.py), or open an issue."
        )
    if account.not_in_torch:
        yield f"\nNot in {torch}: {_count_text(len(account.not_in_torch), 'layer')} of the suite"
        yield from _name_lines(account.not_in_torch)
        yield from _wrapped("A run on torch reports them as unsupported: a newer torch has them.")
    if account.stale_exclusions:
        count_text = _count_text(len(account.stale_exclusions), "name")
        yield f"\nExcluded, and not in {torch}: {count_text}"
        yield from _name_lines(account.stale_exclusions)


def _count_text(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _group_lines(title: str, names: Sequence[str]) -> Iterator[str]:
    yield from textwrap.wrap(title, WIDTH, initial_indent="  ", subsequent_indent="  ")
    yield from _name_lines(names, 4)


def _name_lines(names: Sequence[str], indent: int = 2) -> Iterator[str]:
    # Only a single name longer than a line may exceed the width.
    space = " " * indent
    yield from textwrap.wrap(
        ", ".join(names),
        WIDTH,
        initial_indent=space,
        subsequent_indent=space,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _wrapped(sentence: str) -> Iterator[str]:
    yield from textwrap.wrap(sentence, WIDTH, break_on_hyphens=False)
