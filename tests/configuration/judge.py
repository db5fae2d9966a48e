"""What must hold of every configuration: it is refused by name, or it works in every pod."""

from typing import Any

from tests.injection.reviews import all_containers, patched, verdict_on
from webhook.configuration.loading import build
from webhook.errors import ConfigurationError
from webhook.injection.container_schema import problems_in
from webhook.injection.profile import Configuration
from webhook.injection.reasons import Reason
from webhook.injection.volume_types import names_with_content
from webhook.profiles import builtins

__all__ = ["judge"]

#: Others than those that profiles are tried on.
_PODS: tuple[dict[str, Any], ...] = (
    {"spec": {"containers": [{"name": "shop", "image": "shop"}]}},
    {
        "spec": {
            "securityContext": {"runAsUser": 4711},
            "containers": [
                {
                    "name": "shop",
                    "image": "shop",
                    "volumeMounts": [{"name": "data", "mountPath": "/data", "subPathExpr": "$(POD_NAME)/x"}],
                    "resources": {"limits": {"cpu": "2", "memory": "2Gi"}},
                },
                {"name": "web", "image": "web", "ports": [{"containerPort": 81}]},
            ],
            "volumes": [{"name": "data", "emptyDir": {}}],
        },
        "logs": "shop:/data/logs/*.log,/conf/*.log,/var/run/shop/x.log",
    },
)


def judge(document: Any) -> Configuration | None:
    """Return the configuration, None for one that is refused; AssertionError where a promise is broken.

    The only exception is :class:`ConfigurationError`, whose text can be shown and which names a place; with what is
    accepted no pod meets a bug, and no sidecar is one that can't be accepted or start.
    """
    refused: ConfigurationError | None = None
    try:
        configuration = build(document, builtins())
    except ConfigurationError as error:
        refused = error
    if refused is not None:
        assert refused.problems
        assert all(line.isprintable() for line in str(refused).split("\n"))
        return None
    for name, profile in configuration.profiles.items():
        for pod in _PODS:
            if not profile.setup_steps:
                _judge_pod(configuration, name, pod)
    return configuration


def _judge_pod(configuration: Configuration, profile: str, sample: dict[str, Any]) -> None:
    prefix = configuration.prefix
    annotations = {f"{prefix}inject": "true", f"{prefix}profile": profile}
    if "logs" in sample:
        annotations[f"{prefix}logs"] = sample["logs"]
    pod = {"metadata": {"name": "shop", "annotations": annotations}, "spec": sample["spec"]}
    verdict = verdict_on(pod, configuration)
    if verdict.error is not None:
        raise verdict.error
    assert verdict.reason is not Reason.INTERNAL_ERROR
    if not verdict.injected:
        assert verdict.reason is not Reason.BAD_ANNOTATION
        return
    made = patched(pod, verdict)["spec"]
    name = configuration.profiles[profile].container_name
    sidecars = [one for one in all_containers({"spec": made}) if one["name"] == name]
    assert len(sidecars) == 1
    volumes = [volume["name"] for volume in made.get("volumes", ())]
    assert len(volumes) == len(set(volumes))
    assert not problems_in(
        _without_null(sidecars[0]), volumes, names_with_content(configuration.profiles[profile].volumes)
    )


def _without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_null(item) for key, item in value.items() if item is not None}
    return value
