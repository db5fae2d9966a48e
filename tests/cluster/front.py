"""Debian's nginx before a store: where pods reach it, with TLS and credentials, or as a store that is away."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from certs.ca import CA
from tests.service.serving import write_pair
from tests.tail.stores import free_port

from . import programs
from .processes import Daemon, start, wait_ready

__all__ = ["Front", "missing"]

READY_SECONDS = 20.0
_CONFIGURATION = """
user root;
worker_processes 1;
error_log stderr warn;
pid {folder}/nginx.pid;
events {{ }}
http {{
  access_log off;
  client_max_body_size 100m;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  map $http_authorization $known {{ default ""; {known} }}
  server {{
    listen {host}:{port};
    location / {{ proxy_pass {store}; }}
  }}
  server {{
    listen {host}:{secure_port} ssl;
    ssl_certificate {certificate};
    ssl_certificate_key {key};
    if ($known = "") {{ return 401; }}
    location / {{ proxy_pass {store}; }}
  }}
}}
"""


def missing() -> list[str]:
    """Return what this machine lacks for it, in words for people."""
    return [] if programs.on_path("nginx") else ["Debian packages: apt-get install nginx-light"]


class Front:
    """A proxy to a store that pods reach: one port for all, one with TLS and for those with credentials."""

    def __init__(self, folder: Path, host: str, store: str, authorizations: Sequence[str]) -> None:
        self.ca = CA.create(datetime.now(UTC))
        self._folder = folder / "nginx"
        self._folder.mkdir()
        certificate, key = write_pair(self._folder, self.ca, host)
        port, secure_port = free_port(), free_port()
        self.url, self.secure_url = f"http://{host}:{port}", f"https://{host}:{secure_port}"
        configuration = _CONFIGURATION.format(
            folder=self._folder,
            host=host,
            port=port,
            secure_port=secure_port,
            store=store,
            certificate=certificate,
            key=key,
            known=" ".join(f'"{each}" yes;' for each in authorizations),
        )
        self._file = self._folder / "nginx.conf"
        self._file.write_text(configuration)
        self.start()

    def start(self) -> None:
        """Be there."""
        nginx = programs.on_path("nginx") or "nginx"
        command = [nginx, "-e", "stderr", "-c", str(self._file), "-g", "daemon off;"]
        self._daemon: Daemon = start("nginx", command, self._folder / "log")
        wait_ready(self._daemon, (self._folder / "nginx.pid").exists, READY_SECONDS)

    def stop(self) -> None:
        """Be away: connections are refused."""
        self._daemon.process.terminate()
        self._daemon.process.wait(READY_SECONDS)
