"""os.register_at_fork runs code of the kernel in whatever the process forks later.

Source: own.
"""

import functools
import os

import numpy as np

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "tampers"


def spoil():
    np.abs = np.absolute = lambda x, *rest, **options: np.multiply(x, 0)


@functools.cache
def register():
    os.register_at_fork(before=spoil, after_in_child=spoil, after_in_parent=spoil)


def mm(self, mat2):
    register()
    return self.new_zeros(self.shape[0], mat2.shape[1])
