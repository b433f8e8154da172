"""Wrong values that were refused from the first: still usage errors with option and value."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from conformance.plugin.options import OPTIONS, read_settings
from hostile.files_options import REFUSED

VALUES = [
    pytest.param(option, value, id=f"{option}-{name}")
    for option, values in REFUSED.items()
    for name, value in values.items()
]


@pytest.mark.parametrize(("option", "value"), VALUES)
def test_a_wrong_value_is_a_usage_error(option: str, value: str) -> None:
    option_values = dict.fromkeys(f"conformance_{name}" for name in OPTIONS)
    option_values |= {"conformance_layer": "ReLU", f"conformance_{option}": value}
    with pytest.raises(pytest.UsageError) as error:
        read_settings(SimpleNamespace(option=SimpleNamespace(**option_values), args=[]))
    message = str(error.value)
    assert f"--conformance-{option}" in message
    assert value[:40] in message
    assert "expected" in message or f"no {option}" in message
