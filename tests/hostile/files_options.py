"""Options of the pytest plug-in with wrong values: a usage error that names option and value."""

from __future__ import annotations

from hostile.entry import USAGE_ERROR, Entry, Expected
from hostile.making import TINY, suite_command

FILES = {"tiny.py": TINY}
LONG = "9" * 5000
WRONG: dict[str, dict[str, str]] = {
    "backend": {
        "empty": "",
        "unknown": "nope",
        "300-characters": "n" * 300,
        "two": "tiny:backend,torch",
        "odd": "tiny\u001b[31m:\u202ex",
    },
    "device": {
        "unknown": "cuda:99",
        "one-unknown": "cpu,nope",
        "5000-digits": f"cuda:{LONG}",
    },
    "dtype": {"odd": "float32\u001b[31m"},
    "layer": {"5000-stars": "*a" * 2500 + "b"},
    "family": {"empty": ""},
    "check": {"empty": ""},
    "profile": {"empty": ""},
    "examples": {"other-digits": "\u0665", "underscores": "1_0", "zero": "0"},
    "seed": {"other-digits": "\u0663"},
    "shard": {"5000-digits": f"1/{LONG}", "other-digits": "\uff11/\uff12", "zero": "0/1"},
    "budget": {"zero": "0"},
    "isolation": {"both": "process,none"},
    "timeout": {"huge": "1" + "0" * 30, "other-digits": "\u0665"},
    "memory": {"one": "1", "too-little": "32", "huge": "1" + "0" * 40, "zero": "0"},
    "benchmarks": {"empty": ""},
    "regression": {"below-one": "0.5"},
}
"""Option → name of a wrong value → the value."""
REFUSED: dict[str, dict[str, str]] = {
    "device": {"empty": "", "comma": ","},
    "dtype": {
        "empty": "",
        "unknown": "float31",
        "blanks-between": "float32 float64",
        "of-torch": "torch.float32",
        "upper-case": "Float32",
    },
    "layer": {
        "empty": "",
        "unknown": "Nope",
        "lower-case": "relu",
        "bracket": "[",
        "a-regex": "Re.U",
        "one-unknown": "ReLU,Nope",
    },
    "family": {"unknown": "recurring", "of-other-layers": "recurrent"},
    "check": {"unknown": "nope", "misspelt": "value", "comma": ",,"},
    "profile": {"unknown": "fast", "upper-case": "SMOKE"},
    "examples": {
        "negative": "-1",
        "float": "5.0",
        "exponent": "1e3",
        "nan": "nan",
        "empty": "",
        "5000-digits": LONG,
    },
    "seed": {"word": "x", "empty": "", "float": "1.5", "nan": "nan", "5000-digits": LONG},
    "shard": {
        "beyond": "2/1",
        "of-none": "1/0",
        "word": "x",
        "one-number": "1",
        "three": "1/2/3",
        "negative": "-1/2",
        "of-negative": "1/-2",
        "float": "1.0/2",
        "empty": "",
    },
    "budget": {
        "negative": "-1",
        "nan": "nan",
        "infinite": "inf",
        "empty": "",
        "of-nothing": "1/",
        "a-word": "x/item",
        "of-items": "1/items",
        "beyond-float": "1e400",
        "5000-digits": f"{LONG}x",
    },
    "isolation": {"unknown": "thread", "empty": "", "upper-case": "None"},
    "timeout": {
        "zero": "0",
        "negative": "-1",
        "nan": "nan",
        "exponent": "1e3",
        "empty": "",
        "5000-digits": LONG,
    },
    "memory": {"negative": "-1", "nan": "nan", "empty": "", "5000-digits": LONG},
    "benchmarks": {"unknown": "tiny", "two": "small,full"},
    "regression": {
        "nan": "nan",
        "infinite": "inf",
        "empty": "",
        "word": "x",
        "comma": "1,25",
        "negative": "-1",
    },
}
"""Wrong values that were refused from the first; `test_options.py` tries them in one process."""


def _wrong_value_entry(option: str, name: str, value: str) -> Entry:
    shown_texts = (
        [value.split(",")[-1]]
        if 0 < len(value) < 30 and value.isascii() and value.isprintable()
        else []
    )
    # A backend is found by name, for which the command line has an option of its own.
    option_name = option if option == "backend" else f"--conformance-{option}"
    patterns = (option_name, *(_escaped_pattern(text) for text in shown_texts))
    line = suite_command(f"--conformance-{option}={value}")
    # The message may show the value once; pytest's own usage line is short.
    expected = Expected(USAGE_ERROR, patterns, longest=9000)
    return Entry(f"option-{option}-{name}", 18, FILES, line, expected, 40)


def _escaped_pattern(text: str) -> str:
    return "".join(c if c.isalnum() or c in " ," else rf"\{c}" for c in text)


def _environment_entry(option: str, value: str) -> Entry:
    """An entry that sets the environment variable of an option to a wrong value."""
    name = f"CONFORMANCE_{option.upper()}"
    line = suite_command(
        "--conformance-seed=0", prepare=f"import os; os.environ[{name!r}] = {value!r}"
    )
    other_words = tuple(word for word in line if not word.startswith(f"--conformance-{option}="))
    expected = Expected(USAGE_ERROR, (name, _escaped_pattern(value)), longest=3000)
    return Entry(f"environment-{option}", 18, FILES, other_words, expected, 40)


def _odd_value_entry(
    name: str, code: int | tuple[int, ...], *options: str, says: str = ""
) -> Entry:
    """An entry of an odd but valid value."""
    expected = Expected(code, (says,) if says else ())
    return Entry(f"option-{name}", 18, FILES, suite_command(*options), expected, 40)


ENTRIES = (
    *(
        _wrong_value_entry(option, name, value)
        for option, values in WRONG.items()
        for name, value in values.items()
    ),
    *(
        _environment_entry(option, value)
        for option, value in {
            "examples": "0",
            "shard": "2/1",
            "check": "nope",
            "memory": "1",
            "results": "tiny.py/x.jsonl",
        }.items()
    ),
    _odd_value_entry("shard-one-of-a-thousand-million", (0, 5), "--conformance-shard=1/1000000000"),
    _odd_value_entry(
        "shard-last-of-a-thousand-million", (0, 5), "--conformance-shard=999999999/1000000000"
    ),
    _odd_value_entry("seed-negative", (0, USAGE_ERROR), "--conformance-seed=-1"),
    _odd_value_entry("seed-huge", (0, USAGE_ERROR), f"--conformance-seed={'9' * 40}"),
    _odd_value_entry("given-twice", 0, "--conformance-seed=1", "--conformance-seed=2"),
    _odd_value_entry("blanks-in-a-list", 0, "--conformance-check= values , shape "),
    _odd_value_entry(
        "no-layer-of-the-dtype", (0, 1, USAGE_ERROR, 5), "--conformance-dtype=complex64"
    ),
    _odd_value_entry("unknown-option", USAGE_ERROR, "--conformance-seeds=1", says="seeds"),
)
