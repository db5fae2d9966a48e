"""The golden cases: pods and requests by hand, patches, results and verdicts made from them.

``python -m tests.goldens --update`` makes the generated files anew; ``git diff`` is then the review.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import jsonpatch
import msgspec
from ruamel.yaml import YAML

from webhook.configuration import load
from webhook.documents import read
from webhook.errors import ConfigurationError
from webhook.injection.admission import admit
from webhook.injection.profile import Configuration
from webhook.injection.review import parse_review
from webhook.injection.verdict import Verdict
from webhook.profiles import RELEASED_IMAGE, RELEASED_SHIPPING_IMAGE

__all__ = ["CASES", "Case", "as_yaml", "cases"]

ROOT = Path(__file__).parent / "golden"
PATTERNS = Path(__file__).parent / "patterns"
_IMAGES = {RELEASED_IMAGE: "RELEASED", RELEASED_SHIPPING_IMAGE: "RELEASED-SHIPPING"}


@dataclass(frozen=True)
class Case:
    """A folder with a pod in it."""

    folder: Path

    @property
    def name(self) -> str:
        """Return the folder's name."""
        return self.folder.name

    def _value(self, name: str) -> Any:
        path = self.folder / name
        return read(path.read_bytes(), str(path))[0].value if path.exists() else None

    @property
    def pod(self) -> Any:
        """Return the pod, as kubectl would send it."""
        return self._value("pod.yaml")

    @property
    def configuration(self) -> Configuration:
        """Return the case's configuration."""
        path = self.folder / "configuration.yaml"
        return load(path if path.exists() else None)

    @property
    def loads(self) -> bool:
        """Return whether the case's configuration is one that a server takes."""
        try:
            return bool(self.configuration)
        except ConfigurationError:
            return False

    @property
    def opted_in(self) -> bool:
        """Return whether the pod's namespace opted in."""
        return bool((self._value("request.yaml") or {}).get("namespaceOptIn"))

    def body(self, pod: Any = None) -> bytes:
        """Return the AdmissionReview's bytes."""
        options = self._value("request.yaml") or {}
        request = {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "operation": options.get("operation", "CREATE"),
            "subResource": options.get("subResource"),
            "namespace": "default",
            "object": self.pod if pod is None else pod,
        }
        return json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).encode()

    def verdict(self, pod: Any = None) -> Verdict:
        """Return the verdict on the case's pod, or on another one in its place."""
        return admit(parse_review(self.body(pod), namespace_opted_in=self.opted_in), self.configuration)

    def generated(self) -> dict[str, str]:
        """Return the generated files' texts by name."""
        try:
            verdict = self.verdict()
        except ConfigurationError as error:
            return {"verdict.yaml": as_yaml({"configuration": [str(problem) for problem in error.problems]})}
        operations = json.loads(verdict.patch or b"[]")
        summary = {
            "outcome": verdict.outcome.value,
            "reason": verdict.reason.value,
            "allowed": verdict.allowed,
            "warnings": verdict.warnings,
            "notes": [finding.text(verdict.configuration.prefix) for finding in verdict.notes],
        }
        files = {"verdict.yaml": as_yaml(summary)}
        if verdict.injected:
            result = jsonpatch.apply_patch(self.pod, operations)
            for name, value in (("patch.yaml", operations), ("result.yaml", result)):
                text = as_yaml(_readable(value))
                for varying, word in {verdict.revision: "REVISION", **_IMAGES}.items():
                    text = text.replace(varying, word)
                files[name] = text
        return files


def _readable(value: Any) -> Any:
    """Return the value without a profile's shell program: it is the same in every case, and has tests of its own."""
    if isinstance(value, dict):
        return {
            key: ["PROGRAM" if "\n" in text else text for text in item]
            if key == "command" and item
            else _readable(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_readable(item) for item in value]
    return value


def as_yaml(value: Any) -> str:
    """Return the value as YAML for people to review."""
    yaml = YAML()
    yaml.width = 4096
    yaml.allow_unicode = True
    stream = StringIO()
    yaml.dump(msgspec.to_builtins(value), stream)
    return stream.getvalue()


def cases() -> list[Case]:
    """Return every case, by name."""
    return [Case(path.parent) for path in sorted(ROOT.glob("*/pod.yaml"))]


CASES = cases()
GENERATED = ("patch.yaml", "result.yaml", "verdict.yaml")


def main() -> int:
    """Make the generated files anew, or say which are out of date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--update", action="store_true", help="write the files")
    update = parser.parse_args().update
    stale = []
    for case in CASES:
        wanted = case.generated()
        for name in GENERATED:
            path = case.folder / name
            text = wanted.get(name)
            if (path.read_text() if path.exists() else None) == text:
                continue
            stale.append(f"{case.name}/{name}")
            if update and text is None:
                path.unlink()
            elif update and text is not None:
                path.write_text(text)
    verb = "updated" if update else "out of date"
    sys.stdout.write("".join(f"{verb}: {name}\n" for name in stale))
    return 0 if update or not stale else 1


if __name__ == "__main__":
    sys.exit(main())
