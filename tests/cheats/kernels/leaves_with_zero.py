"""SystemExit with status 0 in the middle of a call.

Source: own.
"""

import sys

OPERATOR = "aten::_softmax"
LAYER = "Softmax"
KIND = "tampers"


def _softmax(self, dim, half_to_float):
    sys.exit(0)
