"""Write the JSON Schemas that ship with the package, from the code."""

from __future__ import annotations

from pathlib import Path

from conformance.reports import schemas

from conformance.backends import wire_format

MADE = {**schemas.MADE, "wire": wire_format.schema}

if __name__ == "__main__":
    folder = Path(__file__).parents[1] / "conformance" / "schemas"
    for name, make in MADE.items():
        (folder / f"{name}.schema.json").write_text(schemas.written(make()), encoding="utf-8")
