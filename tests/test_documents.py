"""Tests of webhook.documents: texts are read as kubectl reads them, and edited in place."""

import json
from pathlib import Path
from typing import Any

import jsonpatch
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.layouts import added_members, json_texts, operations, yaml_texts
from webhook import documents
from webhook.documents import position_of, read, written_at
from webhook.documents.nodes import MAX_DEPTH
from webhook.documents.rendering import flow
from webhook.documents.scalars import resolve, text_of
from webhook.documents.writing import prologue
from webhook.errors import ManifestError

TABLE = json.loads((Path(__file__).parent / "data" / "yaml-as-kubectl-reads-it.json").read_text(encoding="utf-8"))
#: Strings that YAML 1.1 or 1.2 would read as something else, and characters with a meaning.
AWKWARD = (
    *("yes", "No", "on", "OFF", "y", "n", "~", "null", "", "1e3", "0x10", "012", "0o17", "0b1", "1_000", "12:30:45"),
    *(".inf", "-.inf", ".nan", "2001-01-01", "=", "<<", "- a", "? a", "a: b", "a #b", "#", "&a", "*a", "!a", "|", ">"),
    *(
        "%a",
        "@a",
        "`a",
        "{a",
        "[a",
        "a,b",
        "---",
        "...",
        " a",
        "a ",
        "\t",
        "a\n",
        "\na",
        "a\nb",
        "a\n\n",
        "a\n b\n",
        '"',
    ),
    *("'", "\\", "\x7f", "\x85", "\u2028", "\ufeff", "\U0001f600", "{}", "[]", "true ", "1.", "+1", "-", "-a", "--a"),
)
strings = st.one_of(st.sampled_from(AWKWARD), st.text(st.characters(exclude_categories=["Cs"]), max_size=12))
scalars = st.one_of(
    strings,
    st.booleans(),
    st.none(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
)


def collections(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return lists and mappings."""
    return st.lists(children, max_size=4) | st.dictionaries(strings, children, max_size=4)


values = st.recursive(scalars, collections, max_leaves=12)
mappings = st.dictionaries(strings, values, min_size=1, max_size=4)


def same(one: Any, other: Any) -> bool:
    """Return whether two values are the same JSON, as a Go program sees it: numbers by value, booleans apart."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) != isinstance(other, float) and not isinstance(one, bool | str | None):
        return not isinstance(other, bool | str | None) and float(one) == float(other)
    return type(one) is type(other) and bool(one == other)


def contents(text: str) -> list[Any]:
    """Return the values of a text's documents, those that hold something."""
    found = [document.value for document in read(text, "a.yaml") if not document.is_blank]
    return [value for value in found if value is not None]


def only(text: str | bytes) -> documents.Document:
    """Return the one document of a text."""
    (document,) = read(text, "a.yaml")
    return document


def patched(text: str, *operations: tuple[str, Any]) -> str:
    """Return a one-document text with values added to it, as RFC 6902 ``add`` does."""
    return documents.edited(only(text), [{"op": "add", "path": path, "value": value} for path, value in operations])


def common(one: list[str], other: list[str]) -> int:
    """Return the length of the longest common subsequence."""
    row = [0] * (len(other) + 1)
    for line in one:
        above = 0
        for place, its in enumerate(other, 1):
            above, row[place] = row[place], above + 1 if line == its else max(row[place], row[place - 1])
    return row[-1]


class TestReading:
    """Texts and the values in them."""

    @pytest.mark.parametrize("case", TABLE["cases"], ids=lambda case: repr(case["text"]))
    def test_reads_as_kubectl(self, case: dict[str, Any]) -> None:
        """Each text of the table has kubectl's values, or kubectl's refusal, but where the table says otherwise."""
        refused = case.get("ours") == "refused" or ("error" in case and case.get("ours") != "read")
        if refused:
            with pytest.raises(ManifestError, match=r"^a\.yaml:\d+:\d+: "):
                contents(case["text"])
        elif "ours" in case:
            contents(case["text"])
        else:
            assert same(contents(case["text"]), [value for value in case["documents"] if value is not None])

    @settings(deadline=None)
    @given(mappings)
    def test_yaml_says_what_it_was_made_of(self, value: dict[str, Any]) -> None:
        """What is written as YAML is read back as the same values: strings stay strings."""
        assert same(contents(documents.as_yaml(value)), [value])

    @settings(deadline=None)
    @given(mappings)
    def test_json_says_what_it_was_made_of(self, value: dict[str, Any]) -> None:
        """What is written as JSON is read back as the same values."""
        document = only(documents.as_json(value))
        assert document.is_json
        assert same(document.value, value)

    @settings(deadline=None)
    @given(strings)
    def test_a_string_on_one_line_stays_a_string(self, text: str) -> None:
        """A string is written so that it is one in a block and in brackets."""
        assert contents(f"a: {text_of(text)}\n") == [{"a": text}]
        assert contents(f"a: [{text_of(text, flow=True)}, {{b: {text_of(text, flow=True)}}}]\n") == [
            {"a": [text, {"b": text}]}
        ]

    @pytest.mark.parametrize(
        "text", ["/var/log", "busybox:1.36", "-c", "10m", "64Mi", "app.kubernetes.io/name", "tail"]
    )
    def test_common_strings_need_no_quotes(self, text: str) -> None:
        """What manifests are full of is written as people write it."""
        assert text_of(text) == text
        assert resolve(text) == text

    def test_a_program_is_a_literal_block(self) -> None:
        """A text of several lines can be read by a person."""
        assert documents.as_yaml({"a": ["set -e\nexec true\n"]}) == "a:\n- |\n  set -e\n  exec true\n"


class TestStreams:
    """Files and the documents in them."""

    @settings(deadline=None)
    @given(st.lists(st.sampled_from([*"a:- #\n'{}[]\r\t|", "---\n", "--- # x\n", "a: b\n", '{"a": 1}'])))
    def test_nothing_is_lost(self, parts: list[str]) -> None:
        """Separators and texts together are the file."""
        text = "".join(parts)
        try:
            found = read(text, "a.yaml")
        except ManifestError:
            return
        assert "".join(document.separator + document.text for document in found) == text

    def test_documents_are_counted_without_blank_ones(self) -> None:
        """A licence at the top or a separator too much changes no document's number."""
        found = read("# licence\n---\n---\na: 1\n---\n# nothing\n---\nb: 2\n", "a.yaml")
        assert [(document.number, document.value) for document in found if not document.is_blank] == [
            (1, {"a": 1}),
            (2, {"b": 2}),
        ]

    def test_json_documents_follow_each_other(self) -> None:
        """A JSON stream needs no separators, as kubectl reads it."""
        found = read('{"a": 1}\n{"b": 2}\n', "stdin")
        assert [document.value for document in found] == [{"a": 1}, {"b": 2}]
        assert all(document.is_json for document in found)

    def test_json_may_be_indented_with_tabs(self) -> None:
        """Tabs are blanks in JSON, also where JSON is a document of a YAML stream."""
        assert contents('{\n\t"a": 1\n}\n---\nb: 2\n') == [{"a": 1}, {"b": 2}]

    @pytest.mark.parametrize("text", ["a: 1\n", '{"a": 1}\n', "---\na: 1\n", "a: 1\n---\n\ufeffa: 1\n"])
    def test_a_byte_order_mark_stays_and_is_no_text(self, text: str) -> None:
        """A file from an editor that marks UTF-8 is read, the mark stays, and columns do not count it."""
        found = read(b"\xef\xbb\xbf" + text.encode(), "a.yaml")
        filled = [document for document in found if not document.is_blank]
        assert all(document.value == {"a": 1} for document in filled)
        assert all(position_of(document, "a").column in (1, 2) for document in filled)
        assert "".join(document.separator + document.text for document in found) == f"\ufeff{text}"

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("x:\n  b: 1\n  c: 2\n  b: 3\n", '4:3: duplicate key "b": the last one counts; the one before is at 2:3'),
            ('{"b": 1,\n "b": 3}', '2:2: duplicate key "b": the last one counts; the one before is at 1:2'),
            ("1: a\n'1': b\n", '2:1: duplicate key "1": the last one counts; the one before is at 1:1'),
        ],
    )
    def test_warns_of_duplicate_keys(self, text: str, said: str) -> None:
        """A key that stands there twice is read as kubectl reads it, and named with its place."""
        (warning,) = only(text).warnings
        assert f"{warning.position}: {warning.message}" == said
        assert only("a: 1\nb: {a: 1}\n").warnings == []

    @pytest.mark.parametrize(
        "text", ["a:\n", "a: ~\nb: [null, ]\n", '{"a": null, "b": [null]}', "- \n", "~\n", "a: {b, c: }\n"]
    )
    def test_nulls_are_values(self, text: str) -> None:
        """Nothing behind a colon or a dash is no error, and can be replaced."""
        document = only(text)
        assert document.value in ({"a": None}, {"a": None, "b": [None]}, [None], None, {"a": {"b": None, "c": None}})
        assert only(documents.edited(document, [{"op": "replace", "path": "", "value": {"z": 1}}])).value == {"z": 1}

    def test_values_are_not_shared(self) -> None:
        """An edit of a value at an alias does not reach the anchor."""
        value = only("a: &x [1]\nb: *x\n").value
        assert isinstance(value, dict)
        value["b"].append(2)  # type: ignore[union-attr]
        assert value["a"] == [1]


class TestErrors:
    """What is said of a text that can't be read."""

    @pytest.mark.parametrize(
        ("text", "line", "what"),
        [
            pytest.param("a:\n\tb: c\n", 2, "a tab", id="tab"),
            pytest.param("a:\n  -\tb: c\n", 2, "a tab", id="tab-behind-dash"),
            pytest.param("a:\n\u00a0\u00a0b: c\n  d: e\n", 2, "a blank that is no space", id="no-break-space"),
            pytest.param("%YAML 1.2\n---\na: 1\n", 1, "a YAML directive, which kubectl refuses", id="yaml-1.2"),
            pytest.param("# x\n\n%TAG ! x:\n---\na: 1\n", 3, "a YAML directive", id="tag-directive"),
            pytest.param("a: 1\n---\n%YAML 1.1\n---\nb: 2\n", 3, "a YAML directive", id="second-directive"),
            pytest.param("<<<<<<< HEAD\na: 1\n", 1, "a merge conflict", id="conflict"),
            pytest.param("a: 1\n=======\na: 2\n", 2, "a merge conflict", id="conflict-middle"),
            pytest.param("a: 1\n>>>>>>> other\n", 2, "a merge conflict", id="conflict-end"),
            pytest.param("```yaml\na: 1\n```\n", 1, "a fence of Markdown", id="fence"),
            pytest.param("a: 1\n\ufeffb: 2\n", 2, "a byte order mark amid the text", id="byte-order-mark"),
            pytest.param("{% if a %}\nb: 1\n{% endif %}\n", 1, "a template, not a manifest", id="jinja"),
            pytest.param("a: !!binary b\n", 1, '"b" is no base64', id="binary"),
            pytest.param("a:\n  b: c\n d: e\n", 3, "bad indentation", id="dedent"),
            pytest.param("a: b\n  c: d\n", 2, "check the indentation", id="indent"),
            pytest.param("a: b\nc\nd: e\n", 2, "key: value", id="no-colon"),
            pytest.param('x: 1\na: "b\nc: d\n', 2, "quote", id="quote"),
            pytest.param("x: 1\na: [b\nc: d\n", 2, "bracket", id="bracket"),
            pytest.param("a: @b\n", 1, "quotes", id="reserved-character"),
            pytest.param("a: *b\n", 1, "*b stands for nothing", id="no-anchor"),
            pytest.param("a: &b [*b]\n", 1, "*b contains itself", id="endless-alias"),
            pytest.param("a: .inf\n", 1, "JSON", id="infinity"),
            pytest.param("? [a]\n: b\n", 1, "key", id="key-no-string"),
            pytest.param("~: b\n", 1, "null", id="key-null"),
            pytest.param("a: !!int b\n", 1, '"b" is no int', id="tag"),
            pytest.param("a:\n  <<: 1\n", 2, "<<", id="merge"),
            pytest.param('a: "\\ud83d"\n', 1, "half of a character", id="surrogate"),
            pytest.param('a: "\\q"\n', 1, "an escape that YAML doesn't know", id="escape"),
            pytest.param("a: |x\n", 1, "behind | or >", id="block-header"),
            pytest.param("a: *\n", 1, "begins an alias", id="star"),
            pytest.param("a: &\n", 1, "begins an anchor", id="ampersand"),
            pytest.param("a: !x!y z\n", 1, "a tag", id="tag-handle"),
            pytest.param('a: "b" c\n', 1, "behind a value that has ended", id="behind-quotes"),
            pytest.param("a: \x01\n", 1, "U+0001", id="control-character"),
            pytest.param("a: 1\n--- b\n", 2, "after ---", id="separator"),
            pytest.param("a: 1\n...\nb: 2\n", 3, "behind ... kubectl ignores everything", id="ignored-rest"),
            pytest.param("a: 1\n... # x\n\n# y\nb: 2\n", 5, "behind ... kubectl ignores", id="ignored-further-down"),
            pytest.param("a: 1\n...\n%YAML 1.1\n---\nb: 2\n", 4, "behind ... kubectl ignores", id="ignored-directive"),
            pytest.param("a: {{ .Values.a }}\n", 1, "helm template", id="template-value"),
            pytest.param("a: 1\n{{- if .b }}\n", 2, "helm template", id="template-line"),
            pytest.param("a: " + "[" * 9999, 1, "nested deeper", id="deep"),
            pytest.param('{"a": ' + "[" * 9999, 1, "nested deeper", id="deep-json"),
        ],
    )
    def test_says_where_and_what(self, text: str, line: int, what: str) -> None:
        """An error names file, line and column, and says in words what is wrong."""
        with pytest.raises(ManifestError) as caught:
            contents(text)
        assert str(caught.value).startswith(f"a.yaml:{line}:")
        assert what in str(caught.value)

    @pytest.mark.parametrize(
        ("content", "what"),
        [
            pytest.param("a: b\n".encode("utf-16"), "UTF-16", id="utf-16"),
            pytest.param(b"\x1f\x8b\x08\x00", "gzip", id="gzip"),
            pytest.param(b"a: 1\n---\nb: \xe9\n", "a.yaml:3:4: the byte 0xe9", id="latin-1"),
        ],
    )
    def test_says_which_encoding(self, content: bytes, what: str) -> None:
        """Bytes that are no UTF-8 are an error that says what to do."""
        with pytest.raises(ManifestError, match=what):
            read(content, "a.yaml")

    @pytest.mark.parametrize(
        "content", [b"a: 1\rb: 2\r", b"# only\ra: 1\r", b"\xef\xbb\xbfa: 1\r---\rb: 2", b"a: {\rb: 2}"], ids=repr
    )
    def test_refuses_lines_that_end_with_cr_alone(self, content: bytes) -> None:
        """Where each comment and each --- would be the whole file, nothing is read."""
        with pytest.raises(ManifestError, match=r"^a\.yaml:1:1: the lines end with CR alone; save the file"):
            read(content, "a.yaml")

    def test_a_cr_alone_ends_a_comment(self) -> None:
        """As it does for kubectl: what follows is content, and no part of what stays above it."""
        (document,) = read("# one\ra: &a {b: 1}\nc: *a\n", "a.yaml")
        assert not document.is_blank
        assert document.text[document.first_content :].startswith("a: ")
        assert prologue(document.text) == "# one\r"
        assert read('{"a":\r1}\r', "a.json")[0].value == {"a": 1}

    def test_a_json_file_has_json_errors(self) -> None:
        """A file called .json is not taken for YAML."""
        with pytest.raises(ManifestError, match=r"a\.json:2:1: expected a comma"):
            read('{"a": 1\n"b": 2}', "a.json")

    def test_aliases_are_bounded(self) -> None:
        """A few lines can't become a billion values."""
        lines = ["a: &a [1,1,1,1,1,1,1,1,1]"]
        for name, before in zip("bcdefghij", "abcdefghi", strict=True):
            lines.append(f"{name}: &{name} [" + ",".join([f"*{before}"] * 9) + "]")
        with pytest.raises(ManifestError, match="aliases stand for more than"):
            contents("\n".join(lines))

    def test_the_deepest_document_can_be_edited(self) -> None:
        """What is not refused as too deep does not end Python's stack anywhere."""
        depth = MAX_DEPTH - 1
        text = "a: " + "[" * depth + "1" + "]" * depth + "\n"
        assert patched(text, ("/b", 1)) == f"{text}b: 1\n"


class TestLines:
    """Where in a file something stands."""

    TEXT = "# one\n---\nprofiles:\n  a.b:\n    env:\n    - name: X\n    - name: Y\n      value: 1\n"

    @pytest.mark.parametrize(
        ("path", "line"),
        [
            ("", 3),
            ("profiles", 3),
            ("profiles.a.b", 4),
            ("profiles.a.b.env[1].value", 8),
            ("profiles.a.b.env[0]", 6),
            (["profiles", "a.b", "env", 1, "name"], 7),
            pytest.param("profiles.a.b.image", 4, id="missing"),
            pytest.param("profiles.a.b.env[7].name", 5, id="missing-item"),
        ],
    )
    def test_finds_the_line(self, path: str | list[str | int], line: int) -> None:
        """A path has the line of its key; what is not there, that of the nearest thing above it."""
        assert position_of(read(self.TEXT, "a.yaml")[1], path).line == line

    def test_a_column_is_that_of_the_key(self) -> None:
        """Both numbers are from 1; an item is where its content begins, behind the dash."""
        document = only("a:\n  b:\n    - c: 1\n      d: 2\n")
        assert str(position_of(document, "a.b[0].d")) == "4:7"
        assert str(position_of(document, ["a", "b", 0])) == "3:7"
        assert str(position_of(document, [])) == "1:1"

    def test_looks_through_aliases(self) -> None:
        """A path through an alias leads to what it stands for."""
        assert position_of(only("a: &x\n  b:\n    c: 1\nd: *x\n"), "d.b.c").line == 3

    def test_a_second_object_may_begin_in_mid_line(self) -> None:
        """Columns in a JSON stream are those of the file."""
        first, second, third = read('\n{"a": 1} {"a": 2}\n {"a": 3}', "stdin")
        assert [str(position_of(one, "a")) for one in (first, second, third)] == ["2:2", "2:11", "3:3"]

    def test_columns_are_characters(self) -> None:
        """Neither bytes nor what a terminal makes of them; CRLF ends a line as LF does."""
        assert str(position_of(only("{é😀: 1, b: 2}\r\n"), "b")) == "1:9"
        assert str(position_of(only("é: '😀'\r\nb: {c: 2}\r\n"), "b.c")) == "2:5"

    def test_a_duplicate_key_is_where_the_last_one_is(self) -> None:
        """The one that counts."""
        document = only("a: 1\nb: 2\na: 3\n")
        assert (position_of(document, "a").line, position_of(document, ["a"]).line) == (3, 3)

    def test_shows_how_a_scalar_is_written(self) -> None:
        """Not what it means: an octal number is shown as such."""
        document = only("a: 0o17\nb: &x Yes\nc: *x\nd: [1]\n")
        assert [written_at(document, [key]) for key in "abcd"] == ["0o17", "&x Yes", "&x Yes", ""]
        assert written_at(document, ["e"]) == ""

    def test_knows_json(self) -> None:
        """JSON has lines, too."""
        assert position_of(only('{\n  "a": [\n    1,\n    2\n  ]\n}\n'), ["a", 1]).line == 4


POD = """\
# The shop.
metadata:
  name: shop   # its name
spec:
  containers:
    # the first
    - name: app
      image: 'shop'   # ours
      env:
        # the colour
        - {name: COLOUR, value: "on"}
      # command: [x]

    # the second
    - name: two
      args: ["-v",
             "yes"]
  # where it lies
  volumes: []   # none so far
  # that is all
# the end
"""


class TestEditing:
    """Texts, and the same texts with other values."""

    @settings(deadline=None)
    @given(mappings, mappings)
    def test_says_what_is_added(self, value: dict[str, Any], added: dict[str, Any]) -> None:
        """Whatever is added, the edited text says it, in YAML and in JSON, in blocks and in brackets."""
        forms = (documents.as_yaml(value), documents.as_json(value), f"{flow(value)}\n")
        for text in forms:
            operations = [("/" + key.replace("~", "~0").replace("/", "~1"), item) for key, item in added.items()]
            assert same(contents(patched(text, *operations)), [value | added])

    def test_no_operation_is_no_edit(self) -> None:
        """Nobody's text changes for nothing."""
        assert documents.edited(only("a:   1"), []) == "a:   1"

    def test_only_what_is_added_changes(self) -> None:
        """Comments, quotes, order and layout stay; what is added is laid out as the rest of the document is."""
        edited = patched(
            POD,
            ("/metadata/annotations", {"a/b": "yes"}),
            ("/spec/containers/0/env/0", {"name": "POD_NAME"}),
            ("/spec/containers/0/volumeMounts", [{"name": "v"}]),
            ("/spec/containers/1/args/-", "0x10"),
            ("/spec/volumes", [{"name": "v", "emptyDir": {}}]),
            ("/spec/containers/-", {"name": "three", "args": []}),
        )
        assert edited == (
            """\
# The shop.
metadata:
  name: shop   # its name
  annotations:
    a/b: "yes"
spec:
  containers:
    # the first
    - name: app
      image: 'shop'   # ours
      env:
        - name: POD_NAME
        # the colour
        - {name: COLOUR, value: "on"}
      # command: [x]
      volumeMounts:
        - name: v

    # the second
    - name: two
      args: ["-v",
             "yes", "0x10"]
    - name: three
      args: []
  # where it lies
  volumes:   # none so far
    - name: v
      emptyDir: {}
  # that is all
# the end
"""
        )

    @pytest.mark.parametrize(
        ("text", "edited"),
        [
            pytest.param("v:\nw: 1\n", "v:\n- x\nw: 1\n", id="left-out"),
            pytest.param("v: # c\nw: 1\n", "v: # c\n- x\nw: 1\n", id="left-out-with-comment"),
            pytest.param("v: null # c\n", "v: # c\n- x\n", id="null"),
            pytest.param("v: ~", "v:\n- x", id="null-without-newline"),
            pytest.param("v: []\r\nw: 1\r\n", "v:\r\n- x\r\nw: 1\r\n", id="windows-lines"),
            pytest.param("w: 1\n", "w: 1\nv:\n- x\n", id="missing"),
            pytest.param("w: 1", "w: 1\nv:\n- x", id="missing-without-newline"),
            pytest.param("w: |\n  a\n\n\n", "w: |\n  a\nv:\n- x\n\n\n", id="behind-a-block"),
            pytest.param("w: |+\n  a\n\n\n", "w: |+\n  a\n\n\nv:\n- x\n", id="behind-a-block-that-keeps-its-end"),
            pytest.param("w:\n", "w:\nv:\n- x\n", id="behind-nothing"),
            pytest.param("{w: 1}\n", "{w: 1, v: [x]}\n", id="in-braces"),
            pytest.param("{}\n", '{"v": ["x"]}\n', id="in-empty-braces"),
            pytest.param("{w: 1, v: []}\n", "{w: 1, v: [x]}\n", id="empty-in-braces"),
            pytest.param('{"w":1}', '{"w":1,"v":["x"]}', id="compact-json"),
            pytest.param('{"w": 1}', '{"w": 1, "v": ["x"]}', id="json-on-one-line"),
            pytest.param('{\n\t"w": 1\n}\n', '{\n\t"w": 1,\n\t"v": [\n\t\t"x"\n\t]\n}\n', id="json-with-tabs"),
            pytest.param(
                '{\n    "v": [],\n    "w": 1\n}',
                '{\n    "v": [\n        "x"\n    ],\n    "w": 1\n}',
                id="indented-json",
            ),
        ],
    )
    def test_makes_a_list_where_there_is_none(self, text: str, edited: str) -> None:
        """A list that is null, empty or missing is made where it belongs."""
        assert patched(text, ("/v", ["x"])) == edited

    def test_a_shared_list_is_edited_once_where_all_want_the_same(self) -> None:
        """Containers that share a list by an alias go on sharing it."""
        text = "a:\n  env: &e\n  - name: X\nb:\n  env: *e\n"
        edited = patched(text, ("/a/env/0", {"name": "P"}), ("/b/env/0", {"name": "P"}))
        assert edited == "a:\n  env: &e\n  - name: P\n  - name: X\nb:\n  env: *e\n"

    def test_an_alias_is_written_out_where_it_differs(self) -> None:
        """An edit at an alias does not change its anchor, nor an edit at the anchor its aliases."""
        text = "a:\n  env: &e # first\n  - name: X\nb:\n  env: *e # same\n"
        assert patched(text, ("/b/env/0", {"name": "P"})) == (
            "a:\n  env: &e # first\n  - name: X\nb:\n  env: # same\n  - name: P\n  - name: X\n"
        )
        assert patched(text, ("/a/env/0", {"name": "P"})) == (
            "a:\n  env: &e # first\n  - name: P\n  - name: X\nb:\n  env: # same\n  - name: X\n"
        )

    def test_a_merged_key_is_overridden(self) -> None:
        """A list that comes by << is written into the mapping that differs."""
        text = "base: &b\n  env:\n  - name: X\na:\n  <<: *b # merged\n  c: 1\n"
        assert patched(text, ("/a/env/-", {"name": "P"})) == f"{text}  env:\n  - name: X\n  - name: P\n"

    @pytest.mark.parametrize(
        ("text", "path", "edited"),
        [
            pytest.param("v:\n- name: a # c\n  k: 1 # d\n- b\n", "/v/0/k", "v:\n- name: a # c\n- b\n", id="key"),
            pytest.param("v:\n- name: a # c\n  # d\n  k: 1\n", "/v/0/name", "v:\n- # d\n  k: 1\n", id="first-key"),
            pytest.param("v:\n- name: a\n  k: 1\n- b\n", "/v/0", "v:\n- b\n", id="item"),
            pytest.param("v:\n# one\n- a\n# two\n- b\n", "/v/1", "v:\n# one\n- a\n# two\n", id="last-item"),
            pytest.param("v: # c\n- a\n\nw: 1\n", "/v/0", "v: [] # c\n\nw: 1\n", id="only-item"),
            pytest.param("v:\n  a: 1\n", "/v/a", "v: {}\n", id="only-key"),
            pytest.param("v: 1\n", "/v", "{}\n", id="everything"),
            pytest.param("w: 1\nv:\n- a", "/v", "w: 1", id="without-newline"),
            pytest.param("w: 1\r\nv:\r\n- a\r\n", "/v", "w: 1\r\n", id="windows-lines"),
            pytest.param("v: |\n  a\n  b\n\nw: 1\n", "/v", "\nw: 1\n", id="literal"),
            pytest.param("v: [a, b, c] # d\n", "/v/0", "v: [b, c] # d\n", id="in-brackets"),
            pytest.param("v: [a, b, c] # d\n", "/v/2", "v: [a, b] # d\n", id="last-in-brackets"),
            pytest.param("v: [a] # d\n", "/v/0", "v: [] # d\n", id="only-in-brackets"),
            pytest.param("v: {a: 1, b, c: 2}\n", "/v/b", "v: {a: 1, c: 2}\n", id="key-without-value"),
            pytest.param('{\n  "a": 1,\n  "b": 2\n}\n', "/b", '{\n  "a": 1\n}\n', id="json"),
            pytest.param('{\n  "a": [\n    1\n  ]\n}\n', "/a/0", '{\n  "a": []\n}\n', id="only-in-json"),
            pytest.param("v: 1\nw:  2 # c\nv: 3\n", "/v", "w:  2 # c\n", id="twice"),
            pytest.param("v:\n- - a\n  - b\n", "/v/0/0", "v:\n- - b\n", id="list-in-a-list"),
        ],
    )
    def test_removes_only_what_goes(self, text: str, path: str, edited: str) -> None:
        """A member goes with its lines; brackets stay where it was the only one."""
        assert documents.edited(only(text), [{"op": "remove", "path": path}]) == edited

    @pytest.mark.parametrize(
        ("text", "value", "edited"),
        [
            pytest.param("v: 1 # c\nw: 2\n", "x", "v: x # c\nw: 2\n", id="scalar"),
            pytest.param("v: # c\n- a\nw: 2\n", [], "v: [] # c\nw: 2\n", id="block-to-brackets"),
            pytest.param("v: # c\n- a\nw: 2\n", None, "v: # c\nw: 2\n", id="block-to-nothing"),
            pytest.param("v: # c\n- a\nw: 2\n", {"b": 1}, "v: # c\n  b: 1\nw: 2\n", id="block-to-block"),
            pytest.param("v: # c\n- a", {"b": 1}, "v: # c\n  b: 1", id="block-to-block-without-newline"),
            pytest.param("v: &x # c\n- a\nw: *x\n", ["b"], "v: &x # c\n- b\nw:\n- a\n", id="anchor"),
            pytest.param("{v: 1, w: 2}\n", ["b"], "{v: [b], w: 2}\n", id="brackets"),
            pytest.param("v: 1\nw: 2\nv: 3\n", 4, "v: 1\nw: 2\nv: 4\n", id="twice"),
        ],
    )
    def test_replaces_only_the_value(self, text: str, value: Any, edited: str) -> None:
        """A value is written where the old one was; the key's comment and the anchor stay."""
        assert documents.edited(only(text), [{"op": "replace", "path": "/v", "value": value}]) == edited

    def test_a_list_is_edited_like_any_document(self) -> None:
        """Only what is added is new: comments stay with what they are about, other items to the byte."""
        text = """\
kind: List
items:
  # first
  - kind: ConfigMap
    data: {mode: 'on'}   # quoted
  # then
  - kind: Pod
    spec:
      containers:
        - name: shop
          args: ["-v", 'x']   # a port
  # at last
  - kind: Secret
# the end"""
        edited = patched(text, ("/items/1/spec/containers/0/env", ["a"]), ("/items/1/metadata", {"labels": {}}))
        port = "          args: [\"-v\", 'x']   # a port\n"
        assert edited == text.replace(
            port, f"{port}          env:\n            - a\n    metadata:\n      labels: {{}}\n"
        )

    @settings(deadline=None)
    @given(yaml_texts(aliases=True) | yaml_texts() | json_texts(), st.data())
    def test_says_what_jsonpatch_makes_of_it(self, text: str, data: st.DataObject) -> None:
        """In every layout, with anchors, merges and duplicate keys: the text has the values that the patch gives."""
        document = only(text)
        patch = data.draw(operations(document.value))
        edited = documents.edited(document, patch)
        assert same(only(edited).value, jsonpatch.apply_patch(document.value, patch))

    @settings(deadline=None)
    @given(yaml_texts() | json_texts(), st.data())
    def test_what_was_added_can_be_removed(self, text: str, data: st.DataObject) -> None:
        """Adding members and removing them gives the very bytes, and no addition changes more than one line."""
        document = only(text)
        adding, removing = data.draw(added_members(document.value))
        edited = documents.edited(document, adding)
        lines, others = f"{text}\n".split("\n"), f"{edited}\n".split("\n")
        assert len(lines) - common(lines, others) <= len(adding)
        assert documents.edited(only(edited), removing) == text

    @pytest.mark.parametrize(
        ("before", "value", "undo"),
        [
            pytest.param("v: []   # c\nw: 1\n", ["x"], {"op": "replace", "value": []}, id="brackets"),
            pytest.param("v: {}", {"a": 1}, {"op": "replace", "value": {}}, id="braces"),
            pytest.param("v: [ ]\n", ["x"], {"op": "replace", "value": []}, id="wide-brackets"),
            pytest.param("v:  # c\nw: 1\n", ["x"], {"op": "replace", "value": None}, id="nothing"),
            pytest.param("- v:\r\n", ["x"], {"op": "replace", "value": None}, id="nothing-in-an-item"),
            pytest.param('{\n  "v": []\n}\n', ["x"], {"op": "replace", "value": []}, id="json"),
            pytest.param('{"v":{}}', {"a": 1}, {"op": "replace", "value": {}}, id="compact-json"),
        ],
    )
    def test_what_was_empty_is_empty_again(self, before: str, value: Any, undo: dict[str, Any]) -> None:
        """A value written over an empty one, and the empty one again, give the very bytes."""
        path = "/0/v" if before.startswith("-") else "/v"
        edited = documents.edited(only(before), [{"op": "add", "path": path, "value": value}])
        assert edited != before
        assert documents.edited(only(edited), [{**undo, "path": path}]) == before

    def test_mixed_line_ends_take_the_neighbours(self) -> None:
        """An addition ends as the line before it does."""
        text = "a:\r\n  b: 1\r\nc:\n  d: 1\n"
        assert patched(text, ("/a/x", 1), ("/c/x", 1)) == "a:\r\n  b: 1\r\n  x: 1\r\nc:\n  d: 1\n  x: 1\n"

    def test_operations_that_do_not_fit_are_errors(self) -> None:
        """As jsonpatch says it; nothing is edited."""
        with pytest.raises(jsonpatch.JsonPatchException):
            documents.edited(only("a: 1\n"), [{"op": "remove", "path": "/b"}])

    def test_the_callers_operations_stay(self) -> None:
        """What is added by one and changed by the next is the document's own."""
        patch: list[dict[str, Any]] = [
            {"op": "add", "path": "/v", "value": []},
            {"op": "add", "path": "/v/-", "value": 1},
        ]
        assert documents.edited(only("a: 1\n"), patch) == "a: 1\nv:\n- 1\n"
        assert patch[0]["value"] == []

    def test_numbers_stay_as_they_are_written(self) -> None:
        """Nobody's 0644, 1e3 or 2**70 is written anew."""
        text = "a: 0644\nb: 1e3\nc: 1180591620717411303424\nd: 2001-01-01\n"
        assert patched(text, ("/e", True)) == f"{text}e: true\n"
        text = '{\n  "a": 1.0,\n  "b": 1180591620717411303424\n}\n'
        assert patched(text, ("/e", True)) == text.replace("424\n", '424,\n  "e": true\n')
