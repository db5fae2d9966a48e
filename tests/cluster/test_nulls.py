"""Nulls in manifests: the API server makes of them what ``pillion inject`` makes of them."""

import json
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from webhook.cli import main
from webhook.configuration import load

from .conftest import Cluster, NewNamespace
from .control_plane import ApiServer
from .judge import UNREVIEWED, Judge, difference, judge
from .local_webhook import local_webhook
from .processes import wait_until
from .release import EFFECT_SECONDS, annotated_pod, asking, sidecars

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("helm_program")]

ASKS: dict[str, Any] = {"pillion.dev/inject": "true", "pillion.dev/logs": "/var/log/shop/*.log"}


@pytest.fixture(scope="module")
def asked(apiserver: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judge]:
    """Return a judge whose API server asks Pillion in this process, but for one namespace."""
    if not isinstance(apiserver, ApiServer):
        pytest.skip("a cluster of one's own may not reach this machine")
    apiserver.prepare_namespace(UNREVIEWED)
    folder = tmp_path_factory.mktemp("webhook")
    with judge(apiserver.kubectl) as found, local_webhook(apiserver.kubectl, folder) as webhook:
        webhook.configure(load(None))
        assert wait_until(
            lambda: bool(sidecars(found.ask("default", annotated_pod(asking())).pod)), EFFECT_SECONDS, poll=0.1
        )
        yield found


def made(annotations: Any = None, labels: Any = None, container: Any = None, **spec: Any) -> dict[str, Any]:
    """Return a pod that asks, with these additions."""
    metadata = {"name": "shop", "annotations": ASKS | (annotations or {}), "labels": labels}
    containers = [{"name": "app", "image": "shop"} | (container or {})]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": containers, **spec}}


MOUNT = {"name": "data", "mountPath": "/var/log", "subPath": None, "readOnly": None}


@pytest.mark.parametrize(
    "pod",
    [
        pytest.param(made({"example.com/team": None}), id="annotation"),
        pytest.param(made(labels={"app": None}), id="label"),
        pytest.param(made(nodeSelector={"disk": None}), id="selector"),
        pytest.param(made(container={"command": ["run", None], "args": [None, "x"]}), id="arguments"),
        pytest.param(made(container={"env": [{"name": "A", "value": None, "valueFrom": None}]}), id="variable"),
        pytest.param(made(container={"resources": {"requests": {"memory": None, "cpu": None}}}), id="requests"),
        pytest.param(made(container={"resources": {"limits": {"memory": None}, "requests": None}}), id="limits"),
        pytest.param(made(container={"workingDir": None, "ports": None, "securityContext": None}), id="fields"),
        pytest.param(
            made(container={"volumeMounts": [MOUNT]}, volumes=[{"name": "data", "emptyDir": None, "configMap": None}]),
            id="volume",
        ),
        pytest.param(made(imagePullSecrets=[None, {"name": None}], initContainers=None), id="lists"),
        pytest.param(made(container={"securityContext": {"runAsUser": None}}, hostNetwork=None), id="numbers"),
        pytest.param(made({"pillion.dev/logs": None}), id="logs"),
        pytest.param(made({"pillion.dev/inject": None}), id="inject"),
    ],
)
def test_nulls_are_judged_alike(pod: dict[str, Any], asked: Judge, new_namespace: NewNamespace, tmp_path: Path) -> None:
    """The pod that the cluster makes of the manifest is the pod that it makes of the printed one, sidecar and all."""
    file = tmp_path / "pod.json"
    file.write_text(json.dumps(pod))
    with redirect_stdout(StringIO()) as output:
        main(["inject", "-f", str(file)])
    printed = json.loads(output.getvalue())
    online = asked.ask(new_namespace(), pod)
    offline = asked.ask(UNREVIEWED, printed)
    assert (online.accepted, offline.accepted) == (True, True), online.message or offline.message
    assert difference(online.pod, offline.pod) == ""
    asks_well = all(pod["metadata"]["annotations"][key] is not None for key in ASKS)
    assert bool(sidecars(online.pod)) is asks_well
