"""Tests of webhook.cli.preview: what the playground answers."""

import json
from pathlib import Path
from typing import Any

import pytest

import webhook.playground
from tests.cli.conftest import Call
from tests.cli.manifests import GOLDENS, PATTERNS
from webhook.cli.preview import LONG, answer, setup
from webhook.configuration import load
from webhook.injection.annotations import OPTIONS

CONFIGURATION = load(None)
EXAMPLES = sorted((Path(webhook.playground.__file__).parent / "examples").glob("*.yaml"))
POD = """\
apiVersion: v1
kind: Pod
metadata:
  name: shop
  annotations:
    pillion.dev/inject: "true" # ask
    pillion.dev/logs: /var/log/shop/*.log
spec:
  containers:
    - name: shop
      image: shop:1
"""
BARE = "kind: Pod\napiVersion: v1\nspec:\n  containers: [{name: shop, image: shop:1}]\n"


def ask(text: str, configuration: Any = CONFIGURATION, **asked: Any) -> dict[str, Any]:
    """Return the answer to a question."""
    found: dict[str, Any] = json.loads(answer(configuration, json.dumps({"text": text, **asked}).encode()))
    return found


def result(found: dict[str, Any]) -> str:
    """Return the manifest that the page shows, without what was removed."""
    return "".join(text for sign, text in found["result"] if sign != "-")


@pytest.mark.parametrize("path", [*PATTERNS, *EXAMPLES], ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_result_is_what_inject_prints(path: Path, pillion: Call) -> None:
    """And what is not marked as new is what was there."""
    found = ask(path.read_text())
    assert result(found) == pillion("inject", "-f", str(path)).out
    assert "".join(text for sign, text in found["result"] if sign != "+") == path.read_text()
    injected = any(workload["injected"] for workload in found["workloads"])
    assert injected == any(sign == "+" for sign, _ in found["result"])


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_rules_are_those_of_explain(path: Path, pillion: Call) -> None:
    """Of each pod in the text, with the same places."""
    explained = json.loads(pillion("explain", "-f", str(path), "-o", "json").out)
    found = [ask(path.read_text(), workload=number)["shown"] for number in range(len(explained))]
    assert [each["number"] for each in found] == list(range(len(explained)))
    for own, other in zip(found, explained, strict=True):
        same = other.keys() - {"source"}
        assert {key: own[key] for key in same} == {key: other[key] for key in same}


@pytest.mark.parametrize("path", GOLDENS, ids=lambda path: path.parent.name)
def test_every_golden_pod_has_an_answer(path: Path) -> None:
    """However odd it is."""
    assert ask(path.read_text())["shown"]


def test_examples_say_what_they_show() -> None:
    """Each has a title and a sentence; all but the one with mistakes are injected without an error."""
    titles = [example["title"] for example in json.loads(setup(CONFIGURATION, ""))["examples"]]
    assert len(titles) == len(set(titles)) == len(EXAMPLES) >= 8
    assert all(titles)
    for path in EXAMPLES:
        lines = path.read_text().splitlines()
        assert lines[1].startswith("# "), path
        assert max(map(len, lines[:3])) <= 80, path
        assert all(each["injected"] for each in ask(path.read_text())["workloads"]) == ("mistakes" not in path.name)


def test_the_five_patterns_are_among_the_examples() -> None:
    """By the names of their pods."""
    names = {ask(path.read_text())["shown"]["name"] for path in EXAMPLES}
    assert {ask(path.read_text())["shown"]["name"] for path in PATTERNS} <= names


def test_the_form_has_every_annotation() -> None:
    """As the grammar knows them, with the configuration's profiles as choices."""
    found = json.loads(setup(CONFIGURATION, "profiles.yaml"))
    assert [option["key"] for option in found["options"]] == list(OPTIONS)
    choices = {option["key"]: option["choices"] for option in found["options"]}
    assert choices["profile"] == [profile["name"] for profile in found["profiles"]] == list(CONFIGURATION.profiles)
    assert choices["start"] == ["beginning", "end"]
    assert [profile["name"] for profile in found["profiles"] if profile["default"]] == ["tail"]
    assert found["configuration"] == "profiles.yaml"


@pytest.mark.parametrize(
    ("text", "line", "column", "said"),
    [
        ("a: b\n  c: d\n", 2, 4, "a colon that fits nowhere"),
        ("kind: Pod\n---\n- a\n", 3, 1, "expected a mapping"),
        ("kind: Pod\r---\r", 1, 1, "CR alone"),
        ("kind: Pod\n--- x\n", 2, 1, "only a comment may follow"),
        ("a: &a [*a]\n", 1, 8, "contains itself"),
        ("[" * 5000, 1, 1001, ""),
    ],
)
def test_an_error_has_its_place(text: str, line: int, column: int, said: str) -> None:
    """Line and column, and words that can be shown."""
    (problem,) = ask(text)["problems"]
    assert (problem["line"], problem["column"], problem["level"]) == (line, column, "error")
    assert said in problem["text"]
    assert problem["text"].isprintable()


def test_each_document_that_cannot_be_read_is_named() -> None:
    """Not only the first."""
    assert [each["line"] for each in ask("- a\n---\nkind: Pod\n---\n- b\n")["problems"]] == [1, 5]


def test_an_alias_bomb_is_an_error() -> None:
    """It is not unpacked."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    (problem,) = ask("\n".join(lines))["problems"]
    assert "alias" in problem["text"]


@pytest.mark.parametrize(
    "question",
    [b"", b"{", b"[]", b"{}", b'{"text": 1}', b'{"text": "", "more": 1}', b'{"text": "\xff"}', b'{"text": "\\ud800"}'],
)
def test_a_question_that_the_page_does_not_ask_is_refused(question: bytes) -> None:
    """With a problem, not with an exception."""
    (problem,) = json.loads(answer(CONFIGURATION, question))["problems"]
    assert "the question can't be read" in problem["text"]


@pytest.mark.parametrize("flow", [False, True], ids=["lines are inserted", "a line is changed"])
def test_a_long_document_is_compared_too(*, flow: bool) -> None:
    """In its own way; nothing of it is lost, and the marks are those of a short one."""
    labels = "".join(f"    label-{number}: x\n" for number in range(LONG))
    text = POD.replace("  name: shop\n", f"  name: shop\n  labels:\n{labels}", 1)
    if flow:
        text = text.replace("containers:\n    - name: shop\n      image: shop:1", "containers: [{name: shop}]")
    found, short = ask(text)["result"], ask(text.replace(labels, ""))["result"]
    assert "".join(part for sign, part in found if sign != "+") == text
    assert [sign for sign, _ in found] == [sign for sign, _ in short]
    assert ("-" in [sign for sign, _ in found]) == flow


@pytest.mark.parametrize(("text", "blank"), [("", True), ("# nothing\n---\n", True), ("kind: Service\n", False)])
def test_there_may_be_no_pod(text: str, *, blank: bool) -> None:
    """Nothing at all is something else."""
    found = ask(text)
    assert (found["isBlank"], found["shown"], found["workloads"], found["problems"]) == (blank, None, [], [])


def test_a_namespace_may_opt_in() -> None:
    """As the page's check box says."""
    text = POD.replace('    pillion.dev/inject: "true" # ask\n', "")
    assert not ask(text)["shown"]["injected"]
    assert ask(text, opted_in=True)["shown"]["injected"]


@pytest.mark.parametrize("number", [-1, 2, 10**9])
def test_a_pod_that_is_not_there_is_the_first(number: int) -> None:
    """A text may have lost one."""
    assert ask(f"{POD}---\n{BARE}", workload=number)["shown"]["number"] == 0


def test_a_refused_pod_stays_as_it_was(tmp_path: Path) -> None:
    """Where the configuration is strict."""
    (tmp_path / "strict.yaml").write_text("strict: true\n")
    text = POD.replace("/var/log/shop", "var/log/shop")
    found = ask(text, load(tmp_path / "strict.yaml"))
    assert found["shown"]["denied"]
    assert found["result"] == [[" ", text]]
    assert [remark["level"] for remark in found["remarks"]] == ["error"]


def test_remarks_are_of_all_objects() -> None:
    """Also of those that are not shown."""
    found = ask(POD + POD.replace("apiVersion", "---\napiVersion").replace("/var/log/shop", "relative"), workload=0)
    assert [(remark["line"], remark["level"], remark["title"]) for remark in found["remarks"]] == [
        (19, "warning", "Pod/shop")
    ]


def test_hostile_text_is_shown_and_does_nothing() -> None:
    """Control characters are replaced wherever they are shown as anything but the manifest itself."""
    name = "a\\u001b[31m\\u202e<script>alert(1)</script>"
    found = ask(BARE.replace("name: shop", f'name: "{name}", volumeMounts: [{{name: "{name}", mountPath: "{name}"}}]'))
    shown = {key: value for key, value in found["shown"].items() if key != "annotations"}
    assert "<script>" in json.dumps(shown)
    assert "\\u001b" not in json.dumps(shown)
    assert "\\u202e" not in json.dumps(shown)


# --- the form ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "before", "after"),
    [
        ("inject", "false", '"true" # ask', '"false" # ask'),
        ("logs", None, "    pillion.dev/logs: /var/log/shop/*.log\n", ""),
        ("logs", "  \n", "    pillion.dev/logs: /var/log/shop/*.log\n", ""),
        ("logs", "/a/*.log", "/var/log/shop/*.log", "/a/*.log"),
        ("logs", "/a/*.log\n/b/*.log\n", "logs: /var/log/shop/*.log", "logs: |\n      /a/*.log\n      /b/*.log"),
        ("profile", "web", "shop/*.log\n", "shop/*.log\n    pillion.dev/profile: web\n"),
        ("env", "true", "shop/*.log\n", 'shop/*.log\n    pillion.dev/env: "true"\n'),
        ("run-as-user", "1000", "shop/*.log\n", 'shop/*.log\n    pillion.dev/run-as-user: "1000"\n'),
        ("start", None, "", ""),
    ],
)
def test_an_annotation_is_written_into_the_text(key: str, value: str | None, before: str, after: str) -> None:
    """Nothing else of it changes, and the answer is about the new text."""
    found = ask(POD, key=key, value=value)
    assert found["text"] == POD.replace(before, after, 1)
    assert found["shown"]["annotations"].get(key, "").strip() == (value or "").strip()
    again = ask(found["text"])
    assert {**found, "text": ""} == {**again, "text": ""}


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (BARE, "metadata"),
        (BARE.replace("spec:", "metadata: {}\nspec:"), "metadata"),
        (BARE.replace("spec:", "metadata:\n  annotations: null\nspec:"), "metadata"),
        ("kind: Service\napiVersion: v1\n---\n" + BARE, "metadata"),
    ],
)
def test_a_pod_without_annotations_gets_them(text: str, where: str) -> None:
    """Also without metadata; the last one takes them away again."""
    found = ask(text, key="inject", value="true")
    assert found["shown"]["injected"]
    assert where in found["text"]
    again = ask(found["text"], key="inject")
    assert "annotations" not in again["text"]
    assert again["shown"]["annotations"] == {}


def test_the_annotation_is_that_of_the_pod_that_is_shown() -> None:
    """Of several, in their documents and in a List; in the template, not on the workload."""
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"template": {"spec": {"containers": [{}]}}}}
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": [deployment, deployment]})
    found = ask(text, workload=1, key="profile", value="web")
    first, second = json.loads(found["text"])["items"]
    assert first == deployment
    assert second["spec"]["template"]["metadata"]["annotations"] == {"pillion.dev/profile": "web"}


@pytest.mark.parametrize("key", ["status", "nonsense", "a/b"])
def test_only_known_annotations_are_written(key: str) -> None:
    """The form has no others."""
    assert ask(POD, key=key, value="x")["text"] == POD


def test_annotations_that_are_no_mapping_stay() -> None:
    """And are a problem with its place."""
    (problem,) = ask(BARE.replace("spec:", "metadata:\n  annotations: [a]\nspec:"), key="inject", value="true")[
        "problems"
    ]
    assert (problem["line"], problem["column"], problem["text"]) == (4, 3, "annotations is no mapping")


def test_there_may_be_no_pod_to_annotate() -> None:
    """Then nothing is written."""
    assert ask("kind: Service\n", key="inject", value="true")["text"] == "kind: Service\n"
