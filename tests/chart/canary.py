"""The program that `helm test` runs, as a module."""

import importlib.util
from types import ModuleType

from .values_table import CHART

__all__ = ["load"]


def load() -> ModuleType:
    """Return the program, which reads its environment when it is called."""
    spec = importlib.util.spec_from_file_location("canary", CHART / "files/canary.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
