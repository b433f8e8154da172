"""The place at which a known failure was seen, and the tool that adds it to a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support import cases, seen_here

from conformance.commands import cli
from conformance.commands.known_seen import with_place
from conformance.known import cpu
from conformance.known.entry import parse_entries, shipped_entries
from conformance.layers.encoding import encode_case

PLACE = "torch 2.13.0 on Linux x86_64 AuthenticAMD avx512_bf16"
UNPINNED = (
    '[[known]]\nlayer = "Linear"\ncheck = "values"\nstrict = false\nreason = "now and then"\n'
)


def _entry_text(layer: str, check: str, **fields: str) -> str:
    case = json.dumps(encode_case(cases(layer)[0]))
    lines = [f"{name} = {text}" for name, text in fields.items()]
    return "\n".join(
        ["[[known]]", f'layer = "{layer}"', f'check = "{check}"', *lines,
         'reason = "wrong: [brackets] and \\"quotes\\""', f"case = '''{case}'''", ""]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("flags", "limits", "level"),
    [
        ("sse4_1 avx2 avx512bw avx512_bf16", {}, "avx512_bf16"),
        ("sse4_1 avx2", {}, "avx2"),
        ("sse4_1", {}, ""),
        ("sse4_1 avx2", {"ONEDNN_MAX_CPU_ISA": "SSE41"}, "avx2 ONEDNN_MAX_CPU_ISA=SSE41"),
    ],
)
def test_a_level_is_the_highest_instruction_set_and_what_limits_it(
    flags: str, limits: dict[str, str], level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu, "cpu_facts", lambda: {"vendor_id": "AuthenticAMD", "flags": flags})
    for name in cpu.LIMIT_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in limits.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert cpu.cpu_level() == f"Linux x86_64 AuthenticAMD {level}".rstrip()


def test_an_arm_cpu_and_a_mac_have_levels_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in cpu.LIMIT_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    facts = {"CPU implementer": "0x41", "Features": "fp asimd bf16 sve"}
    monkeypatch.setattr(cpu, "cpu_facts", lambda: facts)
    assert cpu.cpu_level().endswith("0x41 asimd bf16 sve")
    monkeypatch.setattr(cpu, "cpu_facts", dict)
    monkeypatch.setattr(cpu, "_apple_cpu", lambda: "Apple M4")
    assert cpu.cpu_level().endswith("Apple M4")


def test_a_place_names_the_packages_and_the_level_or_the_device() -> None:
    info = {"torch": "2.13.0", "threads": "1"}
    assert cpu.describe_place("torch", info, "cpu") == f"torch 2.13.0 on {cpu.cpu_level()}"
    assert cpu.describe_place("compiled", info, "cuda:1") == "compiled, torch 2.13.0 on cuda"
    assert cpu.describe_place("mine", {"revision": "3"}, "cuda") == "mine, revision 3 on cuda"
    served = {"command": "node /home/me/server.js", "node": "v20"}
    assert cpu.describe_place("mine", served, "cuda") == "mine, node v20 on cuda"


def test_a_place_is_added_once_and_nothing_else_changes() -> None:
    text = f"# a comment\n\n{UNPINNED}\n# of the next\n{_entry_text('Linear', 'values')}"
    once = with_place(text, PLACE, [1])
    assert once == text.replace('reason = "wrong', f'seen = ["{PLACE}"]\nreason = "wrong')
    assert with_place(once, PLACE, [1]) == once
    twice = with_place(once, "torch 2.14.0 on cuda", [1])
    (_, entry) = parse_entries(twice, "known.toml")
    assert entry.seen == (PLACE, "torch 2.14.0 on cuda")
    assert twice.replace(twice[twice.index("seen") : twice.index('reason = "wrong')], "") == text


@pytest.mark.parametrize("seen", ['seen = "here"', "seen = [3]", 'seen = [" "]'])
def test_a_place_is_text_in_a_list(seen: str) -> None:
    with pytest.raises(ValueError, match="seen="):
        parse_entries(_entry_text("Linear", "values", seen=seen.partition("= ")[2]), "known.toml")


def test_the_tool_adds_this_machine_where_the_pinned_case_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refusal = next(e for e in shipped_entries("torch") if e.case is not None and e.strict)
    pinned_case = json.dumps(encode_case(refusal.case)) if refusal.case is not None else ""
    file = tmp_path / "known.toml"
    file.write_text(
        f"{UNPINNED}{_entry_text('Identity', 'values')}[[known]]\nlayer = '{refusal.layer}'\n"
        f"check = '{refusal.check}'\nreason = 'refused'\ncase = '''{pinned_case}'''\n"
    )
    assert cli.main(["known", "--seen", str(file), "--backend", "torch"]) == 0
    output = capsys.readouterr().out
    assert "does not show here: wrong: [brackets]" in output
    assert "1 entries show" in output
    not_strict, passing, failing = parse_entries(file.read_text(), "known.toml")
    assert (not_strict.seen, passing.seen) == ((), ())
    assert seen_here() == f"seen = {json.dumps([*failing.seen])}\n"
