"""What `helm test` runs: an annotated pod by dry run, then for each configured profile a pod that really runs."""
# ruff: noqa: INP001, T201 — a script in a ConfigMap, whose output is the pod's log

import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
LINE = "a line that the application wrote to its file"
PROGRAM = f"import time; open('/canary/canary.log', 'w').write('{LINE}\\n'); time.sleep(3600)"
POLL_SECONDS = 0.5


class Refused(Exception):  # noqa: N818 — it is the API server's answer
    """The API server said no."""


class Failed(Exception):  # noqa: N818 — it is the test's verdict
    """What was expected did not happen."""


def call(method: str, path: str, document: Any = None) -> Any:
    """Return the API server's answer: an object, or a log's text."""
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    host = f"[{host}]" if ":" in host else host
    pods = f"https://{host}:{port}/api/v1/namespaces/{os.environ['NAMESPACE']}/pods"
    token = (ACCOUNT / "token").read_text()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    body = None if document is None else json.dumps(document).encode()
    request = urllib.request.Request(pods + path, body, headers, method=method)  # noqa: S310 — https
    context = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    # from 3.13 on Python insists on what certificates of older clusters lack: the authority key identifier
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    try:
        with urllib.request.urlopen(request, timeout=30, context=context) as answer:  # noqa: S310 — https
            content = answer.read()
            return json.loads(content) if "json" in answer.headers["Content-Type"] else content.decode()
    except urllib.error.HTTPError as error:
        raise Refused(json.loads(error.read()).get("message", error.reason)) from None


def canary(profile: str) -> dict[str, Any]:
    """Return a pod that asks for the profile and writes one line into a file."""
    prefix = os.environ["PREFIX"]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"canary-{profile}",
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
                "runAsNonRoot": True,
                "runAsUser": 65532,
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


def check_sidecar(pod: dict[str, Any], profile: str) -> None:
    """Raise Failed where the pod has not the profile's sidecar."""
    spec = pod["spec"]
    names = [container["name"] for part in ("initContainers", "containers") for container in spec.get(part, [])]
    has = f"pillion-{profile}" in names
    if os.environ["SHADOW"] == "true":
        if has:
            raise Failed("shadow mode is on, and the pod was changed")
        return
    if not has:
        raise Failed(
            f"the pod came back without container pillion-{profile}: its containers are {', '.join(names)}. "
            "Does the API server reach the servers? Look at their log, and for "
            "apiserver_admission_webhook_fail_open_count in its metrics"
        )


def try_profile(profile: str, *, prints: bool, timeout: float) -> None:
    """Run a canary until it is ready, and for a profile that prints until its line is there."""
    check_sidecar(call("POST", "", canary(profile)), profile)
    end = time.monotonic() + timeout
    try:
        while missing := still_missing(profile, prints=prints):
            if time.monotonic() > end:
                raise Failed(f"profile {profile}: after {timeout:.0f} s {missing}")
            time.sleep(POLL_SECONDS)
    finally:
        call("DELETE", f"/canary-{profile}")


def still_missing(profile: str, *, prints: bool) -> str:
    """Return what the canary waits for, or nothing."""
    pod = call("GET", f"/canary-{profile}")
    status = pod["status"]
    if not any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions", [])):
        return f"the pod is not ready: {reasons(status)}"
    if not prints:
        return ""
    log = call("GET", f"/canary-{profile}/log?container=pillion-{profile}")
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
    profiles: dict[str, bool] = json.loads(os.environ["PROFILES"])
    failures = 0
    for profile, prints in profiles.items():
        try:
            check_sidecar(call("POST", "?dryRun=All", canary(profile)), profile)
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
