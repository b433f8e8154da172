"""Verdicts of the sealed judge on the corpus in `tests/cheats`, in `docs/data/judge.json`.

NN_CONFORMANCE_TESTS=all pytest -n auto tests/cheats --junit-xml=judge.xml
python tools/judge_table.py judge.xml
"""

from __future__ import annotations

import sys
from collections import Counter
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
ADMITTED = "admitted"
"""The verdict of a cheat of which the threat model says that it is not seen."""


def read_verdicts(path: Path) -> dict[str, dict[str, str]]:
    """The verdict of each name, by corpus.

    Raises:
        ValueError: if a test failed or none ran.
    """
    verdicts: dict[str, dict[str, str]] = {}
    # The file was written by pytest on this machine.
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        test, _, name = case.attrib["name"].removesuffix("]").partition("[")
        corpus = CORPORA.get(test)
        if corpus is None:
            continue
        if case.find("failure") is not None or case.find("error") is not None:
            raise ValueError(f"{case.attrib['name']} failed")
        found = case.find("properties/property[@name='verdict']")
        is_admitted = case.find("skipped") is not None
        verdict = "" if found is None else found.attrib["value"]
        if corpus == "modules":
            folder, _, implementation = name.rpartition("-")
            corpus = f"modules: {implementation}"
            name = folder
        verdicts.setdefault(corpus, {})[name] = ADMITTED if is_admitted else verdict
    if not verdicts:
        raise ValueError(f"{path} has no test of the corpus")
    return {corpus: dict(sorted(verdicts[corpus].items())) for corpus in sorted(verdicts)}


def section() -> str:
    """The section of `docs/evidence.md`."""
    rows = []
    for corpus, verdicts in read(DATA_FILE).items():
        counts = Counter(verdicts.values())
        words = ", ".join(f"{n} {verdict}" for verdict, n in counts.most_common())
        rows.append([corpus, len(verdicts), words])
    return f"""\
What the sealed [judge](judging.md) says of the corpus in `tests/cheats`, in float32: kernels that
look right and are not, or let others do the work; honest kernels of an odd kind; and modules in
KernelBench's form, each with a right implementation, one whose numbers are off by less than 10⁻²,
and a cheat. `{ADMITTED}` are cheats that the threat model names as not seen.

{table(["corpus", "judged", "verdicts"], rows)}"""


def full_page() -> str:
    """The site's page with every verdict."""
    parts = ["# Verdicts of the judge\n\nFor those who ask what a cheat is called.\n"]
    for corpus, verdicts in read(DATA_FILE).items():
        parts.append(f"## {corpus}\n\n{table(['name', 'verdict'], verdicts.items(), left=2)}\n")
    return "\n".join(parts)


if __name__ == "__main__":
    write(DATA_FILE, WRITER, read_verdicts(Path(sys.argv[1])))
    import evidence

    evidence.write_page()
