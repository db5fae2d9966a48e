"""One request on its way: from the rules to the plan, the edits and the verdict.

Nothing here raises, and nothing is done by halves: a pod is injected wholly or left as it was.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from webhook.injection import sidecar
from webhook.injection.annotations import NotInjectable, RequestedOptions
from webhook.injection.decision import RULES, AdmissionContext, first_rejection
from webhook.injection.edit import PodEditor
from webhook.injection.location import probable_log_folder
from webhook.injection.participants import Participant, participants
from webhook.injection.pod import PodSpec
from webhook.injection.pod_annotations import annotate
from webhook.injection.profile import EMPTY_VOLUME, NAME_PREFIX, Configuration, Profile
from webhook.injection.reasons import Finding, Reason, clean_untrusted, quote_untrusted
from webhook.injection.resources import bounded
from webhook.injection.review import Request
from webhook.injection.verdict import Verdict
from webhook.injection.volumes import Plan, plan

__all__ = ["Admission", "Answer", "admit"]


def admit(request: Request, configuration: Configuration) -> Verdict:
    """Return the verdict on a request. Never raises: a bug of ours leaves the pod as it was, and says so."""
    return Admission(request, configuration).run()


class Answer(NamedTuple):
    """What a question about the pod was answered: whether it may pass (None: not asked), and what was found.

    ``finding`` is why it may not pass, if that is known by more than the verdict's first finding.
    """

    question: str
    passed: bool | None
    found: str = ""
    finding: Finding | None = None


class Admission:
    """A request on its way to its verdict; afterwards it explains what was found, for that very run."""

    def __init__(self, request: Request, configuration: Configuration) -> None:
        self.context = AdmissionContext(request, configuration)
        self.participants: list[Participant] = []
        #: As far as it came: the plan and the edited pod.
        self.plan: Plan | None = None
        self.editor: PodEditor | None = None
        self.verdict = Verdict(request, configuration, Reason.INTERNAL_ERROR, [])

    def run(self) -> Verdict:
        """Decide, and return the verdict. Never raises."""
        verdict = self.verdict
        try:
            rejection = first_rejection(self.context)
            if rejection is None:
                self._inject()
            else:
                self._leave(rejection)
        except NotInjectable as rejected:
            self._leave(rejected.finding)
        except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
            message = "nested too deeply" if isinstance(error, RecursionError) else str(error)[:80]
            self._leave(Finding(Reason.UNREADABLE_POD, "", "", f"the pod can't be read: {message}"))
        except Exception as error:  # noqa: BLE001 — the promise: our bugs refuse nobody's pod
            self._leave(Finding(Reason.INTERNAL_ERROR))
            verdict.error = error
        verdict.asked = self.context.options is not None and self.context.options.inject is True
        return verdict

    def answers(self) -> list[Answer]:
        """Return what each question was answered in this run, in their order."""
        passed = self.context.rules_passed
        answers = [Answer(rule.question, True, rule.found(self.context)) for rule in RULES[:passed]]
        if passed < len(RULES):
            decisive = self.verdict.findings[0] if self.verdict.findings else None
            answers.append(Answer(RULES[passed].question, False, finding=decisive))
            answers += [Answer(rule.question, None) for rule in RULES[passed + 1 :]]
        return [*answers, *self._answers_about_plan(asked=passed == len(RULES))]

    def _answers_about_plan(self, *, asked: bool) -> list[Answer]:
        taking_part, adding = "Which containers take part?", "Can the sidecar be added?"
        if not asked:
            return [Answer(taking_part, None), Answer(adding, None)]
        decisive = self.verdict.findings[0] if self.verdict.findings else None
        chosen = [item.container.name for item in self.participants if item.chosen]
        if not chosen:
            return [Answer(taking_part, False, finding=decisive), Answer(adding, None)]
        first = Answer(taking_part, True, ", ".join(chosen))
        if self.plan is None or not self.verdict.injected:
            return [first, Answer(adding, False, finding=decisive)]
        return [first, Answer(adding, True, _volumes_in_words(self.plan))]

    def _leave(self, finding: Finding) -> None:
        """Leave the pod as it was: whatever was planned or recorded is dropped."""
        options = self.context.options
        others: tuple[Finding, ...] = ()
        if options is not None and finding.reason is not Reason.OPTED_OUT:
            others = (*options.refused, *options.notes)
        verdict = self.verdict
        verdict.reason = finding.reason
        # advice on a value that was just refused would contradict
        verdict.findings = [finding, *(o for o in others if (o.where, o.value) != (finding.where, finding.value))]
        verdict.operations = []
        verdict.plan_notes = []
        self.plan = self.editor = None

    def overrule(self, findings: Sequence[Finding]) -> None:
        """Leave the pod as it was for other reasons than the run's own: whoever has the manifest may know better."""
        self._leave(findings[0])
        self.verdict.findings = list(findings)

    def _inject(self) -> None:
        """Plan, edit, and say so; raise :class:`NotInjectable` where that can't be done."""
        context, verdict = self.context, self.verdict
        options = context.options or RequestedOptions()
        spec, profile = context.spec, context.profile
        verdict.profile, verdict.revision = context.profile_name, profile.revision
        entries = options.logs if options.logs is not None else profile.logs
        prefix = context.configuration.prefix
        self.participants = participants(spec, options, entries, context.configuration)
        # the node's own folders are read where the pod itself asks, not where its namespace does
        host_paths = options.chooses_logs
        made = self.plan = plan(self.participants, entries, context.volumes, profile, host_paths=host_paths)
        if entries and not made.places and not host_paths:
            message = f'only a folder of the node is mounted there; to read it write {prefix}inject: "true"'
            raise NotInjectable(Finding(Reason.NO_LOG_LOCATION, "", "", message))
        noted = [*_left_out(context, self.participants), *_elsewhere(context, self.participants, made)]
        size = _volume_size(profile, options, made, noted)
        container, findings = sidecar.build(spec, profile, options, self.participants, made, size_limit=size)
        volumes = _volumes(context, made, size)
        editor = self.editor = PodEditor(context.pod.metadata if context.pod is not None else None, spec)
        for participant in self.participants:
            if participant.added:
                editor.prepend_variables(participant, participant.added)
        for located, mount in made.mounts:
            editor.add_mount(located, mount)
        editor.add_volumes(volumes.values())
        _add_sidecar(editor, made, profile, container)
        findings += annotate(
            editor,
            profile,
            self.participants,
            volumes=list(volumes),
            reused=made.reused,
            prefix=prefix,
        )
        verdict.reason = Reason.INJECTED
        verdict.findings = [*options.notes, *made.findings, *noted, *findings]
        verdict.plan_notes = made.notes
        verdict.operations = editor.operations


def _volumes_in_words(plan: Plan) -> str:
    new = [name for name, _ in plan.new_volumes]
    parts = [f"{word} {', '.join(names)}" for word, names in (("new", new), ("reused", plan.reused)) if names]
    return "; ".join(parts) or "no logs are read"


def _left_out(context: AdmissionContext, participants: list[Participant]) -> list[Finding]:
    """Name the ordinary containers that nobody named and that take no part: nobody is left out in silence."""
    chosen = {item.container.name for item in participants if item.chosen}
    if context.options is not None and context.options.containers is not None:
        return []
    ignored = context.configuration.ignored_containers
    names = [item.name for item in context.spec.containers or () if item.name in ignored and item.name not in chosen]
    prefix = context.configuration.prefix
    message = "is another injector's sidecar and takes no part; to read its logs, name it in"
    return [Finding(Reason.LEFT_OUT, "", name, f"{message} {prefix}containers") for name in names]


def _elsewhere(context: AdmissionContext, participants: list[Participant], made: Plan) -> list[Finding]:
    """Warn where the profile's folder is new to the pod, and the pod mounts another one that is called after logs."""
    said = context.options is not None and context.options.logs is not None
    if said or made.reused or not made.new_volumes:
        return []
    chosen = [item.container for item in participants if item.chosen]
    folder = probable_log_folder(chosen, context.volumes)
    if not folder:
        return []
    where = clean_untrusted(made.new_volumes[0][1], 30)
    better = clean_untrusted(f"{folder}/*.log", 40)
    message = f"is not set, so {where} is read; if the logs are in the mounted volume write {better}"
    return [Finding(Reason.PROBABLY_ELSEWHERE, "logs", "", message)]


def _volume_size(profile: Profile, options: RequestedOptions, plan: Plan, findings: list[Finding]) -> str | None:
    """Return the size limit of new volumes."""
    asked = options.volume_size_limit
    if asked is None:
        return profile.volume_size_limit
    key = "volume-size-limit"
    if not plan.new_volumes:
        findings.append(Finding(Reason.NO_EFFECT, key, asked, "has no effect: the logs are in the pod's own volumes"))
    return bounded(key, asked, profile.bounds.get(key), findings)


#: What is mounted where the service account's token would be.
_EMPTY: dict[str, Any] = {"name": f"{NAME_PREFIX}{EMPTY_VOLUME}", "emptyDir": {}}


def _volumes(context: AdmissionContext, plan: Plan, size: str | None) -> dict[str, dict[str, Any]]:
    """Return the volumes that are added, by name; raise :class:`NotInjectable` where the pod has one of its own."""
    profile = context.profile
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
    if sidecar.masks_token(context.spec, profile):
        volumes[_EMPTY["name"]] = _EMPTY
    taken = volumes.keys() & context.volumes.keys()
    if taken:
        message = f"the pod has a volume {quote_untrusted(min(taken), 63)} that is not Pillion's; rename it"
        raise NotInjectable(Finding(Reason.NAME_TAKEN, "", "", message))
    return volumes


def _add_sidecar(editor: PodEditor, made: Plan, profile: Profile, container: dict[str, Any]) -> None:
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
