"""The server process: two listeners in one event loop, from start to graceful shutdown."""

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
from functools import partial

import uvloop
from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector, disable_created_metrics
from uvicorn import Config

from certs.files import Content, ReadFailure
from certs.logs import Log, traceback_fields
from certs.shared_directory import SharedDirectory
from certs.verify import UnusablePairError
from webhook import configuration
from webhook.errors import ConfigurationError, PillionError, Problem, StartError
from webhook.injection.profile import Configuration
from webhook.service import reloading
from webhook.service.applications import Application, health_app, webhook_app
from webhook.service.http.connection import Connection
from webhook.service.http.listener import Listener
from webhook.service.memory import MemoryTrimmer, trim
from webhook.service.metrics import ExceptionSource, Metrics
from webhook.service.readiness import ReadinessLogger
from webhook.service.reviews import ReviewService
from webhook.service.settings import Address, Settings
from webhook.service.state import LiveState
from webhook.service.tls.context import ServingContext
from webhook.service.tls.local_certificates import LOCAL_HOST_NAMES, LocalCertificates
from webhook.service.tls.sources import CertificateFiles, CertificateSource, SharedDirectorySource

__all__ = ["Server", "build", "run"]

#: The length of the kernel's accept queue: enough for a burst of connections while the loop is busy.
BACKLOG = 1024

#: A pod's ``managedFields`` may nest 900 levels deep, and msgspec counts each level as a call. A stack of 8 MiB holds
#: many times 3,000 frames.
RECURSION_LIMIT = 3000


@dataclass(frozen=True, slots=True)
class Server:
    """A server with bound sockets, as :func:`build` returns it: :meth:`start` starts it, :meth:`shutdown` ends it."""

    settings: Settings
    state: LiveState
    review_listener: Listener
    health_listener: Listener
    tasks: tuple[reloading.PeriodicTask, ...]
    log: Log
    metrics: Metrics
    certificate_source: CertificateSource

    def start(self) -> "asyncio.Task[None]":
        """Start to serve in the running event loop; return the asyncio task that runs the periodic ones."""
        self.review_listener.start()
        self.health_listener.start()
        loop = asyncio.get_running_loop()
        running = reloading.run_forever(self.settings.reload_interval, self.log, self.metrics, *self.tasks)
        return loop.create_task(running)

    async def shutdown(self, *, time_limit: float) -> None:
        """Become unready, drain connections for at most ``time_limit`` seconds, and close both listeners."""
        self.state.draining = True
        await self.review_listener.drain(time_limit, self.settings.drain_idle)
        await self.review_listener.close()
        # last, so that /readyz answers while connections drain
        await self.health_listener.close()

    def abort(self) -> None:
        """Close everything at once."""
        self.review_listener.abort()
        self.health_listener.abort()


def build(settings: Settings, metrics: Metrics, log: Log) -> Server:
    """Return a server whose sockets are bound, and which does not serve yet.

    An invalid configuration file does not keep it from starting: it uses the backup, or, without one, is not ready
    until the file is corrected.
    Raises :class:`ConfigurationError` for an invalid ``--prefix`` with the built-in configuration, :class:`StartError`
    for anything else, even for an unexpected exception, so that every failure to start ends with a readable message.
    """
    try:
        return _build(settings, metrics, log)
    except PillionError:
        raise
    except Exception as error:
        fields = traceback_fields(type(error), error.__traceback__)
        raise StartError(
            f"can't start, because of a bug in Pillion: {fields['exception']} at {fields['trace']}"
        ) from error


def _build(settings: Settings, metrics: Metrics, log: Log) -> Server:
    state = LiveState()
    tasks: list[reloading.PeriodicTask] = [MemoryTrimmer()]
    if settings.config is None:
        reloading.put_in_force(_builtin_configuration(settings), state, metrics, log)
    else:
        parse = partial(_parse_configuration, settings)
        configurations = reloading.ConfigurationReloader(
            settings.config, settings.config_backup, parse, state=state, metrics=metrics, log=log
        )
        configurations.load_initial()
        tasks.append(configurations)
    source = _certificate_source(settings)
    context = ServingContext(verify_clients=settings.client_ca is not None)
    certificates = reloading.CertificateReloader(
        source,
        context,
        client_ca=settings.client_ca,
        names=settings.tls_names or (),
        state=state,
        metrics=metrics,
        log=log,
    )
    try:
        certificates.load_initial()
    except UnusablePairError as error:
        files = " and the key ".join(map(str, dict.fromkeys(source.files)))
        raise StartError(f"can't serve with the certificate {files}: {error}") from None
    state.check_certificate = source.readiness_error
    metrics.observe_readiness(state.is_ready)
    if isinstance(source, SharedDirectorySource):
        metrics.observe_keeper(lambda: source.status)
    tasks.append(certificates)
    tasks.append(ReadinessLogger(state, log))  # the last, which sees what the others have changed
    reviews = webhook_app(ReviewService(state, settings, metrics, log))
    health = health_app(state, metrics)
    return Server(
        settings,
        state,
        _listener(settings.listen, reviews, settings, metrics, context.listener_context),
        _listener(settings.health_listen, health, settings, metrics, None),
        tuple(tasks),
        log,
        metrics,
        source,
    )


def run(settings: Settings, announce: Callable[[Server], None]) -> None:
    """Serve until SIGTERM or SIGINT; ``announce`` is called once, when the server answers requests.

    Raises :class:`ConfigurationError` or :class:`StartError` if the server can't start.
    """
    sys.setrecursionlimit(RECURSION_LIMIT)
    disable_created_metrics()  # type: ignore[no-untyped-call]  # they double the series of each counter
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    metrics = Metrics(registry)
    descriptor, on_drop = sys.stdout.fileno(), metrics.count_dropped_log_line
    with Log(descriptor, settings.log_format, level=settings.log_level, on_drop=on_drop) as log:
        handler = log.library_handler(on_exception=partial(metrics.count_exception, ExceptionSource.LIBRARY))
        logging.basicConfig(handlers=[handler], level=logging.WARNING)
        server = build(settings, metrics, log)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_until_signalled(server, announce))


async def _until_signalled(server: Server, announce: Callable[[Server], None]) -> None:
    """Serve; drain at the first signal, and close at once at the second."""
    loop = asyncio.get_running_loop()
    signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signals.put_nowait, number)
    periodic = server.start()
    # Objects that exist now live as long as the process: exclude them from garbage collections.
    trim()
    gc.freeze()
    announce(server)
    first = await signals.get()
    # SIGINT is from a keyboard: there are no API servers to wait for
    time_limit = server.settings.drain_timeout if first is signal.SIGTERM else 0.0
    server.log.info("draining", signal=first.name, seconds=time_limit)
    stopping = loop.create_task(server.shutdown(time_limit=time_limit))
    second = loop.create_task(signals.get())
    await asyncio.wait({stopping, second}, return_when=asyncio.FIRST_COMPLETED)
    if stopping.done():
        stopping.result()  # raises its exception, if it has one
    else:
        stopping.cancel()
        server.abort()
    for task in (periodic, second):
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
    metrics.observe_connections("health" if context is None else "reviews", lambda: listener.open_count)
    return listener


def _socket(address: Address) -> socket.socket:
    """Return a socket that is bound to the address; an empty host means all addresses, IPv6 and IPv4."""
    everywhere = not address.host and socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if everywhere or ":" in address.host else socket.AF_INET
    try:
        return socket.create_server(
            (address.host, address.port), family=family, backlog=BACKLOG, dualstack_ipv6=everywhere
        )
    except OSError as error:
        # create_server appends the address to the system's message; a resolver's error numbers are negative
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise StartError(
            f"can't listen on {address}: {reason}; choose another with --listen or --health-listen"
        ) from None


def _builtin_configuration(settings: Settings) -> Configuration:
    return configuration.load(None, prefix=settings.prefix, strict=settings.strict, shadow=settings.shadow)


def _parse_configuration(settings: Settings, content: Content, source: str) -> Configuration:
    """Return the configuration in a file's content."""
    if isinstance(content, ReadFailure):
        raise ConfigurationError([Problem((), f"can't be read: {content.reason}")], source)
    return configuration.parse(content, source, prefix=settings.prefix, strict=settings.strict, shadow=settings.shadow)


def _certificate_source(settings: Settings) -> CertificateSource:
    if settings.shared_directory is not None:
        return SharedDirectorySource(SharedDirectory(settings.shared_directory))
    if settings.tls_cert is not None and settings.tls_key is not None:
        return CertificateFiles(settings.tls_cert, settings.tls_key)
    if settings.state_directory is None:
        raise StartError(
            "there is no certificate; set --tls-cert and --tls-key, --shared-directory or --state-directory"
        )
    hosts = (settings.listen.host,) if settings.listen.host else ()
    names = dict.fromkeys((*LOCAL_HOST_NAMES, *hosts, *(settings.tls_names or ())))
    return LocalCertificates(settings.state_directory, tuple(names))
