"""Benchmarks: time calls in turns with torch's, if their answers are right."""
