"""Tests of ``pillion explain``."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Call
from tests.cli.manifests import APP, BAD, GOLDENS, QUIET
from webhook.injection.decision import RULES

SHOP = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: shop
spec:
  template:
    metadata:
      annotations:
        pillion.dev/inject: "true"
        pillion.dev/logs: app:/var/log/shop/*.log, /data/x/**/y.log
        pillion.dev/lgs: x
    spec:
      securityContext: {runAsUser: 1000}
      containers:
      - name: app
        volumeMounts:
        - {name: data, mountPath: /data, subPath: shop}
      - name: cache
      volumes:
      - name: data
        persistentVolumeClaim: {claimName: d}
"""


def test_shows_rules_places_and_additions(pillion: Call) -> None:
    """A person sees what each rule found, where the logs lie, and what is added where."""
    code, out, err = pillion("explain", "-f", "-", stdin=SHOP)
    assert (code, err) == (0, "")
    lines = [line.rstrip() for line in out.splitlines()]
    assert lines[0] == "Deployment/shop (stdin:6:3, namespace default)"
    assert '  yes Is injection requested?                      pillion.dev/inject: "true"' in lines
    assert "  yes Which containers take part?                  app, cache" in lines
    tree = lines.index("  Where the logs are")
    assert lines[tree + 1 : tree + 8] == [
        "  ├─ volume pillion-logs-1, subPath app (new, an emptyDir)",
        "  │  ├─ app mounts it at /var/log/shop",
        "  │  └─ tail reads /var/log/shop/*.log",
        "  ├─ volume data, subPath shop (reused from the pod)",
        "  │  ├─ app mounts it at /data",
        "  │  ├─ tail reads /data/x/**/y.log",
        "  │  └─ reading begins at the end of files older than the pod: the volume outlives it",
    ]
    injected = lines.index("  Injected with profile tail:")
    assert lines[injected + 1] == "    + init container pillion-tail"
    assert "    + in app: variables POD_NAME, POD_NAMESPACE; a volume at /var/log/shop" in lines
    assert "  stdin:11:9: warning: pillion.dev/lgs: is unknown; did you mean pillion.dev/logs?" in lines


def test_a_pod_about_which_there_is_nothing_to_say(pillion: Call) -> None:
    """Its volume is reused and its user is known: there is no finding at all."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "shop", "annotations": {"pillion.dev/inject": "true"}},
        "spec": {
            "securityContext": {"runAsUser": 1000},
            "containers": [{"name": "shop", "volumeMounts": [{"name": "logs", "mountPath": "/var/log/app"}]}],
            "volumes": [{"name": "logs", "emptyDir": {}}],
        },
    }
    code, out, err = pillion("explain", "-f", "-", stdin=json.dumps(pod))
    assert (code, err) == (0, "")
    assert "  Injected with profile tail:" in out.splitlines()


@pytest.mark.parametrize(
    ("text", "objection", "verdict"),
    [
        pytest.param(
            QUIET,
            "Is injection requested? neither the pod nor its namespace requests injection",
            "Not injected: neither the pod nor its namespace requests injection (not_requested).",
            id="not-asked",
        ),
        pytest.param(
            BAD,
            'Is every annotation valid? stdin:7:5: pillion.dev/logs "shop.log": '
            "must begin with /; write /var/log/app/shop.log",
            "Not injected: an annotation has a value that can't be used (bad_annotation).",
            id="bad-annotation",
        ),
        pytest.param(
            BAD.replace("logs: shop.log", "logs: other:/x/y.log"),
            'Which containers take part? stdin:7:5: pillion.dev/logs "other:/x/y.log": the pod has no container '
            '"other"; did you mean "app"?',
            "Not injected: the pod, or the annotation containers, has no container of that name (unknown_container).",
            id="participants",
        ),
        pytest.param(
            BAD.replace("logs: shop.log", "logs: /etc/*.log"),
            'Can the sidecar be added? stdin:7:5: pillion.dev/logs "/etc/*.log": nothing can be mounted there; '
            "write for example /var/log/app/*.log",
            "Not injected: a volume there would hide what the image needs (system_directory).",
            id="plan",
        ),
        pytest.param(
            BAD.replace("logs: shop.log", 'run-as-user: "0"'),
            'Can the sidecar be added? stdin:7:5: pillion.dev/run-as-user "0": profile "tail" does not allow '
            "it; if the application runs as root, set runAsUser: 0 in the pod",
            "Not injected: the profile does not allow run-as-user: 0 (root_not_allowed).",
            id="sidecar",
        ),
    ],
)
def test_ends_with_the_rule_that_objects(text: str, objection: str, verdict: str, pillion: Call) -> None:
    """The last rule shown is the one that decides, with what it found; it is not said twice."""
    code, out, err = pillion("explain", "-f", "-", stdin=text)
    assert (code, err) == (0, "")
    *rules, blank, last = out.splitlines()[1:]
    assert [rule[:6] for rule in rules] == ["  yes "] * (len(rules) - 1) + ["  no  "]
    assert " ".join(rules[-1].split()) == f"no {objection}"
    assert (blank, last) == ("", f"  {verdict}")


def test_json_has_everything(pillion: Call) -> None:
    """Programs get the same answers, with the rules that were not reached."""
    code, out, err = pillion("explain", "-f", "-", "-o", "json", stdin=f"{SHOP}---\n{BAD}")
    assert (code, err) == (0, "")
    shop, bad = json.loads(out)
    assert (shop["kind"], shop["name"], shop["document"], shop["injected"]) == ("Deployment", "shop", 1, True)
    assert shop["logSources"][0] == {
        "volume": "pillion-logs-1",
        "subPath": "app",
        "new": True,
        "seenBy": [{"container": "app", "path": "/var/log/shop"}],
        "reads": ["/var/log/shop/*.log"],
        "readingBegins": "at the beginning: the volume ends with the pod",
    }
    assert (bad["injected"], bad["reason"]) == (False, "bad_annotation")
    assert [rule["passed"] for rule in bad["rules"]] == [True] * 7 + [False] + [None] * (len(RULES) - 6)


def test_an_annotation_that_is_no_text_is_named(pillion: Call) -> None:
    """The line of an unquoted true is named; a message from a decoder would help nobody."""
    out = pillion("explain", "-f", "-", stdin=APP.replace('"true"', "true")).out
    assert "stdin:10:9: pillion.dev/inject is the boolean true" in out
    assert "Expected `str`" not in out


def test_kube_system_is_never_seen(pillion: Call) -> None:
    """What holds of a manifest need not hold in the cluster: the namespaces that are left out are named."""
    out = pillion("explain", "-n", "kube-system", "-f", "-", stdin=SHOP).out
    assert out.endswith(
        "  note: in a cluster with the chart's defaults, pods of kube-system are never sent to Pillion\n"
    )
    own = pillion("explain", "-n", "pillion-system", "-f", "-", stdin=SHOP).out
    assert "pods of pillion-system, the namespace of Pillion itself, are never sent to Pillion\n" in own
    assert "never shown" not in pillion("explain", "-n", "kube-public", "-f", "-", stdin=SHOP).out


def test_strict_exits_with_1(pillion: Call) -> None:
    """What a strict server denies is an error here."""
    code, out, _ = pillion("explain", "--strict", "-f", "-", stdin=BAD)
    assert code == 1
    assert "Refused, because strict is set: an annotation has a value that can't be used (bad_annotation)." in out


def test_no_pods_is_said(pillion: Call) -> None:
    """Where there is nothing to explain, standard error says so."""
    assert pillion("explain", "-f", "-", stdin="kind: Service\n") == (
        0,
        "",
        "pillion explain: no pods and no workloads in the input\n",
    )


@pytest.mark.parametrize("path", GOLDENS, ids=lambda path: path.parent.name)
def test_answers_agree_with_the_verdict(path: Path, pillion: Call) -> None:
    """For every golden pod: injected if and only if every rule says yes, else exactly one says no."""
    code, out, _ = pillion("explain", "-f", str(path), "-o", "json")
    assert code == 0
    for pod in json.loads(out):
        passed = [rule["passed"] for rule in pod["rules"]]
        assert passed.count(False) == (0 if pod["injected"] else 1)
        assert all(passed) is pod["injected"]
        assert all(rule["found"] for rule in pod["rules"] if rule["passed"] is False)
