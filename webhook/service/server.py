"""The process: two listeners in one loop, from the start to a graceful shutdown."""

import asyncio
import gc
import logging
import math
import os
import signal
import socket
import ssl
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import uvloop
from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector, disable_created_metrics
from uvicorn import Config

from certs.files import ReadFailure
from certs.logs import Log, traceback_fields
from certs.shared_folder import SharedFolder
from certs.verify import UnusablePairError
from webhook import configuration
from webhook.errors import ConfigurationError, PillionError, Problem
from webhook.injection.profile import Configuration
from webhook.service import reloading
from webhook.service.applications import Application, health_app, webhook_app
from webhook.service.http.connection import Connection
from webhook.service.http.listener import Listener
from webhook.service.memory import MemoryTrimmer
from webhook.service.metrics import ExceptionSource, Metrics
from webhook.service.reviews import ReviewService
from webhook.service.settings import Address, Settings
from webhook.service.state import LiveState
from webhook.service.tls import context as tls
from webhook.service.tls.keeper_status import KeeperStatusReader
from webhook.service.tls.local_certificates import NAMES, LocalCertificates

__all__ = ["Server", "StartError", "build", "run"]

#: Connections that wait in the kernel while the loop is busy: a burst, not a queue.
BACKLOG = 1024

#: A legal review nests 900 levels deep, and msgspec counts each as a call; 3,000 fit a stack of 8 MiB many times.
RECURSION_LIMIT = 3000


class StartError(PillionError):
    """The server can't start; the text says why."""


@dataclass(frozen=True, slots=True)
class Server:
    """Everything that serves: :func:`build` makes one, :meth:`start` begins, :meth:`shutdown` ends."""

    settings: Settings
    state: LiveState
    review_listener: Listener
    health_listener: Listener
    pollers: tuple[reloading.Poller, ...]
    log: Log
    metrics: Metrics
    self_signed: LocalCertificates | None

    def start(self) -> "asyncio.Task[None]":
        """Begin to serve in the running loop; return the task that reloads changed files."""
        self.review_listener.start()
        self.health_listener.start()
        loop = asyncio.get_running_loop()
        polling = reloading.poll_forever(self.settings.reload_interval, self.log, self.metrics, *self.pollers)
        return loop.create_task(polling)

    async def shutdown(self, *, time_limit: float) -> None:
        """Stop being ready, serve on until no connection comes any more or ``most`` seconds are over, and close."""
        self.state.draining = True
        await self.review_listener.drain(time_limit, self.settings.drain_idle)
        await self.review_listener.close()
        # last: until then it says that we are not ready
        await self.health_listener.close()

    def abort(self) -> None:
        """Close everything at once."""
        self.review_listener.abort()
        self.health_listener.abort()


def build(settings: Settings, metrics: Metrics, log: Log) -> Server:
    """Return a server whose sockets are bound but not yet listened on.

    Raises :class:`ConfigurationError` for a configuration that can't be used, :class:`StartError` for anything
    else that is in the way: a person who starts a program is told a sentence, whatever went wrong.
    """
    try:
        return _build(settings, metrics, log)
    except PillionError:
        raise
    except Exception as error:
        bug = traceback_fields(type(error), error.__traceback__)
        raise StartError(f"can't start, because of a bug in Pillion: {bug['exception']} at {bug['trace']}") from error


def _build(settings: Settings, metrics: Metrics, log: Log) -> Server:
    configuration_watch = reloading.WatchedFiles(*(() if settings.config is None else (settings.config,)))
    configuration_watch.reload()
    load = partial(_configuration, settings, configuration_watch)
    state = LiveState(load())
    metrics.set_revision(state.configuration.revision)
    for note in state.configuration.notes:
        log.info("configuration", message=note)
    self_signed = _self_signed(settings)
    paths = _paths(settings, self_signed)
    watch = reloading.WatchedFiles(*paths.files())
    identify = partial(_identity, settings, paths, watch)
    identity = _first_identity(settings, paths, watch, self_signed)
    context = tls.ReloadingContext(identity, verify_clients=paths.client_ca is not None)
    if identity is not None:
        reloading.publish_not_after(identity, state, metrics)
    pollers: list[reloading.Poller] = [
        MemoryTrimmer(),
        reloading.CertificateReloader(
            watch, identify, context, state=state, metrics=metrics, log=log, self_signed=self_signed
        ),
    ]
    if settings.tls_folder is not None:
        status_reader = KeeperStatusReader(SharedFolder(settings.tls_folder), context)
        state.certificate_check = status_reader.readiness_error
        metrics.observe_keeper(lambda: status_reader.status)
        pollers.append(status_reader)
    if settings.config is not None:
        pollers.append(
            reloading.ConfigurationReloader(
                settings.config, configuration_watch, load, state=state, metrics=metrics, log=log
            )
        )
    reviews = webhook_app(ReviewService(state, settings, metrics, log))
    health = health_app(state, metrics)
    return Server(
        settings,
        state,
        _listener(settings.listen, reviews, settings, metrics, context.listener_context),
        _listener(settings.health_listen, health, settings, metrics, None),
        tuple(pollers),
        log,
        metrics,
        self_signed,
    )


def run(settings: Settings, announce: Callable[[Server], None]) -> None:
    """Serve until a signal says otherwise; ``announce`` is called once, when requests are being answered.

    Raises :class:`ConfigurationError` or :class:`StartError` where it does not come to that.
    """
    sys.setrecursionlimit(RECURSION_LIMIT)
    disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series a counter, of use to nobody
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    metrics = Metrics(registry)
    with Log(sys.stdout.fileno(), settings.log_format, on_drop=metrics.count_dropped_log_line) as log:
        handler = log.library_handler(on_exception=partial(metrics.count_exception, ExceptionSource.LIBRARY))
        logging.basicConfig(handlers=[handler], level=logging.WARNING)
        server = build(settings, metrics, log)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_until_signalled(server, announce))


async def _until_signalled(server: Server, announce: Callable[[Server], None]) -> None:
    """Serve; the first signal begins to drain, the second ends at once."""
    loop = asyncio.get_running_loop()
    signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signals.put_nowait, number)
    polling = server.start()
    # What lives now lives as long as the process: the collector need not look at it again and again.
    gc.collect()
    gc.freeze()
    announce(server)
    first = await signals.get()
    # SIGINT is somebody at a keyboard: no API server has to hear of it first
    time_limit = server.settings.drain_timeout if first is signal.SIGTERM else 0.0
    server.log.info("draining", signal=first.name, seconds=time_limit)
    stopping = loop.create_task(server.shutdown(time_limit=time_limit))
    second = loop.create_task(signals.get())
    await asyncio.wait({stopping, second}, return_when=asyncio.FIRST_COMPLETED)
    if stopping.done():
        stopping.result()  # a bug in it must not pass for an orderly end
    else:
        stopping.cancel()
        server.abort()
    for task in (polling, second):
        task.cancel()
    server.log.info("stopped")


def _listener(
    address: Address, app: Application, settings: Settings, metrics: Metrics, context: ssl.SSLContext | None
) -> Listener:
    """Return a listener at the address."""
    config = Config(
        app,
        interface="asgi3",
        http=Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=math.ceil(settings.keep_alive),
    )
    listener = Listener(_socket(address), config, settings, metrics, context=context)
    metrics.observe_connections("plain" if context is None else "tls", lambda: listener.open_count)
    return listener


def _socket(address: Address) -> socket.socket:
    """Return a socket that is bound to the address; an empty host is every address, IPv6 and IPv4."""
    everywhere = not address.host and socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if everywhere or ":" in address.host else socket.AF_INET
    try:
        return socket.create_server(
            (address.host, address.port), family=family, backlog=BACKLOG, dualstack_ipv6=everywhere
        )
    except OSError as error:
        # create_server adds the address once more to what the system says; a resolver's errors are below zero
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise StartError(f"can't listen on {address}: {reason}; --listen and --health-listen choose others") from None


def _configuration(settings: Settings, watch: reloading.WatchedFiles) -> Configuration:
    """Return the configuration in the file as the watch has read it, or the built-in one."""
    prefix, strict, shadow = settings.prefix, settings.strict, settings.shadow
    if settings.config is None:
        return configuration.load(None, prefix=prefix, strict=strict, shadow=shadow)
    content = watch.content[settings.config]
    if isinstance(content, ReadFailure):
        raise ConfigurationError([Problem((), f"can't be read: {content.reason}")], str(settings.config))
    return configuration.parse(content, str(settings.config), prefix=prefix, strict=strict, shadow=shadow)


def _self_signed(settings: Settings) -> LocalCertificates | None:
    """Return the self-signed certificates, or None where a certificate is provided."""
    if settings.tls_cert is not None or settings.tls_folder is not None or settings.state_folder is None:
        return None
    hosts = (settings.listen.host,) if settings.listen.host else ()
    return LocalCertificates(settings.state_folder, tuple(dict.fromkeys((*NAMES, *hosts, *(settings.tls_names or ())))))


def _paths(settings: Settings, self_signed: LocalCertificates | None) -> tls.CertificatePaths:
    if self_signed is not None:
        return tls.CertificatePaths(self_signed.pair_file, self_signed.pair_file, settings.client_ca)
    if settings.tls_folder is not None:
        pair = SharedFolder(settings.tls_folder).pair_file
        return tls.CertificatePaths(pair, pair, settings.client_ca)
    return tls.CertificatePaths(settings.tls_cert or Path(), settings.tls_key or Path(), settings.client_ca)


def _identity(settings: Settings, paths: tls.CertificatePaths, watch: reloading.WatchedFiles) -> tls.ServingCertificate:
    return tls.load_serving_certificate(paths, watch.content, now=datetime.now(UTC), names=settings.tls_names or ())


def _first_identity(
    settings: Settings,
    paths: tls.CertificatePaths,
    watch: reloading.WatchedFiles,
    self_signed: LocalCertificates | None,
) -> tls.ServingCertificate | None:
    """Return what to begin with, made if need be; None where a keeper will write it."""
    if self_signed is not None:
        try:
            self_signed.renew_if_needed(datetime.now(UTC))
        except UnusablePairError as error:
            raise StartError(f"can't make a certificate: {error}") from None
        except OSError as error:
            path = error.filename2 or error.filename or self_signed.folder
            raise StartError(f"can't make a certificate: {path}: {error.strerror}") from None
    watch.reload()
    try:
        return _identity(settings, paths, watch)
    except UnusablePairError as error:
        if settings.tls_folder is not None:
            return None
        key = f" and the key {paths.key}" if paths.key != paths.certificate else ""
        raise StartError(f"can't serve with the certificate {paths.certificate}{key}: {error}") from None
