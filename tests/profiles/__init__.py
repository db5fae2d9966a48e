"""The programs of the built-in profiles."""
