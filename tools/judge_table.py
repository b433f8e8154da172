"""Verdicts of the sealed judge on the corpus in `tests/cheats`, in `docs/data/judge.json`.

NN_CONFORMANCE_TESTS=all pytest -n auto tests/cheats --junit-xml=judge.xml
python tools/judge_table.py judge.xml
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from measured import DATA, read, table, write

DATA_FILE = DATA / "judge.json"
WRITER = "tools/judge_table.py"
CORPORA = {
    "test_a_cheating_kernel_is_caught_and_named": "cheating kernels",
    "test_an_honest_kernel_is_right": "honest kernels",
    "test_an_implementation_of_a_module": "modules",
}
FAILED, ADMITTED = "failed", "admitted"
"""A test that failed; a cheat of which the threat model says that it is not seen."""


def read_verdicts(paths: Sequence[Path]) -> dict[str, dict[str, str]]:
    """The verdict of each name, by corpus; a later file replaces what an earlier one says.

    Raises:
        ValueError: if a test failed or none ran.
    """
    verdicts: dict[str, dict[str, str]] = {}
    for path in paths:
        for case in ElementTree.parse(path).getroot().iter("testcase"):
            test, _, name = case.attrib["name"].removesuffix("]").partition("[")
            corpus = CORPORA.get(test)
            if corpus is None:
                continue
            if corpus == "modules":
                name, _, implementation = name.rpartition("-")
                corpus = f"modules: {implementation}"
            verdicts.setdefault(corpus, {})[name] = _verdict(case)
    failed = [name for names in verdicts.values() for name, x in names.items() if x == FAILED]
    if failed or not verdicts:
        raise ValueError(f"failed: {', '.join(failed)}" if failed else "no test of the corpus")
    return {corpus: dict(sorted(verdicts[corpus].items())) for corpus in sorted(verdicts)}


def _verdict(case: ElementTree.Element) -> str:
    if case.find("failure") is not None or case.find("error") is not None:
        return FAILED
    if case.find("skipped") is not None:
        return ADMITTED
    found = case.find("properties/property[@name='verdict']")
    return "" if found is None else found.attrib["value"]


def section() -> str:
    """The section of `docs/evidence.md`."""
    rows = []
    for corpus, verdicts in read(DATA_FILE).items():
        counts = Counter(verdicts.values())
        words = ", ".join(f"{n} {verdict}" for verdict, n in counts.most_common())
        rows.append([corpus, len(verdicts), words])
    return f"""\
What the sealed [judge](judging.md) says of the corpus in `tests/cheats`, in float32. Cheating
kernels look right and are not, or let others do the work; honest ones are of an odd kind. Modules
have KernelBench's form. Each has a right implementation, one whose numbers are off by less than
10⁻², and a cheat. `{ADMITTED}` are cheats that the threat model names as not seen.

{table(["corpus", "judged", "verdicts"], rows)}"""


def full_page() -> str:
    """The site's page with every verdict."""
    parts = ["# Verdicts of the judge\n\nFor those who ask what a cheat is called.\n"]
    for corpus, verdicts in read(DATA_FILE).items():
        parts.append(f"## {corpus}\n\n{table(['name', 'verdict'], verdicts.items(), left=2)}\n")
    return "\n".join(parts)


if __name__ == "__main__":
    write(DATA_FILE, WRITER, read_verdicts(list(map(Path, sys.argv[1:]))))
    import evidence

    evidence.write_page()
