"""Benchmarks: ratios against a rival in one run, never timed tests."""
