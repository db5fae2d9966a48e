"""The one entry point: runs the rules, the volume plan and the edits on a request, and returns the verdict.

``admit`` and ``Admission.run`` never raise, and a pod is either injected completely or left as it was.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from webhook.injection import sidecar
from webhook.injection.annotations import RequestedOptions
from webhook.injection.candidates import Candidate, find_candidates
from webhook.injection.decision import RULES, PodFacts, declining_finding
from webhook.injection.edit import PodEditor
from webhook.injection.log_detection import probable_log_directory
from webhook.injection.pod import PodSpec
from webhook.injection.pod_annotations import add_annotations
from webhook.injection.profile import TOKEN_MASK_VOLUME_NAME, Configuration, Profile
from webhook.injection.reasons import Finding, NotInjectable, Reason, clean_untrusted, quote_untrusted
from webhook.injection.resources import clamp
from webhook.injection.review import Request
from webhook.injection.verdict import Verdict
from webhook.injection.volumes import Plan, plan_volumes

__all__ = ["Admission", "RuleResult", "admit"]

_TOKEN_MASK: dict[str, Any] = {"name": TOKEN_MASK_VOLUME_NAME, "emptyDir": {}}
#: Native sidecars that serve a volume of the pod: until they run, no other container that mounts it can start.
_VOLUME_SERVERS = frozenset({"gke-gcsfuse-sidecar"})


def admit(request: Request, configuration: Configuration) -> Verdict:
    """Return the verdict on a request. Never raises: after a bug in Pillion the verdict is ``internal_error``."""
    return Admission(request, configuration).run()


class RuleResult(NamedTuple):
    """One rule and its result, for ``explain``.

    ``passed`` is None for a rule that was not evaluated, ``explanation`` says why the pod passed, and ``finding`` why
    it did not.
    """

    question: str
    passed: bool | None
    explanation: str = ""
    finding: Finding | None = None


class Admission:
    """The review of one request: runs once, and explains that run afterwards."""

    def __init__(self, request: Request, configuration: Configuration) -> None:
        self.facts = PodFacts(request, configuration)
        self.candidates: list[Candidate] = []
        #: None until the run has made them, and for a pod that is declined.
        self.plan: Plan | None = None
        self.editor: PodEditor | None = None
        #: ``internal_error`` until the run has ended.
        self.verdict = Verdict(request, configuration, Reason.INTERNAL_ERROR, [])

    def run(self) -> Verdict:
        """Decide, and return the verdict. Never raises."""
        verdict = self.verdict
        try:
            finding = declining_finding(self.facts)
            if finding is None:
                self._inject()
            else:
                self._record_declined(finding)
        except NotInjectable as declined:
            self._record_declined(declined.finding)
        except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
            message = "nested too deeply" if isinstance(error, RecursionError) else str(error)[:80]
            self._record_declined(Finding(Reason.UNREADABLE_POD, f"the pod can't be read: {message}"))
        except Exception as error:  # noqa: BLE001 — a bug in Pillion must not keep a pod from being created
            self._record_declined(Finding(Reason.INTERNAL_ERROR))
            verdict.error = error
        verdict.requested_by_pod = self.facts.options.inject is True
        return verdict

    def rule_results(self) -> list[RuleResult]:
        """Return the result of each rule in this run, in order."""
        passed = self.facts.rules_passed
        results = [RuleResult(rule.question, True, rule.explain(self.facts)) for rule in RULES[:passed]]
        if passed < len(RULES):
            declining = self.verdict.findings[0] if self.verdict.findings else None
            results.append(RuleResult(RULES[passed].question, False, finding=declining))
            results += [RuleResult(rule.question, None) for rule in RULES[passed + 1 :]]
        return [*results, *self._plan_results(evaluated=passed == len(RULES))]

    def _plan_results(self, *, evaluated: bool) -> list[RuleResult]:
        selection, adding = "Which containers take part?", "Can the sidecar be added?"
        if not evaluated:
            return [RuleResult(selection, None), RuleResult(adding, None)]
        declining = self.verdict.findings[0] if self.verdict.findings else None
        selected = [item.container.name for item in self.candidates if item.selected]
        if not selected:
            return [RuleResult(selection, False, finding=declining), RuleResult(adding, None)]
        first = RuleResult(selection, True, ", ".join(selected))
        if self.plan is None or not self.verdict.injected:
            return [first, RuleResult(adding, False, finding=declining)]
        return [first, RuleResult(adding, True, _volumes_in_words(self.plan))]

    def _record_declined(self, finding: Finding) -> None:
        """Record that the pod is declined with this finding: drop the plan and the operations."""
        options = self.facts.options
        others: tuple[Finding, ...] = ()
        # whoever opts out needs no advice on the other annotations
        if finding.reason is not Reason.OPTED_OUT:
            others = (*options.invalid, *options.warnings)
        verdict = self.verdict
        verdict.reason = finding.reason
        # no second finding about the value that ended the injection: the two might contradict each other
        verdict.findings = [
            finding,
            *(o for o in others if (o.annotation, o.value) != (finding.annotation, finding.value)),
        ]
        verdict.operations = []
        verdict.plan_notes = []
        self.plan = self.editor = None

    def decline_after_all(self, findings: Sequence[Finding]) -> None:
        """Decline the pod after the run, for problems that only the manifest shows."""
        self._record_declined(findings[0])
        self.verdict.findings = list(findings)

    def _inject(self) -> None:
        """Plan the volumes, build the sidecar and edit the pod; raise :class:`NotInjectable` if that can't be done."""
        facts, verdict = self.facts, self.verdict
        options = facts.options
        spec, profile = facts.spec, facts.profile
        verdict.profile_name, verdict.revision = facts.profile_name, profile.revision
        entries = options.logs if options.logs is not None else profile.logs
        prefix = facts.configuration.prefix
        self.candidates = find_candidates(spec, options, entries, facts.configuration)
        # a namespace's label alone must not make the sidecar read the node's own files
        read_host_paths = options.author_wants_logs
        plan = self.plan = plan_volumes(
            self.candidates, entries, facts.volumes, profile, read_host_paths=read_host_paths
        )
        if entries and not plan.sources and not read_host_paths:
            message = f'only a hostPath volume is mounted at the log directory; to read it write {prefix}inject: "true"'
            raise NotInjectable(Finding(Reason.NO_LOG_LOCATION, message))
        findings = [
            *options.warnings,
            *plan.findings,
            *_left_out_notes(facts, self.candidates),
            *_other_log_directory_warnings(facts, self.candidates, plan),
        ]
        # what follows appends its own findings
        volume_size_limit = _volume_size_limit(profile, options, plan, findings)
        container = sidecar.build(
            spec, profile, options, self.candidates, plan, findings=findings, volume_size_limit=volume_size_limit
        )
        volumes = _added_volumes(facts, plan, volume_size_limit)
        editor = self.editor = PodEditor(facts.pod.metadata if facts.pod is not None else None, spec)
        for candidate in self.candidates:
            if candidate.added_variables:
                editor.prepend_variables(candidate, candidate.added_variables)
        for container_ref, mount in plan.mounts:
            editor.add_mount(container_ref, mount)
        editor.add_volumes(volumes.values())
        _add_sidecar(editor, plan, profile, container)
        add_annotations(
            editor,
            profile,
            self.candidates,
            findings=findings,
            volumes=list(volumes),
            reused=plan.reused,
            prefix=prefix,
        )
        verdict.reason = Reason.INJECTED
        verdict.findings = findings
        verdict.plan_notes = plan.notes
        verdict.operations = editor.operations


def _volumes_in_words(plan: Plan) -> str:
    new = [name for name, _ in plan.new_volumes]
    parts = [f"{word} {', '.join(names)}" for word, names in (("new", new), ("reused", plan.reused)) if names]
    return "; ".join(parts) or "no logs are read"


def _left_out_notes(facts: PodFacts, candidates: list[Candidate]) -> list[Finding]:
    """Return notes on ordinary containers of other injectors that are not selected; none if ``containers`` is set."""
    selected = {item.container.name for item in candidates if item.selected}
    if facts.options.containers is not None:
        return []
    others = facts.configuration.ignored_containers
    names = [item.name for item in facts.spec.containers or () if item.name in others and item.name not in selected]
    prefix = facts.configuration.prefix
    message = "is another injector's sidecar and takes no part; to read its logs, name it in"
    return [Finding(Reason.LEFT_OUT, f"{message} {prefix}containers", value=name) for name in names]


def _other_log_directory_warnings(facts: PodFacts, candidates: list[Candidate], plan: Plan) -> list[Finding]:
    """Return a warning if the profile's log directory gets a new volume, and another mount is named after logs."""
    if facts.options.logs is not None or plan.reused or not plan.new_volumes:
        return []
    selected = [item.container for item in candidates if item.selected]
    directory = probable_log_directory(selected, facts.volumes)
    if not directory:
        return []
    where = clean_untrusted(plan.new_volumes[0].directory_path, 30)
    better = clean_untrusted(f"{directory}/*.log", 40)
    message = f"is not set, so {where} is read; if the logs are in the mounted volume write {better}"
    return [Finding(Reason.PROBABLY_ELSEWHERE, message, annotation="logs")]


def _volume_size_limit(profile: Profile, options: RequestedOptions, plan: Plan, findings: list[Finding]) -> str | None:
    """Return the size limit of new volumes.

    Appends a warning to ``findings`` if the annotation has no effect or exceeds a bound.
    """
    requested = options.volume_size_limit
    if requested is None:
        return profile.volume_size_limit
    key = "volume-size-limit"
    if not plan.new_volumes:
        why = "the logs are in the pod's own volumes" if plan.sources else "no logs are read"
        findings.append(Finding(Reason.NO_EFFECT, f"has no effect: {why}", annotation=key, value=requested))
    return clamp(key, requested, profile.bounds.get(key), findings)


def _added_volumes(facts: PodFacts, plan: Plan, volume_size_limit: str | None) -> dict[str, dict[str, Any]]:
    """Return the volumes to add, by name; raise :class:`NotInjectable` if the pod has a volume of such a name."""
    profile = facts.profile
    content = {}
    if profile.volume_medium:
        content["medium"] = profile.volume_medium
    if volume_size_limit:
        content["sizeLimit"] = volume_size_limit
    volumes: dict[str, dict[str, Any]] = {}
    for name, _ in plan.new_volumes:
        volumes[name] = {"name": name, "emptyDir": content}
    for volume in profile.volumes:
        volumes[volume["name"]] = volume
    if sidecar.hides_token(facts.spec, profile):
        volumes[_TOKEN_MASK["name"]] = _TOKEN_MASK
    present = volumes.keys() & facts.volumes.keys()
    if present:
        message = f"the pod has a volume {quote_untrusted(min(present), 63)} that is not Pillion's; rename it"
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
    """Return the index in the list of init containers at which the sidecar is inserted, None for the end.

    If the sidecar reads a volume of the pod, it goes after the last init container that

    - mounts a volume of which it reads a subPath: the kubelet creates a missing subPath directory, owned by root, for
      the first container that mounts it. The init container may create it with an owner who can write to it;
    - serves a volume.
    """
    if not profile.starts_first:
        return None
    if not plan.reused:
        return 0
    position = 0
    for number, container in enumerate(spec.initContainers or (), 1):
        # a native sidecar does not count: it ends after the containers that follow it, so ours would miss its end
        ends = container.restartPolicy != "Always"
        prepares = ends and any(mount.name in plan.reused_subpath_volumes for mount in container.volumeMounts or ())
        if prepares or container.name in _VOLUME_SERVERS:
            position = number
    return position
