"""Tests of webhook.workloads.replicas: volumes that several pods share."""

from typing import Any
from unittest import mock

import pytest

from tests.workloads.examples import document, manifest
from webhook.configuration import load
from webhook.injection.log_sources import FilePattern
from webhook.workloads import meeting_patterns
from webhook.workloads.reports import examine

CLAIM = {"name": "share", "persistentVolumeClaim": {"claimName": "forms-rwx"}}
READ_ONLY_CLAIM = {"name": "share", "persistentVolumeClaim": {"readOnly": True, "claimName": "forms-rwx"}}
HOST = {"name": "share", "hostPath": {"path": "/srv/logs"}}
NFS = {"name": "share", "nfs": {"server": "files", "path": "/"}}
BUCKET = {"name": "share", "csi": {"driver": "gcsfuse.csi.storage.gke.io"}}
POD_NAME = {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
NODE = {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}
NAMESPACE = {"name": "NS", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}}
SAID = "each sidecar reads the logs of all; mount it with subPathExpr: "


def warnings(kind: str, spec: dict[str, Any], volume: Any, mount: Any = None, env: Any = None) -> list[str]:
    """Return what is said of a workload that writes its logs to a volume."""
    container = {
        "name": "forms",
        "env": env or [],
        "volumeMounts": [
            {"name": "other", "mountPath": "/other"},
            {"name": "share", "mountPath": "/data"} | (mount or {}),
        ],
    }
    template = {
        "metadata": {"annotations": {"pillion.dev/inject": "true", "pillion.dev/logs": "/data/logs/*.log"}},
        "spec": {"containers": [container], "volumes": [{"name": "other", "emptyDir": {}}, volume]},
    }
    value = manifest(kind, template)
    value["spec"] |= spec
    read = document(value)
    (report,) = examine([read], load(None), namespace="default", namespace_opt_in=False)
    assert report.reviews[0].verdict.injected
    assert not report.is_unmet
    remarks = report.remarks_for(strict=True)
    for remark in remarks:
        line = read.text.splitlines()[remark.position.line - 1]
        assert line[remark.position.column - 1 :].startswith("name: share")
    return [remark.text for remark in remarks]


@pytest.mark.parametrize(
    ("kind", "spec", "volume", "said"),
    [
        ("Deployment", {"replicas": 3}, CLAIM, 'claim "forms-rwx" is shared by 3 pods: '),
        ("StatefulSet", {"replicas": 2}, CLAIM, 'claim "forms-rwx" is shared by 2 pods: '),
        ("ReplicaSet", {"replicas": 2}, NFS, 'volume "share" is shared by 2 pods: '),
        ("Deployment", {"replicas": 2}, BUCKET, 'volume "share" is shared by 2 pods: '),
        ("DaemonSet", {}, CLAIM, 'claim "forms-rwx" is shared by all nodes\' pods: '),
        ("Deployment", {"replicas": 3}, HOST, 'hostPath "/srv/logs" of a node is shared by 3 pods: '),
        ("Job", {"parallelism": 4}, CLAIM, 'claim "forms-rwx" is shared by 4 pods: '),
    ],
)
def test_several_pods_on_one_volume(kind: str, spec: dict[str, Any], volume: Any, said: str) -> None:
    """The volume, how many share it, what comes of it, and the cure."""
    assert warnings(kind, spec, volume) == [f"{said}{SAID}$(POD_NAME)"]


def test_the_cure_keeps_the_folder() -> None:
    """``subPath`` and ``subPathExpr`` exclude each other."""
    found = warnings("Deployment", {"replicas": 2}, CLAIM, {"subPath": "forms"})
    assert found[0].endswith(f"{SAID}forms/$(POD_NAME)")
    found = warnings("Deployment", {"replicas": 2}, CLAIM, {"subPathExpr": "$(NS)"}, [NAMESPACE])
    assert found[0].endswith(f"{SAID}$(NS)/$(POD_NAME)")


def test_a_cron_job_has_it_deeper() -> None:
    """The count is looked for all the way down to the template."""
    container = {"name": "app", "volumeMounts": [{"name": "share", "mountPath": "/data"}]}
    template = {
        "metadata": {"annotations": {"pillion.dev/inject": "true", "pillion.dev/logs": "/data/*.log"}},
        "spec": {"containers": [container], "volumes": [CLAIM]},
    }
    value = manifest("CronJob", template)
    value["spec"]["jobTemplate"]["spec"]["parallelism"] = 2
    (report,) = examine([document(value)], load(None), namespace="default", namespace_opt_in=False)
    assert [remark.text[:45] for remark in report.remarks_for(strict=False)] == [
        'claim "forms-rwx" is shared by 2 pods: each s'
    ]


def scaled(autoscaler: dict[str, Any]) -> list[str]:
    """Return what is said of a Deployment with one replica beside an autoscaler, behind or in front of it."""
    container = {"name": "forms", "volumeMounts": [{"name": "share", "mountPath": "/data"}]}
    template = {
        "metadata": {"annotations": {"pillion.dev/inject": "true", "pillion.dev/logs": "/data/logs/*.log"}},
        "spec": {"containers": [container], "volumes": [CLAIM]},
    }
    read = [document(manifest("Deployment", template)), document(autoscaler)]
    found: list[list[str]] = []
    for stream in (read, read[::-1]):
        reports = examine(stream, load(None), namespace="default", namespace_opt_in=False)
        reviews = [review for report in reports for review in report.reviews]
        found.append([remark.text for review in reviews for remark in review.remarks_for(strict=False)])
    assert found[0] == found[1]
    return found[0]


def autoscaler(version: str, kind: str, spec: dict[str, Any], **metadata: str) -> dict[str, Any]:
    """Return an autoscaler's manifest."""
    return {"apiVersion": version, "kind": kind, "metadata": {"name": "grow", **metadata}, "spec": spec}


@pytest.mark.parametrize(
    ("version", "kind", "spec", "most"),
    [
        ("autoscaling/v2", "HorizontalPodAutoscaler", {"minReplicas": 1, "maxReplicas": 5}, 5),
        ("autoscaling/v1", "HorizontalPodAutoscaler", {"maxReplicas": 2}, 2),
        ("autoscaling/v2beta2", "HorizontalPodAutoscaler", {"maxReplicas": 3}, 3),
        ("keda.sh/v1alpha1", "ScaledObject", {"maxReplicaCount": 4}, 4),
        ("keda.sh/v1alpha1", "ScaledObject", {}, 100),
    ],
)
def test_an_autoscaler_makes_several(version: str, kind: str, spec: dict[str, Any], most: int) -> None:
    """What it may make at most counts, whatever the Deployment says, and it is named."""
    target = {"scaleTargetRef": {"kind": "Deployment", "name": "shop"}}
    said = f'claim "forms-rwx" is shared by up to {most} pods ({kind}/grow): {SAID}$(POD_NAME)'
    assert scaled(autoscaler(version, kind, target | spec)) == [said]


def test_keda_need_not_name_the_kind() -> None:
    """A ScaledObject without a kind scales a Deployment."""
    assert len(scaled(autoscaler("keda.sh/v1alpha1", "ScaledObject", {"scaleTargetRef": {"name": "shop"}}))) == 1


def test_a_scaled_job_is_its_own_autoscaler() -> None:
    """KEDA's ScaledJob has the template and the count in one."""
    container = {"name": "forms", "image": "forms", "volumeMounts": [{"name": "share", "mountPath": "/data"}]}
    annotations = {"pillion.dev/inject": "true", "pillion.dev/logs": "/data/logs/*.log"}
    template = {"metadata": {"annotations": annotations}, "spec": {"containers": [container], "volumes": [CLAIM]}}
    value = autoscaler("keda.sh/v1alpha1", "ScaledJob", {"jobTargetRef": {"template": template}, "maxReplicaCount": 7})
    (report,) = examine([document(value)], load(None), namespace="default", namespace_opt_in=False)
    (remark,) = report.remarks_for(strict=False)
    assert remark.text.startswith('claim "forms-rwx" is shared by up to 7 pods: ')


@pytest.mark.parametrize(
    ("spec", "metadata"),
    [
        pytest.param({"maxReplicas": 1}, {}, id="one"),
        pytest.param({"maxReplicas": "5"}, {}, id="text"),
        pytest.param({"maxReplicas": 5, "scaleTargetRef": {"kind": "Deployment", "name": "other"}}, {}, id="other"),
        pytest.param({"maxReplicas": 5, "scaleTargetRef": {"kind": "StatefulSet", "name": "shop"}}, {}, id="kind"),
        pytest.param({"maxReplicas": 5, "scaleTargetRef": {"kind": ["x"], "name": {}}}, {}, id="types"),
        pytest.param({"maxReplicas": 5, "scaleTargetRef": "shop"}, {}, id="no-mapping"),
        pytest.param({"maxReplicas": 5}, {"namespace": "elsewhere"}, id="other-namespace"),
    ],
)
def test_an_autoscaler_that_makes_none(spec: dict[str, Any], metadata: dict[str, str]) -> None:
    """One pod at most, or the pods of something else."""
    target = {"scaleTargetRef": {"kind": "Deployment", "name": "shop"}}
    assert scaled(autoscaler("autoscaling/v2", "HorizontalPodAutoscaler", target | spec, **metadata)) == []


@pytest.mark.parametrize(
    ("kind", "spec", "volume", "mount", "env"),
    [
        pytest.param("Deployment", {}, CLAIM, {}, [], id="one-replica"),
        pytest.param("Deployment", {"replicas": "3"}, CLAIM, {}, [], id="replicas-is-no-number"),
        pytest.param("Deployment", {"replicas": True}, CLAIM, {}, [], id="replicas-is-true"),
        pytest.param("Deployment", {"replicas": 3}, {"name": "share", "emptyDir": {}}, {}, [], id="emptyDir"),
        pytest.param("Deployment", {"replicas": 3}, CLAIM, {"subPathExpr": "$(POD_NAME)"}, [], id="ours"),
        pytest.param("Deployment", {"replicas": 3}, CLAIM, {"subPathExpr": "x/$(POD_NAME)"}, [POD_NAME], id="own"),
        pytest.param("DaemonSet", {}, CLAIM, {"subPathExpr": "$(NODE)"}, [NODE], id="a-folder-for-each-node"),
        pytest.param(
            "StatefulSet",
            {"replicas": 3, "volumeClaimTemplates": [{"metadata": {"name": "share"}}]},
            {"name": "other-2", "emptyDir": {}},
            {},
            [],
            id="a-claim-for-each-pod",
        ),
        pytest.param("DaemonSet", {}, HOST, {}, [], id="one-pod-on-each-node"),
        pytest.param("Job", {"parallelism": 1, "completions": 5}, CLAIM, {}, [], id="one-after-the-other"),
    ],
)
def test_no_warning(kind: str, spec: dict[str, Any], volume: Any, mount: Any, env: Any) -> None:
    """One pod, or a volume or folder for each."""
    assert warnings(kind, spec, volume, mount, env) == []


def test_a_folder_for_each_node_is_shared_in_a_deployment() -> None:
    """Two of its pods can run on one node."""
    assert len(warnings("Deployment", {"replicas": 3}, CLAIM, {"subPathExpr": "$(NODE)"}, [NODE])) == 1


def beside(volume: Any, mount: Any = None, logs: str = "/data/logs/*.log", env: Any = None) -> list[str]:
    """Return what is said of two workloads of one replica each, of which the second has this volume and mount."""
    found = []
    for kind, at, source, more, files in (
        ("Deployment", "/share", CLAIM, {}, "/share/logs/*.log"),
        ("CronJob", "/data", volume, mount or {}, logs),
    ):
        container = {"name": "app", "env": env or [], "volumeMounts": [{"name": "share", "mountPath": at, **more}]}
        annotations = {"pillion.dev/inject": "true", "pillion.dev/logs": files}
        spec = {"containers": [container], "volumes": [source], "restartPolicy": "Never"}
        found.append(document(manifest(kind, {"metadata": {"annotations": annotations}, "spec": spec})))
    reports = examine(found, load(None), namespace="default", namespace_opt_in=False)
    assert [len(report.reviews) for report in reports] == [1, 1]
    assert reports[0].remarks_for(strict=False) == []
    return [remark.text for remark in reports[1].remarks_for(strict=False)]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        pytest.param({"volume": CLAIM}, True, id="the same files"),
        pytest.param({"volume": CLAIM, "logs": "/data/**"}, True, id="among others"),
        pytest.param({"volume": CLAIM, "logs": "/data/logs/app.log"}, True, id="one of them"),
        pytest.param({"volume": CLAIM, "logs": "/data/audit/*.log"}, False, id="another folder"),
        pytest.param({"volume": CLAIM, "logs": "/data/logs/*.txt"}, False, id="other names"),
        pytest.param({"volume": CLAIM, "mount": {"subPath": "own"}}, False, id="a subPath of its own"),
        pytest.param({"volume": CLAIM, "mount": {"subPath": "logs"}, "logs": "/data/*.log"}, True, id="their subPath"),
        pytest.param(
            {"volume": CLAIM, "mount": {"subPath": "logs/x.log", "mountPath": "/x.log"}, "logs": "/x.log"},
            True,
            id="their file",
        ),
        pytest.param(
            {"volume": CLAIM, "mount": {"subPath": "logs/x.txt", "mountPath": "/x.log"}, "logs": "/x.log"},
            False,
            id="another file",
        ),
        pytest.param({"volume": READ_ONLY_CLAIM}, True, id="read-only"),
        pytest.param({"volume": HOST}, False, id="a folder of the node"),
        pytest.param(
            {"volume": {"name": "share", "persistentVolumeClaim": {"claimName": "other"}}}, False, id="another claim"
        ),
        pytest.param(
            {"volume": CLAIM, "mount": {"subPathExpr": "$(POD_NAME)"}, "env": [POD_NAME]}, False, id="a folder a pod"
        ),
    ],
)
def test_two_workloads_on_one_claim(fields: dict[str, Any], *, told: bool) -> None:
    """Each sidecar would print the other's lines, too: the second one is told."""
    said = 'claim "forms-rwx" is read by Deployment/shop, too: each sidecar reads the logs of both; '
    assert any(text.startswith(said) for text in beside(**fields)) is told


@pytest.mark.parametrize(
    ("mount", "logs", "cure"),
    [
        pytest.param({}, "/data/logs/*.log", "mount it with subPathExpr: $(POD_NAME)", id="all of it"),
        pytest.param(
            {"subPath": "logs"}, "/data/*.log", "mount it with subPathExpr: logs/$(POD_NAME)", id="a directory"
        ),
        pytest.param(
            {"subPath": "logs/x.log", "mountPath": "/x.log"},
            "/x.log",
            "mount the file's directory with subPathExpr: logs/$(POD_NAME)",
            id="a file",
        ),
    ],
)
def test_the_cure_is_a_directory_a_pod(mount: dict[str, Any], logs: str, cure: str) -> None:
    """In the place of what is mounted now; a file can't be one."""
    (text,) = beside(CLAIM, mount, logs)
    assert text.endswith(f"; {cure}")


def readers(*names: str, volume: Any = CLAIM) -> list[str]:
    """Return what is said of Deployments that read files in one directory of a volume; a name says which."""
    found = []
    for number, name in enumerate(names):
        container = {"name": "app", "volumeMounts": [{"name": "share", "mountPath": "/data"}]}
        annotations = {"pillion.dev/inject": "true", "pillion.dev/logs": f"/data/logs/{name}"}
        template = {"metadata": {"annotations": annotations}, "spec": {"containers": [container], "volumes": [volume]}}
        value = manifest("Deployment", template)
        value["metadata"] = {"name": f"shop-{number}", "namespace": f"team-{number}" if volume is NFS else "team"}
        found.append(document(value))
    reports = examine(found, load(None), namespace="default", namespace_opt_in=False)
    return [
        f"{report.item.name}: {remark.text.partition(':')[0]}"
        for report in reports
        for remark in report.remarks_for(strict=False)
    ]


def test_the_first_of_several_is_named() -> None:
    """Whichever pattern it has, and wherever in the alphabet that is."""
    assert readers("b.log", "a*.log", "ab.log", "*.log", "z.log", "ab.log", "a?.log") == [
        f'shop-{number}: claim "forms-rwx" is read by Deployment/shop-{first}, too'
        for number, first in ((2, 1), (3, 0), (4, 3), (5, 1), (6, 1))
    ]


def test_a_share_is_the_same_in_all_namespaces() -> None:
    """A claim is not: it belongs to a namespace."""
    assert readers("*.log", "x.log", volume=NFS) == ['shop-1: volume "share" is read by Deployment/shop-0, too']


def test_another_workload_may_read_the_claim_of_a_stateful_set() -> None:
    """A job that looks after its files, for example."""
    claim = {"name": "share", "persistentVolumeClaim": {"claimName": "share-shop-0"}}
    found = []
    for kind, spec in (
        ("StatefulSet", {"volumeClaimTemplates": [{"metadata": {"name": "share"}}]}),
        ("CronJob", {}),
    ):
        container = {"name": "app", "volumeMounts": [{"name": "share", "mountPath": "/data"}]}
        annotations = {"pillion.dev/inject": "true", "pillion.dev/logs": "/data/*.log"}
        pod = {"containers": [container], "restartPolicy": "Never", "volumes": [claim] if kind == "CronJob" else []}
        value = manifest(kind, {"metadata": {"annotations": annotations}, "spec": pod})
        value["spec"] |= spec
        found.append(document(value))
    reports = examine(found, load(None), namespace="default", namespace_opt_in=False)
    assert [[remark.text.partition(",")[0] for remark in report.remarks_for(strict=False)] for report in reports] == [
        [],
        ['claim "share-shop-0" is read by StatefulSet/shop'],
    ]


def test_comparing_many_workloads_takes_linear_time() -> None:
    """Each pattern is compared with those that it begins with, and not with all others."""
    patterns = [FilePattern(("logs", f"app-{number}"), recursive=False, file_glob="*.log") for number in range(500)]
    patterns += [FilePattern(("logs",), recursive=False, file_glob=f"app-{number}.log") for number in range(500)]
    with mock.patch.object(meeting_patterns, "_may_match_same_file", return_value=False) as compare:
        assert len(meeting_patterns.meeting_patterns(patterns)) == len(patterns)
    assert compare.call_count == 0
