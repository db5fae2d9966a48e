"""What people write for a list of paths, and what they are told."""

from __future__ import annotations

import pytest

from webhook.injection.annotations import InvalidValueError, parse_logs
from webhook.injection.mistakes import EXAMPLE

TWO = "/a/x.log,/b/y.log"
ONE = "/a/x.log"


@pytest.mark.parametrize(
    ("value", "advised"),
    [
        ("/a/x.log /b/y.log", TWO),
        ("/a/x.log\t/b/y.log", TWO),
        ("/a/x.log;/b/y.log", TWO),
        ("/a/x.log ; /b/y.log", TWO),
        ("/a/x.log | /b/y.log", TWO),
        ("/a/x.log & /b/y.log", TWO),
        ("/a/x.log and /b/y.log", TWO),
        ("/a/x.log - /b/y.log", TWO),
        ("/a/x.log:/b/y.log", TWO),
        ("/a/x.log\\n/b/y.log", TWO),
        ("/a/x.log\uff0c/b/y.log", TWO),
        ('["/a/x.log", "/b/y.log"]', TWO),
        ("['/a/x.log','/b/y.log']", TWO),
        ("[/a/x.log, /b/y.log]", TWO),
        ("'/a/x.log','/b/y.log'", TWO),
        ("app:/a/x.log web:/b/y.log", "app:/a/x.log,web:/b/y.log"),
        ("app:/a/x.log;web:/b/y.log", "app:/a/x.log,web:/b/y.log"),
        ("app:/a/x.log:/b/y.log", "app:/a/x.log,/b/y.log"),
        ('"/a/x.log"', ONE),
        ("\u201c/a/x.log\u201d", ONE),
        ("`/a/x.log`", ONE),
        ("[/a/x.log]", ONE),
        ("- /a/x.log", ONE),
        ("-/a/x.log", ONE),
        ("* /a/x.log", ONE),
        ("\u2022 /a/x.log", ONE),
        ("file:///a/x.log", ONE),
        ("file://a/x.log", ONE),
        ("logs=/a/x.log", ONE),
        ("tail -F /a/x.log", ONE),
        ("1. /a/x.log", ONE),
        ("+ /a/x.log", ONE),
        ("--/a/x.log", ONE),
        ("/a/x.log   # access", ONE),
        ('shop:"/a/x.log"', "shop:/a/x.log"),
        ("file://localhost/a/x.log", ONE),
        ("/a/x.log && /b/y.log", TWO),
        ("/a/x.log || /b/y.log", TWO),
        ("/a/x.log -> /b/y.log", TWO),
        ("/a/x.log + /b/y.log", TWO),
        ('("/a/x.log","/b/y.log")', TWO),
        ("@/a/x.log", EXAMPLE),
        ("/a/x.log 2>&1", EXAMPLE),
        ("/a/x.log>/dev/null", EXAMPLE),
        ("logs: [/a/x.log]", ONE),
        ("a/x.log", ONE),
        ("./a/x.log", ONE),
        ("x.log", "/var/log/app/x.log"),
        ("*.log", "/var/log/app/*.log"),
        ("**/*.log", "/var/log/app/**/*.log"),
        ("[ab].log", "/var/log/app/[ab].log"),
        *(
            (value, EXAMPLE)
            for value in ("stdout", "true", "-", "a b", "''", "../x.log", "C:\\logs\\x.log", "D:/x.log")
        ),
        *((value, EXAMPLE) for value in ("http://a/b.log", "s3://bucket/x", "=/x")),
        *(
            (value, "")
            for value in ("$HOME/x.log", "${DIR}/x.log", "/var/log/$(POD)/x.log", "{{ .Values.logs }}", "~/x")
        ),
    ],
)
def test_a_mistake_is_refused_with_what_to_write(value: str, advised: str) -> None:
    """The advice is the form to write, and can be followed; nothing gets a slash that is no path."""
    with pytest.raises(InvalidValueError) as raised:
        parse_logs(value)
    message = raised.value.message
    assert message.endswith(advised)
    if advised:
        parse_logs(advised)


@pytest.mark.parametrize(
    "value",
    [
        *(
            "/var/log/my app/x.log",
            "/var/log/c++/x.log",
            "/var/log/a & b/x.log",
            "/var/log/it's `x`.log",
            "/a/$HOME;x.log",
        ),
        *("/var/log/-n/x.log", "app: /var/log/x.log", "file:/var/log/x.log", "/a/x[1].log", "/a/b-c - d.log"),
        *("/var/log/app (1)/x.log", "/var/log/#1/x.log", "a:/var/log/x.log"),
        *("/a/x.log,\n/b/y.log,", "/a/x.log\r\n/b/y.log"),
    ],
)
def test_odd_names_are_names(value: str) -> None:
    """A name may hold blanks, quotes and whatever else no list is made with."""
    assert parse_logs(value)


@pytest.mark.parametrize(
    "unit", ["/a" + " " * 2000 + "b", '["' * 900, "- " * 900, "a:/" * 900, "/a and " * 900, " ;" * 900]
)
def test_long_values_are_not_looked_into(unit: str) -> None:
    """A value that nobody writes by hand gets no advice that takes time; the grammar alone decides."""
    try:
        parse_logs(unit)
    except InvalidValueError as raised:
        assert "write /a,/a" not in raised.message  # noqa: PT017 — either outcome is right
