"""Which kinds of objects hold pod templates, and where: the table that docs/annotations.md shows."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from webhook.json_values import Path, as_list, as_mapping, at

__all__ = ["ANY_KIND", "CUSTOM", "KUBERNETES", "NOT_EDITED", "Kind", "not_edited", "templates"]


class Kind(NamedTuple):
    """A kind and its API group (empty for the core)."""

    group: str
    name: str


_TEMPLATE = ("spec.template",)
#: Kubernetes' own kinds. A pod is its own template.
KUBERNETES: dict[Kind, tuple[str, ...]] = {
    Kind("", "Pod"): ("",),
    Kind("", "PodTemplate"): ("template",),
    Kind("", "ReplicationController"): _TEMPLATE,
    Kind("apps", "Deployment"): _TEMPLATE,
    Kind("apps", "StatefulSet"): _TEMPLATE,
    Kind("apps", "DaemonSet"): _TEMPLATE,
    Kind("apps", "ReplicaSet"): _TEMPLATE,
    Kind("batch", "Job"): _TEMPLATE,
    Kind("batch", "CronJob"): ("spec.jobTemplate.spec.template",),
}

#: Where other kinds have it, whatever they are called: Argo's Rollout, OpenShift's DeploymentConfig, Agones' Fleet…
ANY_KIND = ("spec.template", "spec.jobTemplate.spec.template", "spec.template.spec.template", "template")


def _ray(cluster: str) -> tuple[str, ...]:
    return f"{cluster}.headGroupSpec.template", f"{cluster}.workerGroupSpecs[*].template"


_UNITED = ("deploymentTemplate", "statefulSetTemplate", "advancedStatefulSetTemplate", "cloneSetTemplate")
#: Kinds that have it elsewhere; ``[*]`` is every item of a list, ``*`` every value of a mapping.
CUSTOM: dict[Kind, tuple[str, ...]] = {
    Kind("apps.kruise.io", "AdvancedCronJob"): (
        "spec.template.jobTemplate.spec.template",
        "spec.template.broadcastJobTemplate.spec.template",
    ),
    Kind("apps.kruise.io", "UnitedDeployment"): tuple(f"spec.template.{each}.spec.template" for each in _UNITED),
    Kind("batch.volcano.sh", "Job"): ("spec.tasks[*].template",),
    Kind("flow.volcano.sh", "JobTemplate"): ("spec.tasks[*].template",),
    Kind("jobset.x-k8s.io", "JobSet"): ("spec.replicatedJobs[*].template.spec.template",),
    Kind("keda.sh", "ScaledJob"): ("spec.jobTargetRef.template",),
    Kind("kubeflow.org", "JAXJob"): ("spec.jaxReplicaSpecs.*.template",),
    Kind("kubeflow.org", "MPIJob"): ("spec.mpiReplicaSpecs.*.template",),
    Kind("kubeflow.org", "MXJob"): ("spec.mxReplicaSpecs.*.template",),
    Kind("kubeflow.org", "PaddleJob"): ("spec.paddleReplicaSpecs.*.template",),
    Kind("kubeflow.org", "PyTorchJob"): ("spec.pytorchReplicaSpecs.*.template",),
    Kind("kubeflow.org", "TFJob"): ("spec.tfReplicaSpecs.*.template",),
    Kind("kubeflow.org", "XGBoostJob"): ("spec.xgbReplicaSpecs.*.template",),
    Kind("leaderworkerset.x-k8s.io", "LeaderWorkerSet"): (
        "spec.leaderWorkerTemplate.leaderTemplate",
        "spec.leaderWorkerTemplate.workerTemplate",
    ),
    Kind("operators.coreos.com", "ClusterServiceVersion"): ("spec.install.spec.deployments[*].spec.template",),
    Kind("ray.io", "RayCluster"): _ray("spec"),
    Kind("ray.io", "RayJob"): (*_ray("spec.rayClusterSpec"), "spec.submitterPodTemplate"),
    Kind("ray.io", "RayService"): _ray("spec.rayClusterConfig"),
}

#: Kinds whose template takes neither init containers nor fieldRefs. Their pods are pods as all others.
NOT_EDITED: dict[Kind, str] = {
    Kind("serving.knative.dev", "Configuration"): "spec.template",
    Kind("serving.knative.dev", "Revision"): "",
    Kind("serving.knative.dev", "Service"): "spec.template",
}


def not_edited(group: str | None, kind: str) -> Path | None:
    """Return where a kind that can't be edited has its template, None for other kinds."""
    where = NOT_EDITED.get(Kind(group, kind)) if group is not None else None
    return None if where is None else tuple(_tokens(where))


def templates(group: str | None, kind: str, manifest: dict[str, Any]) -> list[Path]:
    """Return the paths of an object's pod templates.

    Kubernetes' own kinds have one, whatever is in it. Elsewhere what counts is that it has a pod's shape.
    """
    if group is None:
        return []
    known = Kind(group, kind)
    if known in KUBERNETES:
        return [tuple(_tokens(path)) for path in KUBERNETES[known]]
    if known in NOT_EDITED:
        return []
    paths = (found for where in CUSTOM.get(known, ANY_KIND) for found in _matches(manifest, _tokens(where)))
    return [path for path in paths if _has_pod_shape(at(manifest, path))]


def _tokens(where: str) -> list[str]:
    return where.replace("[*]", ".[*]").split(".") if where else []


def _matches(value: Any, tokens: Sequence[str]) -> Iterator[Path]:
    """Yield the paths in a value that a pattern means."""
    if not tokens:
        yield ()
        return
    first, rest = tokens[0], tokens[1:]
    children: Iterator[tuple[str | int, Any]]
    if first == "[*]":
        children = iter(enumerate(as_list(value)))
    elif first == "*":
        children = iter(as_mapping(value).items())
    else:
        children = iter([(first, value[first])] if isinstance(value, dict) and first in value else [])
    for key, child in children:
        for path in _matches(child, rest):
            yield (key, *path)


def _has_pod_shape(template: Any) -> bool:
    """Return whether a template has containers, as no other kind of template has."""
    containers = as_list(at(template, ("spec", "containers")))
    return bool(containers) and all(
        isinstance(each, dict) and ("image" in each or "name" in each) for each in containers
    )
