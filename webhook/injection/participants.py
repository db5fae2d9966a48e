"""Which containers take part in an injection.

=========================  =====================================================================
the pod says               who takes part
=========================  =====================================================================
``containers: a,b``        a and b; a prefix in ``logs`` must be one of them
every ``logs`` entry a:    the containers that are named
anything else              all ordinary containers, without those of other injectors; and those
                           that a prefix in ``logs`` names
=========================  =====================================================================

Init containers and other injectors' sidecars take part only where they are named. What they mount at a log
directory is read all the same.
"""

import difflib
from collections.abc import Callable, Sequence

import msgspec

from webhook.injection.annotations import LogFiles, NotInjectable, RequestedOptions
from webhook.injection.edit import Located
from webhook.injection.mistakes import EVERY, WITHOUT_PREFIX, no_container_name
from webhook.injection.paths import Components, components, literal
from webhook.injection.pod import Container, EnvVar, PodSpec, VolumeMount
from webhook.injection.profile import Configuration
from webhook.injection.reasons import Finding, Reason, quote_untrusted
from webhook.injection.variables import added_variables

__all__ = ["Mounts", "Participant", "participants"]

#: A container's mounts by path; None stands for a block device.
Mounts = dict[Components, VolumeMount | None]


class Participant(Located, gc=False, kw_only=True):
    """A container whose mounts are looked at, and the variables that it gets.

    ``chosen`` containers take part; of the others only the places that they mount at a log directory are read.
    ``matches_unprefixed`` says that entries which name no container mean this one too.
    """

    chosen: bool
    matches_unprefixed: bool
    added: Sequence[EnvVar] = ()
    #: What it mounts itself, and the volumes that it gets, both by path.
    own: Mounts
    new: dict[Components, VolumeMount] = msgspec.field(default_factory=dict)
    #: How its paths are read: a volume at /var has its own /var/run.
    resolve: Callable[[str], Components] = components

    @classmethod
    def of(
        cls, container: Container, pointer: str, *, chosen: bool, matches_unprefixed: bool, added: Sequence[EnvVar] = ()
    ) -> "Participant":
        """Return the container with its mounts by path."""
        paths = [mount.mountPath for mount in container.volumeMounts or ()]
        resolve = literal if any(components(path) == _VAR for path in paths) else components
        own: Mounts = {}
        for mount in container.volumeMounts or ():
            own[resolve(mount.mountPath)] = mount
        for device in container.volumeDevices or ():
            own[resolve(device.devicePath)] = None
        return cls(
            container,
            pointer,
            chosen=chosen,
            matches_unprefixed=matches_unprefixed,
            added=added,
            own=own,
            resolve=resolve,
        )


_VAR: Components = ("var",)


def participants(
    spec: PodSpec, options: RequestedOptions, entries: Sequence[LogFiles], configuration: Configuration
) -> list[Participant]:
    """Return the containers that take part, and those whose mounts are looked at. Raises :class:`NotInjectable`.

    Ordinary containers come first, then init containers: in the order in which they count.
    """
    ordinary, initial = spec.containers or (), spec.initContainers or ()
    ignored = configuration.ignored_containers
    own = {container.name for container in ordinary if container.name not in ignored}
    prefixes = {entry.container for entry in entries if entry.container}
    if prefixes or options.containers:
        _check_names(options, entries, [container.name for container in (*ordinary, *initial)], configuration.prefix)
    if options.containers is not None:
        unprefixed = set(options.containers)
    elif prefixes and all(entry.container for entry in entries):
        unprefixed = set()
    else:
        unprefixed = own
    chosen = unprefixed | prefixes
    if not chosen:
        first = next(iter((*ordinary, *initial)), None)
        message = (
            f"the pod has only sidecars of other injectors; write {quote_untrusted(first.name)}"
            if first is not None
            else ""
        )
        raise NotInjectable(Finding(Reason.NO_CONTAINERS, "containers", "", message))
    result = []
    for kind, containers in (("containers", ordinary), ("initContainers", initial)):
        for number, container in enumerate(containers):
            name, pointer = container.name, f"/spec/{kind}/{number}"
            if name in chosen:
                added = added_variables(container) if options.env else ()
                result.append(
                    Participant.of(container, pointer, chosen=True, matches_unprefixed=name in unprefixed, added=added)
                )
            elif name not in own:
                result.append(Participant.of(container, pointer, chosen=False, matches_unprefixed=True))
    return result


def _check_names(options: RequestedOptions, entries: Sequence[LogFiles], names: Sequence[str], prefix: str) -> None:
    """Raise :class:`NotInjectable` for a name that is no container of the pod, or a prefix that takes no part."""
    for name in options.containers or ():
        _check_known(name, names, "containers", name)
    for entry in entries:
        if not entry.container:
            continue
        _check_known(entry.container, names, "logs", entry.text)
        if options.containers is not None and entry.container not in options.containers:
            message = f"container {quote_untrusted(entry.container)} is not in {prefix}containers; add it there"
            raise NotInjectable(Finding(Reason.UNKNOWN_CONTAINER, "logs", entry.text, message))


MAX_GUESSED = 64


def _check_known(name: str, names: Sequence[str], where: str, value: str) -> None:
    if name in names:
        return
    # guessing among thousands takes longer than all the rest
    if name in EVERY:
        message = no_container_name(name, name) if where == "containers" else WITHOUT_PREFIX
        raise NotInjectable(Finding(Reason.UNKNOWN_CONTAINER, where, value, message))
    near = difflib.get_close_matches(name, names[:MAX_GUESSED], n=1) or list(names[:1])
    message = f"the pod has no container {quote_untrusted(name)}" + (
        f"; did you mean {quote_untrusted(near[0])}?" if near else ""
    )
    raise NotInjectable(Finding(Reason.UNKNOWN_CONTAINER, where, value, message))
