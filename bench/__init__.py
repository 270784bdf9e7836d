"""Benchmarks: what a number in the docs was measured with. None of them is a test."""
