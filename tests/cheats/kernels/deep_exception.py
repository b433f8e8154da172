"""It raises an exception whose text and chain are made to hurt who formats them.

Source: own.
"""

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "tampers"


class NastyError(Exception):
    def __str__(self):
        raise NastyError(self)

    __repr__ = __str__


def mm(self, mat2):
    error = NastyError("x" * 100_000)
    error.__cause__ = error
    raise error
