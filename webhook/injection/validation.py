"""A configuration's document to a :class:`Configuration`, or to everything that is wrong with it.

A problem never hides another: :func:`build` collects all of them, each with its path in the document.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jsonpatch
import msgspec
from msgspec import Struct

from webhook.errors import ConfigurationError, Problem
from webhook.injection import quantity
from webhook.injection.annotations import Declined, LogFiles, parse_logs
from webhook.injection.paths import Components, Directories, components, overlap
from webhook.injection.pod import EnvVar
from webhook.injection.profile import (
    DEFAULT_PREFIX,
    EMPTY_VOLUME,
    IGNORED_CONTAINERS,
    LOG_VOLUME,
    NAME_PREFIX,
    PLACEHOLDERS,
    RELOCATED,
    TOKEN_PATH,
    Bound,
    Configuration,
    Profile,
)

__all__ = ["PLACEHOLDERS", "build"]

#: Room for the kubelet: a sidecar without requests breaks an HPA, one without a memory limit can starve the node.
DEFAULT_RESOURCES = {
    "requests": {"cpu": "10m", "memory": "32Mi", "ephemeral-storage": "10Mi"},
    "limits": {"memory": "64Mi", "ephemeral-storage": "1Gi"},
}

_LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?")
_PLACEHOLDER = re.compile(r"<[a-z][a-z-]*>")
_PREFIX = re.compile(r"[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?/")
#: 63 characters for a container's name, less our prefix.
_LONGEST_NAME = 63 - len(NAME_PREFIX)
BOUNDED = ("cpu-request", "cpu-limit", "memory-request", "memory-limit", "volume-size-limit")


# --- the documents' shapes -------------------------------------------------------------------------------------
# msgspec stops at the first error of a value, so each key is converted on its own and problems add up.


class _Size(Struct, forbid_unknown_fields=True):
    sizeLimit: str | int | None = None
    medium: str | None = None


class _Bound(Struct, forbid_unknown_fields=True):
    min: str | int | float | None = None
    max: str | int | float | None = None


class _NamedReference(Struct, forbid_unknown_fields=True):
    name: str


class _Port(Struct, forbid_unknown_fields=True):
    containerPort: int
    name: str | None = None
    protocol: str | None = None


class _EnvVar(Struct, forbid_unknown_fields=True):
    name: str
    value: str | None = None
    valueFrom: dict[str, Any] | None = None


class _Mount(Struct, forbid_unknown_fields=True):
    name: str
    mountPath: str
    readOnly: bool | None = None
    subPath: str | None = None
    mountPropagation: str | None = None


class _Resources(Struct, forbid_unknown_fields=True):
    requests: dict[str, str | int | float] | None = None
    limits: dict[str, str | int | float] | None = None


class _Operation(Struct, forbid_unknown_fields=True, rename={"source": "from"}):
    op: str
    path: str
    value: Any = None
    source: str | None = None


_PROFILE_FIELDS: dict[str, Any] = {
    "base": str,
    "description": str,
    "sidecar": dict[str, Any],
    "native": bool,
    "guaranteedCpu": str,
    "order": str,
    "logs": list[str],
    "logsMountPath": str,
    "reservedPaths": list[str],
    "volume": _Size,
    "volumes": list[dict[str, Any]],
    "imagePullSecrets": list[_NamedReference],
    "bounds": dict[str, _Bound],
    "allowRoot": bool,
    "injectAll": bool,
    "serviceAccountToken": bool,
    "patch": list[_Operation],
    "required": dict[str, str],
}
_SIDECAR_FIELDS: dict[str, Any] = {
    "image": str,
    "imagePullPolicy": str,
    "command": list[str],
    "args": list[str],
    "env": list[_EnvVar],
    "envFrom": list[dict[str, Any]],
    "resources": _Resources,
    "securityContext": dict[str, Any],
    "ports": list[_Port],
    "livenessProbe": dict[str, Any],
    "readinessProbe": dict[str, Any],
    "startupProbe": dict[str, Any],
    "lifecycle": dict[str, Any],
    "volumeMounts": list[_Mount],
    "workingDir": str,
    "terminationMessagePath": str,
    "terminationMessagePolicy": str,
}
_CONFIGURATION_FIELDS: dict[str, Any] = {
    "defaultProfile": str,
    "strict": bool,
    "allowHostPath": bool,
    "ignoredContainers": list[str],
    "profiles": dict[str, Any],
}
#: Fields of a container that are filled in for each pod; all others are handed on as they are.
_FILLED = frozenset({"command", "args", "env", "resources", "securityContext", "volumeMounts"})

_ERROR_PATH = re.compile(r" - at `\$(?P<path>[^`]*)`$")


class _Problems:
    """Collects problems by path."""

    def __init__(self) -> None:
        self.found: list[Problem] = []

    def add(self, path: str, message: str) -> None:
        self.found.append(Problem(path, message))

    def fields(self, value: object, types: Mapping[str, Any], path: str) -> dict[str, Any]:
        """Return the mapping's values that fit their types, null ones left out; all others are problems."""
        if not isinstance(value, Mapping):
            self.add(path, f"must be a mapping, is {_kind(value)}")
            return {}
        fitting: dict[str, Any] = {}
        for key, item in value.items():
            inner = f"{path}.{key}" if path else str(key)
            if key not in types:
                self.add(inner, f"is unknown; known here: {', '.join(types)}")
            elif item is not None:
                self.convert(item, types[key], inner, into=fitting, key=key)
        return fitting

    def convert(self, value: Any, type_: Any, path: str, *, into: dict[str, Any], key: str) -> None:
        try:
            into[key] = msgspec.convert(value, type_)
        except msgspec.ValidationError as error:
            text = str(error)
            where = _ERROR_PATH.search(text)
            inner = where["path"] if where else ""
            self.add(path + inner, _in_words(_ERROR_PATH.sub("", text)))


_WORDS = {
    "str": "text",
    "int": "a number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list",
    "array": "a list",
    "object": "a mapping",
    "NoneType": "empty",
    "null": "empty",
}
_EXPECTED = re.compile(r"Expected `(?P<expected>[^`]*)`, got `(?P<got>[^`]*)`")


def _kind(value: object) -> str:
    return _WORDS.get(type(value).__name__, "something else")


def _in_words(message: str) -> str:
    """Return msgspec's message in the words of a YAML document."""
    match = _EXPECTED.fullmatch(message)
    if match is None:
        return message.replace("`", "").replace("Object", "the mapping").replace("field", "key")
    expected = dict.fromkeys(_WORDS.get(type_, type_) for type_ in match["expected"].split(" | ") if type_ != "null")
    return f"must be {' or '.join(expected)}, is {_WORDS.get(match['got'], match['got'])}"


#: Lists that are merged item by item, and what tells their items apart; all others are replaced.
_MERGED_LISTS = {"env": "name", "volumes": "name", "volumeMounts": "mountPath"}


def _merge(base: Any, over: Any) -> Any:
    """Return ``over`` applied to ``base`` as a JSON Merge Patch (RFC 7386), some lists by their items' names."""
    if not isinstance(base, Mapping) or not isinstance(over, Mapping):
        return over
    merged = dict(base)
    for key, value in over.items():
        if value is None:
            merged.pop(key, None)
        elif key in _MERGED_LISTS and _have(base.get(key), _MERGED_LISTS[key]) and _have(value, _MERGED_LISTS[key]):
            by_name = {item[_MERGED_LISTS[key]]: item for item in [*base[key], *value]}
            merged[key] = list(by_name.values())
        else:
            merged[key] = _merge(base.get(key), value)
    return merged


def _have(items: object, name: str) -> bool:
    return isinstance(items, list) and all(isinstance(item, Mapping) and name in item for item in items)


def _revision(document: Any) -> str:
    """Return a short hash that changes with the document's content and with nothing else."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


# --- one profile -----------------------------------------------------------------------------------------------


def _check_quantity(problems: _Problems, path: str, value: object) -> None:
    parsed = quantity.parse(value)
    if parsed is None or parsed <= 0:
        problems.add(path, f"must be a quantity above 0 such as 100m or 64Mi, is {str(value)[:40]!r}")


def _bounds(problems: _Problems, path: str, bounds: Mapping[str, _Bound]) -> dict[str, Bound]:
    result: dict[str, Bound] = {}
    for key, bound in bounds.items():
        inner = f"{path}.{key}"
        if key not in BOUNDED:
            problems.add(inner, f"is no bounded annotation; known: {', '.join(BOUNDED)}")
            continue
        for end, value in (("min", bound.min), ("max", bound.max)):
            if value is not None:
                _check_quantity(problems, f"{inner}.{end}", value)
        least, most = quantity.parse(bound.min), quantity.parse(bound.max)
        if least is not None and most is not None and least > most:
            problems.add(inner, f"min {bound.min} is above max {bound.max}")
        result[key] = Bound(_text(bound.min), _text(bound.max))
    return result


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _logs(problems: _Problems, path: str, entries: list[str]) -> tuple[LogFiles, ...]:
    files: list[LogFiles] = []
    for number, entry in enumerate(entries):
        try:
            parsed = parse_logs(entry)
        except Declined as declined:
            problems.add(f"{path}[{number}]", declined.finding.text())
            continue
        if any(item.container for item in parsed):
            problems.add(f"{path}[{number}]", "a profile can't name a container; remove the part before the colon")
        files.extend(parsed)
    return tuple(files)


def _volumes(problems: _Problems, path: str, volumes: list[dict[str, Any]], *, host_path: bool) -> list[dict[str, Any]]:
    result: list[dict[str, Any]] = []
    for number, volume in enumerate(volumes):
        inner = f"{path}[{number}]"
        name = volume.get("name")
        if not isinstance(name, str) or not _LABEL.fullmatch(name) or len(name) > _LONGEST_NAME:
            problems.add(
                f"{inner}.name", f"must be a name of small letters, digits and -, at most {_LONGEST_NAME} long"
            )
            continue
        if name == EMPTY_VOLUME or re.fullmatch(rf"{LOG_VOLUME}(-[0-9]+)?", name):
            problems.add(f"{inner}.name", f"{name} is a name that Pillion uses itself; choose another")
        if any(other["name"] == f"{NAME_PREFIX}{name}" for other in result):
            problems.add(f"{inner}.name", f"{name} is there twice")
        if "hostPath" in volume and not host_path:
            problems.add(f"{inner}.hostPath", "is not allowed; set allowHostPath: true to allow it")
        result.append({**volume, "name": f"{NAME_PREFIX}{name}"})
    return result


def _mounts(
    problems: _Problems, path: str, mounts: list[_Mount], volumes: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    names = {volume["name"] for volume in volumes}
    result: list[dict[str, Any]] = []
    seen: list[Components] = []
    for number, mount in enumerate(mounts):
        inner = f"{path}[{number}]"
        name = f"{NAME_PREFIX}{mount.name}"
        parts = components(mount.mountPath)
        if name not in names:
            problems.add(f"{inner}.name", f"{mount.name!r} is none of the profile's volumes")
        if not mount.mountPath.startswith("/") or ":" in mount.mountPath:
            problems.add(f"{inner}.mountPath", "must be an absolute path without a colon")
        if parts in seen:
            problems.add(f"{inner}.mountPath", f"{mount.mountPath} is mounted twice")
        seen.append(parts)
        result.append({**_without_none(msgspec.to_builtins(mount)), "name": name})
    return result


def _without_none(value: dict[str, Any]) -> dict[str, Any]:
    return {key: item for key, item in value.items() if item is not None}


def _resources(problems: _Problems, path: str, resources: _Resources) -> tuple[dict[str, str], dict[str, str]]:
    """Return requests and limits: cpu and memory are always requested, memory is always limited."""
    requests = {key: str(value) for key, value in (resources.requests or {}).items()}
    limits = {key: str(value) for key, value in (resources.limits or {}).items()}
    for kind, amounts in (("requests", requests), ("limits", limits)):
        for key, value in amounts.items():
            _check_quantity(problems, f"{path}.{kind}.{key}", value)
    limits.setdefault("memory", _max_of(requests.get("memory"), DEFAULT_RESOURCES["limits"]["memory"]))
    limits.setdefault("ephemeral-storage", DEFAULT_RESOURCES["limits"]["ephemeral-storage"])
    for key in ("cpu", "memory", "ephemeral-storage"):
        requests.setdefault(key, _min_of(limits.get(key), DEFAULT_RESOURCES["requests"][key]))
    for key, value in requests.items():
        request, limit = quantity.parse(value), quantity.parse(limits.get(key))
        if request is not None and limit is not None and request > limit:
            problems.add(f"{path}.requests.{key}", f"{value} is above the limit {limits[key]}")
    return requests, limits


def _max_of(one: str | None, other: str) -> str:
    """Return the larger quantity; ``other`` where ``one`` is none."""
    left, right = quantity.parse(one), quantity.parse(other)
    return one if one and left is not None and right is not None and left > right else other


def _min_of(one: str | None, other: str) -> str:
    """Return the smaller quantity; ``other`` where ``one`` is none."""
    left, right = quantity.parse(one), quantity.parse(other)
    return one if one and left is not None and right is not None and left < right else other


def _check_placeholders(problems: _Problems, path: str, texts: list[str]) -> None:
    for number, text in enumerate(texts):
        if _PLACEHOLDER.fullmatch(text) and text not in PLACEHOLDERS:
            problems.add(f"{path}[{number}]", f"{text} is no placeholder; known: {', '.join(PLACEHOLDERS)}")


def _env(problems: _Problems, path: str, variables: list[_EnvVar]) -> tuple[EnvVar, ...]:
    for number, variable in enumerate(variables):
        if not variable.name or "=" in variable.name:
            problems.add(f"{path}[{number}].name", "must be the name of a variable")
        if variable.value is not None and variable.valueFrom is not None:
            problems.add(f"{path}[{number}]", "has both value and valueFrom; remove one")
    _check_placeholders(problems, path, [variable.value or "" for variable in variables])
    return tuple(msgspec.convert(_without_none(msgspec.to_builtins(variable)), EnvVar) for variable in variables)


def _patch(problems: _Problems, path: str, operations: list[_Operation]) -> tuple[dict[str, Any], ...]:
    result: list[dict[str, Any]] = []
    for number, operation in enumerate(operations):
        document = _without_none(msgspec.to_builtins(operation))
        if operation.path in ("", "/name", "/restartPolicy"):
            problems.add(f"{path}[{number}].path", f"{operation.path or 'the whole container'} can't be changed")
        try:
            jsonpatch.JsonPatch([document])
        except jsonpatch.JsonPatchException as error:
            problems.add(f"{path}[{number}]", f"is no RFC 6902 operation: {error}")
        except jsonpatch.JsonPointerException as error:
            problems.add(f"{path}[{number}].path", f"is no JSON pointer: {error}")
        result.append(document)
    return tuple(result)


def _choice(problems: _Problems, path: str, value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        problems.add(path, f"must be {' or '.join(one or 'empty' for one in allowed)}, is {value!r}")
    return value


def _absolute(problems: _Problems, path: str, value: str) -> Components:
    if not value.startswith("/") or value == "/":
        problems.add(path, f"must be an absolute path of a directory, is {value!r}")
    return components(value)


class _Sidecar(Struct):
    """The checked parts of ``sidecar``."""

    container: dict[str, Any]
    command: tuple[str, ...]
    args: tuple[str, ...]
    env: tuple[EnvVar, ...]
    mounts: list[dict[str, Any]]
    ports: frozenset[int]
    requests: dict[str, str]
    limits: dict[str, str]
    security_context: dict[str, Any]


def _sidecar(problems: _Problems, path: str, document: Mapping[str, Any], volumes: list[dict[str, Any]]) -> _Sidecar:
    fields = problems.fields(document, _SIDECAR_FIELDS, path)
    if not fields.get("image", "").strip() and document.get("image") in (None, ""):
        problems.add(f"{path}.image", "is missing; write the sidecar's image")
    for key in ("command", "args"):
        _check_placeholders(problems, f"{path}.{key}", fields.get(key, []))
    requests, limits = _resources(problems, f"{path}.resources", fields.get("resources", _Resources()))
    return _Sidecar(
        container={key: value for key, value in document.items() if key in fields and key not in _FILLED},
        command=tuple(fields.get("command", ())),
        args=tuple(fields.get("args", ())),
        env=_env(problems, f"{path}.env", fields.get("env", [])),
        mounts=_mounts(problems, f"{path}.volumeMounts", fields.get("volumeMounts", []), volumes),
        ports=frozenset(port.containerPort for port in fields.get("ports", ())),
        requests=requests,
        limits=limits,
        security_context=fields.get("securityContext", {}),
    )


def _size(problems: _Problems, path: str, size: _Size) -> tuple[str | None, str]:
    """Return a new volume's size limit and medium."""
    if size.sizeLimit is not None:
        _check_quantity(problems, f"{path}.sizeLimit", size.sizeLimit)
    medium = _choice(problems, f"{path}.medium", size.medium or "", ("", "Memory"))
    if medium and size.sizeLimit is None:
        problems.add(f"{path}.sizeLimit", "is needed with medium Memory: without it the node's memory is the limit")
    return _text(size.sizeLimit), medium


def _reserved(
    problems: _Problems, path: str, fields: Mapping[str, Any], mounts: Sequence[Mapping[str, Any]]
) -> Directories:
    """Return where no log place may be mounted; nothing of that may lie where logs go when they can't stay."""
    root: str = fields.get("logsMountPath", RELOCATED)
    _absolute(problems, f"{path}.logsMountPath", root)
    if overlap(components(root), components(TOKEN_PATH)):
        problems.add(f"{path}.logsMountPath", f"{root} collides with {TOKEN_PATH}, where a token may be mounted")
    places = [(f"{path}.reservedPaths[{n}]", text) for n, text in enumerate(fields.get("reservedPaths", []))]
    places += [(f"{path}.sidecar.volumeMounts[{n}].mountPath", mount["mountPath"]) for n, mount in enumerate(mounts)]
    message = fields.get("sidecar", {}).get("terminationMessagePath")
    if isinstance(message, str):
        places.append((f"{path}.sidecar.terminationMessagePath", message))
    for where, text in places:
        if overlap(_absolute(problems, where, text), components(root)):
            problems.add(where, f"{text} collides with {root}, where logs are mounted")
    return Directories(*(text for _, text in places))


def _profile(
    problems: _Problems, path: str, name: str, document: object, *, host_path: bool, own: bool
) -> Profile | None:
    """Return the profile in a merged document. ``own`` says that an operator wrote at least part of it."""
    before = len(problems.found)
    if not _LABEL.fullmatch(name) or len(name) > _LONGEST_NAME:
        problems.add(path, f"the name must be of small letters, digits and -, at most {_LONGEST_NAME} long")
    fields = problems.fields(document, _PROFILE_FIELDS, path)
    volumes = _volumes(problems, f"{path}.volumes", fields.get("volumes", []), host_path=host_path)
    sidecar = _sidecar(problems, f"{path}.sidecar", fields.get("sidecar", {}), volumes)
    size_limit, medium = _size(problems, f"{path}.volume", fields.get("volume", _Size()))
    order = _choice(problems, f"{path}.order", fields.get("order", "first"), ("first", "last"))
    reserved = _reserved(problems, path, fields, sidecar.mounts)
    bounds = _bounds(problems, f"{path}.bounds", fields.get("bounds", {}))
    logs = _logs(problems, f"{path}.logs", fields.get("logs", ["/var/log/app/*.log"]))
    patch = _patch(problems, f"{path}.patch", fields.get("patch", []))
    guaranteed_cpu = fields.get("guaranteedCpu")
    if guaranteed_cpu is not None:
        _check_quantity(problems, f"{path}.guaranteedCpu", guaranteed_cpu)
    have = {variable.name for variable in sidecar.env if variable.value or variable.valueFrom}
    missing = [f"set sidecar.env {key}: {why}" for key, why in fields.get("required", {}).items() if key not in have]
    for sentence in missing if own else ():
        problems.add(path, sentence)
    if len(problems.found) > before:
        return None
    token = fields.get("serviceAccountToken", False)
    native = fields.get("native", True)
    said = {"<native>": str(native).lower()}
    return Profile(
        name=name,
        revision=_revision(document),
        description=fields.get("description", ""),
        container=sidecar.container,
        command=tuple(said.get(item, item) for item in sidecar.command),
        args=tuple(said.get(item, item) for item in sidecar.args),
        env=tuple(msgspec.structs.replace(one, value=said.get(one.value or "", one.value)) for one in sidecar.env),
        mounts=tuple(sidecar.mounts),
        volumes=tuple(volumes),
        ports=sidecar.ports,
        requests=sidecar.requests,
        limits=sidecar.limits,
        guaranteed_cpu=guaranteed_cpu,
        security_context=sidecar.security_context,
        native=native,
        first=order == "first",
        logs=logs,
        logs_mount_path=fields.get("logsMountPath"),
        reserved=reserved,
        volume_size_limit=size_limit,
        volume_medium=medium,
        image_pull_secrets=tuple(reference.name for reference in fields.get("imagePullSecrets", ())),
        bounds=bounds,
        allow_root=fields.get("allowRoot", False),
        inject_all=fields.get("injectAll", False),
        service_account_token=token,
        patch=patch,
        missing=tuple(missing),
    )


# --- the whole configuration -----------------------------------------------------------------------------------


def build(
    document: object,
    builtins: Mapping[str, Any],
    *,
    prefix: str | None = None,
    strict: bool | None = None,
    shadow: bool | None = None,
) -> Configuration:
    """Return the configuration in a document (JSON values; None is an empty one).

    A profile with ``base``, or with the name of a built-in, starts from that built-in and is applied to it as a
    JSON Merge Patch. Settings given here win over the document's. Raises :class:`ConfigurationError` with every
    problem.
    """
    problems = _Problems()
    fields = problems.fields(document if document is not None else {}, _CONFIGURATION_FIELDS, "")
    host_path = fields.get("allowHostPath", False)
    written: Mapping[str, Any] = fields.get("profiles", {})
    profiles: dict[str, Profile] = {}
    for name in dict.fromkeys([*builtins, *written]):
        path = f"profiles.{name}"
        merged = _starting_point(problems, path, name, written, builtins)
        profile = _profile(problems, path, name, merged, host_path=host_path, own=name in written)
        if profile is not None:
            profiles[name] = profile
    default = fields.get("defaultProfile", "tail")
    names = [*builtins, *written]
    if default not in names:
        problems.add("defaultProfile", f"{default!r} is no profile; there are: {', '.join(dict.fromkeys(names))}")
    prefix = DEFAULT_PREFIX if prefix is None else prefix
    if not _PREFIX.fullmatch(prefix):
        problems.add("prefix", f"must be a DNS name and a slash such as {DEFAULT_PREFIX}, is {prefix[:60]!r}")
    if problems.found:
        raise ConfigurationError(problems.found)
    return Configuration(
        profiles=profiles,
        default_profile=default,
        prefix=prefix,
        strict=fields.get("strict", False) if strict is None else strict,
        shadow=bool(shadow),
        ignored_containers=frozenset(fields.get("ignoredContainers", IGNORED_CONTAINERS)),
        revision=_revision([document, [profile.revision for profile in profiles.values()]]),
        notes=tuple(
            f"profile {profile.name}: {sentence}" for profile in profiles.values() for sentence in profile.missing
        ),
    )


def _starting_point(
    problems: _Problems, path: str, name: str, written: Mapping[str, Any], builtins: Mapping[str, Any]
) -> Any:
    """Return the profile's document, on top of its base where it has one."""
    over = written.get(name, {})
    if not isinstance(over, Mapping):
        return over
    base = over.get("base", name if name in builtins else None)
    if base is None:
        return over
    if base not in builtins:
        problems.add(f"{path}.base", f"{base!r} is no built-in profile; there are: {', '.join(builtins)}")
        return over
    return _merge(builtins[base], over)
