"""Configuration and certificate files that change while the server runs: reloaded if they are valid."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from certs import files
from certs.files import Content
from certs.logs import Field, Log, traceback_fields
from certs.verify import UnusablePairError
from webhook.errors import ConfigurationError
from webhook.injection.profile import Configuration
from webhook.service.metrics import ExceptionSource, Metrics
from webhook.service.state import LiveState
from webhook.service.tls.context import ReloadingContext, ServingCertificate
from webhook.service.tls.local_certificates import LocalCertificates

__all__ = [
    "CertificateReloader",
    "ConfigurationReloader",
    "Poller",
    "WatchedFiles",
    "poll_forever",
    "publish_not_after",
]

#: Logged for an unexpected exception: its own text may quote a key, or what a profile hides in a variable.
BUG = "a bug of Pillion: reading it ended in an exception"


class Poller(Protocol):
    """Something that is polled for changes."""

    async def poll(self) -> None:
        """Apply what has changed."""


class WatchedFiles:
    """Files whose content is compared with what was read last.

    Who uses the content uses what is here and reads no file again: what is compared is exactly what is in force. Not
    times, nor inotify: a mounted ConfigMap or Secret is a chain of symlinks that is swapped, and its events depend on
    the file system.
    """

    def __init__(self, *files: Path) -> None:
        self._files = files
        self.content: Mapping[Path, Content] = {}
        """What was read last; nothing before :meth:`reload` was called."""

    def reload(self) -> bool:
        """Read the files; return whether any differs from what it was at the last call: true at the first."""
        before, self.content = self.content, {file: files.read(file) for file in self._files}
        return self.content != before


class ConfigurationReloader:
    """Applies a changed configuration if it is valid, and keeps the old one if it is not."""

    def __init__(
        self,
        file: Path,
        watch: WatchedFiles,
        load: Callable[[], Configuration],
        *,
        state: LiveState,
        metrics: Metrics,
        log: Log,
    ) -> None:
        self._file = file
        self._watch = watch
        self._load = load
        self._state = state
        self._metrics = metrics
        self._log = log

    async def poll(self) -> None:
        """Read the file if it has changed."""
        if not self._watch.reload():
            return
        try:
            # YAML takes long enough that reviews would notice: not in the loop's thread
            configuration = await asyncio.to_thread(self._load)
        except ConfigurationError as error:
            self._metrics.record_configuration_reload(success=False)
            for line in str(error).splitlines():
                self._log.error("configuration reload failed", file=str(self._file), message=line)
            return
        except Exception as error:  # noqa: BLE001 — whatever it is, this file is not in force
            self._metrics.record_configuration_reload(success=False)
            self._metrics.count_exception(ExceptionSource.RELOAD)
            bug = traceback_fields(type(error), error.__traceback__)
            self._log.error("configuration reload failed", file=str(self._file), message=BUG, **bug)
            return
        self._state.configuration = configuration
        self._metrics.record_configuration_reload(success=True)
        self._metrics.set_revision(configuration.revision)
        self._log.info("configuration reloaded", file=str(self._file), revision=configuration.revision)
        for note in configuration.notes:
            self._log.info("configuration", message=note)


class CertificateReloader:
    """Serves a changed certificate if it is valid, and keeps the old one if it is not."""

    def __init__(
        self,
        watch: WatchedFiles,
        load: Callable[[], ServingCertificate],
        context: ReloadingContext,
        *,
        state: LiveState,
        metrics: Metrics,
        log: Log,
        self_signed: LocalCertificates | None = None,
    ) -> None:
        self._watch = watch
        self._load = load
        self._context = context
        self._state = state
        self._metrics = metrics
        self._log = log
        self._self_signed = self_signed
        self._loaded = context.identity is not None
        self._last_failure = ""
        """What was logged last, as long as it is true."""

    async def poll(self) -> None:
        """Renew a self-signed pair; load the files if they have changed, or could not be loaded the last time.

        A pair may become usable unchanged: it was not valid yet by our clock, or the disk failed once.
        """
        changed = False
        try:
            if self._self_signed is not None:
                self._self_signed.renew_if_needed(datetime.now(UTC))
            changed = self._watch.reload()
            if not changed and self._loaded:
                self._count_recovery()
                return
            self._loaded = False
            identity = self._load()
            self._loaded = True
        except (UnusablePairError, OSError) as error:
            self._reload_failed(changed, message=str(error))
            return
        except Exception as error:  # noqa: BLE001 — whatever it is, these files are not in force
            if self._reload_failed(changed, message=BUG, **traceback_fields(type(error), error.__traceback__)):
                self._metrics.count_exception(ExceptionSource.RELOAD)
            return
        self._last_failure = ""
        self._context.swap(identity)
        self._metrics.record_certificate_reload(success=True)
        publish_not_after(identity, self._state, self._metrics)
        self._log.info(
            "certificate reloaded",
            not_after=f"{identity.pair.not_after:%FT%TZ}",
            fingerprint=identity.pair.fingerprint,
        )

    def _count_recovery(self) -> None:
        """Reset the metric: only a renewal had failed, and the pair in force is the one in the files."""
        if self._last_failure:
            self._last_failure = ""
            self._metrics.record_certificate_reload(success=True)

    def _reload_failed(self, changed: bool, *, message: str, **fields: Field) -> bool:
        """Count and log a failure unless it is the last one again; return whether it was logged."""
        failure = f"{message} {fields.get('trace', '')}"
        if not changed and failure == self._last_failure:
            return False
        self._last_failure = failure
        self._metrics.record_certificate_reload(success=False)
        self._log.error("certificate reload failed", message=message, **fields)
        return True


def publish_not_after(identity: ServingCertificate, state: LiveState, metrics: Metrics) -> None:
    """Set when the certificate expires, for readiness and metrics."""
    state.certificate_not_after = identity.pair.not_after
    metrics.set_certificate_not_after(identity.pair.not_after.timestamp())


async def poll_forever(interval: float, log: Log, metrics: Metrics, *pollers: Poller) -> None:
    """Poll each every ``interval`` seconds, for as long as the server runs."""
    while True:
        await asyncio.sleep(interval)
        for each in pollers:
            try:
                await each.poll()
            except Exception as error:  # noqa: BLE001 — a bug here must not end the polling for ever
                log.error("unexpected exception", **traceback_fields(type(error), error.__traceback__))  # noqa: TRY400 — not the stdlib's log
                metrics.count_exception(ExceptionSource.RELOAD)
