"""A pair of one's own for the chart's mode `provided`."""

import base64
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from certs.ca import CA

__all__ = ["provided"]


def provided(service: str, namespace: str, folder: Path) -> tuple[dict[str, Any], Path]:
    """Return a Secret with a pair for the Service, and the file of its authority."""
    now = datetime.now(UTC)
    ca = CA.create(now)
    leaf = ca.issue((f"{service}.{namespace}.svc",), now)
    data = {"tls.crt": leaf.certificate_pem, "tls.key": leaf.key_pem}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": "pair", "namespace": namespace},
        "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
    }
    bundle = folder / "ca.pem"
    bundle.write_bytes(ca.certificate_pem)
    return secret, bundle
