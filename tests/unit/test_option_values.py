"""An invalid value of an option is a usage error before anything runs."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from conformance.plugin import options
from conformance.plugin.option_values import environment_variable


def _resolve_options(**option_values: Any) -> options.Settings:
    fields = {f"conformance_{name}": value for name, value in option_values.items()}
    config: Any = SimpleNamespace(option=SimpleNamespace(**fields), args=[])
    return options.read_settings(config)


@pytest.fixture(autouse=True)
def _nothing_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in options.OPTIONS:
        monkeypatch.delenv(environment_variable(name), raising=False)


WRONG = [
    *[(name, "", "this is empty") for name in options.OPTIONS],
    *[(name, " \t ", "this is empty") for name in options.OPTIONS],
    *[(name, "a\x1b[31mb\x00", "without control characters") for name in options.OPTIONS],
    *[(name, "x" * 100_000, "no more than 20,000 characters") for name in options.OPTIONS],
    *[(name, "a\udc80b", "without control characters") for name in ("results", "backend")],
    *[(name, "a,,b", "without empty entries") for name in ("layer", "check", "dtype", "device")],
    ("layer", "Conv2d,", "without empty entries"),
    *[(name, "9" * 5000, "an integer of at most") for name in ("seed", "examples", "timeout")],
    *[(name, "-" + "9" * 5000, "at least") for name in ("seed", "examples", "timeout", "memory")],
    *[(name, "٣", "expected an integer") for name in ("seed", "examples", "timeout", "memory")],
    *[(name, "1_0", "expected an integer") for name in ("seed", "examples", "timeout", "memory")],
    *[(name, "nan", "expected an integer") for name in ("seed", "examples", "timeout", "memory")],
    *[(name, "1e3", "expected an integer") for name in ("seed", "examples", "timeout", "memory")],
    ("memory", "1", "expected MiB, at least 512: importing NumPy"),
    ("memory", "0", "at least 512"),
    ("timeout", "-5", "at least 1"),
    ("shard", "9" * 5000 + "/" + "9" * 5000, "expected i/N"),
    ("shard", "1/10000000000", "expected i/N"),
    ("shard", "١/٢", "expected i/N"),
    ("shard", "1,2/3", "expected i/N"),
    ("shard", "0/0", "expected i/N"),
    ("budget", "9" * 5000, "expected seconds"),
    ("budget", "nan", "expected seconds"),
    ("budget", "-1", "expected seconds"),
    ("budget", "٣", "expected seconds"),
    ("regression", "nan", "expected a ratio"),
    ("regression", "inf", "expected a ratio"),
    ("regression", "-2", "expected a ratio"),
    ("regression", "1_0", "expected a ratio"),
    ("regression", "9" * 5000, "expected a ratio"),
    ("isolation", "process,none", "expected one of process, none"),
    ("isolation", "none,none", "expected one of process, none"),
    ("benchmarks", "small,full", "expected one of none, small, full"),
    ("profile", "smoke,standard", "expected one of smoke"),
    ("layer", "y" * 5000, "no layer"),
    *[(name, "z" * 300, "expected a file") for name in ("results", "report", "summary")],
    *[(name, "{file}/below", "expected a file") for name in ("results", "report", "summary")],
    *[(name, "{file}/deep/below", "expected a file") for name in ("results", "report", "summary")],
    *[(name, "{folder}", "this is a folder") for name in ("results", "report", "summary")],
    *[(name, "{pipe}", "this is a pipe") for name in ("results", "report", "known", "compare")],
    *[(name, "/dev/zero", "this is a device") for name in ("known", "compare")],
    *[(name, "{folder}", "this is a folder") for name in ("known", "compare")],
    *[(name, "{folder}/none", "No such file") for name in ("known", "compare")],
    *[(name, "n" * 300, "File name too long") for name in ("known", "compare")],
    ("known", "{file},,{file}", "without empty entries"),
]


def _shown_value(value: str) -> str:
    return ascii(value[:12])


@pytest.mark.parametrize(("name", "value", "expected"), WRONG, ids=_shown_value)
def test_option_value_and_what_was_expected_are_named(
    name: str, value: str, expected: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    places = {k: tmp_path / k for k in ("file", "pipe")} | {"folder": tmp_path}
    for place, path in places.items():
        value = value.replace(f"{{{place}}}", str(path))
    with pytest.raises(pytest.UsageError) as raised:
        _resolve_options(**{name: value})
    message_text = str(raised.value)
    assert message_text.startswith(f"--conformance-{name}=")
    assert expected in message_text
    assert len(message_text) < 1200


@pytest.mark.parametrize(
    "pair",
    [
        ("results", "report"),
        ("results", "summary"),
        ("report", "summary"),
        ("known", "results"),
        ("known", "report"),
        ("known", "summary"),
        ("compare", "results"),
        ("compare", "report"),
        ("compare", "summary"),
    ],
    ids="-".join,
)
@pytest.mark.parametrize("way", ["same", "link", "dots", "hard"])
def test_no_file_is_written_over_another(pair: tuple[str, str], way: str, tmp_path: Path) -> None:
    first, second = pair
    path = tmp_path / "here"
    path.touch()
    os.link(path, tmp_path / "hard")
    (tmp_path / "link").symlink_to(path)
    (tmp_path / "deep").mkdir()
    second_name = {"same": "here", "link": "link", "dots": "deep/../here", "hard": "hard"}[way]
    with pytest.raises(pytest.UsageError, match=f"--conformance-{second}=.*than that of .*{first}"):
        _resolve_options(**{first: str(path), second: str(tmp_path / second_name)})


@pytest.mark.parametrize("name", ["results", "report", "summary"])
def test_where_no_file_can_be_is_said_before_the_run(name: str, tmp_path: Path) -> None:
    with pytest.raises(pytest.UsageError, match="expected a file, this is a folder"):
        _resolve_options(**{name: f"{tmp_path}/new/"})
    if Path("/proc/self").exists():
        with pytest.raises(pytest.UsageError, match=r"can be written in /proc|not /proc"):
            _resolve_options(**{name: "/proc/none/out"})
    _resolve_options(**{name: str(tmp_path / "new" / "out")})
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_not_there_yet_are_kept_apart_too(tmp_path: Path) -> None:
    with pytest.raises(pytest.UsageError, match="expected another file than that of"):
        _resolve_options(results=str(tmp_path / "new"), report=str(tmp_path / "." / "new"))


def test_what_is_meant_is_taken(tmp_path: Path) -> None:
    (tmp_path / "k.toml").touch()
    settings = _resolve_options(
        results="/dev/null", report="/dev/null", shard=" 2/1000000000 ", seed="-3", memory="512",
        budget=" 2.5/item ", regression="1.25", known=f"{tmp_path}/k.toml , {tmp_path}/k.toml",
        layer=" Conv2d , Linear ", isolation="none", timeout="+7",
    )  # fmt: skip
    assert settings.shard == (2, 10**9)
    assert (settings.seed, settings.memory, settings.timeout) == (-3, 512 << 20, 7)
    assert settings.layers == ("Conv2d", "Linear")
    assert settings.isolation == "none"
    assert len(settings.known) == 2
