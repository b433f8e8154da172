"""Benchmarks: calls timed in turns with torch's, where their answers are right."""
