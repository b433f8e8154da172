"""Functions of __main__, which started the judge, are replaced.

Source: KernelGuard (sys.modules).
"""

import sys

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "tampers"


def mm(self, mat2):
    main = sys.modules["__main__"]
    for name, value in list(vars(main).items()):
        if callable(value) and not name.startswith("__"):
            setattr(main, name, lambda *_, **__: 0)
    return self.new_zeros(self.shape[0], mat2.shape[1])
