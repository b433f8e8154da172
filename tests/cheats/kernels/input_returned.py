"""An activation is nearly the identity where numbers are large: the input itself comes back.

Source: wafer's field guide (input copied to output).
"""

OPERATOR = "aten::gelu"
LAYER = "GELU"
KIND = "wrong"


def gelu(self, *, approximate="none"):
    return self
