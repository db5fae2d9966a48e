"""One profile: a document on top of its base to a :class:`Profile`, or to everything that is wrong with it."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from posixpath import dirname
from typing import Any

import msgspec

from webhook.configuration.document_schemas import PROFILE
from webhook.configuration.prerequisites import prerequisites
from webhook.configuration.problems import Problems
from webhook.configuration.trial import try_out
from webhook.injection.annotations import InvalidValueError, LogEntry, parse_logs
from webhook.injection.container_schema import MIN_MEMORY
from webhook.injection.dns_labels import MAX_LABEL_LENGTH, is_dns_label
from webhook.injection.mount_checks import (
    TERMINATION_LOG,
    MountPlace,
    check_hiding_mounts,
    check_mounts,
    mount_places,
    programs,
)
from webhook.injection.paths import PROGRAM_DIRECTORIES, RUNTIME_DIRECTORIES, Directories, mount_points, normalised_path
from webhook.injection.pod import EnvVar
from webhook.injection.profile import (
    LOG_VOLUME_STEM,
    NAME_PREFIX,
    PLACEHOLDERS,
    RELOCATION_ROOT,
    START,
    TOKEN_MASK_VOLUME_NAME,
    TOKEN_PATH,
    Bounds,
    Profile,
)
from webhook.injection.quantity import parse_quantity
from webhook.injection.reasons import quote_untrusted
from webhook.injection.volume_types import is_volume_read_only, names_with_content
from webhook.json_values import Path

__all__ = ["profile"]

#: Room for the kubelet: a sidecar without requests breaks an HPA, one without a memory limit can starve the node.
DEFAULT_RESOURCES = {
    "requests": {"cpu": "10m", "memory": "32Mi", "ephemeral-storage": "10Mi"},
    "limits": {"memory": "64Mi", "ephemeral-storage": "1Gi"},
}
DEFAULT_LOGS = ["/var/log/app/*.log"]

_PLACEHOLDER = re.compile(r"<[a-z][a-z-]*>")
#: A container's name, less our prefix.
_LONGEST_NAME = MAX_LABEL_LENGTH - len(NAME_PREFIX)
#: Fields of a container that are filled in for each pod; all others are handed on as they are.
_FILLED = frozenset({"command", "args", "env", "resources", "securityContext", "volumeMounts"})
#: Each is tried one after the other, and costs its share in every pod.
MAX_OPERATIONS = 256


def revision(document: Any) -> str:
    """Return a short hash that changes with the document's content and with nothing else."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def profile(
    problems: Problems,
    name: str,
    document: object,
    *,
    images: Mapping[str, Mapping[str, str]],
    host_path: bool,
    own: bool,
) -> Profile | None:
    """Return the profile in a merged document, None where something is wrong with it.

    ``images`` is what ``<image>`` and its like stand for: the key ``image``, and ``imagePullPolicy`` where one was
    said. The revision does not depend on it: another image is no other profile. ``own`` says that an operator wrote at
    least part of the profile: then it must be complete, and it is tried out.
    """
    before = problems.number
    path: Path = ("profiles", name)
    if not is_dns_label(name) or len(name) > _LONGEST_NAME:
        problems.add(path, f"the name must be of lower-case letters, digits and -, at most {_LONGEST_NAME} long")
    fields = PROFILE.read(_with_image(document, images), path, problems.add)
    if not isinstance(fields, dict):
        return None
    reading = _Reading(problems, path, fields)
    made = reading.profile(name, revision(document), host_path=host_path)
    for sentence in made.setup_steps if own else ():
        problems.add(path, sentence)
    if problems.number > before:
        return None
    if own:
        made = try_out(made, problems.below(*path))
    where = {sentence: steps for steps, sentence in prerequisites(reading.sidecar, made.volumes)}
    for sentence in made.prerequisites:
        problems.warn((*path, *where.get(sentence, ("patch",))), sentence)
    return made if problems.number == before else None


def _with_image(document: object, images: Mapping[str, Mapping[str, str]]) -> object:
    """Return the profile's document with its sidecar's image and pull policy filled in."""
    sidecar = document.get("sidecar") if isinstance(document, Mapping) else None
    if not isinstance(document, Mapping) or not isinstance(sidecar, Mapping):
        return document
    written = sidecar.get("image")
    if not isinstance(written, str) or written not in images:
        return document
    image = images[written]
    return {**document, "sidecar": {**image, **sidecar, "image": image["image"]}}


class _Reading:
    """The fields of a profile that fit their shapes, checked against each other and made ready to be used."""

    def __init__(self, problems: Problems, path: Path, fields: dict[str, Any]) -> None:
        self.problems = problems
        self.path = path
        self.fields = fields
        self.sidecar: dict[str, Any] = fields.get("sidecar", {})

    def add(self, message: str, *steps: str | int) -> None:
        """Add a problem below the profile's path."""
        self.problems.add((*self.path, *steps), message)

    def profile(self, name: str, revision: str, *, host_path: bool) -> Profile:
        """Return the profile; where problems were added it is not to be used."""
        fields, sidecar = self.fields, self.sidecar
        if not self.sidecar.get("image"):
            self._check_image()
        volumes = self._volumes(host_path=host_path)
        mounts = self._mounts(volumes)
        size_limit, medium = self._size()
        requests, limits = self._resources()
        command, args = self._items("command"), self._items("args")
        env = self._env()
        native = fields.get("native", True)
        reserved = self._reserved(mounts)
        token = fields.get("serviceAccountToken", False)
        if len(fields.get("patch", ())) > MAX_OPERATIONS:
            self.add(f"has {len(fields['patch'])} operations; {MAX_OPERATIONS} are allowed", "patch")
        said = {"<native>": str(native).lower()}
        have = {variable.name for variable in env if variable.value or variable.valueFrom}
        required = fields.get("required", {})
        return Profile(
            name=name,
            revision=revision,
            description=fields.get("description", ""),
            container={key: value for key, value in sidecar.items() if key not in _FILLED},
            command=tuple(said.get(item, item) for item in command),
            args=tuple(said.get(item, item) for item in args),
            env=tuple(msgspec.structs.replace(one, value=said.get(one.value or "", one.value)) for one in env),
            mounts=tuple(mounts),
            volumes=tuple(volumes),
            ports=frozenset(port["containerPort"] for port in sidecar.get("ports", ()) if "containerPort" in port),
            requests=requests,
            limits=limits,
            guaranteed_cpu_limit=_text(fields.get("guaranteedCpu")),
            security_context=sidecar.get("securityContext", {}),
            native=native,
            starts_first=fields.get("order", "first") == "first",
            logs=self._logs(),
            start=self._start((*command, *args, *(variable.value for variable in env))),
            logs_mount_path=normalised_path(fields["logsMountPath"]) if "logsMountPath" in fields else None,
            reserved_directories=reserved,
            directories_in_use=_parents(*programs(sidecar), sidecar.get("workingDir", "")),
            volume_size_limit=size_limit,
            volume_medium=medium,
            image_pull_secrets=tuple(one["name"] for one in fields.get("imagePullSecrets", ()) if "name" in one),
            bounds=self._bounds(),
            allow_root=fields.get("allowRoot", False),
            service_account_token=token,
            inject_all=fields.get("injectAll", False),
            patch=tuple(fields.get("patch", ())),
            setup_steps=tuple(f"set sidecar.env {key}: {why}" for key, why in required.items() if key not in have),
            prerequisites=tuple(sentence for _, sentence in prerequisites(sidecar, volumes)),
        )

    def _check_image(self) -> None:
        where = (*self.path, "sidecar", "image")
        if not any(problem.path == where for problem in self.problems.found):
            self.add("is missing; write the sidecar's image", "sidecar", "image")

    def _items(self, key: str) -> list[str]:
        items: list[str] = self.sidecar.get(key, [])
        for number, text in enumerate(items):
            self._check_placeholder(text, "sidecar", key, number)
        return items

    def _check_placeholder(self, text: str, *where: str | int) -> None:
        if _PLACEHOLDER.fullmatch(text):
            if text not in PLACEHOLDERS:
                self.add(f"{text} is no placeholder; known: {', '.join(PLACEHOLDERS)}", *where)
            return
        within = next((placeholder for placeholder in PLACEHOLDERS if placeholder in text), None)
        if within is not None:
            self.add(f"{within} is filled in only where it stands alone, not inside a text", *where)

    def _env(self) -> list[EnvVar]:
        variables = []
        for number, variable in enumerate(self.sidecar.get("env", ())):
            where = ("sidecar", "env", number)
            self._check_placeholder(variable.get("value", ""), *where)
            source = variable.get("valueFrom", {})
            if "containerName" in source.get("resourceFieldRef", {}):
                self.add("must be left out: it is the sidecar", *where, "valueFrom", "resourceFieldRef")
            if "name" in variable:
                variables.append(msgspec.convert(variable, EnvVar))
        return variables

    def _volumes(self, *, host_path: bool) -> list[dict[str, Any]]:
        result: list[dict[str, Any]] = []
        names: set[str] = set()
        for number, volume in enumerate(self.fields.get("volumes", ())):
            name = volume.get("name", "")
            if not is_dns_label(name) or len(name) > _LONGEST_NAME:
                wrong = f"must be a name of lower-case letters, digits and -, at most {_LONGEST_NAME} long"
                self.add(wrong, "volumes", number, "name")
            elif f"{NAME_PREFIX}{name}" == TOKEN_MASK_VOLUME_NAME or re.fullmatch(
                rf"{LOG_VOLUME_STEM}(-[0-9]+)?", name
            ):
                self.add(f"{name} is a name that Pillion uses itself; choose another", "volumes", number, "name")
            elif name in names:
                self.add(f"{name} is there twice", "volumes", number, "name")
            names.add(name)
            if "hostPath" in volume and not host_path:
                self.add("is not allowed; set allowHostPath: true to allow it", "volumes", number, "hostPath")
            result.append({**volume, "name": f"{NAME_PREFIX}{name}"})
        return result

    def _mounts(self, volumes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        names = {volume["name"] for volume in volumes}
        result = []
        for number, mount in enumerate(self.sidecar.get("volumeMounts", ())):
            name = f"{NAME_PREFIX}{mount.get('name', '')}"
            if "name" in mount and name not in names:
                wrong = f"{mount['name'][:63]!r} is none of the profile's volumes"
                self.add(wrong, "sidecar", "volumeMounts", number, "name")
            result.append({**mount, "name": name})
        read_only = {volume["name"] for volume in volumes if is_volume_read_only(volume)}
        paths = mount_places(result, ("sidecar", "volumeMounts"), read_only)
        others = [
            MountPlace(
                ("sidecar", "terminationMessagePath") if "terminationMessagePath" in self.sidecar else None,
                self.sidecar.get("terminationMessagePath", TERMINATION_LOG),
            )
        ]
        # the API server mounts a token where we do not, and it steps back where the container has a mount
        own_token = any(mount_points(one.path) == mount_points(TOKEN_PATH) for one in paths)
        if not self.fields.get("serviceAccountToken") or not own_token:
            others.append(MountPlace(None, TOKEN_PATH))
        check_mounts(paths, others, self.problems.below(*self.path))
        check_hiding_mounts(
            {**self.sidecar, "volumeMounts": result},
            ("sidecar",),
            self.problems.below(*self.path),
            with_content=names_with_content(volumes),
        )
        return result

    def _resources(self) -> tuple[dict[str, str], dict[str, str]]:
        """Return requests and limits: cpu and memory are always requested, memory is always limited."""
        written = self.sidecar.get("resources", {})
        requests = {key: str(value) for key, value in written.get("requests", {}).items()}
        limits = {key: str(value) for key, value in written.get("limits", {}).items()}
        limits.setdefault("memory", _larger(requests.get("memory"), DEFAULT_RESOURCES["limits"]["memory"]))
        limits.setdefault(
            "ephemeral-storage",
            _larger(requests.get("ephemeral-storage"), DEFAULT_RESOURCES["limits"]["ephemeral-storage"]),
        )
        for key in ("cpu", "memory", "ephemeral-storage"):
            requests.setdefault(key, _smaller(limits.get(key), DEFAULT_RESOURCES["requests"][key]))
        return requests, limits

    def _size(self) -> tuple[str | None, str]:
        """Return a new volume's size limit and medium."""
        size = self.fields.get("volume", {})
        medium = size.get("medium", "")
        if medium and size.get("sizeLimit") is None:
            wrong = "is needed with medium Memory: without it the node's memory is the limit"
            self.add(wrong, "volume", "sizeLimit")
        return _text(size.get("sizeLimit")), medium

    def _reserved(self, mounts: Sequence[Mapping[str, Any]]) -> Directories:
        """Return where no log place may be mounted; nothing of that may lie where logs go when they can't stay."""
        root: str = self.fields.get("logsMountPath", RELOCATION_ROOT)
        if Directories(TOKEN_PATH).any_overlapping(root):
            self.add(f"{root} collides with {TOKEN_PATH}, where a token may be mounted", "logsMountPath")
        elif RUNTIME_DIRECTORIES.any_at_or_above(root) or PROGRAM_DIRECTORIES.any_at_or_below(root):
            self.add(f"nothing can be mounted at {root}; choose another directory", "logsMountPath")
        elif "logsMountPath" in self.fields and _parents(self.sidecar.get("workingDir", "")).any_at_or_below(root):
            self.add(
                f"{root} lies around workingDir, which can't be made in it; choose another directory", "logsMountPath"
            )
        places: list[tuple[Path, str]] = [
            (("reservedPaths", number), text) for number, text in enumerate(self.fields.get("reservedPaths", ()))
        ]
        places += [
            (("sidecar", "volumeMounts", number, "mountPath"), mount["mountPath"])
            for number, mount in enumerate(mounts)
            if "mountPath" in mount
        ]
        if "terminationMessagePath" in self.sidecar:
            places.append((("sidecar", "terminationMessagePath"), self.sidecar["terminationMessagePath"]))
        for where, text in places:
            if not Directories(text).any_overlapping(root):
                continue
            if "logsMountPath" in self.fields:
                # the other one may be the base's, which nobody wrote
                field = ".".join(step for step in where[:2] if isinstance(step, str))
                self.add(f"{root} collides with {text} of {field}; choose another directory", "logsMountPath")
            else:
                self.add(f"{text} collides with {root}, where logs are mounted", *where)
        return Directories(*(text for _, text in places))

    def _bounds(self) -> dict[str, Bounds]:
        bounds: dict[str, Bounds] = {}
        for key, bound in self.fields.get("bounds", {}).items():
            least, most = parse_quantity(bound.get("min")), parse_quantity(bound.get("max"))
            if least is not None and most is not None and least > most:
                self.add(f"min {bound['min']} is above max {bound['max']}", "bounds", key)
            bounds[key] = Bounds(_text(bound.get("min")), _text(bound.get("max")))
        # an annotation must not ask for so little that nothing starts
        memory = bounds.get("memory-limit", Bounds())
        if memory.maximum is not None and _larger(memory.maximum, MIN_MEMORY) != memory.maximum:
            self.add(f"must be {MIN_MEMORY} or more: with less nothing starts", "bounds", "memory-limit", "max")
        bounds["memory-limit"] = Bounds(_larger(memory.minimum, MIN_MEMORY), memory.maximum)
        return bounds

    def _start(self, texts: Sequence[str | None]) -> str:
        start: str = self.fields.get("start", "")
        if start and START not in texts:
            self.add(f"has no effect: nothing in sidecar.command, args or env is {START}", "start")
        return start

    def _logs(self) -> tuple[LogEntry, ...]:
        files: list[LogEntry] = []
        entries = self.fields.get("logs", DEFAULT_LOGS)
        before = self.problems.number
        for number, entry in enumerate(entries):
            try:
                parsed = parse_logs(entry)
            except InvalidValueError as error:
                self.add(f"{quote_untrusted(error.value)}: {error.message}", "logs", number)
                continue
            if any(item.container for item in parsed):
                wrong = "a profile can't name a container; remove the part before the colon"
                self.add(wrong, "logs", number)
            files.extend(parsed)
        if len(entries) > 1 and self.problems.number == before:
            try:
                parse_logs("\n".join(entries))
            except InvalidValueError as error:
                self.add(error.message, "logs")
        return tuple(dict.fromkeys(files))


def _parents(*paths: str) -> Directories:
    """Return the directories in which absolute paths lie; what is relative is looked up elsewhere."""
    return Directories(*(dirname(normalised_path(path)) for path in paths if path.startswith("/")))


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _larger(one: str | None, other: str) -> str:
    """Return the larger quantity; ``other`` where ``one`` is none."""
    left, right = parse_quantity(one), parse_quantity(other)
    return one if one and left is not None and right is not None and left >= right else other


def _smaller(one: str | None, other: str) -> str:
    """Return the smaller quantity; ``other`` where ``one`` is none."""
    left, right = parse_quantity(one), parse_quantity(other)
    return one if one and left is not None and right is not None and left < right else other
