"""Profiles and the configuration: what an operator wrote, made ready to be used for each pod."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from webhook.injection.annotations import LogEntry
from webhook.injection.paths import Directories
from webhook.injection.pod import EnvVar
from webhook.injection.variables import SIDECAR_VARIABLES

__all__ = ["Bound", "Configuration", "Profile", "is_log_volume"]

DEFAULT_PREFIX = "pillion.dev/"
#: A list item, or a variable's whole value, that is filled in for each pod,
POD_PLACEHOLDERS = {
    "<log-files>": "the log files, a path or a glob each",
    "<log-directories>": "the directories that the log files lie in",
    "<log-volumes>": "the volumes that the log files lie in",
    "<persistent-directories>": "where volumes that outlive the pod are mounted",
    "<start>": "beginning or end, if the pod or the profile says where reading begins",
}
START = "<start>"
#: or when the profile is loaded.
PLACEHOLDERS = {**POD_PLACEHOLDERS, "<native>": "true for a native sidecar, which ends after all others, or false"}
#: A profile's image that is the configuration's, with the configuration's pull policy.
IMAGE_PLACEHOLDER = "<image>"

#: What our containers, volumes and variables are called after.
NAME_PREFIX = "pillion-"
#: Volumes of this name are ours for each new log directory, and this one keeps the token out.
LOG_VOLUME = "logs"
TOKEN_MASK_VOLUME = f"{NAME_PREFIX}no-token"
TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 — a path

#: Where the sidecar sees what it can't see at the app's own path.
RELOCATION_ROOT = "/pillion/logs"

#: Containers of other injectors: they take part only where they are named. Only names that an injector gives and that
#: nobody would give to a container of their own: "envoy" and "cloud-sql-proxy" are what people call theirs.
IGNORED_CONTAINERS = (
    *("istio-proxy", "istio-init", "istio-validation", "linkerd-proxy", "linkerd-init", "linkerd-network-validator"),
    *("vault-agent", "vault-agent-init", "daprd", "consul-dataplane", "consul-connect-inject-init", "kuma-sidecar"),
    *("kuma-init", "gke-gcsfuse-sidecar", "otc-container", "datadog-agent-injected", "osm-init"),
)


_LOG_VOLUME = re.compile(rf"{NAME_PREFIX}{LOG_VOLUME}-[0-9]+")


def is_log_volume(name: str) -> bool:
    """Return whether a volume has the name of one that is added for a log directory."""
    return _LOG_VOLUME.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class Bound:
    """The least and the most that an annotation may ask for, as quantities."""

    minimum: str | None = None
    maximum: str | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """A sidecar that an operator wrote, ready to be filled in for a pod."""

    name: str
    revision: str
    description: str
    #: The container's fixed fields, as JSON values.
    container: Mapping[str, Any]
    command: tuple[str, ...]
    args: tuple[str, ...]
    env: tuple[EnvVar, ...]
    mounts: tuple[dict[str, Any], ...]
    volumes: tuple[dict[str, Any], ...]
    ports: frozenset[int]
    requests: Mapping[str, str]
    limits: Mapping[str, str]
    #: The cpu limit in a Guaranteed pod, which has to have one.
    guaranteed_cpu_limit: str | None
    #: What the profile says of the security context; None leaves the key out of the sidecar.
    security_context: Mapping[str, Any]
    native: bool
    starts_first: bool
    logs: tuple[LogEntry, ...]
    #: Where reading begins in files from before the pod: ``beginning``, ``end``, or nothing where the sidecar decides.
    start: str
    logs_mount_path: str | None
    #: Where no log place may be mounted: what the image needs, and the profile's own mounts.
    reserved_directories: Directories
    volume_size_limit: str | None
    volume_medium: str
    image_pull_secrets: tuple[str, ...]
    bounds: Mapping[str, Bound]
    allow_root: bool
    #: Whether every pod of a namespace that opted in gets it, also one that mounts nothing where its logs would be.
    inject_all: bool
    service_account_token: bool
    patch: tuple[Mapping[str, Any], ...]
    #: What the operator has to set before a pod can use it: sentences.
    setup_steps: tuple[str, ...]
    #: What must be there in a pod's namespace or on its node, so that the pod starts: sentences.
    prerequisites: tuple[str, ...]
    #: The sidecar's name.
    container_name: str = field(init=False)
    #: The resources in a pod that asks for nothing special.
    resources: Mapping[str, Mapping[str, str]] = field(init=False)
    #: Whether the command has places that are filled in for each pod.
    has_command_placeholders: bool = field(init=False)
    #: The container as it begins in every pod.
    container_template: Mapping[str, Any] = field(init=False)
    #: The variables, and whether some are filled in for each pod.
    variables: tuple[EnvVar, ...] = field(init=False)
    has_variable_placeholders: bool = field(init=False)
    #: Whether the sidecar is told where reading begins.
    fills_start: bool = field(init=False)

    def __post_init__(self) -> None:
        """Work out what is the same for every pod."""
        amounts = {
            kind: {name: amount for name, amount in given.items() if name != "ephemeral-storage"}
            for kind, given in (("requests", self.requests), ("limits", self.limits))
        }
        has_command_placeholders = not POD_PLACEHOLDERS.keys().isdisjoint(self.command)
        container_template = {"name": f"{NAME_PREFIX}{self.name}", **self.container}
        if self.native:
            container_template["restartPolicy"] = "Always"
        if self.command and not has_command_placeholders:
            container_template["command"] = list(self.command)
        worked_out = {
            "container_name": container_template["name"],
            "resources": amounts,
            "has_command_placeholders": has_command_placeholders,
            "container_template": container_template,
            "variables": (*SIDECAR_VARIABLES, *self.env),
            "has_variable_placeholders": any(variable.value in POD_PLACEHOLDERS for variable in self.env),
            "fills_start": START in (*self.command, *self.args, *(variable.value for variable in self.env)),
        }
        for name, value in worked_out.items():
            object.__setattr__(self, name, value)


@dataclass(frozen=True, slots=True)
class Configuration:
    """What is injected: the profiles, and how annotations are called and taken."""

    profiles: Mapping[str, Profile]
    default_profile: str
    prefix: str = DEFAULT_PREFIX
    strict: bool = False
    shadow: bool = False
    ignored_containers: frozenset[str] = frozenset(IGNORED_CONTAINERS)
    revision: str = ""
    #: What an operator should know at load.
    notes: tuple[str, ...] = field(default=())
