"""Tests of ``pillion inject``."""

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import jsonpatch
import pytest

from tests.cli.conftest import Call
from tests.cli.manifests import APP, BAD, GOLDENS, PATTERNS, QUIET, WITH_LOGS
from webhook import documents


def added(diff: str) -> list[str]:
    """Return the lines that a diff adds."""
    return [line[1:] for line in diff.splitlines() if line.startswith("+") and not line.startswith("+++")]


def test_prints_the_stream_with_the_sidecar(pillion: Call) -> None:
    """What is not injected stays byte for byte; comments stay where they are."""
    code, out, err = pillion("inject", "-f", "-", stdin=APP)
    assert (code, err) == (0, "")
    head, tail = APP.split("        # the end of app\n")
    assert out.endswith(tail)
    kept = out.replace("        cluster-autoscaler", "\0", 1).split("\0")[0]
    assert head.startswith(kept)
    deployment = documents.read(out, "out")[0].value
    assert isinstance(deployment, dict)
    assert "name: pillion-tail" in out


def test_the_diff_only_adds(pillion: Call) -> None:
    """A diff has the lines that are new and no others."""
    code, out, err = pillion("inject", "-f", "-", "--diff", stdin=APP)
    assert (code, err) == (0, "")
    assert out.startswith("--- stdin\n+++ stdin (injected)\n@@ ")
    assert not [line for line in out.splitlines()[2:] if line.startswith("-")]
    assert "      - name: pillion-tail" in added(out)


def test_the_diff_of_nothing_is_empty(pillion: Call) -> None:
    """Nobody asks, so nothing is printed, and standard error says so."""
    code, out, err = pillion("inject", "-f", "-", "--diff", stdin=QUIET)
    assert (code, out) == (0, "")
    assert err == (
        "stdin:1:1: Pod/quiet: not injected: neither the pod nor its namespace requests injection "
        '(annotate it with pillion.dev/inject: "true")\n'
    )


def test_a_last_line_without_an_end_is_marked(pillion: Call) -> None:
    """As diff does, so that patch can read it."""
    out = pillion("inject", "-f", "-", "--diff", stdin=APP.partition("\n---")[0]).out
    assert "\\ No newline at end of file\n" in out


@pytest.mark.parametrize(("no_color", "coloured"), [(None, True), ("", True), ("1", False)])
def test_colours_are_for_terminals(folder: Path, no_color: str | None, coloured: bool) -> None:
    """A diff is coloured on a terminal, unless NO_COLOR is set to something."""
    (folder / "app.yaml").write_text(APP)
    environment = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
    environment |= {"TERM": "xterm", "PYTHONPATH": os.pathsep.join(sys.path)}
    if no_color is not None:
        environment["NO_COLOR"] = no_color
    program = "import sys; from webhook.cli import main; sys.exit(main(['inject', '-f', 'app.yaml', '--diff']))"
    near, far = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", program], stdout=far, env=environment) as process:
        os.close(far)
        shown = b""
        # Linux ends a terminal that nobody writes to any more with an error
        while chunk := _read(near):
            shown += chunk
    os.close(near)
    assert process.returncode == 0
    assert (b"\x1b[32m+" in shown) is coloured


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


def test_prints_json_for_json(pillion: Call) -> None:
    """A JSON file stays JSON, indented as it was."""
    value = documents.read(APP, "app.yaml")[0].value
    text = json.dumps(value, indent=4) + "\n"
    out = pillion("inject", "-f", "-", stdin=text).out
    assert json.loads(out)["spec"]["template"]["spec"]["initContainers"][0]["name"] == "pillion-tail"
    diff = pillion("inject", "-f", "-", "--diff", stdin=text).out
    # a comma behind what was the last line of an object is all that changes
    removed = [line[1:] for line in diff.splitlines()[2:] if line.startswith("-")]
    assert all(f"{line}," in added(diff) for line in removed)


def test_the_form_can_be_chosen(pillion: Call) -> None:
    """JSON of YAML, YAML of JSON: the same values."""
    as_json = pillion("inject", "-f", "-", "-o", "json", stdin=APP).out
    back = pillion("inject", "-f", "-", "-o", "yaml", stdin=as_json).out
    plain = pillion("inject", "-f", "-", stdin=APP).out
    values = [[document.value for document in documents.read(text, "out")] for text in (as_json, back, plain)]
    assert values[0] == values[1] == values[2]
    assert len(values[0]) == 2
    assert back.startswith("apiVersion: apps/v1\n")


def test_files_of_both_forms_become_yaml(pillion: Call, folder: Path) -> None:
    """A stream has one form: kubectl would not read on after the first JSON."""
    (folder / "a.json").write_text('{"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "yes"}}')
    (folder / "b.yaml").write_text(QUIET.rstrip("\n"))
    (folder / "c.yml").write_text("---\n" + QUIET)
    out = pillion("inject", "-f", ".").out
    assert out == f'apiVersion: v1\nkind: ConfigMap\ndata:\n  a: "yes"\n---\n{QUIET}---\n{QUIET}'


def test_the_patch_can_be_applied(pillion: Call) -> None:
    """``-o patch`` is RFC 6902 for the object as kubectl knows it."""
    document = documents.read(APP, "app.yaml")[0]
    operations = json.loads(pillion("inject", "-f", "-", "-o", "patch", stdin=APP).out)
    injected = documents.read(pillion("inject", "-f", "-", stdin=APP).out, "out")[0]
    assert jsonpatch.apply_patch(document.value, operations) == injected.value


def test_each_pod_has_a_patch(pillion: Call) -> None:
    """A patch for each object with a pod, in order, an empty one where nothing changes; none for others."""
    out = pillion("inject", "-f", "-", "-o", "patch", stdin=f"{QUIET}---\n{APP}").out
    assert out.startswith("[]\n[\n")
    assert out.count("\n]\n") == 1


@pytest.mark.parametrize("path", PATTERNS, ids=lambda path: path.parent.name)
def test_patterns_are_injected(path: Path, pillion: Call) -> None:
    """Each of the five patterns is injected, and its diff only adds."""
    code, out, err = pillion("inject", "-f", str(path), "--diff")
    assert code == 0
    # four of them have their volume at /var/log itself or at a first-level folder
    assert all("hides what the image has in" in line for line in err.splitlines())
    assert added(out)
    assert not [line for line in out.splitlines() if line.startswith("-") and not line.startswith("---")]


@pytest.mark.parametrize("path", [*GOLDENS, *PATTERNS], ids=lambda path: path.parent.name)
def test_injecting_again_changes_nothing(path: Path, pillion: Call) -> None:
    """The output, injected again, is the output."""
    first = pillion("inject", "-f", str(path)).out
    assert pillion("inject", "-f", "-", stdin=first).out == first


def test_a_lost_restart_policy_is_written_again(pillion: Call) -> None:
    """The pod never starts without it; a webhook or an editor with an old library may have removed it."""
    out = pillion("inject", "-f", "-", stdin=APP).out
    assert out.count("restartPolicy: Always\n") == 1
    lost = re.sub(" *restartPolicy: Always\n", "", out)
    found = pillion("lint", "-f", "-", stdin=lost)
    assert (found.code, "has no restartPolicy: Always" in found.out) == (1, True)
    assert pillion("inject", "-f", "-", stdin=lost).out == out


class TestInput:
    """What ``-f`` may name."""

    def test_folders_are_read_in_order(self, pillion: Call, folder: Path) -> None:
        """A folder's manifests by their names; other files and folders are left out, unless -R asks."""
        (folder / "deep").mkdir()
        for name in ("b.yaml", "a.yml", "c.json", "d.txt", "deep/e.yaml"):
            (folder / name).write_text(json.dumps({"kind": "X", "n": name}))
        flat = pillion("inject", "-f", ".").out
        assert [document.value["n"] for document in documents.read(flat, "out")] == ["a.yml", "b.yaml", "c.json"]  # type: ignore[call-overload, index]
        assert "deep/e.yaml" in pillion("inject", "-R", "-f", ".").out

    def test_files_are_kept_apart(self, pillion: Call, folder: Path) -> None:
        """Several files become one stream, whether they begin and end with --- and a newline or not."""
        (folder / "a.yaml").write_text("kind: A")
        (folder / "b.yaml").write_text("---\nkind: B\n")
        out = pillion("inject", "-f", "a.yaml", "-f", "b.yaml", "-f", "a.yaml").out
        assert out == "kind: A\n---\nkind: B\n---\nkind: A"

    @pytest.mark.parametrize(
        "text",
        [
            pytest.param("kind: A", id="no-final-newline"),
            pytest.param("kind: A\r\n---\r\nkind: B\r\n", id="windows-lines"),
            pytest.param("\ufeffkind: A\n---\n\ufeffkind: B\n", id="byte-order-marks"),
            pytest.param('{"kind": "A"}\n\n {"kind": "B"}', id="json-objects"),
            pytest.param('{"kind": "A"}{"kind": "B"}\n', id="json-objects-side-by-side"),
            pytest.param("kind: A\nkind: B\n", id="duplicate-key"),
            pytest.param("kind: List\nitems:\n# a\n- {kind: A}\n# b", id="list"),
        ],
    )
    def test_what_is_not_injected_stays_to_the_byte(self, text: str, pillion: Call, folder: Path) -> None:
        """Line ends, marks and blanks are the author's."""
        (folder / "a").write_bytes(text.encode())
        code, out, _ = pillion("inject", "-f", "a")
        assert (code, out) == (0, text)

    @pytest.mark.parametrize("newline", ["\n", "\r\n"])
    @pytest.mark.parametrize("mark", ["", "\ufeff"])
    def test_what_is_added_ends_as_the_file_does(self, newline: str, mark: str, pillion: Call, folder: Path) -> None:
        """A file without a final newline has none afterwards, and every line ends as the others do."""
        (folder / "a").write_bytes((mark + APP.rstrip("\n").replace("\n", newline)).encode())
        out = pillion("inject", "-f", "a").out
        assert out == mark + pillion("inject", "-f", "-", stdin=APP).out.rstrip("\n").replace("\n", newline)

    def test_files_of_every_kind_become_one_stream(self, pillion: Call, folder: Path) -> None:
        """JSON beside YAML becomes YAML, JSON alone stays JSON; marks are only at the very beginning."""
        (folder / "a.json").write_text('{"kind": "A"} {"kind": "B"}')
        (folder / "b.yaml").write_text("\ufeffkind: C")
        together = pillion("inject", "-f", "b.yaml", "-f", "a.json", "-f", "b.yaml").out
        assert together == "\ufeffkind: C\n---\nkind: A\n---\nkind: B\n---\nkind: C"
        alone = pillion("inject", "-f", "a.json", "-f", "a.json").out
        assert [document.value for document in documents.read(alone, "out")] == [{"kind": "A"}, {"kind": "B"}] * 2

    def test_a_stream_keeps_its_blank_documents(self, pillion: Call) -> None:
        """Comments between documents and separators too many are not ours to remove."""
        text = "# licence\n---\n# one\nkind: A\n---\n---\n# nothing\n---\nkind: B\n"
        assert pillion("inject", "-f", "-", stdin=text).out == text

    @pytest.mark.parametrize(
        ("names", "said"),
        [
            (["nope.yaml"], "nope.yaml: can't be read: No such file or directory"),
            (["empty"], "empty: no *.yaml, *.yml or *.json in this directory"),
            (["good.yaml", "bad.yaml"], "bad.yaml:4:1: a tab"),
            (["list.yaml"], "list.yaml:2:1: expected a mapping with apiVersion and kind, found a list"),
        ],
    )
    def test_what_can_not_be_read_is_2(self, names: list[str], said: str, pillion: Call, folder: Path) -> None:
        """Nothing is printed by halves: one unreadable file, and standard output stays empty."""
        (folder / "empty").mkdir()
        (folder / "good.yaml").write_text(APP)
        (folder / "bad.yaml").write_text("kind: A\n---\nkind: B\n\tbroken\n")
        (folder / "list.yaml").write_text("# no object\n- kind: A\n")
        code, out, err = pillion("inject", *(word for name in names for word in ("-f", name)))
        assert (code, out) == (2, "")
        assert err.startswith(f"pillion: {said}")
        assert len(err.splitlines()) == 1


class TestAsking:
    """Who is injected."""

    def test_a_namespace_in_the_stream_opts_in(self, pillion: Call) -> None:
        """Its pods are injected, wherever in the stream it stands; others are not."""
        namespace = 'apiVersion: v1\nkind: Namespace\nmetadata: {name: a, labels: {pillion.dev/inject: "true"}}\n'
        other = WITH_LOGS.replace("{name: quiet}", "{name: loud, namespace: a}")
        out = pillion("inject", "-f", "-", stdin=f"{WITH_LOGS}---\n{other}---\n{namespace}").out
        assert out.count("name: pillion-tail") == 1
        assert out.startswith(WITH_LOGS)

    def test_namespace_names_those_without_one(self, pillion: Call) -> None:
        """``-n`` says where objects go that don't say it."""
        namespace = 'apiVersion: v1\nkind: Namespace\nmetadata: {name: a, labels: {pillion.dev/inject: "true"}}\n'
        assert "pillion-tail" in pillion("inject", "-n", "a", "-f", "-", stdin=f"{WITH_LOGS}---\n{namespace}").out

    def test_all_namespaces_can_opt_in(self, pillion: Call) -> None:
        """``--namespace-opt-in`` is for clusters where the label is set elsewhere; ``inject: "false"`` wins."""
        asked = pillion("inject", "--namespace-opt-in", "-f", "-", stdin=WITH_LOGS).out
        assert "pillion-tail" in asked
        refusing = APP.replace('"true"', '"false"')
        assert pillion("inject", "--namespace-opt-in", "-f", "-", stdin=refusing).out == refusing

    def test_the_configuration_is_that_of_the_server(self, pillion: Call, folder: Path) -> None:
        """The same file that the webhook reads decides here."""
        (folder / "config.yaml").write_text("defaultProfile: web\nstrict: true\n")
        assert "pillion-web" in pillion("inject", "--config", "config.yaml", "-f", "-", stdin=APP).out
        assert pillion("inject", "--config", "config.yaml", "-f", "-", stdin=BAD).code == 1

    @pytest.mark.parametrize(
        ("own", "warned"),
        [("", True), ("  imagePullSecrets: []\n", True), ("  imagePullSecrets: [{name: own}]\n", False)],
    )
    def test_the_first_pull_secrets_of_a_pod_are_warned_of(
        self, pillion: Call, folder: Path, own: str, *, warned: bool
    ) -> None:
        """The API server gives a pod its service account's only if the manifest has none."""
        (folder / "config.yaml").write_text("profiles: {tail: {imagePullSecrets: [{name: ours}]}}\n")
        text = BAD.replace("shop.log", "/var/log/shop/*.log") + own
        said = (
            "stdin:1:1: Pod/bad: warning: its first imagePullSecrets are the profile's; "
            "add those of its service account, which it gets no more\n"
        )
        first = pillion("inject", "--config", "config.yaml", "-f", "-", stdin=text)
        assert (first.code, first.err) == (0, said if warned else "")
        assert "- name: ours" in first.out or "{name: ours}" in first.out
        again = pillion("inject", "--config", "config.yaml", "-f", "-", stdin=first.out)
        assert (again.code, again.out) == (0, first.out)
        assert said not in again.err

    def test_the_prefix_can_be_another(self, pillion: Call) -> None:
        """``--prefix`` is the setting of that name."""
        text = APP.replace("pillion.dev/", "logs.example/")
        assert "logs.example/status" in pillion("inject", "--prefix", "logs.example/", "-f", "-", stdin=text).out


class TestWarnings:
    """What standard error says, and the exit code."""

    def test_a_bad_annotation_is_a_warning(self, pillion: Call) -> None:
        """File, line, column, object, and what to write; the pod stays as it was, and its neighbours are injected."""
        code, out, err = pillion("inject", "-f", "-", stdin=f"{APP}---\n{BAD}")
        assert code == 0
        assert out.endswith(BAD)
        assert "pillion-tail" in out
        said = 'not injected: pillion.dev/logs "shop.log": must begin with /; write /var/log/app/shop.log'
        assert err == f"stdin:27:5: Pod/bad: warning: {said}\n"

    @pytest.mark.parametrize("form", [(), ("--diff",), ("-o", "patch"), ("-o", "json")])
    def test_strict_refuses(self, form: tuple[str, ...], pillion: Call) -> None:
        """As the cluster denies the pod, nothing is printed that could be applied, and the exit code is 1."""
        code, out, err = pillion("inject", "--strict", *form, "-f", "-", stdin=f"{APP}---\n{BAD}")
        assert (code, out) == (1, "")
        assert err.startswith("stdin:27:5: Pod/bad: error: pillion.dev/logs ")

    def test_strict_refuses_what_the_api_server_refuses(self, pillion: Call) -> None:
        """An annotation that is no text counts as one that can't be used."""
        assert pillion("inject", "--strict", "-f", "-", stdin=APP.replace('"true"', "yes")).code == 1

    def test_no_pods_are_nothing_to_do(self, pillion: Call) -> None:
        """A stream without workloads is passed through, and that is said."""
        code, out, err = pillion("inject", "-f", "-", stdin="kind: Service\n")
        assert (code, out) == (0, "kind: Service\n")
        assert err == "pillion inject: nothing to do: no pods and no workloads in the input\n"

    def test_remarks_on_other_objects_are_told(self, pillion: Call) -> None:
        """A Namespace that is annotated and not labelled is named, in the file's order."""
        namespace = 'kind: Namespace\napiVersion: v1\nmetadata: {name: a, annotations: {pillion.dev/inject: "true"}}\n'
        code, out, err = pillion("inject", "-f", "-", stdin=f"{namespace}---\n{BAD}")
        assert (code, out) == (0, f"{namespace}---\n{BAD}")
        assert [line.partition(" warning")[0] for line in err.splitlines()] == [
            "stdin:3:35: Namespace/a:",
            "stdin:11:5: Pod/bad:",
        ]


HOST_NETWORK = BAD.replace(
    "    pillion.dev/logs: shop.log\nspec:", "    pillion.dev/profile: web\nspec:\n  hostNetwork: true"
)
WINDOWS = BAD.replace("    pillion.dev/logs: shop.log\nspec:", "spec:\n  os: {name: windows}")
MIRROR = BAD.replace("pillion.dev/logs: shop.log", "kubernetes.io/config.mirror: x")
LABELLED = QUIET.replace("{name: quiet}", '{name: quiet, labels: {pillion.dev/inject: "true"}}')
KNATIVE = BAD.replace("v1\nkind: Pod", "serving.knative.dev/v1\nkind: Revision").replace("shop.log", "/x/*.log")


class TestStrict:
    """Asked and not injected."""

    @pytest.mark.parametrize("form", [(), ("--diff",), ("-o", "patch"), ("-o", "json")])
    @pytest.mark.parametrize("text", [HOST_NETWORK, WINDOWS, MIRROR, LABELLED, KNATIVE, BAD], ids=range(6))
    def test_prints_nothing(self, text: str, form: tuple[str, ...], pillion: Call) -> None:
        """Whatever the reason is: what is printed could be applied without its sidecar."""
        code, out, err = pillion("inject", "--strict", *form, "-f", "-", stdin=f"{APP}---\n{text}")
        assert (code, out) == (1, "")
        first, *rest = err.splitlines()
        assert re.match(r"stdin:\d+:\d+: [A-Za-z]+/\w+: error: ", first)
        assert rest == ["pillion inject: nothing is printed, because strict is set and there are errors"]

    @pytest.mark.parametrize("text", [HOST_NETWORK, WINDOWS, MIRROR, LABELLED, KNATIVE, BAD], ids=range(6))
    def test_is_a_choice(self, text: str, pillion: Call) -> None:
        """Without it everything is printed, and the same is a warning."""
        code, out, err = pillion("inject", "-f", "-", stdin=f"{APP}---\n{text}")
        assert code == 0
        assert "pillion-tail" in out
        assert out.endswith(text)
        assert re.fullmatch(r"stdin:\d+:\d+: [A-Za-z]+/\w+: warning: .*\n", err)

    def test_prints_what_has_no_errors(self, pillion: Call) -> None:
        """What nobody asks for is no error, and a warning of another kind is none."""
        bounded = APP.replace("    spec:\n", "        pillion.dev/memory-limit: 1Ti\n    spec:\n")
        code, out, err = pillion("inject", "--strict", "-f", "-", stdin=f"{bounded}---\n{QUIET}")
        assert (code, "pillion-tail" in out) == (0, True)
        assert "warning: pillion.dev/memory-limit" in err

    def test_the_configurations_own_is_the_webhooks(self, pillion: Call, folder: Path) -> None:
        """``strict`` in the configuration refuses what the webhook denies, and no more."""
        (folder / "config.yaml").write_text("strict: true\n")
        assert pillion("inject", "--config", "config.yaml", "-f", "-", stdin=HOST_NETWORK).code == 0
        assert pillion("inject", "--config", "config.yaml", "-f", "-", stdin=BAD).code == 1


def test_why_nothing_is_injected_is_said_in_the_findings_own_words(pillion: Call) -> None:
    """A patch has no containers, which is more than that none takes part; explain's verdict says the same."""
    patch = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: shop}\nspec: {template: {spec: {}}}\n"
    said = "it has no containers: a Kustomize or strategic-merge patch? Inject what kustomize build prints"
    code, out, err = pillion("inject", "--namespace-opt-in", "-f", "-", stdin=patch)
    assert (code, out) == (0, patch)
    assert err.endswith(f": Deployment/shop: not injected: {said}\n")
    out = pillion("explain", "--namespace-opt-in", "-f", "-", stdin=patch).out
    assert f"Not injected: {said} (no_containers)." in out
