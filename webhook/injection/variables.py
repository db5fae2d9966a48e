"""Environment variables: which ones an injection adds to a container, and which ones a ``subPathExpr`` needs.

Source of the ``$(NAME)`` grammar: k8s.io/kubernetes third_party/forked/golang/expansion (``$$`` is a plain ``$``;
an undefined reference is left as it is; a variable sees only those before it).
"""

import re
from collections.abc import Callable, Iterable, Sequence

from msgspec.structs import replace

from webhook.injection.pod import Container, EnvVar, EnvVarSource
from webhook.injection.reasons import Finding, NotInjectable, Reason, quote_untrusted

__all__ = [
    "POD_VARIABLES",
    "SIDECAR_VARIABLES",
    "Environment",
    "added_variables",
    "escape_references",
    "needed_variables",
    "references",
]


def _from_field(name: str, path: str) -> EnvVar:
    return EnvVar(name, valueFrom=EnvVarSource(fieldRef={"fieldPath": path}))


#: Added to each selected container, before its own variables.
POD_VARIABLES = (_from_field("POD_NAME", "metadata.name"), _from_field("POD_NAMESPACE", "metadata.namespace"))
_POD_NAMES = frozenset(variable.name for variable in POD_VARIABLES)
#: The sidecar's variables.
SIDECAR_VARIABLES = (*POD_VARIABLES, _from_field("POD_UID", "metadata.uid"), _from_field("NODE_NAME", "spec.nodeName"))

# "$$" is matched first, so that the "$(" in "$$(NAME)" is not taken for a reference
_REFERENCE = re.compile(r"\$\$|\$\(([^)]*)\)")
# only "$$" and "$(" mean something to Kubernetes; no other dollar is doubled, so that a program stays readable
_EXPANDED_DOLLAR = re.compile(r"\$(?=[$(])")


def escape_references(text: str) -> str:
    """Return ``text`` escaped, so that Kubernetes expands nothing in it and the container sees ``text`` itself."""
    return _EXPANDED_DOLLAR.sub("$$", text) if "$" in text else text


#: Resolving a subPathExpr is quadratic in the container's variables; a pod with more is declined.
MAX_VARIABLES = 500


def references(text: str) -> list[str]:
    """Return the names that Kubernetes expands in a text."""
    if "$(" not in text:
        return []
    # after the last ")" there is no reference, and searching a million "$(" there would take quadratic time
    return [name for name in _REFERENCE.findall(text, 0, text.rfind(")") + 1) if name]


def _rewrite(text: str, rename: Callable[[str], str]) -> str:
    """Return ``text`` with each ``$(NAME)`` replaced by ``rename(NAME)``, escapes left as they are."""
    end = text.rfind(")") + 1
    return _REFERENCE.sub(lambda match: rename(match[1]) if match[1] else match[0], text[:end]) + text[end:]


def added_variables(container: Container) -> Sequence[EnvVar]:
    """Return the variables of :data:`POD_VARIABLES` to add to the container.

    ======================================================  =============================================
    the container                                           the variable
    ======================================================  =============================================
    has it in ``env``                                       is never touched
    has no ``envFrom``                                      is added
    has ``envFrom``, uses ``$(…)`` in command, args or env  is added: else ``$(…)`` might stay unexpanded
    has ``envFrom``, uses it in subPathExpr                 is not added: its meaning could change
    has ``envFrom``, does not use it                        is not added: ``env`` would override it
    ======================================================  =============================================
    """
    present = {variable.name for variable in container.env or ()}
    missing: Sequence[EnvVar] = POD_VARIABLES
    if not present.isdisjoint(_POD_NAMES):
        missing = [variable for variable in POD_VARIABLES if variable.name not in present]
    if not container.envFrom or not missing:
        return missing
    texts = [*(container.command or ()), *(container.args or ())]
    texts += [variable.value for variable in container.env or () if variable.value]
    used = {name for text in texts for name in references(text)}
    in_paths = {name for mount in container.volumeMounts or () for name in references(mount.subPathExpr or "")}
    return [variable for variable in missing if variable.name in used - in_paths]


def needed_variables(container: Container, added: Sequence[EnvVar], expression: str) -> tuple[EnvVar, ...]:
    """Return the container's variables that a ``subPathExpr`` needs, in order.

    A name may occur twice: the later variable may refer to the earlier one. Raises :class:`NotInjectable` for a
    variable that can't be copied (from ``envFrom``, a Secret or a file) or is not defined, and for a container with too
    many variables.
    """
    available = [*added, *(container.env or ())]
    names = {variable.name for variable in available}

    def unknown(name: str, why: str) -> NotInjectable:
        message = f"the subPathExpr of {quote_untrusted(container.name, 24)} needs {quote_untrusted(name, 24)}, {why}"
        return NotInjectable(Finding(Reason.UNKNOWN_VARIABLE, message, annotation="logs"))

    if len(available) > MAX_VARIABLES:
        name = quote_untrusted(container.name, 24)
        message = f"container {name} has more than {MAX_VARIABLES} variables, too many to resolve its subPathExpr"
        raise NotInjectable(Finding(Reason.UNKNOWN_VARIABLE, message, annotation="logs"))
    for name in references(expression):
        if name not in names:
            raise unknown(name, "which is not in its env")
    wanted: set[str] = set()
    frontier = set(references(expression))
    while frontier:
        wanted |= frontier
        texts = [variable.value for variable in available if variable.name in frontier and variable.value]
        inner = {name for text in texts for name in references(text)}
        if container.envFrom and not inner <= names:
            raise unknown(min(inner - names), "which comes from envFrom; put it in env")
        frontier = (inner & names) - wanted
    return tuple(_copy_for_sidecar(variable, container, unknown) for variable in available if variable.name in wanted)


def _copy_for_sidecar(variable: EnvVar, container: Container, unknown: Callable[[str, str], NotInjectable]) -> EnvVar:
    """Return the variable in a form that has the same value in another container of the pod."""
    source = variable.valueFrom
    if source is None:
        return variable
    if source.resourceFieldRef is not None:
        reference = {"containerName": container.name, **source.resourceFieldRef}
        return replace(variable, valueFrom=EnvVarSource(resourceFieldRef=reference))
    if source.fieldRef is not None or source.configMapKeyRef is not None:
        return variable
    raise unknown(variable.name, "which comes from a Secret or file")


def _definition(variable: EnvVar) -> EnvVar:
    """Return the variable without the API server's defaults; ``ownership.is_our_variable`` leaves them out in JSON."""
    source = variable.valueFrom
    if source is not None and source.fieldRef and source.fieldRef.get("apiVersion") == "v1":
        reference = {key: value for key, value in source.fieldRef.items() if key != "apiVersion"}
        return replace(variable, valueFrom=EnvVarSource(fieldRef=reference))
    return variable


class Environment:
    """The sidecar's variables, to which those that a ``subPathExpr`` needs are added under unused names."""

    def __init__(self, variables: Iterable[EnvVar]) -> None:
        self.variables = list(variables)

    def add_needed_variables(self, needed: Sequence[EnvVar], expression: str) -> str:
        """Add the needed variables and return the expression with the sidecar's variable names."""
        names: dict[str, str] = {}

        def rename(name: str) -> str:
            if name in names:
                return f"$({names[name]})"
            # The application's container does not define it, so there it stays "$(NAME)". Escape it where the sidecar
            # has a variable of that name.
            return f"$$({name})" if any(ours.name == name for ours in self.variables) else f"$({name})"

        for variable in needed:
            value = variable.value and _rewrite(variable.value, rename)
            names[variable.name] = self._add(replace(variable, value=value))
        return _rewrite(expression, rename)

    def _add(self, variable: EnvVar) -> str:
        """Return the name that the variable has in the sidecar; add the variable if the sidecar lacks it."""
        definition = _definition(variable)
        # of two variables of one name the last one counts
        ours = {own.name: own for own in self.variables}
        name, number = variable.name, 1
        while name in ours and _definition(ours[name]) != replace(definition, name=name):
            name = f"PILLION_{number}_{variable.name}"
            number += 1
        if name not in ours:
            self.variables.append(replace(variable, name=name))
        return name
