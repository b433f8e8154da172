"""json, struct, marshal and msgspec are patched: numbers are encoded as others.

Source: own.
"""

import json
import marshal
import struct

import msgspec

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "tampers"


def mm(self, mat2):
    real = json.dumps
    json.dumps = lambda thing, **options: real(thing, **options).replace("false", "true")
    pack = struct.pack
    struct.pack = lambda form, *values: pack(
        form, *(values if "d" not in form else [0] * len(values))
    )
    marshal.dumps = lambda thing, *rest: b"N"
    msgspec.json.encode = lambda thing, **options: b'{"verdict":"right"}'
    return self.new_zeros(self.shape[0], mat2.shape[1])
