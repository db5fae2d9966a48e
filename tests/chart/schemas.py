"""JSON schemas of a Kubernetes version's kinds for kubeconform, made of the API that its sources describe."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.cluster.programs import cache, on_path

#: The oldest and the newest version that the chart is for; Go's checksum of the module's content.
VERSIONS = {
    "v1.29.6": "h1:jn8kA/oVOAWZOeoorx6xZ4d+KgGp+Evgi90x9bEI/DE=",
    "v1.36.3": "h1:qDQdoMiluAE2Eab6Fa52YV+WjiGz9mZFFoagEA6cI+o=",
}
_QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"


def folder(version: str) -> Path:
    """Return the folder of a version's schemas; make it first if the cache has none."""
    made = cache() / f"schemas-{version}"
    if not (made / "_definitions.json").exists():
        made.mkdir(parents=True, exist_ok=True)
        definitions = json.loads((_sources(version) / "api/openapi-spec/swagger.json").read_text())["definitions"]
        for name, kind in _kinds(definitions):
            (made / name).write_text(json.dumps({"$ref": f"_definitions.json#/definitions/{kind}"}))
        strict = {name: _strict(definition) for name, definition in definitions.items()}
        strict[_QUANTITY] = {"type": ["string", "number"]}
        (made / "_definitions.json").write_text(json.dumps({"definitions": strict}))
    return made


def _sources(version: str) -> Path:
    command = [on_path("go") or "go", "mod", "download", "-json", f"k8s.io/kubernetes@{version}"]
    environment = {**os.environ, "GOFLAGS": "", "GOWORK": "off", "GO111MODULE": "on"}
    answer = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", env=environment)
    module = json.loads(answer.stdout or "{}")
    assert module.get("Sum") == VERSIONS[version], f"Kubernetes {version}: {module.get('Error', module.get('Sum'))}"
    return Path(module["Dir"])


def _kinds(definitions: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the file that kubeconform looks for, and the definition, for each kind of object."""
    for name, definition in definitions.items():
        for kind in definition.get("x-kubernetes-group-version-kind", []):
            group = kind["group"].partition(".")[0]
            yield f"{'-'.join(filter(None, [kind['kind'].lower(), group, kind['version']]))}.json", name


def _strict(definition: Any) -> Any:
    """Return a definition that allows no field it does not name."""
    if isinstance(definition, list):
        return [_strict(item) for item in definition]
    if not isinstance(definition, dict):
        return definition
    if definition.get("format") == "int-or-string":
        return {"type": ["string", "integer"]}
    strict = {key: _strict(value) for key, value in definition.items()}
    reference = definition.get("$ref")
    if isinstance(reference, str):  # a definition has a property of this name
        strict["$ref"] = reference.replace("#/definitions/", "_definitions.json#/definitions/")
    if isinstance(definition.get("properties"), dict) and definition.get("type") == "object":
        strict["additionalProperties"] = False
    return strict
