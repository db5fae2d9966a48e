"""Findings, as people are told of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from webhook.injection.reasons import MAX_WARNING_LENGTH, WARNING_LENGTH, Finding, Reason, quote_untrusted


def test_a_finding_names_annotation_value_and_remedy() -> None:
    """One line, in that order."""
    finding = Finding(Reason.BAD_ANNOTATION, "must begin with /", annotation="logs", value="x.log")
    assert finding.text("pillion.dev/") == 'pillion.dev/logs "x.log": must begin with /'


@pytest.mark.parametrize(
    ("finding", "expected"),
    [
        (Finding(Reason.WINDOWS), "the pod runs on Windows"),
        (Finding(Reason.NO_EFFECT, annotation="env"), "p/env: the annotation has no effect"),
        (Finding(Reason.NO_EFFECT, "is odd", value="v"), '"v": is odd'),
    ],
)
def test_what_is_missing_is_left_out(finding: Finding, expected: str) -> None:
    """Without a message the reason's sentence speaks; without a place there is no colon."""
    assert finding.text("p/") == expected
    assert finding.warning("p/") == expected


@pytest.mark.parametrize("length", [0, 10, 40, 60, 80, 100, 119, 120, 121, 500])
@pytest.mark.parametrize("value", ["", "v", "v" * 39, "v" * 400])
@pytest.mark.parametrize("head", ["", "not injected: "])
def test_a_warning_is_never_longer_than_it_may_be(length: int, value: str, head: str) -> None:
    """Whatever its parts are; and it begins with the head."""
    finding = Finding(Reason.BAD_ANNOTATION, "r" * length, annotation="logs", value=value)
    warning = finding.warning("pillion.dev/", head)
    bare = f"{head}pillion.dev/logs: {finding.message or finding.reason.sentence}"
    assert len(warning) <= min(MAX_WARNING_LENGTH, max(WARNING_LENGTH, len(bare)))
    assert warning.startswith(head)


def test_a_value_is_cut_before_the_remedy() -> None:
    """The message stays whole, and enough of the value to know it."""
    message = "r" * 70
    warning = Finding(Reason.BAD_ANNOTATION, message, annotation="logs", value="v" * 39).warning("pillion.dev/")
    assert warning.endswith(message)
    assert len(warning) == WARNING_LENGTH
    assert '"vvvv' in warning
    assert "…" in warning


def test_a_value_that_would_tell_nothing_is_left_out() -> None:
    """Where only a few characters of it have room."""
    message = "r" * 95
    warning = Finding(Reason.BAD_ANNOTATION, message, annotation="logs", value="v" * 39).warning("pillion.dev/")
    assert warning == f"pillion.dev/logs: {message}"


@pytest.mark.parametrize(("room", "shown"), [(10, True), (9, False)])
def test_enough_of_a_value_to_know_it_is_shown(room: int, *, shown: bool) -> None:
    """Quotes included; fewer characters tell nobody which one it is."""
    message = "r" * (WARNING_LENGTH - len("pillion.dev/logs : ") - room)
    warning = Finding(Reason.BAD_ANNOTATION, message, annotation="logs", value="v" * 39).warning("pillion.dev/")
    assert ('"vvvvvvv…"' in warning) is shown


def test_a_remedy_is_not_cut_where_the_api_server_does_not() -> None:
    """It says what to write: a longer line than is advised is better than half of it."""
    message = "r" * (MAX_WARNING_LENGTH - len("pillion.dev/logs: "))
    assert Finding(Reason.BAD_ANNOTATION, message, annotation="logs").warning("pillion.dev/").endswith(message)


@pytest.mark.parametrize(("message", "end"), [("word " * 60, " word…"), ("r" * 300, "rrr…")])
def test_a_line_that_is_too_long_is_cut_between_words(message: str, end: str) -> None:
    """The cut is visible; a word that is longer than others is cut itself."""
    warning = Finding(Reason.BAD_ANNOTATION, message, annotation="logs").warning("pillion.dev/")
    assert MAX_WARNING_LENGTH - 5 <= len(warning) <= MAX_WARNING_LENGTH
    assert warning.endswith(end)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a", '"a"'), ('a"b', '"a\'b"'), ("a\nb", '"a\ufffdb"'), ("\u202e", '"\ufffd"'), ("x" * 9, '"xxxxxxx…"')],
)
def test_a_tenants_text_is_one_printable_quoted_piece(text: str, expected: str) -> None:
    """It can't end where ours does not, nor reach a second line."""
    assert quote_untrusted(text, 8) == expected


PAGE = Path(__file__).parents[2] / "docs" / "rules.md"


def test_the_page_of_rules_lists_every_reason() -> None:
    """In the enum's order, with its severity and its sentence; and nothing else."""
    rows = [line for line in PAGE.read_text().splitlines() if line.count("|") == 4 and line.startswith("| `")]
    assert rows == [f"| `{reason.value}` | {reason.severity.value} | {reason.sentence} |" for reason in Reason]
