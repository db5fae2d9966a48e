"""Tests of the `tail` sidecar: the real program, as a process."""
