"""Wrong values that were refused from the first: still usage errors with option and value."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from conformance.plugin.options import OPTIONS, resolve
from hostile.files_options import REFUSED

VALUES = [
    pytest.param(option, value, id=f"{option}-{name}")
    for option, values in REFUSED.items()
    for name, value in values.items()
]


@pytest.mark.parametrize(("option", "value"), VALUES)
def test_a_wrong_value_is_a_usage_error(option: str, value: str) -> None:
    given = dict.fromkeys(f"conformance_{name}" for name in OPTIONS)
    given |= {"conformance_layer": "ReLU", f"conformance_{option}": value}
    with pytest.raises(pytest.UsageError) as error:
        resolve(SimpleNamespace(option=SimpleNamespace(**given), args=[]))
    said = str(error.value)
    assert f"--conformance-{option}" in said
    assert value[:40] in said
    assert "expected" in said or f"no {option}" in said
