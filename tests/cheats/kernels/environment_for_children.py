"""It sets variables that change how later processes start, and what the suite does.

Source: own.
"""

import os
import tempfile

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "tampers"


def mm(self, mat2):
    os.environ["PYTHONPATH"] = tempfile.gettempdir()
    os.environ["PYTHONSTARTUP"] = os.path.join(tempfile.gettempdir(), "no-such-file.py")
    os.environ["CONFORMANCE_PROFILE"] = os.environ["NN_CONFORMANCE_PROFILE"] = "smoke"
    os.environ["PYTEST_ADDOPTS"] = "--deselect all"
    return self.new_zeros(self.shape[0], mat2.shape[1])
