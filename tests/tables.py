"""The tables in docstrings: each row is a case of a test, so that neither has what the other has not."""

import inspect
import re

__all__ = ["rows"]


def rows(documented: object) -> list[str]:
    """Return the first column of the only table in an object's docstring, one text a row, without backquotes."""
    lines = (inspect.getdoc(documented) or "").splitlines()
    borders = [number for number, line in enumerate(lines) if re.fullmatch(r"=+(?: +=+)+", line)]
    _, head, end = borders
    width = lines[head].index(" ")
    cells = [line[:width].strip().replace("`", "") for line in lines[head + 1 : end]]
    # a line without a first cell goes on with the row before it
    return [cell for cell in cells if cell]
