"""Which containers an injection may concern: the candidates, and which of them are selected.

=========================  =====================================================================
the pod has                the selected containers
=========================  =====================================================================
``containers: a,b``        a and b; a container in ``logs`` must be one of them
a container in each entry  the containers that ``logs`` names
anything else              all ordinary containers except those of other injectors; and those
                           that ``logs`` names
=========================  =====================================================================

Init containers and other injectors' sidecars are selected only where they are named. A volume that one of them mounts
at a log directory is read all the same.
"""

import difflib
from collections.abc import Callable, Sequence

import msgspec

from webhook.injection.annotations import LogEntry, RequestedOptions
from webhook.injection.edit import ContainerRef
from webhook.injection.mistakes import ADVICE_TO_OMIT_CONTAINER, WORDS_FOR_ALL, advice_on_container_name
from webhook.injection.paths import Components, components, literal_components
from webhook.injection.pod import Container, EnvVar, PodSpec, VolumeMount
from webhook.injection.profile import Configuration
from webhook.injection.reasons import Finding, NotInjectable, Reason, quote_untrusted
from webhook.injection.variables import added_variables

__all__ = ["Candidate", "MountsByPath", "find_candidates"]

#: A container's mounts by path; None stands for a block device.
MountsByPath = dict[Components, VolumeMount | None]


class Candidate(ContainerRef, gc=False, kw_only=True):
    """A container whose mounts are examined.

    A ``selected`` one gets variables and new volumes. For any other, only the volumes are read that it mounts at a log
    directory. ``takes_general_entries``: whether entries that name no container apply to it.
    """

    selected: bool
    takes_general_entries: bool
    added_variables: Sequence[EnvVar] = ()
    #: The mounts that it has.
    own_mounts: MountsByPath
    #: The mounts of new volumes that it gets, by path.
    new_mounts: dict[Components, VolumeMount] = msgspec.field(default_factory=dict)
    #: Parses its paths: ``components``, or ``literal_components`` where a volume at /var has a /var/run of its own.
    parse_path: Callable[[str], Components] = components

    @classmethod
    def from_container(
        cls,
        container: Container,
        pointer: str,
        *,
        selected: bool,
        takes_general_entries: bool,
        added_variables: Sequence[EnvVar] = (),
    ) -> "Candidate":
        """Return the container with its mounts by path."""
        paths = [mount.mountPath for mount in container.volumeMounts or ()]
        parse_path = literal_components if any(components(path) == _VAR for path in paths) else components
        own_mounts: MountsByPath = {}
        for mount in container.volumeMounts or ():
            own_mounts[parse_path(mount.mountPath)] = mount
        for device in container.volumeDevices or ():
            own_mounts[parse_path(device.devicePath)] = None
        return cls(
            container,
            pointer,
            selected=selected,
            takes_general_entries=takes_general_entries,
            added_variables=added_variables,
            own_mounts=own_mounts,
            parse_path=parse_path,
        )


_VAR: Components = ("var",)


def find_candidates(
    spec: PodSpec, options: RequestedOptions, entries: Sequence[LogEntry], configuration: Configuration
) -> list[Candidate]:
    """Return the candidates, ordinary containers before init containers.

    Raises :class:`NotInjectable` for a container name that the pod does not have, and where no container is selected.
    """
    ordinary, init_containers = spec.containers or (), spec.initContainers or ()
    others = configuration.ignored_containers
    app_containers = {container.name for container in ordinary if container.name not in others}
    named_in_logs = {entry.container for entry in entries if entry.container}
    if named_in_logs or options.containers:
        _ensure_names_exist(
            options, entries, [container.name for container in (*ordinary, *init_containers)], configuration.prefix
        )
    if options.containers is not None:
        general = set(options.containers)
    elif named_in_logs and all(entry.container for entry in entries):
        general = set()
    else:
        general = app_containers
    selected = general | named_in_logs
    if not selected:
        first = next(iter((*ordinary, *init_containers)), None)
        message = (
            f"the pod has only sidecars of other injectors; write {quote_untrusted(first.name)}"
            if first is not None
            else ""
        )
        raise NotInjectable(Finding(Reason.NO_CONTAINERS, message, annotation="containers"))
    result = []
    for kind, containers in (("containers", ordinary), ("initContainers", init_containers)):
        for number, container in enumerate(containers):
            name, pointer = container.name, f"/spec/{kind}/{number}"
            if name in selected:
                variables = added_variables(container) if options.add_variables else ()
                result.append(
                    Candidate.from_container(
                        container,
                        pointer,
                        selected=True,
                        takes_general_entries=name in general,
                        added_variables=variables,
                    )
                )
            elif name not in app_containers:
                # init containers and other injectors' are examined for volumes at a log directory. The pod's other
                # ordinary containers are no candidates if ``containers`` or each entry of ``logs`` names containers.
                result.append(Candidate.from_container(container, pointer, selected=False, takes_general_entries=True))
    return result


def _ensure_names_exist(
    options: RequestedOptions, entries: Sequence[LogEntry], names: Sequence[str], prefix: str
) -> None:
    """Raise :class:`NotInjectable` for a name of no container, and for one in ``logs`` that ``containers`` lacks."""
    for name in options.containers or ():
        _ensure_name_exists(name, names, "containers", name)
    for entry in entries:
        if not entry.container:
            continue
        _ensure_name_exists(entry.container, names, "logs", entry.text)
        if options.containers is not None and entry.container not in options.containers:
            message = f"container {quote_untrusted(entry.container)} is not in {prefix}containers; add it there"
            raise NotInjectable(Finding(Reason.UNKNOWN_CONTAINER, message, annotation="logs", value=entry.text))


MAX_COMPARED_NAMES = 64


def _ensure_name_exists(name: str, names: Sequence[str], where: str, value: str) -> None:
    if name in names:
        return
    if name in WORDS_FOR_ALL:
        message = advice_on_container_name(name, name) if where == "containers" else ADVICE_TO_OMIT_CONTAINER
        raise NotInjectable(Finding(Reason.UNKNOWN_CONTAINER, message, annotation=where, value=value))
    # comparing thousands of names would be slow
    near = difflib.get_close_matches(name, names[:MAX_COMPARED_NAMES], n=1) or list(names[:1])
    message = f"the pod has no container {quote_untrusted(name)}" + (
        f"; did you mean {quote_untrusted(near[0])}?" if near else ""
    )
    raise NotInjectable(Finding(Reason.UNKNOWN_CONTAINER, message, annotation=where, value=value))
