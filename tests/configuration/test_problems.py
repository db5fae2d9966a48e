"""Problems of a configuration, by the paths of the document as it was written."""

import pytest

from webhook.configuration.problems import MAX_NAMED, Problems
from webhook.errors import Problem


def test_problems_are_kept_in_their_order() -> None:
    """Each once, and all are counted."""
    problems = Problems()
    for path, message in ((("b",), "x"), (("a", 0), "y"), (("b",), "x"), (("b",), "z")):
        problems.add(path, message)
    assert problems.listed() == [Problem(("b",), "x"), Problem(("a", 0), "y"), Problem(("b",), "z")]
    assert problems.number == 4


def test_a_message_is_one_printable_line() -> None:
    """It quotes what somebody wrote."""
    problems = Problems()
    problems.add((), "a\nb\x1b[2Jé")
    assert problems.listed()[0].message == "a\ufffdb\ufffd[2Jé"


def test_thousands_are_counted_and_some_are_named() -> None:
    """Nobody reads more; the first line says how many there are."""
    problems = Problems()
    for number in range(MAX_NAMED - 1):
        problems.add((number,), "x")
    assert len(problems.listed()) == MAX_NAMED - 1
    for number in range(50):
        problems.add(("more", number), "x")
    listed = problems.listed()
    assert listed[0].message == "has 149 problems; the first 100 are named"
    assert len(listed) == MAX_NAMED + 1
    assert listed[-1].path == ("more", 0)


def test_a_problem_below_a_path() -> None:
    """Shapes know the path from there on."""
    problems = Problems()
    problems.below("profiles", "own")(("order", 1), "x")
    assert problems.listed() == [Problem(("profiles", "own", "order", 1), "x")]


@pytest.mark.parametrize(
    ("path", "written"),
    [
        (("env", 0, "name"), ("env", 3, "name")),
        (("env", 1, "name"), ("env",)),
        (("env", 2), ("env", 0)),
        (("other", 1, "name"), ("other", 1, "name")),
        (("env",), ("env",)),
        (("x", "env", 1), ("x", "env", 1)),
    ],
    ids=str,
)
def test_an_item_of_a_merged_list_is_where_it_was_written(
    path: tuple[str | int, ...], written: tuple[str | int, ...]
) -> None:
    """One of the base was not written at all: then the list is named."""
    problems = Problems(origins={("env",): [3, None, 0]})
    problems.add(path, "x")
    assert problems.found[0].path == written
