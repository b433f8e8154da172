"""A signal to itself, whose handler calls torch.

Source: own.
"""

import signal

import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "delegates"


def mm(self, mat2):
    box = []

    def handler(number, frame):
        box.append(torch.mm(self, mat2))

    before = signal.signal(signal.SIGUSR2, handler)
    try:
        signal.raise_signal(signal.SIGUSR2)
    finally:
        signal.signal(signal.SIGUSR2, before)
    return box[0]
