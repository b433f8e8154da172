"""The documentation site: pages have all their parts, and links have a target."""

from __future__ import annotations

import re
from pathlib import Path

import check_pages
import evidence
import findings_table
import generate
import layer_pages
import links
import numerics_page
import prose
import pytest
import staging
from conformance.strategies.invalid.breaks import break_names
from findings import NO_BUG, read_outcomes
from known_layers import Divergences
from layer_facts import collect_facts

from conformance.layers import CATALOGUE
from conformance.spec.layer_spec import LayerSpec


@pytest.fixture(scope="module")
def divergences() -> Divergences:
    return Divergences()


@pytest.mark.parametrize("name", ["BatchNorm2d", "functional.linear", "utils.rnn.pack_sequence"])
def test_a_page_has_all_that_the_row_says(name: str, divergences: Divergences) -> None:
    spec = CATALOGUE[name]
    page = layer_pages.page(spec, collect_facts(spec, valid=12, invalid=12), divergences)
    assert all(line in page for line in spec.oracle.formula)
    assert spec.documentation_url in page
    assert all(f"| `{law.name}` |" in page for law in spec.laws)
    assert all(f"| `{a.name}` |" in page for a in spec.signature.arguments)
    assert spec.generation.invalid is not None
    assert all(
        f"| {prose.escape(broken)} |" in page for broken in break_names(spec.generation.invalid)
    )
    assert "| regime |" in page
    assert "{" not in page.partition("## Laws")[2].partition("## What is refused")[0]


def test_what_was_not_looked_at_is_left_out(divergences: Divergences) -> None:
    full_page = layer_pages.page(
        CATALOGUE["Linear"], collect_facts(CATALOGUE["Linear"], 6, 6), divergences
    )
    partial_page = layer_pages.page(CATALOGUE["Linear"], None, divergences)
    headings = re.findall("^## .*$", full_page, re.M)
    optional_headings = ("## How its bound is derived", "## What is drawn", "## What is refused")
    assert {*optional_headings} < {*headings}
    assert re.findall("^## .*$", partial_page, re.M) == [
        x for x in headings if x not in optional_headings
    ]
    assert not re.search("knows no invalid call of it|None: the layer only", partial_page)


def test_the_layers_of_a_partial_build_are_a_comma_list_of_globs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate.select_layers("*") == {*CATALOGUE}
    assert generate.select_layers("Linear, Conv[12]d") == {"Linear", "Conv1d", "Conv2d"}
    for wrong in ("", "Linear,", "Linear,linear"):
        with pytest.raises(ValueError, match="no layer"):
            generate.select_layers(wrong)
    with pytest.raises(SystemExit):
        generate.main([str(tmp_path / "source"), "--layers", "Linear,Convx*"])
    assert "argument --layers: no layer 'Convx*'" in capsys.readouterr().err
    assert not (tmp_path / "source").exists()


def test_the_signature_is_torchs() -> None:
    assert layer_pages.signature(CATALOGUE["Linear"]) == (
        "layer = torch.nn.Linear(in_features, out_features, bias=True)\nlayer(input)"
    )
    signature = layer_pages.signature(CATALOGUE["functional.layer_norm"])
    assert signature.split("(")[1].startswith("input, normalized_shape, weight=None") or (
        "    input,\n    normalized_shape,\n" in signature
    )
    packed = layer_pages.signature(CATALOGUE["utils.rnn.pack_sequence"])
    assert packed == "torch.nn.utils.rnn.pack_sequence(sequences, enforce_sorted=True)"


def test_every_family_and_layer_is_reached(divergences: Divergences) -> None:
    index, families = layer_pages.index_page(divergences), layer_pages.specs_by_family()
    assert {spec.family for spec in CATALOGUE.values()} == set(families)
    for family, specs in families.items():
        assert f"\n{family}/index" in index
        page = layer_pages.family_page(family, specs, divergences)
        for spec in specs:
            assert f"](<{spec.name}.md>)" in page
            assert f"](<{family}/{spec.name}.md>)" in index


def test_a_known_failure_is_on_the_page_of_its_layer(divergences: Divergences) -> None:
    layer, layer_bugs = next(iter(divergences.by_layer.items()))
    spec: LayerSpec = CATALOGUE[layer]
    page = layer_pages.page(spec, None, divergences)
    assert all(prose.escape(bug.what) in page for bug, _ in layer_bugs)
    assert divergences.count(layer) == sum(bug.kind != NO_BUG for bug, _ in layer_bugs)
    clean_layer = next(name for name in CATALOGUE if name not in divergences.by_layer)
    assert "None is known" in layer_pages.page(CATALOGUE[clean_layer], None, divergences)


def test_the_findings_that_are_linked_are_there(divergences: Divergences) -> None:
    text = findings_table.full_page(read_outcomes())
    headings = {x.replace(":", "").replace(" ", "-") for x in re.findall("^### (.*)$", text, re.M)}
    anchors = {
        anchor
        for layer in divergences.by_layer
        for line in divergences.section(layer, "")
        for anchor in re.findall(r"findings\.md#([\w-]+)", line)
    }
    assert anchors
    assert anchors <= headings


def test_every_finding_and_measurement_has_a_page_that_the_index_lists(tmp_path: Path) -> None:
    generate.measurements(staging.Stage(tmp_path))
    written = {
        path.stem: path.read_text(encoding="utf-8") for path in tmp_path.glob("measured/*.md")
    }
    assert {*written} == {"findings", *evidence.full_pages()}
    index = (staging.OWN_PAGES / "index.md").read_text(encoding="utf-8")
    assert all(f"\nmeasured/{name}\n" in index for name in written)
    assert all(text.startswith("# ") and "\n\nFor " in text for text in written.values())


def test_the_index_lists_every_page_of_the_repository() -> None:
    index = (staging.OWN_PAGES / "index.md").read_text(encoding="utf-8")
    pages = {page.with_suffix("").as_posix() for page in staging.markdown_pages()}
    listed = {line.partition("<")[2].strip("> ") or line for line in index.splitlines()}
    assert pages <= listed


def test_what_an_oracle_uses_is_noted_and_has_a_section() -> None:
    steps = collect_facts(CATALOGUE["Softmax"], valid=6, invalid=1).steps
    assert ("reductions", "softmax") in steps
    assert ("rounded", "exactly") not in steps
    assert {module for module, _ in steps} <= set(numerics_page.TITLES)


def test_the_example_is_computed() -> None:
    text = numerics_page.example()
    match = re.search(r"\| error ÷ bound \| (\S+) \|", text)
    assert match is not None
    assert 0 <= float(match[1]) <= 1
    assert "bound is 0, so the suite requires equality" in text


@pytest.mark.parametrize("name", ["shape", "support"])
def test_a_check_page_shows_a_failure(name: str) -> None:
    page = check_pages.page(name)
    assert f"failed: {name} of" in page
    assert "torch: differs" in page


def test_markdown_is_staged_as_it_stands_but_for_links_to_files(tmp_path: Path) -> None:
    stage = staging.Stage(tmp_path)
    text = "[a](../examples/torch_shaped) `[b](../examples)` [c](contract.md#layer) [d](#e)"
    text += " [f](../examples/scale/README.md)"
    linked = stage.redirect_links(text, Path("docs/x.md"))
    assert linked == text.replace("torch_shaped)", "torch_shaped.md)").replace(
        "README.md)", "README.md.md)"
    )
    staged_page = (tmp_path / "examples" / "torch_shaped.md").read_text(encoding="utf-8")
    assert "ModuleBackend" in staged_page


def test_a_picture_stays_beside_the_page_that_shows_it(tmp_path: Path) -> None:
    stage = staging.Stage(tmp_path)
    text = "[![the report](docs/report.png)](docs/running.md)"
    assert stage.redirect_links(text, Path("README.md")) == text
    assert (tmp_path / "docs" / "report.png").read_bytes()[1:4] == b"PNG"


def test_the_start_page_shows_the_front_of_the_readme(tmp_path: Path) -> None:
    staging.Stage(tmp_path).stage_own()
    start = (tmp_path / "index.md").read_text(encoding="utf-8")
    readme = (staging.ROOT / "README.md").read_text(encoding="utf-8")
    front = readme.partition("## Read on")[0]
    assert "python3 run.py torch" in front
    assert start.startswith(front.partition("[![")[0])
    assert "<!-- found -->" in start
    assert start.count("## Read on") == 1


def test_a_page_that_is_made_no_more_is_deleted(tmp_path: Path) -> None:
    (tmp_path / "old.md").write_text("# Old\n")
    stage = staging.Stage(tmp_path)
    stage.write("new.md", "# New\n")
    stage.delete_stale()
    assert [path.name for path in tmp_path.iterdir()] == ["new.md"]


def test_links_that_lead_nowhere_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<a href="b.html#x"></a><a href="c.html"></a><a href="#y"></a>'
    )
    (tmp_path / "b.html").write_text('<p id="z"></p><a href="https://example.org/"></a>')
    assert list(links.broken_links(tmp_path)) == [
        "a.html: #y leads to no anchor",
        "a.html: b.html#x leads to no anchor",
        "a.html: c.html leads to no file",
    ]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a call leaves nothing", "A call leaves nothing."),
        ("x·½·(1 + y)", "x·½·(1 + y)."),
        ("state_dict names", "state_dict names."),
        ("number of outputs:", "Number of outputs:"),
    ],
)
def test_sentences(text: str, wanted: str) -> None:
    assert prose.sentence(text) == wanted


def test_prose_is_no_markup() -> None:
    assert prose.escape("(*, N_i) `a_b` x<y") == r"(\*, N\_i) `a_b` x\<y"
