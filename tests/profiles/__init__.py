"""Tests of the built-in profiles' programs."""
