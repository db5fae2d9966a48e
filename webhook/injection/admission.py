"""One request on its way: from the rules to the plan, the edits and the verdict.

Nothing here raises, and nothing is done by halves: a pod is injected wholly or left as it was.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from webhook.injection import sidecar
from webhook.injection.annotations import RequestedOptions
from webhook.injection.candidates import Candidate, candidates
from webhook.injection.decision import RULES, PodFacts, first_rejection
from webhook.injection.edit import PodEditor
from webhook.injection.log_detection import probable_log_directory
from webhook.injection.pod import PodSpec
from webhook.injection.pod_annotations import add_annotations
from webhook.injection.profile import TOKEN_MASK_VOLUME, Configuration, Profile
from webhook.injection.reasons import Finding, NotInjectable, Reason, clean_untrusted, quote_untrusted
from webhook.injection.resources import clamp
from webhook.injection.review import Request
from webhook.injection.verdict import Verdict
from webhook.injection.volumes import Plan, plan_volumes

__all__ = ["Admission", "RuleResult", "admit"]


def admit(request: Request, configuration: Configuration) -> Verdict:
    """Return the verdict on a request. Never raises: a bug of ours leaves the pod as it was, and says so."""
    return Admission(request, configuration).run()


class RuleResult(NamedTuple):
    """What a question about the pod was answered: whether it may pass (None: not asked), and what was found.

    ``finding`` is why it may not pass, if that is known by more than the verdict's first finding.
    """

    question: str
    passed: bool | None
    explanation: str = ""
    finding: Finding | None = None


class Admission:
    """A request on its way to its verdict; afterwards it explains what was found, for that very run."""

    def __init__(self, request: Request, configuration: Configuration) -> None:
        self.facts = PodFacts(request, configuration)
        self.candidates: list[Candidate] = []
        #: As far as it came: the plan and the edited pod.
        self.plan: Plan | None = None
        self.editor: PodEditor | None = None
        self.verdict = Verdict(request, configuration, Reason.INTERNAL_ERROR, [])

    def run(self) -> Verdict:
        """Decide, and return the verdict. Never raises."""
        verdict = self.verdict
        try:
            rejection = first_rejection(self.facts)
            if rejection is None:
                self._inject()
            else:
                self._reject(rejection)
        except NotInjectable as rejected:
            self._reject(rejected.finding)
        except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
            message = "nested too deeply" if isinstance(error, RecursionError) else str(error)[:80]
            self._reject(Finding(Reason.UNREADABLE_POD, f"the pod can't be read: {message}"))
        except Exception as error:  # noqa: BLE001 — the promise: our bugs refuse nobody's pod
            self._reject(Finding(Reason.INTERNAL_ERROR))
            verdict.error = error
        verdict.requested_by_pod = self.facts.options is not None and self.facts.options.inject is True
        return verdict

    def rule_results(self) -> list[RuleResult]:
        """Return what each question was answered in this run, in their order."""
        passed = self.facts.rules_passed
        results = [RuleResult(rule.question, True, rule.describe(self.facts)) for rule in RULES[:passed]]
        if passed < len(RULES):
            decisive = self.verdict.findings[0] if self.verdict.findings else None
            results.append(RuleResult(RULES[passed].question, False, finding=decisive))
            results += [RuleResult(rule.question, None) for rule in RULES[passed + 1 :]]
        return [*results, *self._plan_results(asked=passed == len(RULES))]

    def _plan_results(self, *, asked: bool) -> list[RuleResult]:
        taking_part, adding = "Which containers take part?", "Can the sidecar be added?"
        if not asked:
            return [RuleResult(taking_part, None), RuleResult(adding, None)]
        decisive = self.verdict.findings[0] if self.verdict.findings else None
        selected = [item.container.name for item in self.candidates if item.selected]
        if not selected:
            return [RuleResult(taking_part, False, finding=decisive), RuleResult(adding, None)]
        first = RuleResult(taking_part, True, ", ".join(selected))
        if self.plan is None or not self.verdict.injected:
            return [first, RuleResult(adding, False, finding=decisive)]
        return [first, RuleResult(adding, True, _volumes_in_words(self.plan))]

    def _reject(self, finding: Finding) -> None:
        """Leave the pod as it was: whatever was planned or recorded is dropped."""
        options = self.facts.options
        others: tuple[Finding, ...] = ()
        if options is not None and finding.reason is not Reason.OPTED_OUT:
            others = (*options.invalid, *options.warnings)
        verdict = self.verdict
        verdict.reason = finding.reason
        # advice on a value that was just refused would contradict
        verdict.findings = [
            finding,
            *(o for o in others if (o.annotation, o.value) != (finding.annotation, finding.value)),
        ]
        verdict.operations = []
        verdict.plan_notes = []
        self.plan = self.editor = None

    def reject(self, findings: Sequence[Finding]) -> None:
        """Leave the pod as it was for other reasons than the run's own: whoever has the manifest may know better."""
        self._reject(findings[0])
        self.verdict.findings = list(findings)

    def _inject(self) -> None:
        """Plan, edit, and say so; raise :class:`NotInjectable` where that can't be done."""
        facts, verdict = self.facts, self.verdict
        options = facts.options or RequestedOptions()
        spec, profile = facts.spec, facts.profile
        verdict.profile, verdict.revision = facts.profile_name, profile.revision
        entries = options.logs if options.logs is not None else profile.logs
        prefix = facts.configuration.prefix
        self.candidates = candidates(spec, options, entries, facts.configuration)
        # the node's own directories are read where the pod itself asks, not where its namespace does
        host_paths = options.chooses_logs
        plan = self.plan = plan_volumes(self.candidates, entries, facts.volumes, profile, host_paths=host_paths)
        if entries and not plan.sources and not host_paths:
            message = f'only a directory of the node is mounted there; to read it write {prefix}inject: "true"'
            raise NotInjectable(Finding(Reason.NO_LOG_LOCATION, message))
        noted = [*_note_left_out(facts, self.candidates), *_note_other_log_directory(facts, self.candidates, plan)]
        size = _volume_size_limit(profile, options, plan, noted)
        container, findings = sidecar.build(spec, profile, options, self.candidates, plan, size_limit=size)
        volumes = _added_volumes(facts, plan, size)
        editor = self.editor = PodEditor(facts.pod.metadata if facts.pod is not None else None, spec)
        for candidate in self.candidates:
            if candidate.added_variables:
                editor.prepend_variables(candidate, candidate.added_variables)
        for located, mount in plan.mounts:
            editor.add_mount(located, mount)
        editor.add_volumes(volumes.values())
        _add_sidecar(editor, plan, profile, container)
        findings += add_annotations(
            editor,
            profile,
            self.candidates,
            volumes=list(volumes),
            reused=plan.reused,
            prefix=prefix,
        )
        verdict.reason = Reason.INJECTED
        verdict.findings = [*options.warnings, *plan.findings, *noted, *findings]
        verdict.plan_notes = plan.notes
        verdict.operations = editor.operations


def _volumes_in_words(plan: Plan) -> str:
    new = [name for name, _ in plan.new_volumes]
    parts = [f"{word} {', '.join(names)}" for word, names in (("new", new), ("reused", plan.reused)) if names]
    return "; ".join(parts) or "no logs are read"


def _note_left_out(facts: PodFacts, candidates: list[Candidate]) -> list[Finding]:
    """Name the ordinary containers that nobody named and that take no part: nobody is left out in silence."""
    selected = {item.container.name for item in candidates if item.selected}
    if facts.options is not None and facts.options.containers is not None:
        return []
    ignored = facts.configuration.ignored_containers
    names = [item.name for item in facts.spec.containers or () if item.name in ignored and item.name not in selected]
    prefix = facts.configuration.prefix
    message = "is another injector's sidecar and takes no part; to read its logs, name it in"
    return [Finding(Reason.LEFT_OUT, f"{message} {prefix}containers", value=name) for name in names]


def _note_other_log_directory(facts: PodFacts, candidates: list[Candidate], plan: Plan) -> list[Finding]:
    """Warn where the profile's directory is new to the pod, and the pod mounts another one that is called after logs."""
    said = facts.options is not None and facts.options.logs is not None
    if said or plan.reused or not plan.new_volumes:
        return []
    selected = [item.container for item in candidates if item.selected]
    directory = probable_log_directory(selected, facts.volumes)
    if not directory:
        return []
    where = clean_untrusted(plan.new_volumes[0][1], 30)
    better = clean_untrusted(f"{directory}/*.log", 40)
    message = f"is not set, so {where} is read; if the logs are in the mounted volume write {better}"
    return [Finding(Reason.PROBABLY_ELSEWHERE, message, annotation="logs")]


def _volume_size_limit(profile: Profile, options: RequestedOptions, plan: Plan, findings: list[Finding]) -> str | None:
    """Return the size limit of new volumes."""
    asked = options.volume_size_limit
    if asked is None:
        return profile.volume_size_limit
    key = "volume-size-limit"
    if not plan.new_volumes:
        findings.append(
            Finding(
                Reason.NO_EFFECT, "has no effect: the logs are in the pod's own volumes", annotation=key, value=asked
            )
        )
    return clamp(key, asked, profile.bounds.get(key), findings)


#: What is mounted where the service account's token would be.
_TOKEN_MASK: dict[str, Any] = {"name": TOKEN_MASK_VOLUME, "emptyDir": {}}


def _added_volumes(facts: PodFacts, plan: Plan, size: str | None) -> dict[str, dict[str, Any]]:
    """Return the volumes that are added, by name; raise :class:`NotInjectable` where the pod has one of its own."""
    profile = facts.profile
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
    if sidecar.hides_token(facts.spec, profile):
        volumes[_TOKEN_MASK["name"]] = _TOKEN_MASK
    taken = volumes.keys() & facts.volumes.keys()
    if taken:
        message = f"the pod has a volume {quote_untrusted(min(taken), 63)} that is not Pillion's; rename it"
        raise NotInjectable(Finding(Reason.NAME_TAKEN, message))
    return volumes


def _add_sidecar(editor: PodEditor, plan: Plan, profile: Profile, container: dict[str, Any]) -> None:
    if profile.image_pull_secrets:
        editor.add_pull_secrets(profile.image_pull_secrets)
    if profile.native:
        editor.add_init_container(container, _position(editor.spec, profile, plan))
    else:
        editor.add_container(container)


def _position(spec: PodSpec, profile: Profile, plan: Plan) -> int | None:
    """Return before which init container the sidecar stands, None for behind all.

    The first who mounts a volume at a subPath makes that directory, as root. An init container that prepares the
    volume must find it as it would without us, so the sidecar comes behind it.
    """
    if not profile.starts_first:
        return None
    position = 0
    for number, container in enumerate(spec.initContainers or () if plan.user_subpath_volumes else (), 1):
        # one that goes on running stops before who stands behind it, and would lose its own last lines
        ends = container.restartPolicy != "Always"
        if ends and any(mount.name in plan.user_subpath_volumes for mount in container.volumeMounts or ()):
            position = number
    return position
