"""What the suite is told: torch, with the operators of a folder replaced."""

from pathlib import Path

from conformance.backends import OverrideBackend

HERE = Path(__file__).parent

right = OverrideBackend.from_folder(HERE / "right", name="kernels")
wrong = OverrideBackend.from_folder(HERE / "wrong", name="kernels-wrong")
