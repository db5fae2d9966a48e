"""The process: two listeners in one loop, from start-up to the last goodbye."""

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

from certs.delivery import Folder
from certs.files import Unreadable
from certs.verify import UnusablePairError
from webhook import configuration
from webhook.errors import ConfigurationError, PillionError, Problem
from webhook.injection.profile import Configuration
from webhook.service import memory, reload, tls
from webhook.service.app import App, InForce, health_app, webhook_app
from webhook.service.connection import Connection
from webhook.service.embedded import NAMES, Embedded
from webhook.service.kept import Kept
from webhook.service.listener import Listener
from webhook.service.logs import Log, LogHandler, where
from webhook.service.metrics import Bug, Metrics
from webhook.service.settings import Address, Settings

__all__ = ["Server", "StartError", "build", "run"]

#: Connections that wait in the kernel while the loop is busy: a burst, not a queue.
BACKLOG = 1024

#: A legal review nests 900 levels deep, and msgspec counts each as a call; 3,000 fit a stack of 8 MiB many times.
RECURSION_LIMIT = 3000


class StartError(PillionError):
    """The server can't start; the text says why."""


@dataclass(frozen=True, slots=True)
class Server:
    """Everything that serves: :func:`build` makes one, :meth:`start` begins, :meth:`leave` ends."""

    settings: Settings
    in_force: InForce
    reviews: Listener
    health: Listener
    looks: tuple[reload.Look, ...]
    log: Log
    metrics: Metrics
    embedded: Embedded | None

    def start(self) -> "asyncio.Task[None]":
        """Begin to serve in the running loop; return the task that follows changed files."""
        self.reviews.start()
        self.health.start()
        loop = asyncio.get_running_loop()
        self.log.gather(loop.call_soon)
        following = reload.follow(self.settings.reload_interval, self.log, self.metrics, *self.looks)
        return loop.create_task(following)

    async def leave(self, *, most: float) -> None:
        """Stop being ready, serve on until nobody comes any more or ``most`` seconds are over, and close."""
        self.in_force.draining = True
        await self.reviews.drain(most, self.settings.drain_quiet)
        await self.reviews.close()
        # last: until then it says that we are not ready
        await self.health.close()
        self.log.gather(None)

    def abort(self) -> None:
        """Leave at once."""
        self.reviews.abort()
        self.health.abort()
        self.log.gather(None)


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
        bug = where(type(error), error.__traceback__)
        raise StartError(f"can't start, by a bug of Pillion: {bug['exception']} at {bug['trace']}") from error


def _build(settings: Settings, metrics: Metrics, log: Log) -> Server:
    configuration_watch = reload.Watch(*(() if settings.config is None else (settings.config,)))
    configuration_watch.changed()
    load = partial(_configuration, settings, configuration_watch)
    in_force = InForce(load())
    metrics.configured(in_force.configuration.revision)
    for note in in_force.configuration.notes:
        log.info("configuration", message=note)
    embedded = _embedded(settings)
    paths = _paths(settings, embedded)
    watch = reload.Watch(*paths.files())
    identify = partial(_identity, settings, paths, watch)
    identity = _first_identity(settings, paths, watch, embedded)
    front = tls.Front(identity, verify_clients=paths.client_ca is not None)
    if identity is not None:
        reload.show(identity, in_force, metrics)
    looks: list[reload.Look] = [
        memory.Memory(),
        reload.Certificate(watch, identify, front, in_force=in_force, metrics=metrics, log=log, embedded=embedded),
    ]
    if settings.tls_folder is not None:
        kept = Kept(Folder(settings.tls_folder), front)
        in_force.objection = kept.objection
        metrics.keeper_says(lambda: kept.notice)
        looks.append(kept)
    if settings.config is not None:
        looks.append(
            reload.ConfigurationFile(
                settings.config, configuration_watch, load, in_force=in_force, metrics=metrics, log=log
            )
        )
    reviews = webhook_app(in_force, settings, metrics, log)
    health = health_app(in_force, metrics)
    return Server(
        settings,
        in_force,
        _listener(settings.listen, reviews, settings, metrics, front.context),
        _listener(settings.plain_listen, health, settings, metrics, None),
        tuple(looks),
        log,
        metrics,
        embedded,
    )


def run(settings: Settings, announce: Callable[[Server], None]) -> None:
    """Serve until a signal says otherwise; ``announce`` is called once, when requests are being answered.

    Raises :class:`ConfigurationError` or :class:`StartError` where it does not come to that.
    """
    sys.setrecursionlimit(RECURSION_LIMIT)
    memory.settle()
    disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series a counter, of use to nobody
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    metrics = Metrics(registry)
    log = Log(sys.stdout.fileno(), settings.log_format, dropped=metrics.log_line_dropped)
    logging.basicConfig(handlers=[LogHandler(log, failed=partial(metrics.bug, Bug.LIBRARY))], level=logging.WARNING)
    server = build(settings, metrics, log)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_until_told(server, announce))


async def _until_told(server: Server, announce: Callable[[Server], None]) -> None:
    """Serve; the first signal begins to drain, the second ends at once."""
    loop = asyncio.get_running_loop()
    signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signals.put_nowait, number)
    following = server.start()
    # What lives now lives as long as the process: the collector need not look at it again and again.
    gc.collect()
    gc.freeze()
    announce(server)
    first = await signals.get()
    # SIGINT is somebody at a keyboard: no API server has to hear of it first
    most = server.settings.drain if first is signal.SIGTERM else 0.0
    server.log.info("draining", signal=first.name, seconds=most)
    leaving = loop.create_task(server.leave(most=most))
    second = loop.create_task(signals.get())
    await asyncio.wait({leaving, second}, return_when=asyncio.FIRST_COMPLETED)
    if leaving.done():
        leaving.result()  # a bug in it must not pass for an orderly end
    else:
        leaving.cancel()
        server.abort()
    for task in (following, second):
        task.cancel()
    server.log.info("left")


def _listener(
    address: Address, app: App, settings: Settings, metrics: Metrics, context: ssl.SSLContext | None
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
    listener = Listener(_socket(address), config, settings, metrics, context=context, doors=app.doors)
    metrics.count_connections("plain" if context is None else "tls", lambda: listener.open)
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
        raise StartError(f"can't listen on {address}: {reason}; --listen and --plain-listen choose others") from None


def _configuration(settings: Settings, watch: reload.Watch) -> Configuration:
    """Return the configuration in the file as the watch has read it, or the built-in one."""
    prefix, strict, shadow = settings.prefix, settings.strict, settings.shadow
    if settings.config is None:
        return configuration.load(None, prefix=prefix, strict=strict, shadow=shadow)
    content = watch.content[settings.config]
    if isinstance(content, Unreadable):
        raise ConfigurationError([Problem("", f"can't be read: {content.reason}")], str(settings.config))
    return configuration.parse(content, str(settings.config), prefix=prefix, strict=strict, shadow=shadow)


def _embedded(settings: Settings) -> Embedded | None:
    """Return the folder of the pair that we make ourselves, or None where one is provided."""
    if settings.tls_cert is not None or settings.tls_folder is not None or settings.state_folder is None:
        return None
    hosts = (settings.listen.host,) if settings.listen.host else ()
    return Embedded(settings.state_folder, tuple(dict.fromkeys((*NAMES, *hosts, *(settings.tls_names or ())))))


def _paths(settings: Settings, embedded: Embedded | None) -> tls.Paths:
    if embedded is not None:
        return tls.Paths(embedded.leaf, embedded.leaf, settings.client_ca)
    if settings.tls_folder is not None:
        pair = Folder(settings.tls_folder).pair
        return tls.Paths(pair, pair, settings.client_ca)
    return tls.Paths(settings.tls_cert or Path(), settings.tls_key or Path(), settings.client_ca)


def _identity(settings: Settings, paths: tls.Paths, watch: reload.Watch) -> tls.Identity:
    return tls.load(paths, watch.content, now=datetime.now(UTC), names=settings.tls_names or ())


def _first_identity(
    settings: Settings, paths: tls.Paths, watch: reload.Watch, embedded: Embedded | None
) -> tls.Identity | None:
    """Return what to begin with, made if need be; None where a keeper will leave it."""
    if embedded is not None:
        try:
            embedded.renew(datetime.now(UTC))
        except UnusablePairError as error:
            raise StartError(f"can't make a certificate: {error}") from None
        except OSError as error:
            path = error.filename2 or error.filename or embedded.folder
            raise StartError(f"can't make a certificate: {path}: {error.strerror}") from None
    watch.changed()
    try:
        return _identity(settings, paths, watch)
    except UnusablePairError as error:
        if settings.tls_folder is not None:
            return None
        key = f" and the key {paths.key}" if paths.key != paths.certificate else ""
        raise StartError(f"can't serve with the certificate {paths.certificate}{key}: {error}") from None
