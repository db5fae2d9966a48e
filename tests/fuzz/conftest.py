"""The process fixture of the server tests."""

from tests.service.conftest import launch

__all__ = ["launch"]
