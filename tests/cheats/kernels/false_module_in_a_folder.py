"""A folder with a false module `numpy` is put first in sys.path, for who imports later.

Source: own.
"""

import sys
import tempfile
from pathlib import Path

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "tampers"

FOLDER = tempfile.TemporaryDirectory(prefix="kernel-")


def mm(self, mat2):
    (Path(FOLDER.name) / "numpy.py").write_text("def __getattr__(name):\n    return lambda *_: 0\n")
    sys.path.insert(0, FOLDER.name)
    sys.modules.pop("numpy.testing", None)
    return self.new_zeros(self.shape[0], mat2.shape[1])
