"""NaN everywhere: a checker in which NaN compares with nothing finds no difference.

Source: pygpubench's exploits (NaN as a wildcard).
"""

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "wrong"


def mm(self, mat2):
    return self.new_full((self.shape[0], mat2.shape[1]), float("nan"))
