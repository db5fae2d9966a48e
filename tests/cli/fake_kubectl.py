"""As much of kubectl as Pillion calls: a program on PATH, whose cluster is a JSON file.

``kubectl_calls.py`` holds what it has in common with the real one.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

__all__ = ["CONFIGURATIONS", "FakeKubectl"]

CONFIGURATIONS = (
    "mutatingwebhookconfigurations.v1.admissionregistration.k8s.io,"
    "validatingwebhookconfigurations.v1.admissionregistration.k8s.io"
)

#: The options of each verb that are understood.
_OPTIONS = {
    "get": {"kubeconfig", "context", "namespace", "output", "ignore-not-found", "raw", "request-timeout"}
    | {"show-managed-fields"},
    "create": {"kubeconfig", "context", "request-timeout", "dry-run", "filename", "output"},
    "patch": {"kubeconfig", "context", "namespace", "type", "patch", "request-timeout", "output", "dry-run"},
    "config": {"kubeconfig", "context", "minify", "output", "request-timeout"},
}
_CLUSTER_VARIABLE = "FAKE_KUBECTL_CLUSTER"


class FakeKubectl:
    """The program and its cluster.

    ``cluster`` holds documents by ``RESOURCE`` (a list) or ``NAMESPACE/NAME`` (a Secret), the names of contexts, and
    the message with which everything is refused, if there is one. What ``--raw`` reads is in ``raw`` by path: an
    object, a list of objects, or text that is printed as it is. ``failures`` has what kubectl says instead, by path or
    verb;
    ``page`` is the most that a page has, and ``expiries`` how many continued lists are too old. A dry run is answered
    with ``created``, or with the pod as it was sent, and with ``warnings``; where ``refused`` has text, with that. What
    is read by ``KIND/NAME`` is in ``objects`` as ``NAMESPACE/KIND/NAME``.
    After a container's image was changed, ``replaced`` becomes part of its status and ``afterwards`` part of the pod's;
    where there is ``breaks``, the pod can't be read any more. ``keeps`` is the image that it gets, whatever is wanted.
    ``events`` are there from then on.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = folder / "cluster.json"
        self.cluster: dict[str, Any] = {"contexts": ["test"], "refusal": "", "objects": {}, "raw": {}, "failures": {}}
        self.cluster |= {"namespace": "", "page": 500, "expiries": 0}
        self.cluster |= {"created": None, "warnings": [], "refused": ""}
        self.cluster |= {"replaced": {}, "afterwards": {}, "breaks": "", "keeps": "", "events": []}
        program = folder / "kubectl"
        program.write_text(f"#!{sys.executable} -I\n{Path(__file__).read_text()}\n\nsys.exit(main(sys.argv[1:]))\n")
        program.chmod(0o755)
        self.save()

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables under which it is the kubectl that is found."""
        return {"PATH": f"{self.folder}{os.pathsep}{os.environ['PATH']}", _CLUSTER_VARIABLE: str(self._file)}

    @property
    def calls(self) -> list[list[str]]:
        """Return the arguments of each call."""
        log = self.folder / "cluster.json.calls"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def save(self) -> None:
        """Write the cluster for the next call."""
        self._file.write_text(json.dumps(self.cluster))

    def load(self) -> dict[str, Any]:
        """Return the objects as the calls left them."""
        self.cluster = json.loads(self._file.read_text())
        objects: dict[str, Any] = self.cluster["objects"]
        return objects


class _CallError(Exception):
    """What kubectl prints on standard error before it ends with exit code 1."""


def main(words: list[str]) -> int:
    """Do what the arguments say, as kubectl does."""
    file = Path(os.environ[_CLUSTER_VARIABLE])
    with file.with_name(f"{file.name}.calls").open("a") as log:
        log.write(json.dumps(words) + "\n")
    cluster = json.loads(file.read_text())
    try:
        sys.stdout.write(_answer(cluster, words[0], *_parsed(words[0], words[1:])))
    except _CallError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    finally:
        file.write_text(json.dumps(cluster))
    return 0


def _parsed(verb: str, words: list[str]) -> tuple[dict[str, str], list[str]]:
    """Return options and names; an option may stand anywhere before ``--``."""
    if verb == "config":
        words = words[1:]
    options: dict[str, str] = {}
    names: list[str] = []
    for number, word in enumerate(words):
        if word == "--":
            return options, [*names, *words[number + 1 :]]
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            if name not in _OPTIONS[verb] or not equals:
                raise _CallError(f"error: unknown flag: --{name}")
            options[name] = value
        else:
            names.append(word)
    return options, names


def _answer(cluster: dict[str, Any], verb: str, options: dict[str, str], names: list[str]) -> str:
    """Return what is printed."""
    if options.get("context", "test") not in cluster["contexts"]:
        raise _CallError(f'error: context "{options["context"]}" does not exist')
    if "kubeconfig" in options and not Path(options["kubeconfig"]).exists():
        raise _CallError(f"error: stat {options['kubeconfig']}: no such file or directory")
    if cluster["refusal"]:
        raise _CallError(f"Error from server (Forbidden): {cluster['refusal']}")
    if verb in cluster["failures"]:
        raise _CallError(cluster["failures"][verb])
    if verb == "config" or "raw" in options:
        return _raw(cluster, options["raw"]) if "raw" in options else str(cluster["namespace"])
    if verb == "get" and names == [CONFIGURATIONS]:
        return json.dumps({"kind": "List", "items": cluster["objects"].get(CONFIGURATIONS, [])})
    if verb == "create":
        return _dry_run(cluster)
    if len(names) == 1:
        found = cluster["objects"].get(f"{options.get('namespace', 'default')}/{names[0]}")
        if found is None:
            raise _CallError(f'Error from server (NotFound): {names[0]} "" not found')
        return json.dumps(found)
    return _named(cluster, verb, options, *names)


def _dry_run(cluster: dict[str, Any]) -> str:
    pod = json.load(sys.stdin)
    if cluster["refused"]:
        raise _CallError(cluster["refused"])
    for warning in cluster["warnings"]:
        sys.stderr.write(f"Warning: {warning}\n")
    pod["metadata"]["name"] = f"{pod['metadata']['generateName']}x2x7k"
    return json.dumps(cluster["created"] or pod)


def _patch_pod(cluster: dict[str, Any], options: dict[str, str], name: str) -> str:
    """Change a pod's annotations and its containers' images, and its status as a kubelet then would."""
    everything = f"/api/v1/namespaces/{options['namespace']}/pods"
    path, patch = f"{everything}/{name}", json.loads(options["patch"])
    if f"patch {path}" in cluster["failures"]:
        raise _CallError(cluster["failures"][f"patch {path}"])
    if path not in cluster["raw"]:
        raise _CallError(f'Error from server (NotFound): pods "{name}" not found')
    pod = json.loads(json.dumps(cluster["raw"][path]))
    wanted = patch["metadata"].pop("resourceVersion", pod["metadata"]["resourceVersion"])
    if wanted != pod["metadata"]["resourceVersion"]:
        raise _CallError(f'Error from server (Conflict): Operation cannot be fulfilled on pods "{name}": modified')
    pod["metadata"]["resourceVersion"] = str(int(wanted) + 1)
    for key, value in patch["metadata"].get("annotations", {}).items():
        pod["metadata"]["annotations"][key] = value
        if value is None:
            del pod["metadata"]["annotations"][key]
    for kind, changes in patch.get("spec", {}).items():
        for change in changes:
            # as another webhook would that rewrites images
            change["image"] = cluster["keeps"] or change["image"]
            next(one for one in pod["spec"][kind] if one["name"] == change["name"]).update(change)
            statuses = pod["status"][kind.replace("ontainers", "ontainer") + "Statuses"]
            next(one for one in statuses if one["name"] == change["name"]).update(cluster["replaced"])
            pod["status"] |= cluster["afterwards"]
    if "dry-run" not in options:
        cluster["raw"][path] = pod
        cluster["raw"][everything] = [
            pod if one["metadata"]["name"] == name else one for one in cluster["raw"][everything]
        ]
    cluster["raw"][f"/api/v1/namespaces/{options['namespace']}/events"] = cluster["events"]
    if cluster["breaks"]:
        cluster["failures"][path] = cluster["breaks"]
    return json.dumps(pod)


def _named(cluster: dict[str, Any], verb: str, options: dict[str, str], kind: str, name: str) -> str:
    if (verb, kind) == ("patch", "pod"):
        return _patch_pod(cluster, options, name)
    if kind != "secret" or "/" in name:
        raise _CallError("error: there is no need to specify a resource type as a separate argument")
    found = cluster["objects"].get(f"{options.get('namespace', 'default')}/{name}")
    if found is None:
        if options.get("ignore-not-found") == "true":
            return ""
        raise _CallError(f'Error from server (NotFound): secrets "{name}" not found')
    if verb == "patch":
        given = json.loads(options["patch"])["metadata"]["annotations"]
        found["metadata"]["annotations"] = {**found["metadata"].get("annotations", {}), **given}
        return f"secret/{name} patched\n"
    return json.dumps(found)


def _raw(cluster: dict[str, Any], address: str) -> str:
    """Return what the API server answers to a GET."""
    parts = urlsplit(address)
    path, query = unquote(parts.path), parse_qs(parts.query)
    if path in cluster["failures"]:
        raise _CallError(cluster["failures"][path])
    found = cluster["raw"].get(path)
    if found is None:
        raise _CallError("Error from server (NotFound): the server could not find the requested resource")
    if isinstance(found, list):
        start = int(query.get("continue", ["0"])[0])
        if start and cluster["expiries"]:
            cluster["expiries"] -= 1
            raise _CallError("Error from server (Expired): The provided continue parameter is too old")
        end = start + min(int(query["limit"][0]), cluster["page"])
        metadata = {"continue": str(end)} if end < len(found) else {}
        return json.dumps({"kind": "List", "metadata": metadata, "items": found[start:end]})
    return found if isinstance(found, str) else json.dumps(found)
