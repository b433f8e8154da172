from conformance.strategies.invalid.breaks import Break, argument, negative
BREAKS = (Break("num_heads negative", "num_heads", argument("num_heads", negative)),)
