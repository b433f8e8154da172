"""Sizes at which an index or a length computed in floating point is off by one.

For most sizes int(i * (L / o)) is ⌊i·L/o⌋; for these it is not. `tools/rounded_sizes.py` found
them: for each usual formula, in float32 and in float64, a table has a row that shows it wrong.
"""

from __future__ import annotations

# An input's length L and a number of outputs o, for regions from ⌊i·L/o⌋ to ⌈(i + 1)·L/o⌉.
REGIONS = ((168, 56), (112, 98), (175, 75), (130, 115))
# The way from the first window of fractional pooling to its last one, and their number less one.
STEPS = ((56, 49), (60, 52), (65, 55), (94, 47))
# An input's length and a factor, for an output as long as the whole part of their product.
FACTORS = ((22, 0.6818181818181818), (13, 1.1538461538461537))
# The same of factors below 1.
RATIOS = ((22, 0.6818181818181818),)
# The columns of a grid, and whether ±1 are the centres of its corner pixels, for 2/n or 2/(n − 1).
COLUMNS = ((49, False), (61, False), (84, True))
# The way along an axis from one end to the other, and how often a reflection turns there.
TURNS = ((41, 1), (49, 1))
