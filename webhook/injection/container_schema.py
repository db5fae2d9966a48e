"""A schema of a container's JSON: finds what the API server would reject, and what would never start.

Sources: k8s.io/kubernetes pkg/apis/core/validation for what the API server rejects, and the kubelet and runc for what
never starts: an image name that can't be parsed, root under ``runAsNonRoot``, a mount inside a read-only one.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import msgspec

from webhook.injection.dns_labels import DNS_LABEL
from webhook.injection.mount_checks import TERMINATION_LOG, MountPlace, check_hiding_mounts, check_mounts, mount_places
from webhook.injection.paths import PATH_MAX, components
from webhook.injection.quantity import parse_quantity
from webhook.injection.variables import references
from webhook.json_values import Path
from webhook.schema import (
    BOOL,
    STRING,
    ListOf,
    MapOf,
    Object,
    Report,
    Scalar,
    Schema,
    matching,
    number,
    one_of,
    type_name,
)

__all__ = [
    "IMAGE",
    "MAX_CONTAINER_BYTES",
    "MIN_MEMORY",
    "OBJECT_NAME",
    "PULL_POLICY",
    "QUANTITY",
    "SIDECAR_FIELDS",
    "check_container",
    "problems_in",
]

#: With less memory a container is killed before its program runs: runc itself needs this much.
MIN_MEMORY = "4Mi"
#: execve(2): MAX_ARG_STRLEN of linux/binfmts.h, for each argument and each NAME=value.
MAX_ARGUMENT_BYTES = 32 * 4096 - 1
#: A pod is an object of at most 1.5 MiB in etcd, and carries its own containers and managed fields too.
MAX_CONTAINER_BYTES = 256 * 1024
#: k8s.io/apimachinery IsValidUserID and IsValidGroupID.
MAX_ID = 2**31 - 1
MAX_INT32 = 2**31 - 1
MAX_PORT = 65535

_SUBDOMAIN = rf"{DNS_LABEL}(?:\.{DNS_LABEL})*"
_QUALIFIED = rf"(?:{_SUBDOMAIN}/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]{{0,61}}[A-Za-z0-9])?"


# --- values ----------------------------------------------------------------------------------------------------


def _error_in_quantity(value: object) -> str:
    parsed = parse_quantity(value)
    if parsed is None or parsed <= 0:
        return f"must be a quantity above 0 such as 100m or 64Mi, is {str(value)[:40]!r}"
    return ""


QUANTITY = Scalar("a quantity", (str, int, float), _error_in_quantity)


def _error_in_argument(value: str) -> str:
    size = len(value.encode(errors="replace"))
    return f"has {size} bytes; a program takes {MAX_ARGUMENT_BYTES}" if size > MAX_ARGUMENT_BYTES else ""


_ARGUMENT = Scalar("text", (str,), _error_in_argument)


def _error_in_absolute_path(value: str) -> str:
    return "" if value.startswith("/") and len(value) < PATH_MAX else f"must be an absolute path, is {value[:60]!r}"


_ABSOLUTE = Scalar("text", (str,), _error_in_absolute_path)
OBJECT_NAME = matching(_SUBDOMAIN, "the name of an object: lower-case letters, digits, - and .")
#: IsEnvVarName of the oldest supported API server; newer ones accept more.
_ENV_NAME = matching(r"(?!\.\.?$|\.\.)[-._a-zA-Z][-._a-zA-Z0-9]*", "the name of a variable", MAX_ARGUMENT_BYTES)
_CONFIG_KEY = matching(r"(?!\.\.?$|\.\.)[-._a-zA-Z0-9]+", "a key of letters, digits, -, _ and .")
#: IANA_SVC_NAME (RFC 6335).
_PORT_NAME_DESCRIPTION = "a name of at most 15 lower-case letters, digits and -, with a letter"
_PORT_NAME = matching(r"(?=.*[a-z])(?!.*--)[a-z0-9](?:[-a-z0-9]*[a-z0-9])?", _PORT_NAME_DESCRIPTION, 15)
#: github.com/distribution/reference: what the kubelet can parse.
IMAGE = matching(
    r"(?:(?:[a-zA-Z0-9](?:[-a-zA-Z0-9]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[-a-zA-Z0-9]*[a-zA-Z0-9])?)*|\[[0-9a-fA-F:]+\])"
    r"(?::[0-9]+)?/)?[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,128})?",
    "an image such as registry.example.com/team/name:1.0, its path in lower-case letters",
    512,
)
PULL_POLICY = one_of("Always", "IfNotPresent", "Never")


class _Port:
    """A port's number, or the name of one."""

    def read(self, value: Any, path: Path, report: Report) -> Any:
        """See :class:`~webhook.schema.Schema`."""
        if isinstance(value, str):
            return _PORT_NAME.read(value, path, report)
        return _PORT_NUMBER.read(value, path, report)


_PORT_NUMBER = number(1, MAX_PORT)
_COUNT = number(0, MAX_INT32)


# --- variables -------------------------------------------------------------------------------------------------

_FIELD_PATH = matching(
    r"metadata\.(?:name|namespace|uid)|spec\.(?:nodeName|serviceAccountName)|status\.(?:host|pod)IPs?"
    rf"|metadata\.(?:labels|annotations)\['{_QUALIFIED}'\]",
    "a field that the downward API has, such as metadata.name",
    500,
)
_RESOURCE = matching(
    r"(?:limits|requests)\.(?:cpu|memory|ephemeral-storage|hugepages-[0-9]+[KMGT]i)", "such as limits.cpu"
)
_DIVISORS = {
    "cpu": ("0", "1", "1m"),
    "": ("0", "1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"),
}


def _check_divisor(fields: dict[str, Any], path: Path, report: Report) -> None:
    allowed = _DIVISORS["cpu" if str(fields.get("resource", "")).endswith("cpu") else ""]
    if str(fields.get("divisor", "0")) not in allowed:
        report((*path, "divisor"), f"must be one of {', '.join(allowed)}")


_KEY_SELECTOR = {"name": OBJECT_NAME, "key": _CONFIG_KEY, "optional": BOOL}
_SOURCES = {
    "fieldRef": Object({"apiVersion": one_of("v1"), "fieldPath": _FIELD_PATH}, ("fieldPath",)),
    "resourceFieldRef": Object(
        {"containerName": STRING, "resource": _RESOURCE, "divisor": Scalar("a quantity", (str, int))},
        ("resource",),
        check=_check_divisor,
    ),
    "configMapKeyRef": Object(_KEY_SELECTOR, ("name", "key")),
    "secretKeyRef": Object(_KEY_SELECTOR, ("name", "key")),
}


def _check_variable(fields: dict[str, Any], path: Path, report: Report) -> None:
    if fields.get("value") and "valueFrom" in fields:
        report(path, "has both value and valueFrom; remove one")
    if isinstance(fields.get("name"), str) and isinstance(fields.get("value"), str):
        wrong = _error_in_argument(f"{fields['name']}={fields['value']}")
        if wrong:
            report((*path, "value"), wrong)


_VARIABLE = Object(
    {"name": _ENV_NAME, "value": STRING, "valueFrom": Object(_SOURCES, exactly_one_of=tuple(_SOURCES))},
    ("name",),
    check=_check_variable,
)
_OBJECT_REFERENCE = Object({"name": OBJECT_NAME, "optional": BOOL}, ("name",))
_ENV_FROM = Object(
    {"prefix": _ENV_NAME, "configMapRef": _OBJECT_REFERENCE, "secretRef": _OBJECT_REFERENCE},
    exactly_one_of=("configMapRef", "secretRef"),
)


# --- ports, probes, hooks --------------------------------------------------------------------------------------

_CONTAINER_PORT = Object(
    {
        "containerPort": _PORT_NUMBER,
        "name": _PORT_NAME,
        "protocol": one_of("TCP", "UDP", "SCTP"),
        "hostPort": number(0, MAX_PORT),
        "hostIP": STRING,
    },
    ("containerPort",),
)
_HEADER = Object({"name": matching(r"[-A-Za-z0-9]+", "a header's name"), "value": STRING}, ("name",))
_ENDPOINT: dict[str, Schema] = {"port": _Port(), "host": STRING}
_HTTP = Object(
    {**_ENDPOINT, "path": STRING, "scheme": one_of("HTTP", "HTTPS"), "httpHeaders": ListOf(_HEADER)}, ("port",)
)
_HANDLERS: dict[str, Schema] = {
    "exec": Object({"command": ListOf(_ARGUMENT, min_items=1)}, ("command",)),
    "httpGet": _HTTP,
    "tcpSocket": Object(_ENDPOINT, ("port",)),
}
_PROBE_ACTIONS: dict[str, Schema] = {**_HANDLERS, "grpc": Object({"port": _PORT_NUMBER, "service": STRING}, ("port",))}
_PROBE_FIELDS: dict[str, Schema] = {
    **_PROBE_ACTIONS,
    **dict.fromkeys(("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "failureThreshold"), _COUNT),
}
_TERMINATION_GRACE = {"terminationGracePeriodSeconds": number(1, MAX_INT32)}
_READINESS = Object({**_PROBE_FIELDS, "successThreshold": _COUNT}, exactly_one_of=tuple(_PROBE_ACTIONS))
#: Liveness and startup: the first success counts.
_PROBE = Object(
    {**_PROBE_FIELDS, **_TERMINATION_GRACE, "successThreshold": number(0, 1)}, exactly_one_of=tuple(_PROBE_ACTIONS)
)
_HOOKS: dict[str, Schema] = {**_HANDLERS, "sleep": Object({"seconds": number(1, MAX_INT32)}, ("seconds",))}
_HOOK = Object(_HOOKS, exactly_one_of=tuple(_HOOKS))


# --- resources -------------------------------------------------------------------------------------------------

_RESOURCE_NAME = matching(
    rf"cpu|memory|ephemeral-storage|hugepages-[0-9]+[KMGT]i|{_SUBDOMAIN}/[A-Za-z0-9](?:[-A-Za-z0-9_.]{{0,61}}[A-Za-z0-9])?",
    "cpu, memory, ephemeral-storage, or a name with a domain such as example.com/gpu",
)
_QUANTITIES = MapOf(QUANTITY, _RESOURCE_NAME)


def _check_quantities(fields: dict[str, Any], path: Path, report: Report) -> None:
    requests, limits = fields.get("requests", {}), fields.get("limits", {})
    for name, value in requests.items():
        limit = limits.get(name)
        request, maximum = parse_quantity(value), parse_quantity(limit)
        whole = "/" in name or name.startswith("hugepages-")
        if request is None or (maximum is None and not whole):
            continue
        if maximum is None:
            report((*path, "requests", name), "needs the same limit")
        elif request > maximum:
            report((*path, "requests", name), f"{value} is above the limit {limit}")
        elif whole and request != maximum:
            report((*path, "requests", name), f"{value} must be the limit, {limit}")
    memory, minimum = parse_quantity(limits.get("memory")), parse_quantity(MIN_MEMORY)
    if memory is not None and minimum is not None and memory < minimum:
        report((*path, "limits", "memory"), f"{limits['memory']} is too little to start; write {MIN_MEMORY} or more")


# --- security context ------------------------------------------------------------------------------------------


def _check_localhost(fields: dict[str, Any], path: Path, report: Report) -> None:
    if (fields.get("type") == "Localhost") != ("localhostProfile" in fields):
        report(path, "must have localhostProfile with type Localhost, and with no other")


_SECURITY_PROFILE = Object(
    {"type": one_of("RuntimeDefault", "Unconfined", "Localhost"), "localhostProfile": STRING},
    ("type",),
    check=_check_localhost,
)


def _check_security(fields: dict[str, Any], path: Path, report: Report) -> None:
    if fields.get("runAsNonRoot") and fields.get("runAsUser") == 0:
        report((*path, "runAsUser"), "0 never starts with runAsNonRoot: true; write runAsNonRoot: false to allow root")
    if fields.get("allowPrivilegeEscalation") is False:
        added = (fields.get("capabilities") or {}).get("add") or ()
        if fields.get("privileged"):
            report((*path, "allowPrivilegeEscalation"), "false is rejected with privileged: true; write true")
        if "CAP_SYS_ADMIN" in added:
            report((*path, "allowPrivilegeEscalation"), "false is rejected with CAP_SYS_ADMIN; write true")


_SECURITY = Object(
    {
        **dict.fromkeys(("allowPrivilegeEscalation", "privileged", "readOnlyRootFilesystem", "runAsNonRoot"), BOOL),
        **dict.fromkeys(("runAsUser", "runAsGroup"), number(0, MAX_ID)),
        "capabilities": Object({"add": ListOf(STRING), "drop": ListOf(STRING)}),
        "procMount": one_of("Default"),
        "seLinuxOptions": Object(dict.fromkeys(("user", "role", "type", "level"), STRING)),
        "seccompProfile": _SECURITY_PROFILE,
        "appArmorProfile": _SECURITY_PROFILE,
    },
    keeps_null=True,
    check=_check_security,
)


# --- mounts ----------------------------------------------------------------------------------------------------


def _error_in_mount_path(value: str) -> str:
    if not value.startswith("/") or ":" in value or len(value) >= PATH_MAX:
        return "must be an absolute path without a colon"
    parts = components(value)
    if not parts or parts[0] == "proc":
        return f"nothing can be mounted at {value[:60]}; choose another directory"
    return ""


def _error_in_subpath(value: str) -> str:
    return "must be relative and without .." if value.startswith("/") or ".." in value.split("/") else ""


_SUBPATH = Scalar("text", (str,), _error_in_subpath)


def _check_mount(fields: dict[str, Any], path: Path, report: Report) -> None:
    if fields.get("subPath") and fields.get("subPathExpr"):
        report(path, "has both subPath and subPathExpr; remove one")
    recursive = fields.get("recursiveReadOnly", "Disabled") != "Disabled"
    if recursive and not (fields.get("readOnly") and fields.get("mountPropagation", "None") == "None"):
        report((*path, "recursiveReadOnly"), "needs readOnly: true and no mountPropagation")


_MOUNT = Object(
    {
        "name": STRING,
        "mountPath": Scalar("text", (str,), _error_in_mount_path),
        "readOnly": BOOL,
        "recursiveReadOnly": one_of("Disabled", "IfPossible", "Enabled"),
        "subPath": _SUBPATH,
        "subPathExpr": _SUBPATH,
        "mountPropagation": one_of("None", "HostToContainer", "Bidirectional"),
    },
    ("name", "mountPath"),
    check=_check_mount,
)


# --- the whole container ---------------------------------------------------------------------------------------


def check_container(fields: dict[str, Any], path: Path, report: Report) -> None:
    """Check port names, the probes and hooks that use them, and mount propagation."""
    _check_mount_propagation(fields, path, report)
    ports = fields.get("ports", ())
    names = Counter(port["name"] for port in ports if "name" in port)
    for index, port in enumerate(ports):
        if names[port.get("name")] > 1:
            report((*path, "ports", index, "name"), f"{port['name']} is used twice")
    lifecycle = fields.get("lifecycle", {})
    for where in ("livenessProbe", "readinessProbe", "startupProbe", "postStart", "preStop"):
        handler = fields.get(where) or lifecycle.get(where) or {}
        for way in ("httpGet", "tcpSocket"):
            port = handler.get(way, {}).get("port")
            if isinstance(port, str) and port not in names:
                above = ("lifecycle",) if where in lifecycle else ()
                report((*path, *above, where, way, "port"), f"{port} is not the name of a port of the container")


def _check_mount_propagation(fields: dict[str, Any], path: Path, report: Report) -> None:
    """Check that only a privileged container has mounts with Bidirectional propagation."""
    privileged = (fields.get("securityContext") or {}).get("privileged")
    for index, mount in enumerate(fields.get("volumeMounts", ())):
        if mount.get("mountPropagation") == "Bidirectional" and not privileged:
            report((*path, "volumeMounts", index, "mountPropagation"), "Bidirectional needs privileged: true")


#: The fields that a profile's sidecar may have.
SIDECAR_FIELDS: dict[str, Schema] = {
    "image": IMAGE,
    "imagePullPolicy": PULL_POLICY,
    "command": ListOf(_ARGUMENT),
    "args": ListOf(_ARGUMENT),
    "env": ListOf(_VARIABLE),
    "envFrom": ListOf(_ENV_FROM),
    "resources": Object({"requests": _QUANTITIES, "limits": _QUANTITIES}, check=_check_quantities),
    "securityContext": _SECURITY,
    "ports": ListOf(_CONTAINER_PORT),
    "livenessProbe": _PROBE,
    "readinessProbe": _READINESS,
    "startupProbe": _PROBE,
    "lifecycle": Object({"postStart": _HOOK, "preStop": _HOOK}),
    "volumeMounts": ListOf(_MOUNT),
    "workingDir": _ABSOLUTE,
    "terminationMessagePath": _ABSOLUTE,
    "terminationMessagePolicy": one_of("File", "FallbackToLogsOnError"),
    "stdin": BOOL,
    "stdinOnce": BOOL,
    "tty": BOOL,
}
_CONTAINER = Object(
    {
        **SIDECAR_FIELDS,
        "name": STRING,
        "restartPolicy": one_of("Always"),
        "resizePolicy": ListOf(Object({"resourceName": STRING, "restartPolicy": STRING})),
    },
    ("image",),
    check=check_container,
)


def problems_in(container: Any, volumes: Collection[str], with_content: Collection[str] = ()) -> list[tuple[Path, str]]:
    """Return the problems in a finished container, by path.

    ``volumes`` are the names of the pod's volumes; ``with_content`` those that may bring the container's programs.
    """
    found: list[tuple[Path, str]] = []

    def report(path: Path, message: str) -> None:
        found.append((path, message))

    if not isinstance(container, dict):
        report((), f"must be a mapping, is {type_name(container)}")
        return found
    fields = _CONTAINER.read(container, (), report)
    mounts = fields.get("volumeMounts", [])
    for index, mount in enumerate(mounts):
        if mount.get("name") not in volumes and "name" in mount:
            report(("volumeMounts", index, "name"), f"{mount['name'][:63]!r} is not a volume of the pod")
    termination_log = MountPlace(None, fields.get("terminationMessagePath", TERMINATION_LOG))
    check_mounts(mount_places(mounts, ("volumeMounts",)), [termination_log], report)
    check_hiding_mounts(fields, (), report, with_content=with_content)
    found += _undefined_references(fields)
    size = len(msgspec.json.encode(container))
    if size > MAX_CONTAINER_BYTES:
        report((), f"has {size} bytes, which is more than {MAX_CONTAINER_BYTES}")
    return found


def _undefined_references(fields: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    """Yield a problem for each undefined variable in a ``subPathExpr``, with which the kubelet starts no container."""
    names = {variable.get("name") for variable in fields.get("env", ())}
    for index, mount in enumerate(fields.get("volumeMounts", ())):
        for name in references(mount.get("subPathExpr", "")):
            if name not in names and not fields.get("envFrom"):
                yield ("volumeMounts", index, "subPathExpr"), f"$({name[:40]}) is not a variable of the container"
