"""Reloads configuration and certificate files that change while the server runs, if they are valid."""

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
from webhook.service.tls import context as tls
from webhook.service.tls.context import ServingCertificate, ServingContext
from webhook.service.tls.sources import CertificateSource

__all__ = [
    "CertificateReloader",
    "ConfigurationReloader",
    "Poller",
    "WatchedFiles",
    "poll_forever",
]

#: Logged in place of an unexpected exception's message, which may quote a key, or a secret variable of a profile.
UNEXPECTED = "unexpected exception while reading it: a bug in Pillion"


class Poller(Protocol):
    """An object that checks for changes whenever it is polled."""

    async def poll(self) -> None:
        """Check for changes, and apply them."""


class WatchedFiles:
    """Files that are reloaded, and compared with their previous content.

    Users of the content take it from here and do not read the files again, so what was compared is what is in force.
    Only OpenSSL reads certificate and key itself; a handshake then checks that they are the same (``tls.context``).
    Content is compared rather than times, and polled rather than watched with inotify: a mounted ConfigMap or Secret is
    a chain of symlinks that is swapped, and inotify's events depend on the file system.
    """

    def __init__(self, *files: Path) -> None:
        self._files = files
        self.content: Mapping[Path, Content] = {}
        """The content as of the last :meth:`reload`; empty before the first."""

    def reload(self) -> bool:
        """Read all files; return whether any content changed, or whether this is the first call."""
        previous, self.content = self.content, {file: files.read(file) for file in self._files}
        return self.content != previous


class ConfigurationReloader:
    """Applies a changed configuration if it is valid; otherwise the old one stays in force."""

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
        """Load the configuration if its file has changed."""
        if not self._watch.reload():
            return
        try:
            # in another thread: parsing YAML would delay reviews
            configuration = await asyncio.to_thread(self._load)
        except ConfigurationError as error:
            self._metrics.record_configuration_reload(success=False)
            for line in str(error).splitlines():
                self._log.error("configuration reload failed", file=str(self._file), message=line)
            return
        except Exception as error:  # noqa: BLE001 — a bug must not end the polling
            self._metrics.record_configuration_reload(success=False)
            self._metrics.count_exception(ExceptionSource.POLL)
            fields = traceback_fields(type(error), error.__traceback__)
            self._log.error("configuration reload failed", file=str(self._file), message=UNEXPECTED, **fields)
            return
        self._state.configuration = configuration
        self._metrics.record_configuration_reload(success=True)
        self._metrics.set_profiles(configuration.profiles.values())
        self._log.info("configuration reloaded", file=str(self._file), profiles=configuration.revisions)
        for note in configuration.notes:
            self._log.info("configuration", message=note)


class CertificateReloader:
    """Serves a changed certificate if it is valid; otherwise the old one stays in use."""

    def __init__(
        self,
        source: CertificateSource,
        context: ServingContext,
        *,
        client_ca: Path | None,
        names: tuple[str, ...],
        state: LiveState,
        metrics: Metrics,
        log: Log,
    ) -> None:
        self._source = source
        self._context = context
        self._paths = tls.CertificatePaths(*source.files, client_ca)
        self._names = names
        self._watch = WatchedFiles(*self._paths.files())
        self._state = state
        self._metrics = metrics
        self._log = log
        self._loaded = False
        self._last_failure = ""
        """The last failure that was logged; empty after a success."""

    def load_first(self) -> None:
        """Load the certificate to start with, if there is one.

        Raises :class:`certs.verify.UnusablePairError` if the source requires one.
        """
        try:
            self._source.prepare(datetime.now(UTC), None)
            self._watch.reload()
            self._load()
        except UnusablePairError:
            if self._source.required:
                raise

    async def poll(self) -> None:
        """Prepare the files; load them if they changed, or if the last attempt failed.

        Unchanged files may become usable: a certificate becomes valid, or a disk error passes.
        """
        changed = False
        try:
            in_use = self._context.certificate
            self._source.prepare(datetime.now(UTC), None if in_use is None else in_use.leaf)
            changed = self._watch.reload()
            if not changed and self._loaded:
                self._count_recovery()
                return
            self._loaded = False
            certificate = self._load()
        except UnusablePairError as error:
            self._reload_failed(changed, message=str(error))
            return
        except Exception as error:  # noqa: BLE001 — a bug must not end the polling
            if self._reload_failed(changed, message=UNEXPECTED, **traceback_fields(type(error), error.__traceback__)):
                self._metrics.count_exception(ExceptionSource.POLL)
            return
        self._last_failure = ""
        self._metrics.record_certificate_reload(success=True)
        self._log.info(
            "certificate reloaded",
            not_after=f"{certificate.leaf.not_after:%FT%TZ}",
            fingerprint=certificate.leaf.fingerprint,
        )

    def _load(self) -> ServingCertificate:
        """Load the files, and serve the certificate from now on."""
        certificate = tls.load_serving_certificate(
            self._paths, self._watch.content, now=datetime.now(UTC), names=self._names
        )
        self._loaded = True
        self._context.swap(certificate)
        self._state.certificate_not_after = certificate.leaf.not_after
        self._metrics.set_certificate_not_after(certificate.leaf.not_after.timestamp())
        return certificate

    def _count_recovery(self) -> None:
        """Count a success after :meth:`CertificateSource.prepare` failed: the files did not change, and are in use."""
        if self._last_failure:
            self._last_failure = ""
            self._metrics.record_certificate_reload(success=True)

    def _reload_failed(self, changed: bool, *, message: str, **fields: Field) -> bool:
        """Count and log a failure, unless it repeats the last one; return whether it was logged."""
        failure = f"{message} {fields.get('trace', '')}"
        if not changed and failure == self._last_failure:
            return False
        self._last_failure = failure
        self._metrics.record_certificate_reload(success=False)
        self._log.error("certificate reload failed", message=message, **fields)
        return True


async def poll_forever(interval: float, log: Log, metrics: Metrics, *pollers: Poller) -> None:
    """Poll each poller every ``interval`` seconds until cancelled."""
    while True:
        await asyncio.sleep(interval)
        for poller in pollers:
            try:
                await poller.poll()
            except Exception as error:  # noqa: BLE001 — a bug in one poller must not end the polling
                log.error("unexpected exception", **traceback_fields(type(error), error.__traceback__))  # noqa: TRY400 — not the stdlib's log
                metrics.count_exception(ExceptionSource.POLL)
