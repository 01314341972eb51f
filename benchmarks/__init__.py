"""Benchmarks of this package and of its alternatives: ``python -m benchmarks``."""
