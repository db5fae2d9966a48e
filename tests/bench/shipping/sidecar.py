"""A profile's sidecar as a command on this machine, made from the container that an injection adds to a pod."""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.injection.reviews import patched, verdict_on
from webhook.configuration import parse

__all__ = ["LOGS", "command", "container"]

#: The application's log directory.
LOGS = "/var/log/app"
#: Where pillion-tail has its checkpoint unless it is told otherwise.
STATE = "/pillion/state"
_REFERENCE = re.compile(r"\$\$|\$\((\w+)\)")


def container(profile: str, variables: Mapping[str, str]) -> dict[str, Any]:
    """Return the container that a built-in profile adds to a pod, with the variables that its operator sets."""
    env = [{"name": name, "value": value} for name, value in variables.items()]
    changed = {"profiles": {profile: {"sidecar": {"env": env}}}}
    annotations = {"inject": "true", "profile": profile, "logs": f"{LOGS}/*.log"}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "app", "annotations": {f"pillion.dev/{key}": text for key, text in annotations.items()}},
        "spec": {"containers": [{"name": "app", "image": "app"}]},
    }
    verdict = verdict_on(pod, parse(json.dumps(changed).encode(), "the benchmark's configuration"))
    sidecar: dict[str, Any] = patched(pod, verdict)["spec"]["initContainers"][0]
    return sidecar


def command(
    sidecar: Mapping[str, Any], program: Path, fields: Mapping[str, str], logs: Path, scratch: Path
) -> list[str]:
    """Return the container's command, with its variables and no others, for a program that stands in for the image.

    ``fields`` are the pod's, as the downward API has them. Each mount's path is replaced by that of a folder: ``logs``,
    or one below ``scratch``. A variable from a Secret is left out: there is no Secret.
    """
    folders = {mount["mountPath"]: scratch / mount["name"] for mount in sidecar["volumeMounts"]} | {LOGS: logs}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    mounts = re.compile("|".join(map(re.escape, sorted(folders, key=len, reverse=True))))
    variables = {"PATH": f"{program.parent}:{os.environ['PATH']}"}

    def filled(text: str) -> str:
        """Return what the kubelet makes of a text, with the folders of this machine."""
        expanded = _REFERENCE.sub(lambda ref: variables.get(ref[1], ref[0]) if ref[1] else "$", text)
        return mounts.sub(lambda mount: str(folders[mount[0]]), expanded)

    if STATE in folders:
        variables["PILLION_STATE"] = str(folders[STATE])
    for variable in sidecar["env"]:
        source = variable.get("valueFrom", {})
        if "fieldRef" in source:
            variables[variable["name"]] = fields[source["fieldRef"]["fieldPath"]]
        elif not source:
            variables[variable["name"]] = filled(variable.get("value", ""))
    words = [filled(word) for word in (*sidecar.get("command", [program.name]), *sidecar.get("args", []))]
    if Path(words[0]).name == program.name:
        words[0] = str(program)
    return ["env", "-i", *(f"{name}={value}" for name, value in variables.items()), *words]
