"""One number of shape (1, 1), which a comparison would broadcast.

Source: own.
"""

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "wrong"


def mm(self, mat2):
    return self[:1, :1].clone()
