"""Write the JSON Schemas that ship with the package, from the code."""

from __future__ import annotations

from pathlib import Path

from conformance.reports import schemas

from conformance.backends import wire_format

SCHEMA_MAKERS = {**schemas.FILE_SCHEMAS, "wire": wire_format.schema}

if __name__ == "__main__":
    folder = Path(__file__).parents[1] / "conformance" / "schemas"
    for name, make in SCHEMA_MAKERS.items():
        (folder / f"{name}.schema.json").write_text(schemas.file_text(make()), encoding="utf-8")
