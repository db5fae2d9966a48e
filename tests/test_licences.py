"""Every package that is installed with Pillion has a licence that we know, and brings its text."""

import re
import tomllib
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
#: One list for both languages: what the sidecar's program may depend on, and what only Python's packages have.
ALLOWED = {
    *tomllib.loads((ROOT / "tail/deny.toml").read_text())["licenses"]["allow"],
    *("BSD-2-Clause", "MIT-0", "PSF-2.0"),
}
#: What packages without a License-Expression have written.
OLDER = {"Apache Software License": "Apache-2.0", "MIT": "MIT", "MIT License": "MIT"}


def shipped() -> set[str]:
    """Return the packages that the servers and the command line need, in this environment."""
    found: set[str] = set()
    waiting = [Requirement("pillion[completion]")]
    while waiting:
        requirement = waiting.pop()
        if requirement.name in found and not requirement.extras:
            continue
        found.add(requirement.name)
        for text in distribution(requirement.name).requires or ():
            needed = Requirement(text)
            if needed.marker is None or any(
                needed.marker.evaluate({"extra": extra}) for extra in ("", *requirement.extras)
            ):
                waiting.append(needed)
    return found


def licence(package: Distribution) -> str:
    """Return the SPDX expression of a package's licence; empty where it has none that we can read."""
    expression: str | None = package.metadata["License-Expression"]
    return expression or OLDER.get(package.metadata["License"], "")


def allowed(expression: str) -> bool:
    """Return whether every part that counts has a licence that we accept."""
    parts = re.sub("[()]", "", expression).split(" AND ")
    return all(any(name in ALLOWED for name in part.split(" OR ")) for part in parts)


@pytest.mark.parametrize("name", sorted(shipped()))
class TestEach:
    """Each package that the wheel and the image bring along."""

    def test_its_licence_is_known(self, name: str) -> None:
        """A new one is looked at by a person, who adds it here or takes another package."""
        assert allowed(licence(distribution(name)))

    def test_its_notice_comes_with_it(self, name: str) -> None:
        """Among its metadata, which are in the image, too."""
        files = distribution(name).files or []
        assert [path for path in files if path.parts[0].endswith(".dist-info") and "licenses" in path.parts]


def test_all_are_looked_at() -> None:
    """Those that are needed by others, and those of the extra."""
    assert {"argcomplete", "cryptography", "jsonpointer", "pillion", "pydantic-core", "starlette"} <= shipped()


@pytest.mark.parametrize(
    ("expression", "known"),
    [
        ("MIT", True),
        ("GPL-3.0-only", False),
        ("GPL-3.0-only OR MIT", True),
        ("GPL-3.0-only AND MIT", False),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", True),
        ("", False),
    ],
)
def test_expressions(expression: str, known: bool) -> None:
    """Of alternatives one is enough; of what holds together, all count."""
    assert allowed(expression) == known
