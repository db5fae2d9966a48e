"""What `helm test` runs: are the servers ready; an annotated pod by dry run, then one that really runs, per profile."""
# ruff: noqa: INP001, T201 — a script in a ConfigMap, whose output is the pod's log

import contextlib
import json
import os
import re
import signal
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
LINE = "a line that the application wrote to its file"
PROGRAM = f"import time; open('/canary/canary.log', 'w').write('{LINE}\\n'); time.sleep(3600)"
POLL_SECONDS = 0.5


class Answer(NamedTuple):
    """What the API server returned: an object or a log's text, and the warnings with it."""

    content: Any
    warnings: list[str]


class Refused(Exception):  # noqa: N818 — it is the API server's answer
    """The API server said no."""


class Failed(Exception):  # noqa: N818 — it is the test's verdict
    """What was expected did not happen."""


def call(method: str, path: str, document: Any = None) -> Answer:
    """Return the API server's answer for a path below the namespaces."""
    host = bracketed(os.environ["KUBERNETES_SERVICE_HOST"])
    namespaces = f"https://{host}:{os.environ['KUBERNETES_SERVICE_PORT']}/api/v1/namespaces"
    token = (ACCOUNT / "token").read_text()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    body = None if document is None else json.dumps(document).encode()
    request = urllib.request.Request(f"{namespaces}/{path}", body, headers, method=method)  # noqa: S310 — https
    context = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    # from 3.13 on Python insists on what certificates of older clusters lack: the authority key identifier
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    try:
        with urllib.request.urlopen(request, timeout=30, context=context) as answer:  # noqa: S310 — https
            content, is_json = answer.read(), "json" in answer.headers["Content-Type"]
            # RFC 7234: a code, an agent and a quoted text
            quoted = [re.fullmatch(r'299 \S+ "(.*)"', each) for each in answer.headers.get_all("Warning", [])]
            warnings = [re.sub(r"\\(.)", r"\1", each[1]) for each in quoted if each]
            return Answer(json.loads(content) if is_json else content.decode(), warnings)
    except urllib.error.HTTPError as error:
        raise Refused(json.loads(error.read()).get("message", error.reason)) from None


def bracketed(host: str) -> str:
    """Return an address as a URL has it."""
    return f"[{host}]" if ":" in host else host


def canaries(path: str = "") -> str:
    """Return the path of the canary pods, or of what is below it."""
    return f"{os.environ['NAMESPACE']}/pods{path}"


def servers() -> dict[str, str]:
    """Return each server that is not about to leave, and why it is not ready; empty if it is."""
    selector = urllib.parse.quote(os.environ["SERVERS_SELECTOR"])
    found = call("GET", f"{os.environ['SERVERS_NAMESPACE']}/pods?labelSelector={selector}").content["items"]
    pods = [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]
    return {pod["metadata"]["name"]: "" if is_ready(pod["status"]) else readiness(pod["status"]) for pod in pods}


def readiness(status: dict[str, Any]) -> str:
    """Return what a server says of itself, otherwise what its pod waits for; empty if it is ready by now."""
    if "podIP" in status:
        url = f"http://{bracketed(status['podIP'])}:{os.environ['HEALTH_PORT']}/readyz"
        try:
            with urllib.request.urlopen(url, timeout=5):
                return ""
        except urllib.error.HTTPError as error:
            return error.read().decode().strip()
        except OSError:
            pass
    return reasons(status)


def is_ready(status: dict[str, Any]) -> bool:
    """Return whether the kubelet calls a pod ready."""
    return any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions", []))


def selected_labels(selector: dict[str, Any]) -> dict[str, str]:
    """Return labels that a label selector selects; raise Failed if there are none."""
    wanted = [
        {"key": key, "operator": "In", "values": [value]} for key, value in selector.get("matchLabels", {}).items()
    ]
    wanted += selector.get("matchExpressions", [])
    labels = {}
    for key in dict.fromkeys(each["key"] for each in wanted if each["operator"] in {"In", "Exists"}):
        of_key = [each for each in wanted if each["key"] == key]
        allowed = [each["values"] for each in of_key if each["operator"] == "In"]
        excluded = {value for each in of_key if each["operator"] == "NotIn" for value in each["values"]}
        any_value = ["canary", *(f"canary-{number}" for number in range(len(excluded)))]
        values = [value for value in (allowed or [any_value])[0] if all(value in each for each in allowed)]
        values = [value for value in values if value not in excluded]
        if not values or any(each["operator"] == "DoesNotExist" for each in of_key):
            raise Failed(f"webhook.objectSelector selects no pod: nothing fits what it asks of the label {key}")
        labels[key] = values[0]
    return labels


def canary(profile: str) -> dict[str, Any]:
    """Return a pod that asks for the profile and writes one line into a file."""
    prefix = os.environ["PREFIX"]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"canary-{profile}",
            "labels": selected_labels(json.loads(os.environ["OBJECT_SELECTOR"])),
            "annotations": {
                f"{prefix}inject": "true",
                f"{prefix}profile": profile,
                f"{prefix}logs": "/canary/canary.log",
            },
        },
        "spec": {
            "terminationGracePeriodSeconds": 2,
            "automountServiceAccountToken": False,
            "securityContext": {
                # OpenShift refuses a user that is not one of the namespace's: then the values say none
                **json.loads(os.environ["POD_SECURITY_CONTEXT"]),
                "runAsNonRoot": True,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "application",
                    "image": os.environ["IMAGE"],
                    "imagePullPolicy": os.environ["IMAGE_PULL_POLICY"],
                    "command": ["python", "-c", PROGRAM],
                    "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                        "readOnlyRootFilesystem": True,
                    },
                }
            ],
        },
    }


def create(profile: str, query: str = "") -> None:
    """Create a canary; raise Failed if it has not the profile's sidecar."""
    pod, warnings = call("POST", canaries(query), canary(profile))
    spec = pod["spec"]
    names = [container["name"] for part in ("initContainers", "containers") for container in spec.get(part, [])]
    has = f"pillion-{profile}" in names
    if os.environ["SHADOW"] == "true":
        if has:
            raise Failed("shadow mode is on, and the pod was changed")
        return
    if not has:
        why = "; ".join(warnings) or (
            "servers are ready, and the API server gave no reason: it probably does not reach them. Look for a "
            "firewall or a NetworkPolicy, and for apiserver_admission_webhook_fail_open_count in its metrics. "
            "Or webhook.namespaceSelector leaves this namespace out"
        )
        raise Failed(
            f"profile {profile}: the pod came back without container pillion-{profile}, with {', '.join(names)}: {why}"
        )


def try_profile(profile: str, *, prints: bool, timeout: float) -> None:
    """Run a canary until it is ready, and for a profile that prints until its line is there."""
    try:
        create(profile)
        end = time.monotonic() + timeout
        while missing := still_missing(profile, prints=prints):
            if time.monotonic() > end:
                raise Failed(f"profile {profile}: after {timeout:.0f} s {missing}")
            time.sleep(POLL_SECONDS)
    finally:
        with contextlib.suppress(Refused):  # which it is where nothing was created
            call("DELETE", canaries(f"/canary-{profile}"))


def still_missing(profile: str, *, prints: bool) -> str:
    """Return what the canary waits for, or nothing."""
    status = call("GET", canaries(f"/canary-{profile}")).content["status"]
    if not is_ready(status):
        return f"the pod is not ready: {reasons(status)}"
    if not prints:
        return ""
    log = call("GET", canaries(f"/canary-{profile}/log?container=pillion-{profile}")).content
    return "" if LINE in log.splitlines() else "the line is not in the sidecar's output"


def reasons(status: dict[str, Any]) -> str:
    """Return why containers wait, in the kubelet's words."""
    found = [each.get("message", "") for each in status.get("conditions", []) if each["status"] != "True"]
    for part in ("initContainerStatuses", "containerStatuses"):
        for container in status.get(part, []):
            found += [
                f"{container['name']}: {state.get('message') or state.get('reason') or ''}"
                for state in container["state"].values()
            ]
    return "; ".join(text for text in found if text.strip(": ")) or status.get("phase", "unknown")


def main() -> int:
    """Try everything; return 0 if all went well."""
    # as PID 1 it has no default action: without this a canary would stay behind
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    profiles: dict[str, bool] = json.loads(os.environ["PROFILES"])
    try:
        unready = servers()
    except (Refused, OSError) as error:
        print(f"FAILED: {error}", flush=True)
        return 1
    for name, reason in unready.items():
        if reason:
            print(f"FAILED: server {name} is not ready: {reason}", flush=True)
    if all(unready.values()):
        # a canary would only come back without a sidecar
        print("FAILED: no server is ready", flush=True)
        return 1
    failures = sum(map(bool, unready.values()))
    for profile, prints in profiles.items():
        try:
            create(profile, "?dryRun=All")
            print(f"profile {profile}: an annotated pod gets its sidecar (dry run)", flush=True)
            if os.environ["SHADOW"] != "true":
                begin = time.monotonic()
                try_profile(profile, prints=prints, timeout=float(os.environ["TIMEOUT_SECONDS"]))
                what = "its line was printed" if prints else "it is ready"
                print(f"profile {profile}: a pod ran, {what} after {time.monotonic() - begin:.1f} s", flush=True)
        except (Refused, Failed, OSError) as error:
            failures += 1
            print(f"FAILED: {error}", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
