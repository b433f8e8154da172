"""The reader of known failures names and refuses entries that excuse nothing, or everything."""

from __future__ import annotations

import fnmatch
import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from support import cases

from conformance.commands.known_entry import _message_glob
from conformance.known import entry as known
from conformance.layers import CATALOGUE
from conformance.layers.encoding import encode_case
from conformance.matching.fact_schema import fact_kinds
from conformance.matching.facts import facts
from conformance.model.finding import Finding

LOOSE = '[[known]]\nlayer = "{layer}"\ncheck = "{check}"\nreason = "r"\nstrict = false\n'
PINNED = json.dumps(encode_case(cases("Linear")[0]))


def _entry_text(line: str, layer: str = "Conv2d", check: str = "values") -> str:
    return f"{LOOSE.format(layer=layer, check=check)}{line}\n"


FIELDS = [
    ('dtype = "float31"', "dtype='float31': expected some of float32"),
    ('dtype = "float32,"', "dtype='float32,': expected some of"),
    ('device = "cpu;rm"', "device='cpu;rm': expected names such as"),
    ('device = ""', "device='': expected names"),
    ('backend = "mine,"', "expected names of backends"),
    ('said = ""', "said='': expected a glob"),
    ("within = nan", "within=nan: expected an error"),
    ("within = inf", "within=inf: expected an error"),
    ("at_most = nan", "at_most=nan: expected a share"),
    ("at_most = true", "at_most=True: expected a number"),
    ('status = "Failed"', "status='Failed': expected some of failed"),
    ("versions = { torch = 2 }", "versions.torch=2: expected a specifier"),
    ('versions = { torch = "" }', "versions.torch='': expected a specifier"),
    ('versions = { "no package" = ">1" }', "expected the name of a package"),
    ('cpu = { "AVX 512" = true }', "expected an instruction set"),
    ('when = "groups"', "expected a table or a list of tables"),
    ("when = []", "none of them empty"),
    ("when = [{}]", "none of them empty"),
    ('when = { nonsense = ">1" }', "'nonsense' = … }: no such fact; expected a fact of Conv2d"),
    ('when = { nonsense = "!=1" }', "no such fact"),
    ('when = { hidden_size = ">1" }', "no such fact"),
    ('when = { "state.layout" = "sliced" }', "no such fact"),
    ('when = { "input.layuot" = "sliced" }', "no such fact"),
    ('when = { "input.layout" = "sideways" }', "expected one of channels_last"),
    ('when = { "-stride" = ">1" }', "no such fact"),
    ('when = { "stride + nonsense" = ">1" }', "no such fact"),
    ('when = { "stride ** 2" = ">1" }', "no such fact"),
    ('when = { "stride[2]" = ">1" }', "no such fact"),
    ('when = { "groups = nonsense" = true }', "no such fact"),
    ('when = { groups = ">banana" }', "expected a comparison with a number"),
    ('when = { groups = ">" }', "expected a comparison"),
    ('when = { groups = "=>1" }', "expected a comparison"),
    ('when = { groups = "==[1]" }', "expected a comparison"),
    ('when = { groups = "==null" }', "no other comparison with null can be true"),
    ('when = { groups = ">NaN" }', "expected a comparison"),
    ('when = { groups = ">true" }', "a number after >"),
    ("when = { groups = [1, 2] }", "a list is not a value"),
    ("when = { groups = { a = 1 } }", "a list is not a value"),
    ("when = { groups = nan }", "expected a number"),
    ("when = { groups = true }", "expected a number or a word"),
    ('when = { groups = "" }', "none of them empty"),
    ('when = { bias = "yes" }', "expected true or false"),
    ("when = { bias = 1 }", "expected true or false"),
    ('when = { "input.ndim" = "many" }', "expected a number"),
    ('when = { empty = ">1" }', "expected true or false"),
    ("when = { dimension = {} }", "expected a table of conditions"),
    ("when = { dimension = 1 }", "expected a table of conditions"),
    ('when = { dimension = { nonsense = ">1" } }', "no such fact"),
    ('when = { broken = "no such constraint" }', "expected one of"),
    ('versions = { torch = { least = "2" } }', "versions.torch={'least': '2'}: expected a spec"),
    ("cases = { nonsense = '{}' }", "expected an item that the entry is about"),
    ("cases = { 'Linear-values-float32-cpu' = '{}' }", "expected an item that the entry is about"),
    ("case = '[[[[]]]]'", "case is not a case"),
    (f"case = '{'[' * 100_000}'", "case is not a case"),
    (f"case = '{PINNED}'", "is a call of 'Linear', expected one of Conv2d"),
]


@pytest.mark.parametrize(("line", "message"), FIELDS, ids=[line[:40] for line, _ in FIELDS])
def test_a_field_of_nonsense_is_named_with_what_was_expected(line: str, message: str) -> None:
    with pytest.raises(known.KnownFailureError) as raised:
        known.parse_entries(_entry_text(line), "here")
    message_text = str(raised.value)
    assert message_text.startswith("here, entry 1")
    assert message in message_text
    assert len(message_text) < 1000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (_entry_text("", check="nope"), "check='nope': expected some of shape"),
        (_entry_text("", check="values,"), "check='values,': expected some of"),
        (
            _entry_text("", check="random", layer="Identity"),
            "expected checks that apply to Identity",
        ),
        (_entry_text("", layer="Conv2d,Conv9d"), "'Conv9d' matches no layer"),
        (_entry_text("", layer="*"), "without a case excuses every failure"),
        (_entry_text("").replace("strict = false\n", ""), "no case: expected a failing one"),
        (
            _entry_text("cases = {}").replace("strict = false\n", ""),
            "no case: expected a failing one",
        ),
        (_entry_text("").replace('"r"', '" "'), "reason is empty"),
    ],
)
def test_an_entry_that_is_never_stale_says_so(text: str, message: str) -> None:
    with pytest.raises(known.KnownFailureError, match="here, entry 1") as raised:
        known.parse_entries(text, "here")
    assert message in str(raised.value)


@pytest.mark.parametrize(
    "text",
    [
        "known = 3",
        "known = [3]",
        "[known]\nlayer = 'Conv2d'",
        "known = [[]]",
        "version = 1\n",
        "[[know]]\nlayer = 'Conv2d'",
        "a = " + "[" * 100_000,
        "a = " + "9" * 5000,
        "[[known]",
    ],
)
def test_a_file_that_holds_no_entries_is_refused(text: str) -> None:
    with pytest.raises(known.KnownFailureError, match=r"^here"):
        known.parse_entries(text, "here")


def test_an_empty_file_has_no_entries() -> None:
    assert known.parse_entries("# none yet\n", "here") == ()


def _make_text(path: Path) -> None:
    path.write_bytes(b"\xff\xfe[[known]]")


def _make_folder(path: Path) -> None:
    path.mkdir()


def _make_pipe(path: Path) -> None:
    os.mkfifo(path)


def _make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as unix_socket:
        unix_socket.bind(str(path))


def _make_zero(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _make_missing(path: Path) -> None:
    return None


def _make_huge(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)


@pytest.mark.parametrize(
    "make",
    [_make_text, _make_folder, _make_pipe, _make_socket, _make_zero, _make_missing, _make_huge],
)
def test_what_is_no_text_file_is_refused_at_once(make: Any, tmp_path: Path) -> None:
    path = tmp_path / "k.toml"
    make(path)
    with pytest.raises(known.KnownFailureError, match=r"k\.toml"):
        known.load_entries("none", [path])


LAYERS = [name for name in CATALOGUE if name != "Identity"]  # whose arguments may be any


def _pinned_entry(change: Any, line: str = "") -> str:
    data = json.loads(PINNED)
    change(data)
    return (
        f"[[known]]\nlayer = 'Linear'\ncheck = 'values'\nreason = 'r'\n{line}\n"
        f"case = '{json.dumps(data)}'\n"
    )


def test_a_pinned_case_is_a_call_that_there_is() -> None:
    assert len(known.parse_entries(_pinned_entry(lambda data: None), "here")) == 1
    for change, message in (
        (lambda data: data["call"]["arguments"].update(outplace=1), "has no argument 'outplace'"),
        (lambda data: data["inputs"].update(x=data["inputs"]["input"]), "has 2 inputs, expected"),
    ):
        with pytest.raises(known.KnownFailureError, match="entry 1: case") as raised:
            known.parse_entries(_pinned_entry(change), "here")
        assert message in str(raised.value)


def test_a_pinned_case_is_one_that_the_entry_excuses() -> None:
    always_refused = "when = { in_features = '<0' }"
    with pytest.raises(known.KnownFailureError, match="case does not meet when="):
        known.parse_entries(_pinned_entry(lambda data: None, always_refused), "here")
    layout_condition = "when = { 'input.layout' = 'transposed' }"  # which a check chooses
    assert len(known.parse_entries(_pinned_entry(lambda data: None, layout_condition), "here")) == 1


def test_constraints_that_are_broken_can_be_named() -> None:
    line = "when = { broken = 'input of another *,stride not positive' }"
    known.parse_entries(_entry_text(line, layer="Linear,Conv2d", check="errors"), "here")
    with pytest.raises(known.KnownFailureError, match="expected one of"):
        known.parse_entries(_entry_text(line, layer="Linear", check="errors"), "here")


@pytest.mark.parametrize("layer", LAYERS)
def test_every_fact_of_a_case_can_be_named(layer: str) -> None:
    for case in cases(layer, examples=12):
        case_facts = facts(case)
        assert {name for name in case_facts if not fact_kinds(name, (layer,))} == set()
        for name in case.call.state:
            # No argument says what the norm after a stack holds, nor what a part holds.
            is_inner = name.startswith("norm.") or CATALOGUE[layer].oracle.parts is not None
            assert is_inner or fact_kinds(f"{name}.layout", (layer,)), name


def test_a_backend_has_the_entries_that_name_it_whichever_file_they_are_in() -> None:
    folder = Path(known.__file__).parents[1] / "known_failures"
    all_entries = [
        (entry, file.stem if entry.backend == "*" else entry.backend)
        for file in sorted(folder.glob("*.toml"))
        for entry in known.parse_entries(file.read_text(encoding="utf-8"), file.name)
    ]
    names = {name for _, backends_text in all_entries for name in backends_text.split(",")}
    assert {"torch", "torch-meta", "openvino-f32"} < names
    # A file is read only for backends that it names, so entries must not use patterns of names.
    assert not [name for name in names if set(name) & set("*?[")]
    for name in sorted(names):
        wanted = [
            entry.reason for entry, backends_text in all_entries if name in backends_text.split(",")
        ]
        shipped_entries = known.shipped_entries(name)
        assert [entry.reason for entry in shipped_entries] == wanted
        assert all(name in entry.backend.split(",") for entry in shipped_entries)


def test_an_entry_asks_for_the_words_of_an_exception() -> None:
    finding = Finding("exception", "call", exception="Refused", says="size 3 [of 1, 2] is odd")
    glob = _message_glob(finding)
    assert fnmatch.fnmatchcase("call raised Refused: size 7 [of 5] is odd", glob)
    assert not fnmatch.fnmatchcase("call raised Refused: too many axes", glob)
