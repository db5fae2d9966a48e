"""VictoriaLogs beside a node: pods reach it by TLS, with a certificate of a CA of its own, a user and a password."""

import base64
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from certs.ca import CA
from tests.tail.stores import VictoriaLogs, free_port

__all__ = ["NAME", "SecuredStore"]

#: The Secret and the ConfigMap of the profiles that ship.
NAME = "pillion-shipping"
USER, PASSWORD = "shop", "open sesame"


class SecuredStore(VictoriaLogs):
    """The store; the test itself asks it on loopback."""

    def __init__(self, folder: Path, address: str) -> None:
        """Start it; pods reach it at this address."""
        ca = CA.create(datetime.now(UTC))
        leaf = ca.issue((address,), datetime.now(UTC))
        self.ca = ca.certificate_pem.decode()
        for name, pem in (("tls.crt", leaf.certificate_pem), ("tls.key", leaf.key_pem)):
            (folder / name).write_bytes(pem)
        self.address = f"{address}:{free_port()}"
        super().__init__(
            folder,
            # the first address is the test's
            *(f"-httpListenAddr={self.address}", "-tls=false,true"),
            *(f"-tlsCertFile=,{folder / 'tls.crt'}", f"-tlsKeyFile=,{folder / 'tls.key'}"),
            *(f"-httpAuth.username={USER}", f"-httpAuth.password={PASSWORD}"),
        )

    @property
    def bulk(self) -> str:
        """The address of `_bulk` for pods; the query tells VictoriaLogs which field is which."""
        fields = "_msg_field=message&_time_field=@timestamp&_stream_fields=kubernetes.pod.name"
        return f"https://{self.address}/insert/elasticsearch/_bulk?{fields}"

    @property
    def secret(self) -> dict[str, Any]:
        """The Secret that a namespace needs."""
        return {"kind": "Secret", "stringData": {"username": USER, "password": PASSWORD}}

    @property
    def authority(self) -> dict[str, Any]:
        """The ConfigMap that a namespace needs."""
        return {"kind": "ConfigMap", "data": {"ca.crt": self.ca}}

    @property
    def headers(self) -> dict[str, str]:
        """What a request needs: the user and the password."""
        return {"authorization": f"Basic {base64.b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}"}
