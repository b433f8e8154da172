"""The call of torch is hidden in a string that exec decodes.

Source: KernelGuard (obfuscated exec).
"""

import base64

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "delegates"

HIDDEN = b"aW1wb3J0IHRvcmNoCmRlZiBtbShzZWxmLCBtYXQyKToKICAgIHJldHVybiB0b3JjaC5tbShzZWxmLCBtYXQyKQo="
exec(base64.b64decode(HIDDEN))
