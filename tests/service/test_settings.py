"""The settings: where each comes from, and what is said about one that can't be used."""

import dataclasses
import re
from pathlib import Path

import pytest

from certs.logs import LogFormat
from webhook.errors import SettingsError
from webhook.service.settings import SETTINGS, Address, Setting, Settings

HOME = {"HOME": "/home/x"}


def test_each_field_is_a_row() -> None:
    """A setting without option, variable and help does not exist."""
    assert [row.name for row in SETTINGS] == [field.name for field in dataclasses.fields(Settings)]
    for row in SETTINGS:
        assert re.fullmatch(r"--[a-z-]+", row.option)
        assert re.fullmatch(r"PILLION_[A-Z_]+", row.variable)
        assert len(row.help) > 10


@pytest.mark.parametrize("row", SETTINGS, ids=lambda row: row.name)
def test_a_default_is_what_its_text_says(row: Setting) -> None:
    """The table's text and the class's value are one."""
    default = getattr(Settings(), row.name)
    assert default == (row.parse(row.default) if row.default else None)


def test_an_option_wins_over_a_variable_and_that_over_the_default() -> None:
    """The nearer, the stronger."""
    environment = {**HOME, "PILLION_LISTEN": "127.0.0.1:1", "PILLION_HEALTH_LISTEN": "127.0.0.1:2"}
    settings = Settings.read({"listen": "127.0.0.1:3", "health_listen": None}, environment)
    assert settings.listen.port == 3
    assert settings.health_listen.port == 2
    assert settings.log_format is LogFormat.TEXT


def test_an_empty_variable_is_not_set() -> None:
    """A manifest can't leave a variable out by a condition; it can leave it empty."""
    assert Settings.read({}, {**HOME, "PILLION_CONFIG": ""}).config is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:8443", Address("127.0.0.1", 8443)),
        (":8443", Address("", 8443)),
        ("[::1]:0", Address("::1", 0)),
        ("localhost:65535", Address("localhost", 65535)),
    ],
)
def test_an_address_is_host_and_port(text: str, expected: Address) -> None:
    """IPv6 stands in brackets; what is read is written the same way."""
    address = Settings.read({"listen": text}, HOME).listen
    assert address == expected
    assert str(address) == text


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("listen", "8443", "HOST:PORT"),
        ("listen", "x:70000", "HOST:PORT"),
        ("listen", "x:-1", "HOST:PORT"),
        ("listen", "[zz::]:1", "IPv6|zz"),
        ("strict", "yes", '"true" or "false"'),
        ("shadow", "True", '"true" or "false"'),
        ("log_format", "xml", "text or json"),
        ("log_level", "debug", "info or warning or error"),
        ("drain_timeout", "15", "number and a unit"),
        ("max_body_size", "7MB", "7MiB"),
        *((name, "0", "above 0") for name in ("max_body_size", "max_buffered_bodies_size", "max_header_size")),
        *((name, "0s", "more than 0") for name in ("reload_interval", "keep_alive", "handshake_timeout")),
        *((name, "0ms", "more than 0") for name in ("header_timeout", "body_timeout")),
        ("max_connections", "0", "from 1 to 999999999"),
        ("max_connections", "1000000000", "from 1 to 999999999"),
        ("max_connections", "10000000001", "from 1 to 999999999"),
        ("max_connections", "9" * 5000, "from 1 to 999999999"),
        ("tls_names", "a,,b", "a name is empty"),
    ],
)
def test_a_bad_value_is_named_with_what_to_write(name: str, text: str, says: str) -> None:
    """Option or variable, value, and what instead."""
    row = next(row for row in SETTINGS if row.name == name)
    with pytest.raises(SettingsError, match=f"^{row.option} .*({says})"):
        Settings.read({name: text}, HOME)
    with pytest.raises(SettingsError, match=f"^{row.variable} .*({says})"):
        Settings.read({}, {**HOME, row.variable: text})


def test_all_bad_values_are_said_at_once() -> None:
    """One line each."""
    with pytest.raises(SettingsError) as raised:
        Settings.read({"listen": "x", "drain_timeout": "y", "strict": "z"}, HOME)
    assert len(str(raised.value).splitlines()) == 3


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"tls_cert": "a"}, "--tls-cert needs --tls-key"),
        ({"tls_key": "a"}, "--tls-key needs --tls-cert"),
        ({"client_names": "a"}, "--client-names needs --client-ca"),
    ],
)
def test_half_of_something_is_refused(options: dict[str, str], says: str) -> None:
    """A certificate without key can't be served; names without a CA prove nothing."""
    with pytest.raises(SettingsError, match=says):
        Settings.read(options, HOME)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"HOME": "/home/x"}, "/home/x/.local/state/pillion"),
        ({"HOME": "/home/x", "XDG_STATE_HOME": "/s"}, "/s/pillion"),
        ({"HOME": "/home/x", "XDG_STATE_HOME": "relative"}, "/home/x/.local/state/pillion"),
        ({"HOME": "/home/x", "PILLION_STATE_DIRECTORY": "/t"}, "/t"),
    ],
)
def test_state_lies_where_the_standard_says(environment: dict[str, str], expected: str) -> None:
    """XDG base directories; a relative one is ignored."""
    assert Settings.read({}, environment).state_directory == Path(expected)


def test_a_slip_in_a_variable_is_found() -> None:
    """What Kubernetes sets for a Service of our name is none."""
    environment = {
        "PILLION_STRICKT": "true",
        "PILLION_LISTEN": ":1",
        "PILLION_PORT": "tcp://10.0.0.1:443",
        "PILLION_SERVICE_HOST": "10.0.0.1",
        "PILLION_PORT_443_TCP_ADDR": "10.0.0.1",
        "PILLION_WEBHOOK_SERVICE_PORT_HTTPS": "443",
        "HOME": "/",
    }
    assert Settings.unknown_variables(environment) == ["PILLION_STRICKT"]


def test_no_setting_can_be_confused_with_a_service_link() -> None:
    """A Service called pillion must not set anything."""
    links = {"PILLION_PORT", "PILLION_SERVICE_HOST", "PILLION_SERVICE_PORT"}
    assert not links & {row.variable for row in SETTINGS}
