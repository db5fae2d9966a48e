"""Every annotation's grammar: from a tenant's text to values, or to what to write instead."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Any

import pytest

from tests.injection.views import entry
from webhook.injection.annotations import (
    KEYS,
    MAX_COMPONENT_BYTES,
    MAX_DIRECTORIES,
    MAX_ENTRIES,
    MAX_PATH_BYTES,
    MAX_UNKNOWN_KEYS,
    MAX_USER_ID,
    MISSPELT_RATIO,
    OPTIONS,
    InvalidValueError,
    LogEntry,
    RequestedOptions,
    parse_logs,
    parse_options,
)
from webhook.injection.paths import components
from webhook.injection.reasons import Reason


def options(**annotations: str) -> RequestedOptions:
    """Return what the annotations ask for."""
    prefixed = {f"pillion.dev/{key.replace('_', '-')}": text for key, text in annotations.items()}
    return parse_options(prefixed, "pillion.dev/")


def refusal(key: str, text: str) -> str:
    """Return why an annotation's value is refused; nothing of it is among the options."""
    found = options(**{key: text})
    (finding,) = found.invalid
    assert (finding.reason, finding.annotation) == (Reason.BAD_ANNOTATION, key)
    found.invalid = ()
    assert found == RequestedOptions()
    return finding.text()


@pytest.mark.parametrize("key", OPTIONS)
def test_what_people_are_told_of_an_annotation_is_true(key: str) -> None:
    """Its choices and its example are valid, and where it has choices nothing else is."""
    option = OPTIONS[key]
    assert option.meaning
    assert bool(option.choices) != bool(option.example)
    for text in option.choices or [option.example]:
        assert not options(**{key: text}).invalid, text
    several = options(**{key: "\n".join([option.example or option.choices[0]] * 2)})
    assert bool(several.invalid) != option.is_list
    if option.choices:
        assert options(**{key: "anything-else"}).invalid


@pytest.mark.parametrize(
    ("key", "text", "field", "value"),
    [
        ("inject", "true", "inject", True),
        ("inject", "false", "inject", False),
        ("inject", " true\r\n", "inject", True),
        ("profile", "web-2", "profile", "web-2"),
        ("logs", "/a/*.log", "logs", parse_logs("/a/*.log")),
        ("containers", "app", "containers", ("app",)),
        ("containers", " web,app,\nweb\r\n,", "containers", ("web", "app")),
        ("env", "false", "add_variables", False),
        ("volume-size-limit", "1Gi", "volume_size_limit", "1Gi"),
        ("run-as-user", "0", "run_as_user", 0),
        ("run-as-user", str(MAX_USER_ID), "run_as_user", MAX_USER_ID),
        ("cpu-request", "10m", "resource_annotations", {"cpu-request": "10m"}),
        ("cpu-limit", "1", "resource_annotations", {"cpu-limit": "1"}),
        ("memory-request", "1Mi", "resource_annotations", {"memory-request": "1Mi"}),
        ("memory-limit", " 64Mi ", "resource_annotations", {"memory-limit": "64Mi"}),
    ],
)
def test_a_value_is_read(key: str, text: str, field: str, value: Any) -> None:
    """Without the blanks around it, and nothing else is said."""
    found = options(**{key: text})
    assert getattr(found, field) == value
    assert (found.invalid, found.warnings) == ((), ())
    assert found != RequestedOptions()


@pytest.mark.parametrize(
    ("key", "text", "said"),
    [
        ("inject", "True", '"True": write "true" or "false"'),
        ("inject", "", 'inject: write "true" or "false"'),
        ("env", "yes", '"yes": write "true" or "false"'),
        ("profile", "", "profile: is empty; write a profile's name, or remove it"),
        ("profile", "Web", '"Web": write web'),
        ("profile", "a b", '"a b": write a name of lower-case letters, digits and -'),
        ("profile", "A_B", '"A_B": write a name of lower-case letters, digits and -'),
        ("containers", " , ", "write container names with commas between them, or leave it out"),
        ("containers", "app, my app", '"my app": is not a container name; write app,my,app'),
        ("volume-size-limit", "big", '"big": is not a quantity; write for example 1Gi'),
        ("volume-size-limit", "0", '"0": must be above 0; write for example 1Gi'),
        ("cpu-limit", "-1", '"-1": must be above 0; write for example 500m'),
        ("cpu-request", "x", '"x": is not a quantity; write for example 50m'),
        ("memory-request", "x", '"x": is not a quantity; write for example 32Mi'),
        ("memory-limit", "x", '"x": is not a quantity; write for example 64Mi'),
        *(
            ("run-as-user", text, f'"{text}": write a user id from 0 to 2147483647')
            for text in ("-1", "1.0", "root", "01", "1_0", "\u0661", str(MAX_USER_ID + 1), "9" * 11)
        ),
        ("logs", "x", '"x": is not a path; write for example /var/log/app/*.log'),
    ],
)
def test_a_value_that_can_not_be_used_is_refused(key: str, text: str, said: str) -> None:
    """With what to write instead."""
    assert refusal(key, text).endswith(said)


def test_no_mistake_hides_another() -> None:
    """All of them are found, in the annotations' order; what is good is read."""
    found = options(inject="x", env="false", profile="X", logs="y")
    assert [finding.annotation for finding in found.invalid] == ["inject", "profile", "logs"]
    assert not found.add_variables


def test_annotations_of_others_ask_for_nothing() -> None:
    """None at all, or under another prefix."""
    for others in (None, {}, {"example.com/inject": "true"}):
        assert parse_options(others, "pillion.dev/") == RequestedOptions()
    assert parse_options({"logs.example/inject": "true"}, "logs.example/") == RequestedOptions(inject=True)


def test_a_status_is_not_read() -> None:
    """Whoever wrote it: it asks for nothing, and nothing is wrong with it."""
    assert options(status="{}") == RequestedOptions()


@pytest.mark.parametrize(
    ("key", "reason", "said"),
    [
        ("Inject", Reason.MISSPELT_KEY, "is unknown; did you mean pillion.dev/inject?"),
        ("log", Reason.MISSPELT_KEY, "is unknown; did you mean pillion.dev/logs?"),
        ("injekt", Reason.MISSPELT_KEY, "is unknown; did you mean pillion.dev/inject?"),
        ("runAsUser", Reason.MISSPELT_KEY, "is unknown; did you mean pillion.dev/run-as-user?"),
        ("memory-limits", Reason.MISSPELT_KEY, "is unknown; did you mean pillion.dev/memory-limit?"),
        # these may be keys of a newer Pillion
        ("start-at", Reason.UNKNOWN_KEY, "is unknown; did you mean pillion.dev/start?"),
        ("log-format", Reason.UNKNOWN_KEY, "is unknown; known: inject, profile, logs, containers, …"),
        ("run-as-group", Reason.UNKNOWN_KEY, "is unknown; did you mean pillion.dev/run-as-user?"),
        ("statuss", Reason.UNKNOWN_KEY, "is unknown; did you mean pillion.dev/start?"),
        ("zzz", Reason.UNKNOWN_KEY, "is unknown; known: inject, profile, logs, containers, …"),
    ],
)
def test_an_unknown_key_is_a_warning(key: str, reason: Reason, said: str) -> None:
    """With the nearest one, or some that there are; the status is nobody's to write."""
    found = options(**{key: "x"})
    assert found.invalid == ()
    assert [(one.reason, one.annotation, one.message) for one in found.warnings] == [(reason, key, said)]


def test_no_key_is_a_misspelling_of_another() -> None:
    """An older Pillion, after a rollback, must not take a new key for a misspelt old one."""
    for key in KEYS:
        assert not difflib.get_close_matches(key, set(KEYS) - {key}, cutoff=MISSPELT_RATIO), key


def test_thousands_of_unknown_keys_are_not_guessed_at() -> None:
    """A few are named; the rest can be no typing errors."""
    found = options(**{f"x{number}": "" for number in range(5000)}, logs="/a/x.log")
    assert len(found.warnings) == MAX_UNKNOWN_KEYS
    assert found.logs is not None


@pytest.mark.parametrize(
    ("given", "chooses"),
    [
        (RequestedOptions(), False),
        (RequestedOptions(inject=False), False),
        (RequestedOptions(inject=True), True),
        (RequestedOptions(logs=()), True),
        (RequestedOptions(profile="web"), True),
        (RequestedOptions(containers=("app",)), True),
        (RequestedOptions(add_variables=False, run_as_user=1, resource_annotations={"cpu-limit": "1"}), False),
    ],
    ids=repr,
)
def test_some_annotations_choose_what_is_read(given: RequestedOptions, *, chooses: bool) -> None:
    """A namespace chooses for its pods only where they do not."""
    assert given.author_wants_logs is chooses


class TestLogs:
    """The grammar of ``logs``."""

    @pytest.mark.parametrize(
        ("text", "container", "directory", "name", "recursive", "is_glob"),
        [
            ("/a/b/*.log", "", "/a/b", "*.log", False, True),
            ("/a/x.log", "", "/a", "x.log", False, False),
            ("/x.log", "", "/", "x.log", False, False),
            ("app:/a/x.log", "app", "/a", "x.log", False, False),
            ("app : /a/x.log", "app", "/a", "x.log", False, False),
            ("/a/", "", "/a", "*", False, True),
            ("/a/.", "", "/a", "*", False, True),
            ("/a/**", "", "/a", "*", True, True),
            ("/a/**/", "", "/a", "*", True, True),
            ("/a/**/*.log", "", "/a", "*.log", True, True),
            ("/a/**/x.log", "", "/a", "x.log", True, True),
            ("//a/./b//x.log", "", "/a/b", "x.log", False, False),
            ("/var/run/a/x.log", "", "/var/run/a", "x.log", False, False),
            ("/a/x?.log", "", "/a", "x?.log", False, True),
            ("/a/[ab].log", "", "/a", "[ab].log", False, True),
            ("/a b/c.log", "", "/a b", "c.log", False, False),
        ],
    )
    def test_an_entry_is_read(  # noqa: PLR0917 — the fields of an entry
        self, text: str, container: str, directory: str, name: str, recursive: bool, is_glob: bool
    ) -> None:
        """Into the directory, the files in it, and whose they are."""
        assert entry(text) == LogEntry(text, container, directory, name, recursive, components(directory), is_glob)

    @pytest.mark.parametrize(
        "text", ["/a/x.log,/b/y.log", "/a/x.log\n/b/y.log", " /a/x.log ,\r\n,/b/y.log,", "/a/x.log,/b/y.log,/a/x.log"]
    )
    def test_entries_are_separated(self, text: str) -> None:
        """By commas and lines; what is empty or there twice counts once."""
        assert [one.text for one in parse_logs(text)] == ["/a/x.log", "/b/y.log"]

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", "names no file; write for example /var/log/app/*.log"),
            ('["/a/x.log"]', "has quotes or brackets; write /a/x.log"),
            (",\n", "names no file; write for example /var/log/app/*.log"),
            ("/a\u200b/x.log", "has a control or invisible character; remove it"),
            ("/a/\u00a0x.log", "has a control or invisible character; remove it"),
            ("/a/\ufe0fx.log", "has a control or invisible character; remove it"),
            ("/a/\tx.log", "has a control or invisible character; remove it"),
            (":/a/x.log", "has no container name before the colon; write container:/dir/pattern"),
            ("App:/a/x.log", '"App" is not a valid container name; write lower-case letters, digits and -'),
            ("shop_a:/a/x.log", '"shop_a" is not a valid container name; write lower-case letters, digits and -'),
            ("app:a/x.log", "must have an absolute path; write app:/dir/pattern"),
            ("/a:b/x.log", "no volume can be mounted at a path with a colon; write another directory"),
            ("app:/a/x:y.log", "no volume can be mounted at a path with a colon; write another directory"),
            ("/a/{b,c}.log", "has a {; write one entry for each alternative"),
            ("/a/b\\c.log", "has a \\; write ? in its place"),
            ("/a/../x.log", "has a ..; write the path without it"),
            ("/a/..", "has a ..; write the path without it"),
            ("/a/x**.log", "has ** inside a name; write **/x*.log"),
            ("/a/[b.log", "has a [ without its ]; write ? for one character"),
            ("/a/b].log", "has a ] without its [; write ? for one character"),
            ("/a/*/x.log", "has a wildcard in its directory; write /a/**/x.log"),
            ("/a/b?/c/[d]/*.log", "has a wildcard in its directory; write /a/**/*.log"),
            ("/a/**/b/**/*.log", "has a wildcard in its directory; write /a/**/*.log"),
        ],
    )
    def test_what_can_not_be_used_is_refused(self, text: str, said: str) -> None:
        """One bad entry refuses all."""
        with pytest.raises(InvalidValueError) as raised:
            parse_logs(text)
        assert raised.value.message == said
        if text.strip(",\n"):
            with pytest.raises(InvalidValueError):
                parse_logs(f"/good/x.log\n{text}")

    @pytest.mark.parametrize(
        ("name", "taken"),
        [("é" * (MAX_COMPONENT_BYTES // 2), True), ("é" * (MAX_COMPONENT_BYTES // 2 + 1), False)],
    )
    def test_a_part_has_so_many_bytes_at_most(self, name: str, *, taken: bool) -> None:
        """No file system has longer names."""
        if taken:
            assert parse_logs(f"/a/{name}")
            return
        with pytest.raises(InvalidValueError, match="a component longer than 255 bytes"):
            parse_logs(f"/a/{name}")

    def test_a_path_has_so_many_bytes_at_most(self) -> None:
        """A mount's path is longer still."""
        path = ("/" + "x" * 127) * (MAX_PATH_BYTES // 128)
        assert parse_logs(path)
        with pytest.raises(InvalidValueError, match="is longer than 2048 bytes"):
            parse_logs(f"{path}x")

    def test_there_are_so_many_entries_and_directories_at_most(self) -> None:
        """Each directory is a volume, and each entry an argument."""
        files = [f"/a/{number}.log" for number in range(MAX_ENTRIES + 1)]
        assert len(parse_logs("\n".join(files[1:]))) == MAX_ENTRIES
        with pytest.raises(InvalidValueError, match="has 129 entries; 128 are allowed, use wildcards"):
            parse_logs("\n".join(files))
        directories = [f"/{number}/x.log" for number in range(MAX_DIRECTORIES + 1)]
        assert len(parse_logs("\n".join(directories[1:]))) == MAX_DIRECTORIES
        with pytest.raises(InvalidValueError, match="has 17 directories; 16 are allowed"):
            parse_logs("\n".join(directories))

    @pytest.mark.parametrize(
        ("text", "noted"),
        [("/var/log/app", True), ("/a/x.log", False), ("/a/app*", False), ("/a/**/app", False), ("/a/app/", False)],
    )
    def test_a_name_may_be_that_of_a_directory(self, text: str, *, noted: bool) -> None:
        """One without a dot and without a wildcard is probably not a file."""
        notes = options(logs=f"/a/x.log,{text}").warnings
        assert [(note.reason, note.annotation, note.value) for note in notes] == (
            [(Reason.PROBABLY_DIRECTORY, "logs", text)] if noted else []
        )

    @pytest.mark.parametrize(
        ("text", "path", "matches"),
        [
            ("/a/*.log", "/a/x.log", True),
            ("/a/*.log", "/a/x.txt", False),
            ("/a/*.log", "/b/x.log", False),
            ("/a/*.log", "/a/b/x.log", False),
            ("/a/*.log", "/a", False),
            ("/a/**/*.log", "/a/x.log", True),
            ("/a/**/*.log", "/a/b/c/x.log", True),
            ("/a/**/*.log", "/a2/x.log", False),
            ("/a/**/*", "/a", False),
            ("/a/x.log", "/a/x.log", True),
            ("/a/[ab].log", "/a/b.log", True),
            ("/a/X.log", "/a/x.log", False),
        ],
    )
    def test_a_file_is_meant(self, text: str, path: str, *, matches: bool) -> None:
        """By its directory and its name."""
        assert entry(text).matches(components(path)) is matches


def test_the_page_has_a_row_for_each_annotation() -> None:
    """The table of docs/annotations.md, in any order."""
    page = (Path(__file__).parents[2] / "docs" / "annotations.md").read_text()
    rows = page.partition("| key | value | default |\n")[2].partition("\n\n")[0].splitlines()[1:]
    named = [key for row in rows for key in re.findall(r"`([\w-]+)`", row.split("|")[1])]
    assert sorted(named) == sorted(KEYS)
