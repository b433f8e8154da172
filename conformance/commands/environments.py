"""Environments with released versions of a package, made by uv and kept in a cache folder."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import InvalidVersion, Version

from conformance.model.plain_text import bounded
from conformance.model.usage_error import UsageError

SUITE = "nn-conformance"
COMPANIONS: Mapping[str, Sequence[tuple[str, str]]] = {"torch": (("2.4", "numpy<2"),)}
"""Package → (version, requirement): before that version it needs the requirement, too."""


class NotInstalledError(Exception):
    """A version cannot be installed here; the message says why."""


@dataclass(frozen=True)
class Environments:
    """The environments of one package.

    Args:
        package: the distribution whose versions differ.
        extra: the suite's extra for the backend; empty for none.
        folder: where they are kept.
        offline: nothing is downloaded: only versions that are there can be used.
        python: the interpreter, or its version, for new environments.
        requirements: further ones to install, such as the plug-in of a backend.
    """

    package: str
    extra: str
    folder: Path
    offline: bool = False
    python: str = sys.executable
    requirements: Sequence[str] = field(default_factory=tuple)

    @cached_property
    def installed(self) -> str:
        """The version in the running interpreter's environment; empty for none."""
        try:
            return metadata.version(self.package).partition("+")[0]
        except metadata.PackageNotFoundError:
            return ""

    def versions(self) -> list[str]:
        """The last patch of each minor release that the suite supports, the oldest first.

        Offline these are the versions that are there.
        """
        if self.offline:
            names = [x.name for x in self.folder.glob(f"{self.package}-*") if _has_python(x)]
            return _sort({*(x.removeprefix(f"{self.package}-") for x in names), self.installed})
        listing = self._run_uv("tool", "run", "--quiet", "pip", "index", "versions", self.package)
        listed = re.search(r"Available versions: (.*)", listing)
        if listed is None:
            raise UsageError(f"pip lists no versions of {self.package}: {bounded(listing, 500)}")
        supported = supported_versions(self.package, self.extra)
        last_patches = dict[tuple[int, ...], str]()
        releases = {x.partition("+")[0] for x in listed[1].split(", ")}  # without local builds
        for version in _sort({*releases, self.installed}):
            if supported is None or supported.specifier.contains(version):
                last_patches[Version(version).release[:2]] = version
        return list(last_patches.values())

    def python_of(self, version: str) -> str:
        """The interpreter of the environment of a version, which is made if it is missing.

        Raises:
            NotInstalledError: if it cannot be installed.
        """
        if version == self.installed and not self.requirements:
            return sys.executable
        place = self.folder / f"{self.package}-{version}"
        if not _has_python(place):
            if self.offline:
                raise NotInstalledError("not there, and nothing is downloaded")
            self._make(place, version)
        return str(_python_in(place))

    def size(self) -> int:
        """The bytes of all environments in the folder."""
        sizes = dict[tuple[int, int], int]()
        for root, _, names in os.walk(self.folder):
            for name in names:
                status = os.lstat(os.path.join(root, name))
                sizes[status.st_dev, status.st_ino] = status.st_size  # hard links count once
        return sum(sizes.values())

    def _make(self, place: Path, version: str) -> None:
        """Make an environment beside its place, and move it there when it is complete."""
        unfinished = place.with_name(f".{place.name}.{os.getpid()}")
        companions = [
            requirement
            for limit, requirement in COMPANIONS.get(self.package, ())
            if Version(version) < Version(limit)
        ]
        wanted = [f"{self.package}=={version}", suite_requirement(self.extra), *companions]
        try:
            self._run_uv(
                "venv", "--quiet", "--relocatable", "--python", self.python, str(unfinished)
            )
            self._run_uv(
                "pip", "install", "--quiet", "--python", str(_python_in(unfinished)), *wanted,
                *self.requirements,
            )  # fmt: skip
            unfinished.rename(place)
        except UsageError as error:
            raise NotInstalledError(str(error)) from error
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)

    def _run_uv(self, *arguments: str) -> str:
        uv = shutil.which("uv")
        if uv is None:
            raise UsageError("uv makes the environments, and is not installed: pip install uv")
        self.folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run([uv, *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            raise UsageError(bounded(f"uv {arguments[0]}: {done.stderr.strip()}", 1000))
        return done.stdout


def supported_versions(package: str, extra: str) -> Requirement | None:
    """The suite's own requirement of a package; None if it has none."""
    for text in metadata.requires(SUITE) or ():
        requirement = Requirement(text)
        applies = requirement.marker is None or requirement.marker.evaluate({"extra": extra})
        if requirement.name == package and applies:
            return requirement
    return None


def suite_requirement(extra: str) -> str:
    """What installs this suite elsewhere: the place that it came from, or its version."""
    suite = metadata.distribution(SUITE)
    has_extra = extra in (suite.metadata.get_all("Provides-Extra") or ())
    name = f"{SUITE}[{extra}]" if has_extra else SUITE
    origin = suite.read_text("direct_url.json")
    if origin is None:
        return f"{name}=={suite.version}"
    return f"{name} @ {json.loads(origin)['url']}"


def package_of(backend: str, info: Mapping[str, str]) -> str:
    """The package that a backend tests: the one that its name begins with, else the first.

    Args:
        info: the versions that it reports.
    """
    return next((name for name in info if backend.startswith(name)), next(iter(info), backend))


def default_folder() -> Path:
    """Where environments are kept by default: in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / SUITE / "versions"


def _python_in(place: Path) -> Path:
    return place / "bin" / "python"


def _has_python(place: Path) -> bool:
    return not place.name.startswith(".") and _python_in(place).exists()


def _sort(versions: set[str]) -> list[str]:
    """The versions that are no pre-releases, the oldest first."""
    parsed = dict[Version, str]()
    for text in versions:
        try:
            version = Version(text)
        except InvalidVersion:
            continue
        if not version.is_prerelease:
            parsed[version] = text
    return [parsed[x] for x in sorted(parsed)]
