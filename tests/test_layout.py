"""How the tests are arranged."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = sorted((ROOT / "tests").rglob("*.py"))
#: Packages of which each module has a module of tests.
PACKAGES = ("injection", "configuration")


def imported(source: str) -> Iterator[str]:
    """Find the dotted names that a module imports, each with the name that is taken from it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module or ''}.{alias.name}" for alias in node.names)


def taken_from_tests(source: str) -> list[str]:
    """Return which of those are test modules, or in one."""
    return [name for name in imported(source) if any(part.startswith("test_") for part in name.split("."))]


def test_no_module_imports_a_test_module() -> None:
    """What two of them need is a helper, with a name that does not begin with test_."""
    found = {str(path.relative_to(ROOT)): taken_from_tests(path.read_text()) for path in MODULES}
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(
    "source",
    [
        "from tests.service.test_process import ask",
        "from .test_files import append",
        "from tests.injection import test_properties",
        "import tests.injection.test_properties",
        "def late() -> None:\n    from tests.certs.test_pem import BAD\n",
    ],
)
def test_an_import_of_a_test_module_is_found(source: str) -> None:
    """In each form that an import has, wherever it stands."""
    assert len(taken_from_tests(source)) == 1


@pytest.mark.parametrize("package", PACKAGES)
def test_each_module_has_a_module_of_tests(package: str) -> None:
    """Of its own name, in the package's folder."""
    modules = {path.stem for path in (ROOT / "webhook" / package).glob("*.py")} - {"__init__"}
    tests = {path.stem.removeprefix("test_") for path in (ROOT / "tests" / package).glob("test_*.py")}
    assert modules - tests == set()
