"""Files that may change while the server runs: compared by their bytes, taken over if they are good."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from certs.verify import UnusablePairError
from webhook.errors import ConfigurationError
from webhook.injection.profile import Configuration
from webhook.service.app import InForce
from webhook.service.embedded import Embedded
from webhook.service.logs import Log, where
from webhook.service.metrics import Bug, Metrics
from webhook.service.tls import Front, Identity

__all__ = ["Certificate", "ConfigurationFile", "Look", "Watch", "follow"]


class Look(Protocol):
    """Something that is looked at again and again."""

    async def look(self) -> None:
        """Take over what has changed."""


class Watch:
    """Files whose content is compared with what it was.

    Not their times, nor inotify: a mounted ConfigMap or Secret is a chain of symlinks that is swapped, and its
    events depend on the file system.
    """

    def __init__(self, *files: Path) -> None:
        self._files = files
        self._seen = self._content()

    def changed(self) -> bool:
        """Return whether any file differs from what it was at the last call."""
        content = self._content()
        before, self._seen = self._seen, content
        return content != before

    def _content(self) -> list[bytes | None]:
        return [_read(file) for file in self._files]


class ConfigurationFile:
    """Takes over a changed configuration if it is good, and keeps the old one if it is not."""

    def __init__(
        self, file: Path, load: Callable[[], Configuration], in_force: InForce, metrics: Metrics, log: Log
    ) -> None:
        self._file = file
        self._watch = Watch(file)
        self._load = load
        self._in_force = in_force
        self._metrics = metrics
        self._log = log

    async def look(self) -> None:
        """Read the file if it has changed."""
        if not self._watch.changed():
            return
        try:
            # YAML takes long enough that reviews would notice: not in the loop's thread
            configuration = await asyncio.to_thread(self._load)
        except (ConfigurationError, OSError) as error:
            self._metrics.configuration_read(success=False)
            for line in str(error).splitlines():
                self._log.error("configuration kept", file=str(self._file), message=line)
            return
        self._in_force.configuration = configuration
        self._metrics.configuration_read(success=True)
        self._metrics.configured(configuration.revision)
        self._log.info("configuration read", file=str(self._file), revision=configuration.revision)
        for note in configuration.notes:
            self._log.info("configuration", message=note)


class Certificate:
    """Takes over a changed certificate if it is good, and keeps the old one if it is not."""

    def __init__(
        self,
        files: tuple[Path, ...],
        load: Callable[[], Identity],
        front: Front,
        *,
        in_force: InForce,
        metrics: Metrics,
        log: Log,
        embedded: Embedded | None = None,
    ) -> None:
        self._watch = Watch(*files)
        self._load = load
        self._front = front
        self._in_force = in_force
        self._metrics = metrics
        self._log = log
        self._embedded = embedded
        self._taken = front.identity is not None

    async def look(self) -> None:
        """Renew the pair if that is for us to do; read the files if they have changed, or could not be taken over.

        A pair may become good as it is: by our clock its time has not come, or the disk gave nothing once.
        """
        changed = True
        try:
            if self._embedded is not None:
                self._embedded.renew(datetime.now(UTC))
            changed = self._watch.changed()
            if not changed and self._taken:
                return
            self._taken = False
            identity = self._load()
            self._taken = True
        except (UnusablePairError, OSError) as error:
            if changed:
                self._metrics.certificate_read(success=False)
                self._log.error("certificate kept", message=str(error))
            return
        self._front.swap(identity)
        self._metrics.certificate_read(success=True)
        show(identity, self._in_force, self._metrics)
        self._log.info(
            "certificate read", ends=f"{identity.pair.not_after:%FT%TZ}", fingerprint=identity.pair.fingerprint
        )


def show(identity: Identity, in_force: InForce, metrics: Metrics) -> None:
    """Let readiness and metrics know when the certificate ends."""
    in_force.certificate_end = identity.pair.not_after
    metrics.certified(identity.pair.not_after.timestamp())


async def follow(interval: float, log: Log, metrics: Metrics, *looks: Look) -> None:
    """Look at each every ``interval`` seconds, for as long as the server runs."""
    while True:
        await asyncio.sleep(interval)
        for each in looks:
            try:
                await each.look()
            except Exception as error:  # noqa: BLE001 — a bug here must not end the watch for ever
                log.error("bug", **where(type(error), error.__traceback__))  # noqa: TRY400 — not the stdlib's log
                metrics.bug(Bug.RELOAD)


def _read(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except OSError:
        return None
