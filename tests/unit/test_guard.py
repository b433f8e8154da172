"""The guard is the only way to a backend: the suite gets bounded values of built-in types."""

from __future__ import annotations

import ast
import itertools
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hypothesis
import numpy as np
import pytest

import conformance
from conformance.backends import FunctionBackend, capabilities, implements
from conformance.backends.foreign_calls import HOOKS, hooks
from conformance.backends.guard import BackendError, guarded
from conformance.backends.sanitize import RESULT_READERS
from conformance.items.planning import Item
from conformance.model.case import Verdict
from conformance.model.failure import Failure, Inapplicable
from conformance.model.untrusted import exception_text, safe_repr, type_name
from conformance.run.engine import Engine

ROOT = Path(conformance.__file__).parent
DOOR = ("conformance.backends.guard", "conformance.backends.foreign_calls")
ALLOWED_IMPORTS = {
    # Imports backends and families of layers by name.
    "import_module": {"backends/coverage_audit.py", "backends/registry.py", "layers/__init__.py"},
    # Checks whether the suite ships a backend.
    "unguarded_backend": {
        *("diagnosis/script_torch.py", "diagnosis/reproducer.py"),
        *("backends/sealed_worker.py", "timing/measure.py"),
        "isolation/child.py",  # whether the backend is a sealed one
    },
    # Times calls without the time of the guard.
    "unguarded_layer": {"timing/measure.py"},
    # The first loads a backend; the second attributes an error in a timed round to the backend.
    "call_foreign": {"backends/registry.py", "timing/measure.py"},
    "read_member": {"backends/registry.py"},
}


class Faithful(FunctionBackend):
    name = "faithful"

    @implements("ReLU")
    def relu(self, state: Any, input: Any) -> Any:
        return np.maximum(input, 0)


def _verdict(backend: Any, check: str = "values") -> Verdict:
    return Engine(backend, 20, 0).run(Item("ReLU", check, "float32", "cpu"))


def test_the_faithful_backend_passes() -> None:
    assert _verdict(Faithful()).status == "passed"


def test_hooks_are_told_within_their_block_only() -> None:
    outer_hooks, called, started = HOOKS.get(), list[str](), list[str]()
    with hooks(on_member=called.append):
        with suppress(ZeroDivisionError), hooks(on_step=lambda step, case: started.append(step)):
            assert _verdict(Faithful(), "shape").status == "passed"
            raise ZeroDivisionError
        members, steps = len(called), len(started)
        assert _verdict(Faithful(), "shape").status == "passed"
    assert len(called) > members
    members = len(called)
    assert _verdict(Faithful(), "shape").status == "passed"
    assert (len(called), len(started)) == (members, steps)
    assert {"name", "build"} <= {*called}
    assert {"build", "put", "call", "get"} <= {*started}
    assert HOOKS.get() is outer_hooks


# --- nothing else touches a backend ---


@cache
def _parse_sources() -> list[tuple[str, ast.Module]]:
    own_files = [path for path in ROOT.rglob("*.py") if path.parent.name != "adapters"]
    trees = [(path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())) for path in own_files]
    assert len(trees) > 100
    return trees


@pytest.mark.parametrize("name", ALLOWED_IMPORTS)
def test_what_goes_past_the_door_is_listed(name: str) -> None:
    importers = {
        file
        for file, tree in _parse_sources()
        for node in ast.walk(tree)
        if (
            isinstance(node, ast.ImportFrom)
            and (node.module in DOOR or name == "import_module")
            and any(alias.name == name for alias in node.names)
        )
        or (isinstance(node, ast.Attribute) and node.attr == name == "import_module")
    }
    assert importers - {"backends/guard.py", "backends/sanitize.py"} == ALLOWED_IMPORTS[name]


def test_no_file_reads_a_member_of_a_backend_by_name() -> None:
    # The last one gets torch's object, or one of the same shape.
    exempt = ("backends/module.py", "backends/function.py", "backends/guard.py")
    exempt += ("diagnosis/script_torch.py",)
    for file, tree in _parse_sources():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or file in exempt:
                continue
            if isinstance(node.func, ast.Name) and node.func.id in ("getattr", "hasattr"):
                first_argument = ast.unparse(node.args[0])
                assert not first_argument.endswith("backend"), (
                    f"{file}:{node.lineno}: {first_argument}"
                )


# --- what passes the guard ---


class Lying(np.ndarray):
    """An array that agrees with everything."""

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **keywords: Any) -> Any:
        return True

    def __array_function__(self, function: Any, *arguments: Any) -> Any:
        return True


def _backend_returning(change: Any) -> Any:
    class Odd(Faithful):
        name = "odd"

        def get(self, native: Any) -> Any:
            return change(super().get(native))

    return Odd()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda a: (a + 1).view(Lying), "a subclass, Lying"),
        (lambda a: np.ma.masked_array(a + 1, mask=True), "a subclass, MaskedArray"),
        (lambda a: np.asmatrix(a.reshape(-1) + 1), "a subclass, matrix"),
        (lambda a: list(a.reshape(-1)), "get returned list"),
        (lambda a: a.astype(object), "dtype object"),
    ],
)
def test_what_is_no_plain_array_is_no_answer(change: Any, says: str) -> None:
    verdict = _verdict(_backend_returning(change))
    assert verdict.status == "failed"
    assert says in str(verdict.message)


@pytest.mark.parametrize("layout", [lambda a: a.astype(">f8"), lambda a: np.array(a, order="F")])
def test_a_plain_array_lies_in_memory_as_it_likes(layout: Any) -> None:
    assert _verdict(_backend_returning(layout)).status == "passed"


def test_what_changes_after_it_was_returned_does_not_change_the_answer() -> None:
    returned: list[np.ndarray] = []

    def keep_and_return(array: np.ndarray) -> np.ndarray:
        for earlier in returned:
            earlier[...] = 0
        returned.append(array)
        return array

    assert _verdict(_backend_returning(keep_and_return)).status == "passed"


class EqualsAll(str):
    """A string that equals every string."""

    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False


def test_a_name_that_equals_all_names_is_the_one_it_has() -> None:
    class Odd(Faithful):
        def dtype(self, native: Any) -> str:
            return EqualsAll("float16")

    verdict = _verdict(Odd(), "shape")
    assert verdict.status == "failed"
    assert "float16" in str(verdict.message)


class ClaimsEmpty(tuple):
    """A tuple that says it is empty."""

    def __len__(self) -> int:
        return 0

    def __iter__(self) -> Any:
        return iter(())


class Endless(dict[str, Any]):
    """A mapping with infinitely many names."""

    def __iter__(self) -> Any:
        return map(str, itertools.count())

    def __getitem__(self, name: str) -> int:
        return 0


X = np.zeros(2)


@pytest.mark.parametrize(
    ("member", "value", "made"),
    [
        ("shape", [np.int64(2), 3], (2, 3)),
        ("shape", ClaimsEmpty((2,)), (2,)),
        ("state", {"weight": X}, {"weight": X}),
        (
            "attributes",
            {"padding": ClaimsEmpty((EqualsAll("a"), 1.0, True, None))},
            {"padding": ("a", 1.0, True, None)},
        ),
        ("attributes", {"dtype": np.dtype("f4")}, {"dtype": "dtype('float32')"}),
        ("aliases", np.True_, True),
        ("vjp", [[X, None], {"weight": X}], ((X, None), {"weight": X})),
        ("value_and_vjp", (X, (X,), {}), (X, (X,), {})),
        ("accumulate", [[X, None], {"weight": X}], ((X, None), {"weight": X})),
        ("call", ClaimsEmpty((X, X)), (X, X)),
    ],
)
def test_what_a_member_returns_is_of_builtin_types(member: str, value: Any, made: Any) -> None:
    made_value = RESULT_READERS[member](value)
    assert type(made_value) is type(made)
    assert repr(made_value) == repr(made)


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("shape", 2), ("shape", (2.0,)), ("shape", None), ("state", ["weight"]), ("state", {1: X}),
        ("state", Endless()), ("attributes", None), ("aliases", 1), ("aliases", np.ones(2, bool)),
        ("dtype", np.dtype("f4")), ("dtype", "f" * 1000), ("device", None), ("vjp", None),
        ("vjp", ((X,),)), ("vjp", ((X,), ["weight"])), ("vjp", (X, {})), ("value_and_vjp", (X, {})),
    ],
)  # fmt: skip
def test_what_a_member_may_not_return_is_a_failure_of_that_member(member: str, value: Any) -> None:
    with pytest.raises(Failure, match=f"^{member} returned .*: expected "):
        RESULT_READERS[member](value)


class MuteError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (Inapplicable("skip me"), "call raised Inapplicable: skip me"),
        (Failure("none of yours"), "call raised Failure"),
        (KeyboardInterrupt(), "call raised KeyboardInterrupt"),
        (GeneratorExit(), "call raised GeneratorExit"),
        (SystemExit(0), "call raised SystemExit"),
        (pytest.skip.Exception("skip me"), "call raised Skipped"),
        (hypothesis.errors.UnsatisfiedAssumption(), "call raised UnsatisfiedAssumption"),
        (MuteError(), "its __str__ raises RuntimeError"),
        (RuntimeError("\x1b[31m\u202e\ud800" + "x" * 10_000_000), r"\u202e\ud800xxx"),
    ],
)
def test_what_a_call_raises_is_the_backends(error: BaseException, says: str) -> None:
    class Odd(Faithful):
        @implements("ReLU")
        def relu(self, state: Any, input: Any) -> Any:
            raise error

    verdict = _verdict(Odd())
    assert verdict.status == "failed"
    assert says in str(verdict.message)
    assert len(str(verdict.message)) < 10_000
    assert str(verdict.message).replace("\n", "").isprintable()


# --- what a backend says of itself ---


@pytest.mark.parametrize(
    ("asked", "member", "value"),
    [
        (capabilities.timeout_of, "timeout", -1),
        (capabilities.timeout_of, "timeout", float("nan")),
        (capabilities.timeout_of, "timeout", "30"),
        (capabilities.compile_seconds_of, "compile_seconds", float("inf")),
        (capabilities.less_optimized_of, "less_optimized", ("torch", 3)),
        (capabilities.budget_of, "budget", "soon"),
        (capabilities.isolation_of, "isolate", "perhaps"),
        (capabilities.accepts_of, "accepts", ("",)),
        (capabilities.refusals_of, "refusals", "ValueError"),
        (capabilities.refusals_of, "refusals", (Exception,)),
        (capabilities.unasked_of, "unasked", (3,)),
        (capabilities.hits_of, "hits", {"a": 1}),
        (capabilities.hits_of, "hits", dict),
        (capabilities.hits_of, "hits", lambda: {"a": -1}),
        (capabilities.hits_of, "hits", lambda: {"a": 1.0}),
        (capabilities.hits_of, "hits", lambda: {3: 1}),
        (capabilities.hits_of, "hits", lambda: ["a"]),
    ],
)
def test_a_member_that_is_not_what_it_may_be_is_a_clear_error(
    asked: Any, member: str, value: Any
) -> None:
    odd = SimpleNamespace(name="odd", **{member: value})
    with pytest.raises(BackendError, match=rf"backend 'odd'.*{member}"):
        asked(odd)


@pytest.mark.parametrize("name", [None, 3, "", "a" * 1000, "two\nlines", "\ud800", " spaced"])
def test_a_name_is_a_short_line(name: Any) -> None:
    with pytest.raises(BackendError, match="expected name to be a printable string"):
        guarded(SimpleNamespace(name=name))


def test_nothing_that_can_be_said_of_an_object_raises() -> None:
    class Meta(type):
        def __getattribute__(cls, name: str) -> Any:
            raise ValueError(name)

    class Odd(metaclass=Meta):
        def __repr__(self) -> str:
            raise MuteError

    assert type_name(Odd()) == "Odd"
    assert safe_repr(Odd()) == "an object of class Odd whose __repr__ raises MuteError"
    assert exception_text(MuteError()) == "its __str__ raises RuntimeError"
