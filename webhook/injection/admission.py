"""The one door: a request and a configuration go in, a verdict comes out.

Nothing here raises, and nothing is done by halves: a pod is injected wholly or left as it was.
"""

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

import msgspec
from msgspec import Struct

from webhook.injection import sidecar
from webhook.injection.annotations import STATUS, Declined, Wishes
from webhook.injection.decision import Subject, first_objection
from webhook.injection.edit import Operation, PodEditor, encode, pointer
from webhook.injection.location import probable_log_folder
from webhook.injection.outcome import Outcome
from webhook.injection.participants import Participant, participants
from webhook.injection.pod import Container, PodSpec
from webhook.injection.profile import EMPTY_VOLUME, NAME_PREFIX, Configuration, Profile
from webhook.injection.reasons import Finding, Reason, Severity, shown
from webhook.injection.resources import bounded
from webhook.injection.review import Request, Response
from webhook.injection.status import Status
from webhook.injection.variables import POD_VARIABLES
from webhook.injection.volumes import Plan, plan

__all__ = [
    "DEFAULT_CONTAINER",
    "NOT_INJECTED",
    "SAFE_TO_EVICT",
    "Verdict",
    "abstain",
    "add_volume_names",
    "admit",
    "are_short_enough",
    "remove_volume_names",
]

SAFE_TO_EVICT = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"
DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
#: k8s.io/apimachinery TotalAnnotationSizeLimitB: keys and values of all annotations, in bytes.
ANNOTATIONS_SIZE = 256 * 1024
#: The API server cuts all warnings of a request at 4096 characters.
MAX_WARNINGS = 16

#: Who is warned learns first what came of it.
NOT_INJECTED = "not injected: "


class Verdict(Struct):
    """What is answered, and everything that explains it. ``findings`` begins with the decisive one."""

    request: Request
    configuration: Configuration
    reason: Reason
    findings: list[Finding]
    profile: str = ""
    revision: str = ""
    operations: list[Operation] = []
    #: What the operations make, once somebody asked for it.
    encoded: bytes | None = None
    #: The plan and the edited pod, where it came so far: for explanations and tests.
    subject: Subject | None = None
    participants: list[Participant] = []
    plan: Plan | None = None
    editor: PodEditor | None = None
    #: What went wrong inside, for the log.
    error: BaseException | None = None

    @property
    def injected(self) -> bool:
        """Say whether there is a patch (in shadow mode: whether there would be one)."""
        return self.reason is Reason.INJECTED

    @property
    def allowed(self) -> bool:
        """Say whether the pod may be created: only ``strict`` ever refuses one, for a bad annotation."""
        return self.outcome is not Outcome.DENIED

    @property
    def outcome(self) -> Outcome:
        """Return what came of the review."""
        return Outcome.of(self.reason, strict=self.configuration.strict, shadow=self.configuration.shadow)

    @property
    def warnings(self) -> list[str]:
        """Return what the client is told: at most 120 characters each."""
        if not self.findings:
            return []
        prefix = self.configuration.prefix
        asked = self.subject is not None and self.subject.wishes is not None and self.subject.wishes.inject is True
        head = "" if self.injected or not self.allowed else NOT_INJECTED
        said = []
        for finding in self.findings:
            severity = finding.reason.severity
            if severity in _WARNED or (severity is Severity.ASKED and asked):
                # only the first finding decided anything
                said.append(finding.warning(prefix, head if finding is self.findings[0] else ""))
        return list(dict.fromkeys(said))[:MAX_WARNINGS]

    @property
    def notes(self) -> list[Finding]:
        """Return what is worth knowing and no warning: ``explain`` says it."""
        said = [
            finding
            for finding in self.findings
            if finding.reason.severity is Severity.NOTE and finding.reason is not self.reason
        ]
        return [*said, *(self.plan.notes if self.plan is not None else ())]

    @property
    def patch(self) -> bytes:
        """Return the operations as a JSON Patch document, empty where there are none."""
        if not self.operations:
            return b""
        if self.encoded is None:
            self.encoded = encode(self.operations)
        return self.encoded

    def response(self) -> Response:
        """Return the response. uid, patchType and audit annotations are filled in here and nowhere else."""
        audit = {"decision": self.outcome.value, "reason": self.reason.value}
        if self.profile:
            audit["profile"] = f"{self.profile}@{self.revision}" if self.revision else self.profile
        if self.configuration.shadow:
            audit["shadow"] = "true"
        response = Response(
            uid=self.request.uid,
            allowed=self.allowed,
            warnings=self.warnings or None,
            auditAnnotations=audit,
        )
        if self.operations and not self.configuration.shadow:
            response.patchType = "JSONPatch"
            response.patch = self.patch
        if not response.allowed:
            response.status = {"code": 400, "reason": "BadRequest", "message": "; ".join(self.warnings)}
        return response


_WARNED = frozenset({Severity.WARNING, Severity.REFUSED})


def admit(request: Request, configuration: Configuration) -> Verdict:
    """Return the verdict on a request. Never raises: a bug of ours leaves the pod as it was, and says so."""
    verdict = Verdict(request, configuration, Reason.INTERNAL_ERROR, [])
    subject = verdict.subject = Subject(request, configuration)
    try:
        _admit(subject, verdict)
    except Declined as declined:
        _skip(verdict, declined.finding)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        remedy = "nested too deeply" if isinstance(error, RecursionError) else str(error)[:80]
        _skip(verdict, Finding(Reason.UNREADABLE_POD, "", "", f"the pod can't be read: {remedy}"))
    except Exception as error:  # noqa: BLE001 — the promise: our bugs refuse nobody's pod
        _skip(verdict, Finding(Reason.INTERNAL_ERROR))
        verdict.error = error
    return verdict


def abstain(request: Request, reason: Reason, configuration: Configuration) -> Verdict:
    """Return the verdict of a server that can't look at the pod now."""
    return Verdict(request, configuration, reason, [Finding(reason)])


def _skip(verdict: Verdict, finding: Finding) -> None:
    """Leave the pod as it was: whatever was planned or recorded is dropped."""
    wishes = verdict.subject.wishes if verdict.subject is not None else None
    others: tuple[Finding, ...] = ()
    if wishes is not None and finding.reason is not Reason.OPTED_OUT:
        others = (*wishes.refused, *wishes.notes)
    verdict.reason = finding.reason
    # advice on a value that was just refused would contradict
    verdict.findings = [finding, *(o for o in others if (o.where, o.value) != (finding.where, finding.value))]
    verdict.operations = []
    verdict.plan = verdict.editor = None


def _admit(subject: Subject, verdict: Verdict) -> None:
    objection = first_objection(subject)
    if subject.wishes is not None and objection is None:
        verdict.profile, verdict.revision = subject.profile_name, subject.profile.revision
    if objection is not None:
        _skip(verdict, objection)
        return
    wishes = subject.wishes or Wishes()
    spec, profile = subject.spec, subject.profile
    entries = wishes.logs if wishes.logs is not None else profile.logs
    verdict.participants = participants(spec, wishes, entries, subject.configuration)
    # the node's own folders are read where the pod itself asks, not where its namespace does
    host_paths = bool(wishes.inject) or wishes.logs is not None
    verdict.plan = plan(verdict.participants, entries, subject.volumes, profile, host_paths=host_paths)
    if entries and not verdict.plan.places and not host_paths:
        raise Declined(Finding(Reason.NO_LOG_LOCATION))
    noted = [*_left_out(subject, verdict.participants), *_elsewhere(wishes, verdict)]
    size = _volume_size(profile, wishes, verdict.plan, noted)
    container, findings = sidecar.build(spec, profile, wishes, verdict.participants, verdict.plan, size_limit=size)
    volumes = _volumes(subject, verdict.plan, size)
    editor = verdict.editor = PodEditor(subject.pod.metadata if subject.pod is not None else None, spec)
    _edit(editor, verdict, profile, container, volumes)
    _annotate(editor, verdict, profile, volumes, findings)
    verdict.reason = Reason.INJECTED
    verdict.findings = [*wishes.notes, *verdict.plan.findings, *noted, *findings]
    verdict.operations = editor.operations


def _left_out(subject: Subject, participants: list[Participant]) -> list[Finding]:
    """Name the ordinary containers that nobody named and that take no part: nobody is left out in silence."""
    chosen = {item.container.name for item in participants if item.chosen}
    if subject.wishes is not None and subject.wishes.containers is not None:
        return []
    ignored = subject.configuration.ignored_containers
    names = [item.name for item in subject.spec.containers or () if item.name in ignored and item.name not in chosen]
    prefix = subject.configuration.prefix
    remedy = "takes no part: its name is another injector's; to read its logs name it in"
    return [Finding(Reason.LEFT_OUT, "", name, f"{remedy} {prefix}containers") for name in names]


def _elsewhere(wishes: Wishes, verdict: Verdict) -> list[Finding]:
    """Warn where the profile's folder is new to the pod, and the pod mounts another one that is called after logs."""
    made, subject = verdict.plan, verdict.subject
    if wishes.logs is not None or made is None or made.reused or not made.new_volumes or subject is None:
        return []
    chosen = [item.container for item in verdict.participants if item.chosen]
    folder = probable_log_folder(chosen, subject.volumes)
    if not folder:
        return []
    where = shown(made.new_volumes[0][1], 30)[1:-1]
    better = shown(f"{folder}/*.log", 40)[1:-1]
    remedy = f"is not set, so {where} is read; if the logs are in the mounted volume write {better}"
    return [Finding(Reason.PROBABLY_ELSEWHERE, "logs", "", remedy)]


def _volume_size(profile: Profile, wishes: Wishes, plan: Plan, findings: list[Finding]) -> str | None:
    """Return the size limit of new volumes."""
    asked = wishes.volume_size_limit
    if asked is None:
        return profile.volume_size_limit
    key = "volume-size-limit"
    if not plan.new_volumes:
        findings.append(Finding(Reason.NO_EFFECT, key, asked, "has no effect: the logs are in the pod's own volumes"))
    return bounded(key, asked, profile.bounds.get(key), findings)


#: What is mounted where the service account's token would be.
_EMPTY: dict[str, Any] = {"name": f"{NAME_PREFIX}{EMPTY_VOLUME}", "emptyDir": {}}


def _volumes(subject: Subject, plan: Plan, size: str | None) -> dict[str, dict[str, Any]]:
    """Return the volumes that are added, by name; raise :class:`Declined` where the pod has one of its own."""
    profile = subject.profile
    content = {}
    if profile.volume_medium:
        content["medium"] = profile.volume_medium
    if size:
        content["sizeLimit"] = size
    volumes: dict[str, dict[str, Any]] = {}
    for name, _ in plan.new_volumes:
        volumes[name] = {"name": name, "emptyDir": content}
    for volume in profile.volumes:
        volumes[volume["name"]] = volume
    if sidecar.masks_token(subject.spec, profile):
        volumes[_EMPTY["name"]] = _EMPTY
    taken = volumes.keys() & subject.volumes.keys()
    if taken:
        remedy = f"the pod has a volume {shown(min(taken), 63)} that is not ours; rename it"
        raise Declined(Finding(Reason.NAME_TAKEN, "", "", remedy))
    return volumes


def _edit(
    editor: PodEditor, verdict: Verdict, profile: Profile, container: dict[str, Any], volumes: dict[str, dict[str, Any]]
) -> None:
    """Edit everything but the annotations, the sidecar last."""
    made = verdict.plan
    if made is None:
        raise AssertionError("edited without a plan")
    for participant in verdict.participants:
        if participant.added:
            editor.prepend_variables(participant, participant.added)
    for located, mount in made.mounts:
        editor.add_mount(located, mount)
    editor.add_volumes(volumes.values())
    if profile.image_pull_secrets:
        editor.add_pull_secrets(profile.image_pull_secrets)
    if profile.native:
        editor.add_init_container(container, _position(editor.spec, profile, made))
    else:
        editor.add_container(container)


def _position(spec: PodSpec, profile: Profile, plan: Plan) -> int | None:
    """Return before which init container the sidecar stands, None for behind all.

    The first who mounts a volume at a subPath makes that folder, as root. An init container that prepares the
    volume must find it as it would without us, so the sidecar comes behind it.
    """
    if not profile.first:
        return None
    position = 0
    for number, container in enumerate(spec.initContainers or () if plan.subpaths else (), 1):
        # one that goes on running stops before who stands behind it, and would lose its own last lines
        ends = container.restartPolicy != "Always"
        if ends and any(mount.name in plan.subpaths for mount in container.volumeMounts or ()):
            position = number
    return position


def _annotate(
    editor: PodEditor, verdict: Verdict, profile: Profile, volumes: Mapping[str, Any], findings: list[Finding]
) -> None:
    """Set our annotations, the most useful first, as far as there is room."""
    made = verdict.plan
    if made is None:
        raise AssertionError("annotated without a plan")
    present = (editor.metadata.annotations if editor.metadata is not None else None) or {}
    chosen = [item for item in verdict.participants if item.chosen]
    status = Status(
        profile=profile.name,
        revision=profile.revision,
        sidecar=profile.container_name,
        containers=[item.container.name for item in chosen],
        volumes=list(volumes),
        reused=made.reused,
        pull_secrets=editor.pull_secrets,
    )
    for item in chosen:
        if len(item.added) < len(POD_VARIABLES):
            status.env[item.container.name] = [variable.name for variable in item.added]
    ours: dict[str, str] = {}
    if volumes:
        listed = present.get(SAFE_TO_EVICT)
        ours[SAFE_TO_EVICT] = add_volume_names(listed, volumes)
        if listed is not None and remove_volume_names(ours[SAFE_TO_EVICT], volumes) != listed:
            status.before[pointer(("metadata", "annotations", SAFE_TO_EVICT))] = listed
    if not profile.native and DEFAULT_CONTAINER not in present:
        default = status.containers[0] if chosen else _first_name(editor.spec.containers)
        ours[DEFAULT_CONTAINER] = status.default_container = default
    ours[f"{verdict.configuration.prefix}{STATUS}"] = status.text()
    fitting = _fitting(present, ours)
    if len(fitting) < len(ours):
        findings.append(Finding(Reason.ANNOTATIONS_FULL))
    if fitting:
        editor.annotate(fitting)


def add_volume_names(listed: str | None, volumes: Iterable[str]) -> str:
    """Return the autoscaler's list of volumes with ours at its end, without blanks, empty names and repeats."""
    names = (part.strip() for part in listed.split(",")) if listed else ()
    return ",".join(dict.fromkeys([*filter(None, names), *volumes]))


def remove_volume_names(value: str, volumes: Iterable[str]) -> str | None:
    """Return the list without ours at its end; None where there is nothing else in it."""
    ours = ",".join(volumes)
    return None if value == ours else value.removesuffix(f",{ours}")


def _fitting(present: Mapping[str, str], ours: Mapping[str, str]) -> dict[str, str]:
    """Return those of our annotations for which the pod's leave room."""
    # a character is at most four bytes: almost every pod is done with counting them
    texts = chain(present, present.values(), ours, ours.values())
    if 4 * sum(map(len, texts)) <= ANNOTATIONS_SIZE:
        return dict(ours)
    size = sum(map(_size, present.items()))
    fitting: dict[str, str] = {}
    for item in ours.items():
        key, value = item
        grown = size + _size(item) - (_size((key, present[key])) if key in present else 0)
        if grown <= ANNOTATIONS_SIZE:
            size = grown
            fitting[key] = value
    return fitting


def are_short_enough(annotations: Mapping[str, str]) -> bool:
    """Say whether the API server takes so many bytes of annotations."""
    return sum(map(_size, annotations.items())) <= ANNOTATIONS_SIZE


def _size(item: tuple[str, str]) -> int:
    return len(item[0].encode()) + len(item[1].encode())


def _first_name(containers: list[Container] | None) -> str:
    return containers[0].name if containers else ""
