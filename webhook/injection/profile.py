"""Profiles and the configuration, prepared for use in each review."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from webhook.errors import Problem
from webhook.injection.annotations import LogEntry
from webhook.injection.paths import Directories
from webhook.injection.pod import EnvVar
from webhook.injection.variables import SIDECAR_VARIABLES

__all__ = [
    "DEFAULT_IGNORED_CONTAINERS",
    "DEFAULT_PREFIX",
    "IMAGE_PLACEHOLDER",
    "LOG_CONTAINER",
    "LOG_DIRECTORIES",
    "LOG_FILES",
    "LOG_MOUNTS",
    "LOG_VOLUMES",
    "LOG_VOLUME_STEM",
    "NAME_PREFIX",
    "PERSISTENT_DIRECTORIES",
    "PLACEHOLDERS",
    "POD_PLACEHOLDERS",
    "RELOCATION_ROOT",
    "SHIPPING_IMAGE_PLACEHOLDER",
    "START",
    "TOKEN_MASK_VOLUME_NAME",
    "TOKEN_PATH",
    "Bounds",
    "Configuration",
    "Profile",
]

DEFAULT_PREFIX = "pillion.dev/"
LOG_FILES = "<log-files>"
LOG_DIRECTORIES = "<log-directories>"
LOG_VOLUMES = "<log-volumes>"
LOG_MOUNTS = "<log-mounts>"
LOG_CONTAINER = "<log-container>"
PERSISTENT_DIRECTORIES = "<persistent-directories>"
START = "<start>"
#: Placeholders that are replaced for each pod: a whole list item, or a variable's whole value.
POD_PLACEHOLDERS = {
    LOG_FILES: "the log files, a path or a glob each",
    LOG_DIRECTORIES: "the directories that the log files are in",
    LOG_VOLUMES: "the volumes that the log files are in",
    LOG_MOUNTS: "where those volumes are mounted",
    LOG_CONTAINER: "the container that writes the log files, if there is only one",
    PERSISTENT_DIRECTORIES: "where volumes that outlive the pod are mounted",
    START: "beginning or end, if the pod or the profile says where reading begins",
}
#: All placeholders of command, args and env; ``<native>`` is replaced when the profile is loaded.
PLACEHOLDERS = {**POD_PLACEHOLDERS, "<native>": "true for a native sidecar, which ends after all others, or false"}
#: Placeholders for a sidecar's image: each becomes one of the configuration's images, with the configuration's pull
#: policy.
IMAGE_PLACEHOLDER = "<image>"
SHIPPING_IMAGE_PLACEHOLDER = "<shipping-image>"

#: The prefix of the names of our containers and volumes.
NAME_PREFIX = "pillion-"
#: Log volumes are called pillion-logs-1, pillion-logs-2 and so on.
LOG_VOLUME_STEM = "logs"
#: The name of the empty volume that is mounted over the service account's token.
TOKEN_MASK_VOLUME_NAME = f"{NAME_PREFIX}no-token"
TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 — a path

#: Log sources that can't be mounted at the application's path are mounted below this directory.
RELOCATION_ROOT = "/pillion/logs"

#: The default of the configuration's ``ignoredContainers``: names that other injectors give their containers. Such a
#: container is selected only where an annotation names it, but its volumes at a log directory are read all the same.
#: Names that people give their own containers, such as "envoy" and "cloud-sql-proxy", are not here.
DEFAULT_IGNORED_CONTAINERS = (
    "istio-proxy",
    "istio-init",
    "istio-validation",
    "linkerd-proxy",
    "linkerd-init",
    "linkerd-network-validator",
    "vault-agent",
    "vault-agent-init",
    "daprd",
    "consul-dataplane",
    "consul-connect-inject-init",
    "kuma-sidecar",
    "kuma-init",
    "kuma-validation",
    "gke-gcsfuse-sidecar",
    "otc-container",
    "datadog-agent-injected",
    "osm-init",
    "queue-proxy",
    "traffic-agent",
    "consul-connect-envoy-sidecar",
    "consul-connect-lifecycle-sidecar",
)


@dataclass(frozen=True, slots=True)
class Bounds:
    """The smallest and the largest quantity that an annotation may ask for."""

    minimum: str | None = None
    maximum: str | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """The definition of a sidecar, prepared for use in each review."""

    name: str
    revision: str
    description: str
    #: The fixed fields of the configuration's ``sidecar``, as JSON values.
    container: Mapping[str, Any]
    command: tuple[str, ...]
    args: tuple[str, ...]
    env: tuple[EnvVar, ...]
    mounts: tuple[dict[str, Any], ...]
    volumes: tuple[dict[str, Any], ...]
    ports: frozenset[int]
    requests: Mapping[str, str]
    limits: Mapping[str, str]
    #: The cpu limit in a Guaranteed pod, in which each container must have one.
    guaranteed_cpu_limit: str | None
    #: The profile's own security context; a key with None is left out of the sidecar.
    security_context: Mapping[str, Any]
    native: bool
    starts_first: bool
    logs: tuple[LogEntry, ...]
    #: Where reading begins in files from before the pod: ``beginning``, ``end``, or nothing where the sidecar decides.
    start: str
    #: The sidecar mounts the logs at this path, or below it if there are several; None: at the application's own paths.
    logs_mount_path: str | None
    #: No log source is mounted at, above or below these: the profile's ``reservedPaths``, its own mounts and its
    #: ``terminationMessagePath``.
    reserved_directories: Directories
    #: The directories that hold the programs of the sidecar, its probes and hooks, and its working directory. No log
    #: source is mounted at or above one: it would hide the program, or the runtime could not make the directory in it.
    directories_in_use: Directories
    volume_size_limit: str | None
    volume_medium: str
    image_pull_secrets: tuple[str, ...]
    bounds: Mapping[str, Bounds]
    #: Whether the annotation run-as-user may be 0. Where the pod itself runs as root, the sidecar does in any case.
    allow_root: bool
    #: Whether pods without a log location are injected, too, in a namespace that opted in.
    inject_all: bool
    service_account_token: bool
    patch: tuple[Mapping[str, Any], ...]
    #: What is left to do before pods can use it, as imperatives that follow "ask your operator to".
    setup_steps: tuple[str, ...]
    #: What a pod's namespace or node must have so that the pod starts, as sentences.
    prerequisites: tuple[str, ...]
    #: The sidecar's name.
    container_name: str = field(init=False)
    #: The sidecar's resources in most pods: no resource annotation, not Guaranteed, and not every container limits
    #: ephemeral storage.
    usual_resources: Mapping[str, Mapping[str, str]] = field(init=False)
    #: Whether the command has placeholders that are replaced for each pod.
    has_command_placeholders: bool = field(init=False)
    #: ``container`` with name, restartPolicy and, if it has no placeholders, the command.
    container_template: Mapping[str, Any] = field(init=False)
    #: All variables of the sidecar, and whether some have placeholders that are replaced for each pod.
    variables: tuple[EnvVar, ...] = field(init=False)
    has_variable_placeholders: bool = field(init=False)
    #: Whether the sidecar is told where reading begins.
    passes_start: bool = field(init=False)

    def __post_init__(self) -> None:
        """Compute what is the same for every pod."""
        quantities = {
            kind: {name: quantity for name, quantity in given.items() if name != "ephemeral-storage"}
            for kind, given in (("requests", self.requests), ("limits", self.limits))
        }
        has_command_placeholders = not POD_PLACEHOLDERS.keys().isdisjoint(self.command)
        container_template = {"name": f"{NAME_PREFIX}{self.name}", **self.container}
        if self.native:
            container_template["restartPolicy"] = "Always"
        if self.command and not has_command_placeholders:
            container_template["command"] = list(self.command)
        computed = {
            "container_name": container_template["name"],
            "usual_resources": quantities,
            "has_command_placeholders": has_command_placeholders,
            "container_template": container_template,
            "variables": (*SIDECAR_VARIABLES, *self.env),
            "has_variable_placeholders": any(variable.value in POD_PLACEHOLDERS for variable in self.env),
            "passes_start": START in (*self.command, *self.args, *(variable.value for variable in self.env)),
        }
        for name, value in computed.items():
            object.__setattr__(self, name, value)


@dataclass(frozen=True, slots=True)
class Configuration:
    """The profiles, and the options that apply to every pod."""

    profiles: Mapping[str, Profile]
    default_profile: str
    prefix: str = DEFAULT_PREFIX
    strict: bool = False
    shadow: bool = False
    ignored_containers: frozenset[str] = frozenset(DEFAULT_IGNORED_CONTAINERS)
    #: What the server logs about the profiles when it loads them.
    log_messages: tuple[str, ...] = field(default=())
    #: Warnings for the operator about the profiles, each with its place in the file.
    warnings: tuple[Problem, ...] = field(default=())

    @property
    def revisions(self) -> str:
        """Return all profiles with their revisions, as audit annotations write one: ``tail@0123456789``."""
        return ", ".join(f"{profile.name}@{profile.revision}" for profile in self.profiles.values())
