"""The tables in docstrings: each row is a case of a test, so that neither has what the other has not."""

import inspect
import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest

__all__ = ["flat", "rows"]


def rows(documented: object, columns: int = 1) -> list[str]:
    """Return the first columns of the only table in an object's docstring, one text a row, without backquotes."""
    lines = (inspect.getdoc(documented) or "").splitlines()
    borders = [number for number, line in enumerate(lines) if re.fullmatch(r"=+(?: +=+)+", line)]
    _, head, end = borders
    starts = [match.start() for match in re.finditer(r"=+", lines[head])]
    found = []
    for line in lines[head + 1 : end]:
        cells = [line[start:stop].strip() for start, stop in pairwise(starts)][:columns]
        # a line without a first cell goes on with the row before it
        if cells[0]:
            found.append(" ".join(cells).replace("`", ""))
    return found


def flat(table: Mapping[str, Mapping[str, tuple[Any, ...]]]) -> list[Any]:
    """Return the cases of a table's rows as parameters of a test, each with its row in its name."""
    return [
        pytest.param(*case, id=f"{row}: {name}" if name else row)
        for row, cases in table.items()
        for name, case in cases.items()
    ]
