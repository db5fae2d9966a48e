"""Tests of ``pillion lint``."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Call
from tests.cli.manifests import APP, BAD, GOLDENS, PATTERNS, QUIET, WITH_LOGS
from webhook.workloads.objects import ManifestReason, RemarkSeverity

ROOT = Path(__file__).parent.parent.parent
#: Manifests of people who do not use Pillion.
BY_HAND = [path.with_name("by-hand.yaml") for path in PATTERNS]
MISPLACED = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: shop
  annotations:
    pillion.dev/inject: "true"
spec: {template: {spec: {containers: [{name: app}]}}}
"""
VALUES = 'podAnnotations:\n  pillion.dev/inject: "true"\n'
MISSPELT_KIND = "apiVersion: apps/v1\nkind: Deploymnet\nmetadata: {name: x}\n"
SHARED = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  replicas: 2
  template:
    metadata: {annotations: {pillion.dev/inject: "true", pillion.dev/logs: /data/shop/*.log}}
    spec:
      containers: [{name: app, volumeMounts: [{name: data, mountPath: /data}]}]
      volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
"""
KNATIVE = """\
apiVersion: serving.knative.dev/v1
kind: Service
metadata: {name: shop}
spec:
  template:
    metadata: {annotations: {pillion.dev/inject: "true"}}
    spec: {containers: [{name: app}]}
"""
#: A manifest for each reason that no review has.
MANIFEST_REASONS = {
    ManifestReason.MISPLACED_KEY: MISPLACED,
    ManifestReason.UNKNOWN_PREFIX: BAD.replace("pillion.dev/logs", "pillion.io/logs"),
    ManifestReason.WRONG_TYPE: MISPLACED.replace("    pillion.dev/inject:", "    - pillion.dev/inject:"),
    ManifestReason.WRONG_VERSION: BAD.replace("v1\n", "apps/v1\n", 1),
    ManifestReason.NOT_EDITED: KNATIVE,
    ManifestReason.SHARED_VOLUME: SHARED,
    ManifestReason.DUPLICATE_KEY: BAD.replace("  name: bad\n", "  name: good\n  name: bad\n"),
}


@pytest.mark.parametrize(
    ("text", "line", "summary"),
    [
        (BAD, 'stdin:7:5: warning: Pod/bad: not injected: pillion.dev/logs "shop.log": must begin with', "1 warning"),
        (MISPLACED, "stdin:6:5: warning: Deployment/shop: pillion.dev/inject is on the Deployment, where", "1 warning"),
        (SHARED, 'stdin:9:47: warning: Deployment/shop: claim "data" is shared by 2 pods: each sidecar', "1 warning"),
    ],
    ids=["review", "misplaced", "shared"],
)
def test_a_line_names_place_level_and_object(text: str, line: str, summary: str, pillion: Call) -> None:
    """As compilers print it, on standard output; the summary is on standard error."""
    code, out, err = pillion("lint", "-f", "-", stdin=text)
    assert code == 1
    assert out.startswith(line)
    assert out.count("\n") == 1
    assert err == f"pillion lint: {summary} in 1 file\n"


def test_nothing_is_printed_where_nothing_is_wrong(pillion: Call) -> None:
    """A pod that is injected as requested, and one that has nothing to do with Pillion."""
    assert pillion("lint", "-f", "-", stdin=f"{APP}---\n{QUIET}") == (0, "", "pillion lint: no problems in 1 file\n")


def test_a_note_is_no_problem(pillion: Call) -> None:
    """Of a chart's values nobody knows what comes of them: that is said, and the exit code is 0."""
    code, out, err = pillion("lint", "-f", "-", stdin=VALUES)
    assert (code, err) == (0, "pillion lint: 1 note in 1 file\n")
    assert out.startswith("stdin:2:3: note: (no kind)/(no name): pillion.dev/inject is in podAnnotations of what is no")


def test_lines_are_sorted_by_file_and_position(pillion: Call, folder: Path) -> None:
    """Whatever order the files are named in, and the objects of a List stand in."""
    item = "".join(f"  {line}\n" for line in MISPLACED.splitlines())
    text = f"apiVersion: v1\nkind: List\nitems:\n- {item[2:]}metadata:\n  annotations:\n    pillion.dev/env: x\n"
    (folder / "b.yaml").write_text(text)
    (folder / "a.yaml").write_text(f"{BAD}---\n{MISPLACED}---\n{VALUES}")
    code, out, err = pillion("lint", "-f", "b.yaml", "-f", "a.yaml")
    assert code == 1
    assert [line.split(" ")[:2] for line in out.splitlines()] == [
        ["a.yaml:7:5:", "warning:"],
        ["a.yaml:17:5:", "warning:"],
        ["a.yaml:21:3:", "note:"],
        ["b.yaml:9:7:", "warning:"],
        ["b.yaml:13:5:", "warning:"],
    ]
    assert err == "pillion lint: 4 warnings, 1 note in 2 files\n"


def test_files_folders_and_patterns(pillion: Call, folder: Path) -> None:
    """Several names may follow one -f, as a shell writes them for a pattern."""
    (folder / "deep").mkdir()
    for name in ("a.yaml", "b.yaml", "deep/c.yaml"):
        (folder / name).write_text(BAD)
    for arguments, count in (
        (("-f", "a.yaml", "b.yaml"), 2),
        (("-f", "a.yaml", "--namespace", "shop", "-f", "b.yaml", "deep/c.yaml"), 3),
        (("-f", "."), 2),
        (("-R", "-f", "."), 3),
        (("-f", "*.yaml"), 2),
        (("-f", "a.yaml,b.yaml", "deep"), 3),
    ):
        code, out, err = pillion("lint", *arguments)
        assert (code, out.count(": warning: Pod/bad: ")) == (1, count)
        assert err == f"pillion lint: {count} warnings in {count} files\n".replace("1 files", "1 file")


@pytest.mark.parametrize("output", ["text", "json", "sarif"])
def test_what_cant_be_read_is_2(output: str, pillion: Call, folder: Path) -> None:
    """Then nothing is on standard output, whatever else is wrong: half a report is none."""
    (folder / "a.yaml").write_text(BAD)
    (folder / "b.yaml").write_bytes(BAD.encode().replace(b"bad", b"b\xe4d"))
    code, out, err = pillion("lint", "-o", output, "-f", ".")
    assert (code, out) == (2, "")
    assert err.startswith("pillion: b.yaml:4:10: the byte 0xe4 ")


@pytest.mark.parametrize("arguments", [(), ("-f",), ("-f", "-", "-o", "xml")])
def test_wrong_usage_is_2(arguments: tuple[str, ...], pillion: Call) -> None:
    """As argparse has it."""
    code, out, err = pillion("lint", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("usage: pillion lint ")


class TestSilence:
    """Manifests that do not use Pillion."""

    @pytest.mark.parametrize("path", BY_HAND, ids=lambda path: path.parent.name)
    def test_sidecars_by_hand(self, path: Path, pillion: Call) -> None:
        """Real manifests, with logging sidecars of their own."""
        assert pillion("lint", "-f", str(path)) == (0, "", "pillion lint: no problems in 1 file\n")

    def test_goldens_with_keys_of_others(self, pillion: Call, folder: Path) -> None:
        """Every pod that the injection is tested with, hostile ones too, with another program's annotations."""
        for path in GOLDENS:
            text = path.read_text().replace("pillion.dev/", "example.com/").replace("pillion", "other")
            (folder / f"{path.parent.name}.yaml").write_text(text)
        assert pillion("lint", "-f", ".") == (0, "", f"pillion lint: no problems in {len(GOLDENS)} files\n")

    @pytest.mark.parametrize(
        "text",
        [
            MISSPELT_KIND,
            QUIET.replace("v1", "apps/v1"),
            WITH_LOGS,
            BAD.replace('inject: "true"', "a: b").replace("pillion.dev/", "fluentbit.io/"),
            BAD.replace('"true"', '"false"'),
            "on: push\njobs: {}\n",
        ],
        ids=["kind", "version", "logs", "others", "refuses", "no-manifest"],
    )
    def test_what_only_inject_says(self, text: str, pillion: Call) -> None:
        """Who calls inject wants to know why nothing happens; a linter has nothing to do here."""
        assert pillion("lint", "-f", "-", stdin=text) == (0, "", "pillion lint: no problems in 1 file\n")

    @pytest.mark.parametrize("text", ["", "# nothing\n---\n"], ids=["empty", "comments"])
    def test_where_there_is_nothing_that_is_said(self, text: str, pillion: Call) -> None:
        """The program before a pipe may have failed."""
        assert pillion("lint", "-f", "-", stdin=text) == (0, "", "pillion lint: no manifests in 1 file\n")

    def test_inject_says_more(self, pillion: Call) -> None:
        """The note that is left out here is one that inject prints."""
        assert (
            ": note: not injected: apps/v1 has no kind Deploymnet"
            in pillion("inject", "-f", "-", stdin=MISSPELT_KIND).err
        )

    def test_a_namespace_that_opts_in_uses_pillion(self, pillion: Call) -> None:
        """There the same is a warning."""
        code, out, _ = pillion("lint", "--namespace-opt-in", "-f", "-", stdin=MISSPELT_KIND)
        assert (code, out.startswith("stdin:2:1: warning: Deploymnet/x: ")) == (1, True)


class TestTheExamination:
    """It is that of inject and explain."""

    @pytest.mark.parametrize("options", [(), ("--strict",), ("--namespace-opt-in",)], ids=["", "strict", "opt-in"])
    def test_agrees_with_explain(self, options: tuple[str, ...], pillion: Call) -> None:
        """For every golden pod and pattern: the same remarks, and the exit code follows from them."""
        codes = set()
        for path in [*GOLDENS, *PATTERNS]:
            explained = pillion("explain", *options, "-o", "json", "-f", str(path))
            expected = [
                (each["line"], each["column"], each["severity"], each["text"])
                for pod in json.loads(explained.out)
                for each in pod["warnings"]
            ]
            # what is no pod's is on standard error
            of_objects = re.findall(r":(\d+):(\d+): .*?: (error|warning|note): (.*)", explained.err)
            expected += [(int(line), int(column), *rest) for line, column, *rest in of_objects]
            code, out, _ = pillion("lint", *options, "-o", "json", "-f", str(path))
            found = [(each["line"], each["column"], each["level"], each["message"]) for each in json.loads(out)]
            assert sorted(found) == sorted(expected)
            assert code == (1 if expected else 0)
            codes.add(code)
        assert codes == {0, 1}

    def test_strict_errors_are_those_of_inject(self, pillion: Call) -> None:
        """What inject --strict fails on is an error; another warning stays one."""
        elsewhere = BAD.replace("shop.log", "/var/log/*.log")
        for text, level in ((BAD, "error"), (MISPLACED, "error"), (SHARED, "warning"), (elsewhere, "warning")):
            code, out, err = pillion("lint", "--strict", "-f", "-", stdin=text)
            assert (code, out.split(": ")[1], err) == (1, level, f"pillion lint: 1 {level} in 1 file\n")
            assert pillion("inject", "--strict", "-f", "-", stdin=text).code == (1 if level == "error" else 0)

    def test_what_the_webhook_refuses_is_an_error(self, pillion: Call, folder: Path) -> None:
        """With ``strict`` in the configuration: invalid annotations, and nothing else."""
        (folder / "config.yaml").write_text("strict: true\n")
        code, out, err = pillion("lint", "--config", "config.yaml", "-f", "-", stdin=f"{BAD}---\n{MISPLACED}")
        assert (code, [line.split(": ")[1] for line in out.splitlines()]) == (1, ["error", "warning"])
        assert err == "pillion lint: 1 error, 1 warning in 1 file\n"

    def test_a_configuration_has_profiles(self, pillion: Call, folder: Path) -> None:
        """A profile that only the operator's file has is known with it."""
        (folder / "config.yaml").write_text("profiles:\n  mine: {base: tail}\n")
        text = BAD.replace("logs: shop.log", "profile: mine")
        assert pillion("lint", "--config", "config.yaml", "-f", "-", stdin=text).code == 0
        (found,) = json.loads(pillion("lint", "-o", "json", "-f", "-", stdin=text).out)
        assert found["reason"] == "unknown_profile"

    def test_another_prefix(self, pillion: Call) -> None:
        """Only its keys are ours."""
        text = BAD.replace("pillion.dev/", "logs.example.com/")
        assert pillion("lint", "-f", "-", stdin=text).code == 0
        code, out, _ = pillion("lint", "--prefix", "logs.example.com/", "-f", "-", stdin=text)
        assert (code, "logs.example.com/logs" in out) == (1, True)

    def test_a_sidecar_that_is_there_stays(self, pillion: Call) -> None:
        """As for the webhook, which never replaces one."""
        injected = pillion("inject", "-f", "-", stdin=APP).out.replace('inject: "true"', 'inject: "maybe"')
        code, out, _ = pillion("lint", "-f", "-", stdin=injected)
        assert (code, "not replaced" in out) == (1, False)


class TestForPrograms:
    """JSON and SARIF."""

    def test_json_names_everything(self, pillion: Call, folder: Path) -> None:
        """Flat objects, in the order of the lines."""
        (folder / "app.yaml").write_text(BAD.replace("name: bad", "name: bad\n  namespace: shop"))
        code, out, err = pillion("lint", "-o", "json", "-f", "app.yaml")
        assert (code, err) == (1, "pillion lint: 1 warning in 1 file\n")
        assert json.loads(out) == [
            {
                "file": "app.yaml",
                "line": 8,
                "column": 5,
                "level": "warning",
                "reason": "bad_annotation",
                "kind": "Pod",
                "namespace": "shop",
                "name": "bad",
                "message": 'not injected: pillion.dev/logs "shop.log": must begin with /; write /var/log/app/shop.log',
            }
        ]

    def test_json_of_nothing_is_an_empty_list(self, pillion: Call) -> None:
        """So that a program need not ask."""
        assert pillion("lint", "-o", "json", "-f", "-", stdin=QUIET)[:2] == (0, "[]\n")

    def test_each_problem_has_its_own_reason(self, pillion: Call) -> None:
        """Not that of the pod's verdict: a pod that is injected may have several."""
        text = BAD.replace("logs: shop.log", "logs: /var/log/*.log\n    pillion.dev/colour: red")
        _, out, _ = pillion("lint", "-o", "json", "-f", "-", stdin=text)
        assert [(each["line"], each["reason"]) for each in json.loads(out)] == [
            (7, "hides_application"),
            (8, "unknown_key"),
        ]

    @pytest.mark.parametrize("reason", ManifestReason)
    def test_reasons_of_manifests(self, reason: ManifestReason, pillion: Call) -> None:
        """Each can be found, and is no reason of a review."""
        _, out, _ = pillion("lint", "-o", "json", "-f", "-", stdin=MANIFEST_REASONS[reason])
        assert reason.value in {each["reason"] for each in json.loads(out)}

    def test_the_reasons_are_documented(self) -> None:
        """With the same sentences."""
        page = (ROOT / "docs/linting.md").read_text()
        rows = [f"| `{reason.value}` | {reason.sentence} |" for reason in ManifestReason]
        table = page.partition("| reason | meaning |\n|---|---|\n")[2].partition("\n\n")[0]
        assert table.splitlines() == rows

    def test_sarif_has_what_is_required(self, pillion: Call, folder: Path) -> None:
        """What SARIF 2.1.0 requires, and what code scanning shows."""
        (folder / "a b#ü.yaml").write_text(f"{BAD}---\n{SHARED}---\n{VALUES}")
        code, out, _ = pillion("lint", "--strict", "-o", "sarif", "-f", "a b#ü.yaml")
        assert code == 1
        log = json.loads(out)
        assert log["version"] == "2.1.0"
        (run,) = log["runs"]
        assert run["columnKind"] == "unicodeCodePoints"
        driver = run["tool"]["driver"]
        assert driver["name"] == "pillion"
        assert [rule["id"] for rule in driver["rules"]] == ["bad_annotation", "misplaced_key", "shared_volume"]
        assert all(rule["shortDescription"]["text"] for rule in driver["rules"])
        places = []
        for result in run["results"]:
            (location,) = result["locations"]
            where = location["physicalLocation"]
            assert where["artifactLocation"] == {"uri": "a%20b%23%C3%BC.yaml"}
            assert set(where["region"]) == {"startLine", "startColumn"}
            places.append((result["ruleId"], result["level"], where["region"]["startLine"]))
        assert places == [
            ("bad_annotation", "error", 7),
            ("shared_volume", "warning", 20),
            ("misplaced_key", "note", 24),
        ]
        assert run["results"][0]["message"]["text"].startswith('Pod/bad: pillion.dev/logs "shop.log": ')

    def test_sarif_names_a_file_by_its_address(self, pillion: Call, folder: Path) -> None:
        """Where its name is an absolute one."""
        (folder / "a#.yaml").write_text(BAD)
        log = json.loads(pillion("lint", "-o", "sarif", "-f", str(folder / "a#.yaml")).out)
        (location,) = log["runs"][0]["results"][0]["locations"]
        assert location["physicalLocation"]["artifactLocation"] == {"uri": f"file://{folder}/a%23.yaml"}

    def test_sarif_of_nothing_is_a_run(self, pillion: Call) -> None:
        """Code scanning closes what a run no longer finds."""
        code, out, _ = pillion("lint", "-o", "sarif", "-f", "-", stdin=QUIET)
        assert (code, [run["results"] for run in json.loads(out)["runs"]]) == (0, [[]])

    def test_levels_are_sarifs(self) -> None:
        """SARIF 2.1.0, 3.27.10."""
        assert {severity.value for severity in RemarkSeverity} <= {"none", "note", "warning", "error"}


#: ESC, CSI, a line end, right-to-left override, a half of a character.
HOSTILE = "a\x1b[8m\x9b8m\r\n\u202eb"


class TestHostility:
    """Whoever opens a pull request chooses the text."""

    @pytest.mark.parametrize("output", ["text", "json", "sarif"])
    def test_no_text_commands_a_terminal(self, output: str, pillion: Call, folder: Path) -> None:
        """In names, values and the file's own name, in every form; and it never makes a second line."""
        value: Any = {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"name": HOSTILE}]}}
        keys = {"pillion.dev/inject": "true", "pillion.dev/logs": HOSTILE, f"pillion.dev/{HOSTILE}": HOSTILE}
        value["metadata"] = {"name": HOSTILE, "namespace": HOSTILE, "annotations": keys}
        name = f"{HOSTILE}.json"
        (folder / name).write_text(json.dumps(value))
        code, out, err = pillion("lint", "-o", output, "-f", name)
        assert (code, err) == (1, "pillion lint: 2 warnings in 1 file\n")
        printed = out.replace("\n", "")
        assert printed.isprintable()
        assert output != "text" or out.count("\n") == 2
        if output == "json":
            assert {(each["file"], each["name"]) for each in json.loads(out)} == {(name, HOSTILE)}

    @pytest.mark.parametrize("output", ["text", "json", "sarif"])
    def test_a_files_name_is_any_bytes(self, output: str, pillion: Call, folder: Path) -> None:
        """One that is no UTF-8 is read and named."""
        name = b"b\xffd.yaml".decode(errors="surrogateescape")
        (folder / name).write_text(BAD)
        code, out, _ = pillion("lint", "-o", output, "-f", ".")
        assert code == 1
        assert {"text": "b\ufffdd.yaml:7:5", "json": '"b\\udcffd.yaml"', "sarif": '"b%FFd.yaml"'}[output] in out

    def test_five_megabytes(self, pillion: Call) -> None:
        """Of one value, and of another object: the problem is found, and the line does not repeat the value."""
        code, out, _ = pillion("lint", "-f", "-", stdin=BAD.replace("shop.log", "x" * 5_000_000))
        assert (code, len(out) < 200) == (1, True)
        large = "apiVersion: v1\nkind: ConfigMap\ndata:\n" + '  k: "pillion.dev/"\n' * 250_000
        code, out, err = pillion("lint", "-f", "-", stdin=f"{large}---\n{BAD}")
        assert (code, err) == (1, "pillion lint: 1 warning in 1 file\n")
        assert out.startswith("stdin:250011:5: warning: Pod/bad: ")
