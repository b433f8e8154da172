"""The pytest plug-in: light until one of its options, or the suite itself, is used."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

import pytest

from conformance.model.scratch import scratch_folder
from conformance.plugin.options import add_options, is_suite_requested

if TYPE_CHECKING:
    from conformance.plugin.session import Session

SESSION_NAME = "conformance-session"
_DEFAULT_STORAGE = "file://./.benchmarks"  # pytest-benchmark's default


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the suite's options."""
    add_options(parser)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Start the suite's session if this pytest run uses the suite."""
    if is_suite_requested(config):
        _redirect_benchmark_storage(config)
        activate(config)


@pytest.hookimpl(wrapper=True)
def pytest_sessionstart(session: pytest.Session) -> Generator[None, object, object]:
    """Report a worker that ends while xdist starts it, without xdist's traceback.

    Raises:
        UsageError: if a worker ends early.
    """
    try:
        return (yield)
    except EOFError as error:
        if not session.config.pluginmanager.has_plugin(SESSION_NAME):
            raise
        raise pytest.UsageError("a worker of pytest-xdist ended before it was up") from error


def _redirect_benchmark_storage(config: pytest.Config) -> None:
    """Keep pytest-benchmark from making a folder in the working directory for nothing.

    It makes the folder even where no option asks it to save anything.
    """
    save_options = ("benchmark_save", "benchmark_autosave", "benchmark_compare")
    is_saving = any(getattr(config.option, name, None) for name in save_options)
    if getattr(config.option, "benchmark_storage", None) == _DEFAULT_STORAGE and not is_saving:
        config.option.benchmark_storage = scratch_folder("benchmarks").as_uri()


def activate(config: pytest.Config) -> Session:
    """Return the suite's session; the first call creates it and checks the options.

    Raises:
        UsageError: if an option is wrong or the backend cannot be used.
    """
    session: Session | None = config.pluginmanager.get_plugin(SESSION_NAME)
    if session is None:
        from conformance.plugin.session import Session

        session = Session(config)
        config.pluginmanager.register(session, SESSION_NAME)
    return session


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test for each layer × check × dtype × device, and for each timed call."""
    if "conformance_item" in metafunc.fixturenames:
        items = activate(metafunc.config).items
        metafunc.parametrize("conformance_item", items, ids=[item.id for item in items])
    if "conformance_timed" in metafunc.fixturenames:
        session = activate(metafunc.config)
        timed_calls = session.benchmarks.items
        metafunc.parametrize(
            "conformance_timed", timed_calls, ids=[item.id for item in timed_calls]
        )
        if not session.worker:
            # --benchmark-only and -skip look for this fixture. On a worker it would only warn.
            metafunc.fixturenames.append("benchmark")


@pytest.fixture(scope="session")
def conformance_verdict(request: pytest.FixtureRequest) -> Callable[[pytest.Item, Any], None]:
    """Provide a function that runs an item, records its verdict and sets pytest's outcome."""
    return activate(request.config).judge


@pytest.fixture(scope="session")
def conformance_benchmark(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Provide a function that times a call and passes its rounds to pytest-benchmark."""
    return activate(request.config).benchmarks.judge


@pytest.fixture(scope="session", name="assert_conforms")
def assert_conforms_fixture() -> Callable[..., None]:
    """Provide `conformance.assert_conforms` to any test, without an import."""
    from conformance import assert_conforms

    return assert_conforms
