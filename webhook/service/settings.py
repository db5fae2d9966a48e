"""The settings of ``pillion serve``: a table of options, environment variables, defaults and help texts."""
# ruff: noqa: RUF009 — a row of the table is immutable, so all instances can share it

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple, Self

from certs import duration
from certs.logs import LogFormat, LogLevel
from webhook.errors import SettingsError

__all__ = ["SETTINGS", "Address", "Setting", "Settings"]

VARIABLE_PREFIX = "PILLION_"

#: Variables that Kubernetes sets for a Service named ``pillion`` or ``pillion-…``; they are not settings.
SERVICE_LINK = re.compile(r"_(SERVICE_HOST|SERVICE_PORT|PORT)(_|$)")


class Address(NamedTuple):
    """An address to listen on; an empty host means all addresses of the machine, port 0 any free port."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return ``HOST:PORT``, with brackets around an IPv6 address."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Setting:
    """A row of the table."""

    name: str
    default: str  # as text; empty: not set
    parse: Callable[[str], object]
    metavar: str
    help: str

    @property
    def option(self) -> str:
        """Return the option of ``pillion serve``."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def variable(self) -> str:
        """Return the environment variable."""
        return f"{VARIABLE_PREFIX}{self.name.upper()}"


def _address(text: str) -> Address:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdecimal() or int(port) > 65535:  # noqa: PLR2004 — 16 bits
        raise ValueError('not an address; write HOST:PORT, for example "127.0.0.1:8443", or ":8443" for all addresses')
    bare = host.removeprefix("[").removesuffix("]")
    if ":" in bare:
        ipaddress.IPv6Address(bare)
    return Address(bare, int(port))


def _flag(text: str) -> bool:
    if text not in {"true", "false"}:
        raise ValueError('write "true" or "false"')
    return text == "true"


def _one_of(choices: type[StrEnum]) -> Callable[[str], StrEnum]:
    """Return the parser of a choice."""

    def parse(text: str) -> StrEnum:
        try:
            return choices(text)
        except ValueError:
            raise ValueError(f"write {' or '.join(choices)}") from None

    return parse


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise ValueError("a name is empty; write names separated by commas")
    return names


def _count(text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,8}", text):
        raise ValueError("not a count; write a whole number from 1 to 999999999")
    return int(text)


def _size(text: str) -> int:
    match = re.fullmatch(r"([1-9][0-9]{0,8})(KiB|MiB)?", text)
    if match is None:
        raise ValueError('not a size above 0; write bytes, "512KiB" or "7MiB", for example')
    return int(match[1]) * {None: 1, "KiB": 1 << 10, "MiB": 1 << 20}[match[2]]


def _positive_duration(text: str) -> float:
    seconds = duration.seconds(text)
    if not seconds:
        raise ValueError('must be more than 0; write a number and a unit, such as "15s", "1m30s" or "250ms"')
    return seconds


def _setting(default: str, parse: Callable[[str], object], metavar: str, help_: str) -> Any:
    """Return a dataclass field that is a row of the table; ``default`` is parsed like any given text."""
    row = {"default": default, "parse": parse, "metavar": metavar, "help": help_}
    return field(default=parse(default) if default else None, metadata=row)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of the process; the configuration says what is injected."""

    listen: Address = _setting("127.0.0.1:8443", _address, "HOST:PORT", "where to serve admission reviews, over TLS")
    health_listen: Address = _setting(
        "127.0.0.1:8080",
        _address,
        "HOST:PORT",
        "where to serve /livez, /readyz and /metrics, without TLS",
    )

    config: Path | None = _setting(
        "",
        Path,
        "FILE",
        "the configuration file, reloaded when it changes; default: the built-in profiles",
    )
    config_backup: Path | None = _setting(
        "",
        Path,
        "FILE",
        "where the last valid configuration is kept; a restarted server uses it while --config is invalid",
    )
    prefix: str | None = _setting("", str, "PREFIX", "the prefix of annotations; overrides the configuration's")
    strict: bool | None = _setting("", _flag, "BOOL", "deny pods with invalid annotations")
    shadow: bool | None = _setting("", _flag, "BOOL", "decide, count and log, but do not patch pods")

    tls_cert: Path | None = _setting(
        "", Path, "FILE", "the server's certificate and its chain, PEM; default: one signed by a local CA"
    )
    tls_key: Path | None = _setting("", Path, "FILE", "the certificate's private key, PEM")
    shared_directory: Path | None = _setting(
        "",
        Path,
        "DIRECTORY",
        "the directory in which python -m pillion.certs.keeper writes certificate and key; the server waits for them",
    )
    tls_names: tuple[str, ...] | None = _setting(
        "", _names, "NAMES", "names that the certificate must be valid for, such as pillion.pillion-system.svc"
    )
    client_ca: Path | None = _setting(
        "", Path, "FILE", "accept only clients with a certificate signed by one of these CAs, PEM"
    )
    client_names: tuple[str, ...] | None = _setting(
        "", _names, "NAMES", "accept only clients whose certificate has one of these common or alternative names"
    )
    state_directory: Path | None = _setting(
        "",
        Path,
        "DIRECTORY",
        "the directory of the local CA and the certificate that it signs; default: $XDG_STATE_HOME/pillion",
    )

    log_format: LogFormat = _setting("text", _one_of(LogFormat), "FORMAT", "text or json")
    log_level: LogLevel = _setting(
        "info",
        _one_of(LogLevel),
        "LEVEL",
        "the least severe level that is logged: info, warning or error; a review is a warning if it has warnings, "
        "otherwise info",
    )
    termination_log: Path | None = _setting(
        "", Path, "FILE", "the file to which the reason is written if the server can't start; Kubernetes shows it"
    )
    reload_interval: float = _setting(
        "1s", _positive_duration, "DURATION", "how often configuration and certificate files are checked for changes"
    )
    drain_timeout: float = _setting(
        "15s", duration.seconds, "DURATION", "how long to go on serving after SIGTERM, at most"
    )
    drain_idle: float = _setting(
        "3s", duration.seconds, "DURATION", "after SIGTERM, exit once no connection has been open for this long"
    )

    keep_alive: float = _setting(
        "120s",
        _positive_duration,
        "DURATION",
        "how long an idle connection is kept; API servers keep one for 90s",
    )
    handshake_timeout: float = _setting("5s", _positive_duration, "DURATION", "the time limit for a TLS handshake")
    header_timeout: float = _setting("5s", _positive_duration, "DURATION", "the time limit for a request's headers")
    body_timeout: float = _setting("10s", _positive_duration, "DURATION", "the time limit for a request's body")
    # 7 MiB: the API server accepts requests of up to 3 MiB, and the review of an update has the object twice
    max_body_size: int = _setting("7MiB", _size, "SIZE", "the largest request body")
    max_buffered_bodies_size: int = _setting("64MiB", _size, "SIZE", "the total size of request bodies being received")
    max_header_size: int = _setting("32KiB", _size, "SIZE", "the total size of the request line and headers")
    max_header_count: int = _setting("64", _count, "COUNT", "the largest number of headers of a request")
    max_connections: int = _setting(
        "512", _count, "COUNT", "the largest number of open connections, handshakes included"
    )

    @classmethod
    def read(cls, options: Mapping[str, str | None], environment: Mapping[str, str]) -> Self:
        """Return the settings; options (by field name) override environment variables, which override defaults.

        Raises :class:`SettingsError` with a line for each invalid value.
        """
        values: dict[str, Any] = {}
        problems = []
        for row in SETTINGS:
            option, variable = options.get(row.name), environment.get(row.variable)
            text, where = (option, row.option) if option is not None else (variable, row.variable)
            if not text:  # an empty option or variable means "not set", as in a manifest
                continue
            try:
                values[row.name] = row.parse(text)
            except ValueError as error:
                problems.append(f"{where} {text[:80]!r}: {error}")
        problems += _contradictions(values)
        if problems:
            raise SettingsError("\n".join(problems))
        values.setdefault("state_directory", _default_state_directory(environment))
        return cls(**values)

    @staticmethod
    def unknown_variables(environment: Mapping[str, str]) -> list[str]:
        """Return the variables with our prefix that are not settings, probably typos."""
        known = {row.variable for row in SETTINGS}
        return sorted(
            name
            for name in environment
            if name.startswith(VARIABLE_PREFIX) and name not in known and not SERVICE_LINK.search(name)
        )


def _contradictions(values: Mapping[str, Any]) -> list[str]:
    """Return a message for each setting that lacks one that it needs, or excludes another."""
    needs = (
        ("tls_cert", "tls_key"),
        ("tls_key", "tls_cert"),
        ("client_names", "client_ca"),
        ("config_backup", "config"),
    )
    rows = {row.name: row for row in SETTINGS}
    sentences = [
        f"{rows[one].option} needs {rows[other].option} (or {rows[other].variable}), too"
        for one, other in needs
        if one in values and other not in values
    ]
    if {"tls_cert", "shared_directory"} <= values.keys():
        sentences.append(f"{rows['tls_cert'].option} and {rows['shared_directory'].option} are mutually exclusive")
    return sentences


def _default_state_directory(environment: Mapping[str, str]) -> Path:
    """Return the directory for state, by the XDG base directory specification."""
    home = environment.get("XDG_STATE_HOME", "")
    # the specification says that a relative path must be ignored
    base = Path(home) if home.startswith("/") else Path(environment.get("HOME") or Path.home()) / ".local/state"
    return base / "pillion"


#: The table, in the order of the help text.
SETTINGS = tuple(Setting(name=row.name, **row.metadata) for row in fields(Settings))
