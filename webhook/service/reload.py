"""Files that may change while the server runs: compared by their bytes, taken over if they are good."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from certs import files
from certs.files import Content
from certs.verify import UnusablePairError
from webhook.errors import ConfigurationError
from webhook.injection.profile import Configuration
from webhook.service.app import InForce
from webhook.service.embedded import Embedded
from webhook.service.logs import Field, Log, where
from webhook.service.metrics import Bug, Metrics
from webhook.service.tls import Front, Identity

__all__ = ["Certificate", "ConfigurationFile", "Look", "Watch", "follow", "show"]

#: Said of an exception that nobody expected: its own text may quote a key, or what a profile hides in a variable.
BUG = "a bug of Pillion: reading it ended in an exception"


class Look(Protocol):
    """Something that is looked at again and again."""

    async def look(self) -> None:
        """Take over what has changed."""


class Watch:
    """Files whose content is compared with what was read last.

    Who uses the content uses what is here and reads no file again: what is compared is exactly what is in force. Not
    times, nor inotify: a mounted ConfigMap or Secret is a chain of symlinks that is swapped, and its events depend on
    the file system.
    """

    def __init__(self, *files: Path) -> None:
        self._files = files
        self.content: Mapping[Path, Content] = {}
        """What was read last; nothing before :meth:`changed` was called."""

    def changed(self) -> bool:
        """Read the files; return whether any differs from what it was at the last call: true at the first."""
        before, self.content = self.content, {file: files.read(file) for file in self._files}
        return self.content != before


class ConfigurationFile:
    """Takes over a changed configuration if it is good, and keeps the old one if it is not."""

    def __init__(
        self,
        file: Path,
        watch: Watch,
        load: Callable[[], Configuration],
        *,
        in_force: InForce,
        metrics: Metrics,
        log: Log,
    ) -> None:
        self._file = file
        self._watch = watch
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
        except ConfigurationError as error:
            self._metrics.configuration_read(success=False)
            for line in str(error).splitlines():
                self._log.error("configuration kept", file=str(self._file), message=line)
            return
        except Exception as error:  # noqa: BLE001 — whatever it is, this file is not in force
            self._metrics.configuration_read(success=False)
            self._metrics.bug(Bug.RELOAD)
            bug = where(type(error), error.__traceback__)
            self._log.error("configuration kept", file=str(self._file), message=BUG, **bug)
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
        watch: Watch,
        load: Callable[[], Identity],
        front: Front,
        *,
        in_force: InForce,
        metrics: Metrics,
        log: Log,
        embedded: Embedded | None = None,
    ) -> None:
        self._watch = watch
        self._load = load
        self._front = front
        self._in_force = in_force
        self._metrics = metrics
        self._log = log
        self._embedded = embedded
        self._taken = front.identity is not None
        self._failure = ""
        """What was said last, as long as it is true."""

    async def look(self) -> None:
        """Renew the pair if that is for us to do; read the files if they have changed, or could not be taken over.

        A pair may become good as it is: by our clock its time has not come, or the disk gave nothing once.
        """
        changed = False
        try:
            if self._embedded is not None:
                self._embedded.renew(datetime.now(UTC))
            changed = self._watch.changed()
            if not changed and self._taken:
                self._recover()
                return
            self._taken = False
            identity = self._load()
            self._taken = True
        except (UnusablePairError, OSError) as error:
            self._keep(changed, message=str(error))
            return
        except Exception as error:  # noqa: BLE001 — whatever it is, these files are not in force
            if self._keep(changed, message=BUG, **where(type(error), error.__traceback__)):
                self._metrics.bug(Bug.RELOAD)
            return
        self._failure = ""
        self._front.swap(identity)
        self._metrics.certificate_read(success=True)
        show(identity, self._in_force, self._metrics)
        self._log.info(
            "certificate read", ends=f"{identity.pair.not_after:%FT%TZ}", fingerprint=identity.pair.fingerprint
        )

    def _recover(self) -> None:
        """Say that what is in the files is in force: what failed was the renewal of a pair that is still good."""
        if self._failure:
            self._failure = ""
            self._metrics.certificate_read(success=True)

    def _keep(self, changed: bool, *, message: str, **fields: Field) -> bool:
        """Count and log a failure, if it is of other files than the last one, or another; return whether it is."""
        failure = f"{message} {fields.get('trace', '')}"
        if not changed and failure == self._failure:
            return False
        self._failure = failure
        self._metrics.certificate_read(success=False)
        self._log.error("certificate kept", message=message, **fields)
        return True


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
