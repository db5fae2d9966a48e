"""Reloads configuration and certificate files that change while the server runs, if they are valid."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from certs import files
from certs.files import Content, ReadFailure
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
    "PeriodicTask",
    "PolledFiles",
    "put_in_force",
    "run_forever",
]

#: Logged in place of an unexpected exception's message, which may quote a key, or a secret variable of a profile.
UNEXPECTED = "unexpected exception while reading it: a bug in Pillion"


class PeriodicTask(Protocol):
    """Work that the server repeats every ``reload_interval``, such as looking for changed files."""

    async def run(self) -> None:
        """Do it once."""


class PolledFiles:
    """Files that are reloaded, and compared with their previous content.

    Users of the content take it from here and do not read the files again, so what was compared is what is in force.
    Only OpenSSL reads certificate and key itself; a handshake then checks that they are the same (``tls.context``).
    Content is compared rather than times, and polled rather than watched with inotify: a mounted ConfigMap or Secret is
    a chain of symlinks that is swapped, and inotify's events depend on the file system.
    """

    def __init__(self, *files: Path) -> None:
        self._files = files
        #: The content as of the last :meth:`reload`; empty before the first.
        self.content: Mapping[Path, Content] = {}

    def reload(self) -> bool:
        """Read all files; return whether any content changed, or whether this is the first call."""
        previous, self.content = self.content, {file: files.read(file) for file in self._files}
        return self.content != previous


class ConfigurationReloader:
    """Applies the configuration in a file, at the start and after each change, if it is valid.

    If it is not, the previous configuration stays in force. At the start that is the backup: the last valid
    configuration of a server that was restarted in the same pod. Without one there is no configuration, and the server
    is not ready. It never is the built-in configuration, which lacks the operator's bounds and strictness.
    """

    def __init__(
        self,
        file: Path,
        backup: Path | None,
        parse: Callable[[Content, str], Configuration],
        *,
        state: LiveState,
        metrics: Metrics,
        log: Log,
    ) -> None:
        self._file = file
        self._backup = backup
        self._parse = parse
        self._polled = PolledFiles(file)
        self._state = state
        self._metrics = metrics
        self._log = log

    def load_initial(self) -> None:
        """Apply the configuration to start with: the file's, otherwise the backup's, otherwise none."""
        self._polled.reload()
        content = self._polled.content[self._file]
        try:
            configuration = self._parse(content, str(self._file))
        except Exception as error:  # noqa: BLE001 — a bug must not end a server that has a backup
            self._state.configuration_error = self._reject("configuration rejected", self._file, error)
            self._load_backup()
        else:
            self._apply(configuration, content)

    async def run(self) -> None:
        """Load the configuration if its file has changed."""
        if not self._polled.reload():
            return
        content = self._polled.content[self._file]
        try:
            # in another thread: parsing YAML would delay reviews
            configuration = await asyncio.to_thread(self._parse, content, str(self._file))
        except Exception as error:  # noqa: BLE001 — a bug must not end the periodic tasks
            message = self._reject("configuration reload failed", self._file, error)
            if self._state.configuration is None:
                self._state.configuration_error = message
            return
        self._apply(configuration, content)
        self._metrics.record_configuration_reload(success=True)
        self._log.info("configuration reloaded", file=str(self._file), profiles=configuration.revisions)

    def _apply(self, configuration: Configuration, content: Content) -> None:
        """Put a valid configuration of the file in force, and keep it as the backup."""
        put_in_force(configuration, self._state, self._metrics, self._log)
        if self._backup is None or isinstance(content, ReadFailure):
            return
        try:
            files.write_atomically(self._backup, content)
        except OSError as error:
            self._log.warning("configuration backup failed", file=str(self._backup), message=error.strerror)

    def _load_backup(self) -> None:
        """Put the backup in force, if there is a valid one."""
        if self._backup is None:
            return
        content = files.read(self._backup)
        if isinstance(content, ReadFailure):
            return
        try:
            configuration = self._parse(content, str(self._backup))
        except Exception as error:  # noqa: BLE001 — as above
            self._reject("configuration rejected", self._backup, error)
            return
        put_in_force(configuration, self._state, self._metrics, self._log, from_backup=True)
        self._log.warning("configuration from backup", file=str(self._backup), profiles=configuration.revisions)

    def _reject(self, event: str, file: Path, error: Exception) -> str:
        """Count and log why a file can't be used; return the reason in one sentence."""
        self._metrics.record_configuration_reload(success=False)
        if not isinstance(error, ConfigurationError):
            self._metrics.count_exception(ExceptionSource.POLL)
            fields = traceback_fields(type(error), error.__traceback__)
            self._log.error(event, file=str(file), message=UNEXPECTED, **fields)
            return f"the configuration is not in force: {UNEXPECTED}"
        problems = str(error).splitlines()
        for problem in problems:
            self._log.error(event, file=str(file), message=problem)
        more = f" (and {len(problems) - 1} more, in the log)" if problems[1:] else ""
        return f"the configuration is invalid: {problems[0]}{more}"


def put_in_force(
    configuration: Configuration, state: LiveState, metrics: Metrics, log: Log, *, from_backup: bool = False
) -> None:
    """Use a configuration from now on, and log its messages."""
    state.configuration = configuration
    metrics.set_profiles(configuration.profiles.values(), from_backup=from_backup)
    for message in configuration.log_messages:
        log.info("configuration note", message=message)


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
        self._polled = PolledFiles(*self._paths.files())
        self._state = state
        self._metrics = metrics
        self._log = log
        self._loaded = False
        #: The last failure that was logged; empty after a success.
        self._last_failure = ""

    def load_initial(self) -> None:
        """Load the certificate to start with, if there is one.

        Raises :class:`certs.verify.UnusablePairError` if the source requires one.
        """
        try:
            self._source.prepare(datetime.now(UTC), None)
            self._polled.reload()
            self._load()
        except UnusablePairError:
            if self._source.required:
                raise

    async def run(self) -> None:
        """Prepare the files; load them if they changed, or if the last attempt failed.

        Unchanged files may become usable: a certificate becomes valid, or a disk error passes.
        """
        changed = False
        try:
            in_use = self._context.certificate
            self._source.prepare(datetime.now(UTC), None if in_use is None else in_use.leaf)
            changed = self._polled.reload()
            if not changed and self._loaded:
                self._count_recovery()
                return
            self._loaded = False
            certificate = self._load()
        except UnusablePairError as error:
            self._record_failure(changed, message=str(error))
            return
        except Exception as error:  # noqa: BLE001 — a bug must not end the periodic tasks
            if self._record_failure(changed, message=UNEXPECTED, **traceback_fields(type(error), error.__traceback__)):
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
            self._paths, self._polled.content, now=datetime.now(UTC), names=self._names
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

    def _record_failure(self, changed: bool, *, message: str, **fields: Field) -> bool:
        """Count and log a failure, unless it repeats the last one; return whether it was logged."""
        failure = f"{message} {fields.get('trace', '')}"
        if not changed and failure == self._last_failure:
            return False
        self._last_failure = failure
        self._metrics.record_certificate_reload(success=False)
        self._log.error("certificate reload failed", message=message, **fields)
        return True


async def run_forever(interval: float, log: Log, metrics: Metrics, *tasks: PeriodicTask) -> None:
    """Run each task every ``interval`` seconds until cancelled."""
    while True:
        await asyncio.sleep(interval)
        for task in tasks:
            try:
                await task.run()
            except Exception as error:  # noqa: BLE001 — a bug in one task must not end the others
                log.error("unexpected exception", **traceback_fields(type(error), error.__traceback__))  # noqa: TRY400 — not the stdlib's log
                metrics.count_exception(ExceptionSource.POLL)
