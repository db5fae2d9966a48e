"""Tests of ``pillion uninject``, and of replacing with ``pillion inject``."""

import json
from pathlib import Path
from typing import Any

import jsonpatch
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cli.conftest import Call
from tests.cli.manifests import APP, GOLDENS, PATTERNS, QUIET
from tests.layouts import json_texts, yaml_texts
from tests.strategies import many, pods
from webhook import documents
from webhook.cli.replacement import replaced
from webhook.configuration import load
from webhook.profiles import RELEASED_IMAGE
from webhook.workloads.reports import review
from webhook.workloads.workload import Change, operations, workloads

CONFIGURATION = load(None)
CLAIMS = """\
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  template:
    metadata:
      annotations: {pillion.dev/inject: "true", pillion.dev/logs: /data/*.log}
    spec:
      containers:
      - name: db
        image: db
        volumeMounts: [{name: data, mountPath: /data}]
VOLUMES
  volumeClaimTemplates:
  - metadata: {name: data}
"""
JOB = """\
apiVersion: batch/v1
kind: CronJob
metadata: {name: night}
spec:
  jobTemplate:
    spec:
      template:
METADATA
        spec:
          restartPolicy: Never
          containers:
          - name: night
            image: night
            volumeMounts: [{name: logs, mountPath: /var/log/app}]
          volumes: [{name: logs, emptyDir: {}}]
"""


def injected(pillion: Call, text: str, *options: str) -> str:
    """Return what ``pillion inject`` prints for a text, which it changes."""
    code, out, _ = pillion("inject", *options, "-f", "-", stdin=text)
    assert code == 0
    assert out != text
    return out


def uninjected(pillion: Call, text: str) -> str:
    """Return what ``pillion uninject`` prints for a text; it has nothing to say."""
    code, out, err = pillion("uninject", "-f", "-", stdin=text)
    assert (code, err) == (0, "")
    return out


def edited(document: documents.Document, changes: list[Change]) -> documents.Document:
    """Return a document with changes, read again."""
    text = documents.edited(document, operations(changes))
    (again,) = documents.read(text, "app.yaml")
    return again


# --- the way back ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*GOLDENS, *PATTERNS], ids=lambda path: path.parent.name)
@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["lf", "crlf"])
def test_files_become_what_they_were(path: Path, newline: str, pillion: Call, folder: Path) -> None:
    """Each golden pod and pattern, injected and taken out again, is the file to the byte."""
    text = path.read_bytes().decode().replace("\n", newline)
    settings_file = path.parent / "configuration.yaml"
    options = ["--config", str(settings_file)] if settings_file.exists() else []
    (folder / "app.yaml").write_bytes(text.encode())
    code, out, _ = pillion("inject", *options, "-f", "app.yaml")
    if code:
        return
    assert pillion("uninject", *options, "-f", "-", stdin=out).out == text


@settings(many, max_examples=100)
@given(pods(), st.data())
def test_texts_become_what_they_were(pod: Any, data: st.DataObject) -> None:
    """In whatever layout a manifest is written: block, brackets, JSON, comments, quotes, CRLF."""
    text = data.draw(yaml_texts(pod) | json_texts(pod))
    (document,) = documents.read(text, "app.yaml")
    found = [review(one, CONFIGURATION, namespace_opted_in=False) for one in workloads(document, "default")]
    again = edited(document, list(found))
    removed = [one.removed(CONFIGURATION) for one in workloads(again, "default")]
    assert documents.edited(again, operations(removed)) == text
    replacements = [
        replaced(review(one, CONFIGURATION, namespace_opted_in=False)) for one in workloads(again, "default")
    ]
    assert documents.edited(again, operations(replacements)) == again.text


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(APP, id="stream"),
        pytest.param(CLAIMS.replace("VOLUMES\n", ""), id="claims"),
        pytest.param(CLAIMS.replace("VOLUMES", "      volumes: []"), id="claims-and-no-volumes"),
        pytest.param(CLAIMS.replace("VOLUMES", "      volumes:"), id="claims-and-null-volumes"),
        pytest.param(JOB.replace("METADATA\n", ""), id="no-metadata"),
        pytest.param(JOB.replace("METADATA", "        metadata: {}"), id="empty-metadata"),
        pytest.param(JOB.replace("METADATA", "        metadata:"), id="null-metadata"),
        pytest.param(JOB.replace("METADATA", "        metadata: {annotations: {}}"), id="empty-annotations"),
        pytest.param(JOB.replace("METADATA", "        metadata:\n          annotations:"), id="null-annotations"),
        pytest.param(
            "kind: List\napiVersion: v1\nitems:\n# one\n- "
            + APP.partition("---")[0].replace("\n", "\n  ").rstrip()
            + "\n# two\n- {apiVersion: v1, kind: Service, metadata: {name: x}}\n",
            id="list",
        ),
    ],
)
def test_what_a_manifest_lacks_it_lacks_again(text: str, pillion: Call) -> None:
    """A missing key, a null and an empty one are told apart."""
    out = injected(pillion, text, "--namespace-opt-in")
    assert uninjected(pillion, out) == text
    assert pillion("inject", "--namespace-opt-in", "-f", "-", stdin=out).out == out


@pytest.mark.parametrize("null", ["", " ~", " null"])
def test_a_null_below_a_list_or_among_annotations_is_back_as_it_was(null: str, pillion: Call) -> None:
    """With its word, at its place; and a second injection changes nothing."""
    text = f"""\
apiVersion: v1
kind: Pod
metadata:
  name: shop
  annotations:
    cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes:{null}
    pillion.dev/inject: "true"
    pillion.dev/status:{null}
    note: x
spec:
  containers:
  - name: shop
    env:{null}
    volumeMounts:{null}
    image: shop
  - {{name: worker, image: shop, volumeMounts:{null or " Null"}}}
"""
    out = injected(pillion, text)
    assert uninjected(pillion, out) == text
    assert pillion("inject", "-f", "-", stdin=out).out == out


def test_prints_a_patch_and_a_diff(pillion: Call) -> None:
    """The patch is RFC 6902; the diff only removes."""
    document = documents.read(APP, "app.yaml")[0]
    text = injected(pillion, APP)
    patch = json.loads(pillion("uninject", "-o", "patch", "-f", "-", stdin=text).out)
    assert jsonpatch.apply_patch(documents.read(text, "app.yaml")[0].value, patch) == document.value
    diff = pillion("uninject", "--diff", "-f", "-", stdin=text).out.splitlines()
    assert diff[:2] == ["--- stdin", "+++ stdin (uninjected)"]
    assert not [line for line in diff[2:] if line.startswith("+")]


def test_what_carries_no_sidecar_stays(pillion: Call) -> None:
    """To the byte, and that is said."""
    code, out, err = pillion("uninject", "-f", "-", stdin=QUIET)
    assert (code, out) == (0, QUIET)
    assert err == "pillion uninject: nothing to do: no pod and no workload has a sidecar of Pillion\n"


def test_what_stays_is_named_with_its_line(pillion: Call) -> None:
    """File, line, column and object; the exit code is 0."""
    lines = [line for line in injected(pillion, APP).splitlines(keepends=True) if "pillion.dev/status" not in line]
    code, out, err = pillion("uninject", "-f", "-", stdin="".join(lines))
    number = next(n for n, line in enumerate(lines, 1) if "- name: POD_NAME\n" in line)
    said = 'warning: container "app" keeps POD_NAME and POD_NAMESPACE: it could be yours'
    assert code == 0
    assert "pillion-" not in out
    assert err == f"stdin:{number}:11: Deployment/shop: {said}\n"


def test_every_file_that_can_not_be_read_is_named(pillion: Call, folder: Path) -> None:
    """Nothing is printed then, and the exit code is 2."""
    for name in ("a.yaml", "b.yaml"):
        (folder / name).write_text("kind: A\n\tbroken\n")
    code, out, err = pillion("uninject", "-f", ".")
    assert (code, out) == (2, "")
    assert ["a.yaml" in line or "b.yaml" in line for line in err.splitlines()] == [True, True]


def test_the_prefix_can_be_another(pillion: Call) -> None:
    """``--prefix`` is that of the injection."""
    text = APP.replace("pillion.dev/", "logs.example/")
    out = injected(pillion, text, "--prefix", "logs.example/")
    assert pillion("uninject", "--prefix", "logs.example/", "-f", "-", stdin=out).out == text


# --- replacing ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    [
        pytest.param("logs: /var/log/shop/*.log", id="other-path"),
        pytest.param("profile: web", id="other-profile"),
        pytest.param('env: "false"', id="no-variables"),
        pytest.param("logs: /a/*.log,/b/*.log,/c/*.log", id="more-volumes"),
        pytest.param("memory-limit: 48Mi", id="resources"),
    ],
)
def test_edited_annotations_are_followed(key: str, pillion: Call) -> None:
    """An injected file with other annotations becomes what the bare file with them becomes."""
    ask = 'pillion.dev/inject: "true"   # ask\n'
    assert ask in APP
    other = APP.replace(ask, f"{ask}        pillion.dev/{key}\n")
    out = injected(pillion, injected(pillion, APP).replace(ask, f"{ask}        pillion.dev/{key}\n"))
    assert out == injected(pillion, other)
    back = injected(pillion, out.replace(f"        pillion.dev/{key}\n", ""))
    assert back == injected(pillion, APP)


def test_nothing_to_renew_is_said(pillion: Call) -> None:
    """The text is the same to the byte."""
    text = injected(pillion, QUIET.replace("quiet}", 'quiet, annotations: {pillion.dev/inject: "true"}}'))
    code, out, err = pillion("inject", "-f", "-", stdin=text)
    assert (code, out) == (0, text)
    assert err == "stdin:1:1: Pod/quiet: unchanged: the pod already has a sidecar of Pillion\n"


def test_a_sidecar_that_mounts_nothing_of_ours_is_known(pillion: Call, folder: Path) -> None:
    """It has the sidecar's variables, and the status names it."""
    profile = (
        "profiles: {bare: {description: bare, logs: [/data/*.log], sidecar: {image: x, command: [x, <log-files>]}}}\n"
    )
    (folder / "pillion.yaml").write_text(f"{profile}defaultProfile: bare\n")
    text = CLAIMS.replace("VOLUMES", "      automountServiceAccountToken: false")
    out = injected(pillion, text, "--config", "pillion.yaml")
    assert "pillion-logs" not in out
    again = pillion("inject", "--config", "pillion.yaml", "-f", "-", stdin=out)
    assert again.out == out
    assert "unchanged: the pod already has a sidecar of Pillion" in again.err
    assert uninjected(pillion, out) == text


def test_a_sidecar_that_was_changed_by_hand_is_renewed(pillion: Call) -> None:
    """It is what the profile and the annotations make of it."""
    text = injected(pillion, APP)
    assert "memory: 64Mi" in text
    assert injected(pillion, text.replace("memory: 64Mi", "memory: 1Gi")) == text


def test_a_sidecar_of_the_shell_script_is_ours(pillion: Call) -> None:
    """The profile `tail` once ran a script on busybox's image: such a sidecar is replaced, and taken out."""
    text = injected(pillion, APP)
    program = "- /usr/bin/pillion-tail\n"
    assert program in text
    script = text.replace(RELEASED_IMAGE, "docker.io/library/busybox:1.36")
    script = script.replace(program, "- /bin/sh\n          - -c\n          - exec tail\n          - pillion-tail\n")
    assert injected(pillion, script) == text
    assert uninjected(pillion, script) == APP


def test_one_that_was_deleted_by_hand_is_back(pillion: Call) -> None:
    """What else was added is no obstacle."""
    text = injected(pillion, APP)
    value = documents.read(text, "app.yaml")[0].value
    bare = jsonpatch.apply_patch(value, [{"op": "remove", "path": "/spec/template/spec/initContainers"}])
    out = injected(pillion, documents.as_json(bare))
    assert documents.read(out, "app.json")[0].value == value


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        pytest.param(
            'inject: "true"',
            'inject: "false"',
            "the pod has inject: false, but still has a sidecar; pillion uninject removes it",
            id="refuses",
        ),
        pytest.param(
            'pillion.dev/inject: "true"',
            "example.com/x: z",
            "injection is not requested, but the pod has a sidecar; pillion uninject removes it",
            id="nobody-asks",
        ),
        pytest.param(
            'inject: "true"   # ask',
            'inject: "true"\n        pillion.dev/logs: shop.log',
            'not replaced: pillion.dev/logs "shop.log": must begin with /; write /var/log/app/shop.log',
            id="bad-annotation",
        ),
    ],
)
def test_the_old_sidecar_stays_where_no_new_one_can_be(old: str, new: str, said: str, pillion: Call) -> None:
    """All or nothing: the text is the same, and a warning says why."""
    text = injected(pillion, APP).replace(old, new)
    code, out, err = pillion("inject", "-f", "-", stdin=text)
    assert (code, out) == (0, text)
    assert err.startswith("stdin:")
    assert err.endswith(f": Deployment/shop: warning: {said}\n")


def test_strict_refuses_a_renewal_that_can_not_be(pillion: Call) -> None:
    """As it refuses the injection: nothing is printed, exit code 1."""
    text = injected(pillion, APP).replace("   # ask", "\n        pillion.dev/logs: shop.log")
    code, out, _ = pillion("inject", "--strict", "-f", "-", stdin=text)
    assert (code, out) == (1, "")


def test_strict_refuses_a_sidecar_that_a_pod_does_not_ask_for(pillion: Call) -> None:
    """A pod with a key of ours that does nothing without inject is not met, with a sidecar or without."""
    ask = '        pillion.dev/inject: "true"   # ask\n'
    assert ask in APP
    logs = "        pillion.dev/logs: /var/log/app/*.log\n"
    for text in (APP.replace(ask, logs), injected(pillion, APP).replace(ask, logs)):
        assert pillion("inject", "-f", "-", stdin=text)[:2] == (0, text)
        assert pillion("inject", "--strict", "-f", "-", stdin=text)[:2] == (1, "")
    refuses = injected(pillion, APP).replace(ask, ask.replace("true", "false"))
    assert pillion("inject", "--strict", "-f", "-", stdin=refuses)[:2] == (0, refuses)


def test_a_mistake_in_an_injected_pod_is_named_where_it_stands(pillion: Call) -> None:
    """Our sidecar before it counts."""
    text = """\
apiVersion: v1
kind: Pod
metadata:
  name: shop
  annotations:
    pillion.dev/inject: "true"
spec:
  initContainers:
  - name: first
    image: shop
    env:
    - name: LEVEL
      value: "5"
  containers:
  - name: shop
    image: shop
"""
    out = injected(pillion, text).replace('value: "5"', "value: 5")
    line = out.splitlines().index("      value: 5") + 1
    code, again, err = pillion("inject", "-f", "-", stdin=out)
    assert (code, again) == (0, out)
    said = "spec.initContainers[1].env[0].value is the number 5, which the API server refuses; write"
    assert err == f'stdin:{line}:7: Pod/shop: warning: not replaced: {said} "5", in quotes\n'


def test_a_renewal_names_lines_of_the_file_as_it_is(pillion: Call) -> None:
    """Our sidecar, and mounts of ours that stand in front, count though they are taken out first."""
    text = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  replicas: 3
  template:
    metadata:
      annotations: {pillion.dev/inject: "true", pillion.dev/logs: "first:/data/*.log,first:/own/*.log"}
    spec:
      initContainers:
      - name: first
        image: shop
        volumeMounts:
        - name: data
          mountPath: /data
      containers:
      - name: shop
        image: shop
      volumes:
      - {name: data, persistentVolumeClaim: {claimName: data}}
"""
    ours = "        - name: pillion-logs-1\n          mountPath: /own\n          subPath: first\n"
    own = "        - name: data\n          mountPath: /data\n"
    out = injected(pillion, text)
    assert own + ours in out
    for carried in (out, out.replace(own + ours, ours + own)):
        line = 1 + carried[: carried.rindex(own)].count("\n")
        err = pillion("inject", "-f", "-", stdin=carried).err
        assert f'stdin:{line}:11: Deployment/shop: warning: claim "data" is shared by 3 pods' in err


def test_explain_names_both_ways(pillion: Call) -> None:
    """Of a file that carries a sidecar."""
    out = pillion("explain", "-f", "-", stdin=injected(pillion, APP)).out
    assert "note: pillion inject replaces the sidecar in this file, pillion uninject removes it" in out
