"""Infinity everywhere: the relative error of it is NaN.

Source: own.
"""

OPERATOR = "aten::_log_softmax"
LAYER = "LogSoftmax"
KIND = "wrong"


def _log_softmax(self, dim, half_to_float):
    return self.new_full(self.shape, float("-inf"))
