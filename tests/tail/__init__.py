"""Tests of the `tail` sidecar: its real program, run by the real busybox."""
