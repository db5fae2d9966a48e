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
from collections.abc import Sequence

from webhook.injection.annotations import Declined, LogFiles, Wishes
from webhook.injection.edit import Located
from webhook.injection.pod import PodSpec
from webhook.injection.profile import Configuration
from webhook.injection.reasons import Finding, Reason, shown
from webhook.injection.variables import added_variables
from webhook.injection.volumes import Participant

__all__ = ["locate", "participants"]


def locate(spec: PodSpec) -> list[Located]:
    """Return the pod's containers in the order in which they count: ordinary ones, then init containers."""
    located = [Located(c, f"/spec/containers/{n}") for n, c in enumerate(spec.containers or ())]
    located += [Located(c, f"/spec/initContainers/{n}") for n, c in enumerate(spec.initContainers or ())]
    return located


def participants(
    spec: PodSpec, wishes: Wishes, entries: Sequence[LogFiles], configuration: Configuration
) -> list[Participant]:
    """Return the containers that take part, and those whose mounts are looked at. Raises :class:`Declined`."""
    located = locate(spec)
    ordinary = len(spec.containers or ())
    names = [item.container.name for item in located]
    ignored = configuration.ignored_containers
    own = {name for name in names[:ordinary] if name not in ignored}
    prefixes = {entry.container for entry in entries if entry.container}
    _check_names(wishes, entries, names, configuration.prefix)
    if wishes.containers is not None:
        every = set(wishes.containers)
    elif entries and all(entry.container for entry in entries):
        every = set()
    else:
        every = own
    chosen = every | prefixes
    if not chosen:
        remedy = f"the pod has only sidecars of other injectors; write {shown(names[0])}" if names else ""
        raise Declined(Finding(Reason.NO_CONTAINERS, "containers", "", remedy))
    result = []
    for item in located:
        name = item.container.name
        if name in chosen:
            added = added_variables(item.container) if wishes.env else ()
            result.append(Participant(item, item.container, chosen=True, every=name in every, added=added))
        elif name not in own:
            result.append(Participant(item, item.container, chosen=False, every=True))
    return result


def _check_names(wishes: Wishes, entries: Sequence[LogFiles], names: Sequence[str], prefix: str) -> None:
    """Raise :class:`Declined` for a name that is no container of the pod, or a prefix that takes no part."""
    for name in wishes.containers or ():
        _check_known(name, names, "containers", name)
    for entry in entries:
        if not entry.container:
            continue
        _check_known(entry.container, names, "logs", entry.text)
        if wishes.containers is not None and entry.container not in wishes.containers:
            remedy = f"container {shown(entry.container)} is not in {prefix}containers; add it there"
            raise Declined(Finding(Reason.UNKNOWN_CONTAINER, "logs", entry.text, remedy))


MOST_GUESSED = 64


def _check_known(name: str, names: Sequence[str], where: str, value: str) -> None:
    if name in names:
        return
    # guessing among thousands takes longer than all the rest
    near = difflib.get_close_matches(name, names[:MOST_GUESSED], n=1) or list(names[:1])
    remedy = f"the pod has no container {shown(name)}" + (f"; did you mean {shown(near[0])}?" if near else "")
    raise Declined(Finding(Reason.UNKNOWN_CONTAINER, where, value, remedy))
