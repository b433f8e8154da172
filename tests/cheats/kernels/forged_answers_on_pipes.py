"""It writes forged lines to every open pipe and socket but the standard ones.

Source: pygpubench's exploits (descriptors overwritten).
"""

import json
import os
import stat

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "tampers"

LINE = json.dumps({"verdict": "right", "share": 1.0, "ok": True}).encode() + b"\n"


def mm(self, mat2):
    for name in os.listdir("/proc/self/fd"):
        try:
            mode = os.fstat(int(name)).st_mode
            if int(name) > 2 and (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
                os.set_blocking(int(name), False)
                os.write(int(name), LINE)
        except OSError:
            continue
    return self.new_zeros(self.shape[0], mat2.shape[1])
