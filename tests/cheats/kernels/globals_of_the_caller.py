"""All functions in the globals of its callers that lie in the suite are replaced by ones that
return their first argument.

Source: pygpubench pull request 22 (call stack walked).
"""

import sys
import types

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "tampers"


def first(*arguments, **options):
    return arguments[0] if arguments else None


def mm(self, mat2):
    frame = sys._getframe().f_back
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.startswith("conformance"):
            for name, value in list(frame.f_globals.items()):
                if isinstance(value, types.FunctionType):
                    frame.f_globals[name] = first
        frame = frame.f_back
    return self.new_zeros(self.shape[0], mat2.shape[1])
