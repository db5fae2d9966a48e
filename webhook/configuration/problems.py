"""Collects what is wrong with a configuration, and what to know of it, by the paths of the document as written."""

from collections.abc import Callable
from dataclasses import dataclass, field

from webhook.configuration.merging import Origins
from webhook.errors import Problem
from webhook.json_values import Path

__all__ = ["Problems"]

#: Nobody reads more, and to find the positions of a hundred thousand takes minutes.
MAX_NAMED = 100


@dataclass
class Problems:
    """Problems by path, in the order in which they were found."""

    found: list[Problem] = field(default_factory=list)
    #: How many were found; beyond :data:`MAX_NAMED` they are only counted.
    number: int = 0
    #: What is no mistake, but should be known.
    warnings: list[Problem] = field(default_factory=list)
    #: Where the items of merged lists were written.
    origins: Origins = field(default_factory=dict)

    def add(self, path: Path, message: str) -> None:
        """Add a problem at a path of the merged document."""
        self.number += 1
        if len(self.found) >= MAX_NAMED:
            return
        problem = self._problem(path, message)
        if problem not in self.found:
            self.found.append(problem)

    def warn(self, path: Path, message: str) -> None:
        """Add a warning at a path of the merged document."""
        if len(self.warnings) < MAX_NAMED:
            self.warnings.append(self._problem(path, message))

    def _problem(self, path: Path, message: str) -> Problem:
        # a message quotes what somebody wrote
        clean = "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in message)
        return Problem(self._written(path), clean)

    def _written(self, path: Path) -> Path:
        """Return the path in the document as it was written; an item of a base has none, but its list may have."""
        written: list[str | int] = []
        for number, step in enumerate(path):
            origin: int | str | None = step
            if isinstance(step, int) and path[:number] in self.origins:
                origin = self.origins[path[:number]][step]
            if origin is None:
                break
            written.append(origin)
        return tuple(written)

    def listed(self) -> list[Problem]:
        """Return the problems; where some are left out, the first says so."""
        if len(self.found) < MAX_NAMED:
            return self.found
        return [Problem((), f"has {self.number} problems; the first {MAX_NAMED} are named"), *self.found]

    def below(self, *steps: str | int) -> Callable[[Path, str], None]:
        """Return a function that adds problems below a path."""
        return lambda path, message: self.add((*steps, *path), message)
