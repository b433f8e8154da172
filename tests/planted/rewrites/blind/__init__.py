"""Thirty wrong rewrites, written by someone who had not seen the strategies."""

from planted.rewrites.blind import blocks, folding, functions, moves

REWRITES = [*folding.REWRITES, *functions.REWRITES, *moves.REWRITES, *blocks.REWRITES]
