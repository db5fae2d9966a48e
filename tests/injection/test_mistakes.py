"""What people write for a list of paths, and what they are told."""

from __future__ import annotations

import pytest

from webhook.injection.annotations import InvalidValueError, parse_logs, parse_options
from webhook.injection.mistakes import _MAX_EXAMINED, EXAMPLE, advice_on_container_name, advice_on_entry

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
        ("/a/x.log+/b/y.log", TWO),
        ("/a/x.log%2C/b/y.log", TWO),
        ("/a/x.log\u2022/b/y.log", TWO),
        ("/a/x.log or /b/y.log", TWO),
        ("/a/x.log / /b/y.log", TWO),
        ("1) /a/x.log 2) /b/y.log", TWO),
        ("/a/x.log // access", ONE),
        ("/a/x.log;", ONE),
        ("/a/x.log &", ONE),
        ("cat /a/x.log | grep x", EXAMPLE),
        ("/a/x.log -f", EXAMPLE),
        ("/a/x.log --follow=name", EXAMPLE),
        ("/a/(x|y).log", EXAMPLE),
        ("/a/x.log$", EXAMPLE),
        ("^/a/x.log", EXAMPLE),
        ("/a/.*.log", EXAMPLE),
        ("/a/.*\\.log", EXAMPLE),
        ("@/a/x.log", EXAMPLE),
        ("/a/app-%d{yyyy-MM-dd}.log", "/a/app-*.log"),
        ("/a/app-%Y-%m-%d.log", "/a/app-*.log"),
        ("/a/app.%F.log", "/a/app.*.log"),
        ("/a/app-yyyy-MM-dd.log", "/a/app-*.log"),
        ("/a/app_YYYYMMDD.log", "/a/app_*.log"),
        ("app:/a/{yyyy-MM}.log", "app:/a/*.log"),
        ("/a/%Y/%m/%d/x.log", "/a/**/x.log"),
        ("/a/%Y/%m.log", "/a/**/*.log"),
        ("/a/yyyy/MM/x.log", "/a/**/x.log"),
        ("/a/!(debug).log", EXAMPLE),
        ("/a/x-[[:digit:]].log", EXAMPLE),
        ("/a/(?<name>x).log", EXAMPLE),
        ('[{"path": "/a/x.log", "container": "app"}]', EXAMPLE),
        ("- path: /a/x.log\n- path: /b/y.log", EXAMPLE),
        ("/a/@(x|y).log", EXAMPLE),
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
            for value in (
                *("$HOME/x.log", "${DIR}/x.log", "/var/log/$(POD)/x.log", "{{ .Values.logs }}", "~/x"),
                *("/var/log/$APP/x.log", "/var/log/$APP_NAME-1.log"),
            )
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
            "/a/x.log'",
        ),
        *("/var/log/-n/x.log", "app: /var/log/x.log", "file:/var/log/x.log", "/a/x[1].log", "/a/b-c - d.log"),
        *("/var/log/app (1)/x.log", "/var/log/#1/x.log", "a:/var/log/x.log"),
        *("/a/%F0%9F/x.log", "/a/100%/x.log", "/a/%Y/x.log", "/a/$x/y.log", "/a/mm-dd.log", "/a/x(1).log"),
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


@pytest.mark.parametrize("name", ["*", "**", ".*", "all", "ALL", "every", "any", '"*"', "'all'"])
def test_all_containers(name: str) -> None:
    """All take part where the annotation is left out."""
    assert advice_on_container_name(name, f"app,{name}") == "leave it out: all of the pod's own containers take part"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("app web", "is not a container name; write app,web"),
        ("[app, web]", "is not a container name; write app,web"),
        ('["app","web"]', "is not a container name; write app,web"),
        ("- app\n- web", "is not a container name; write app,web"),
        ("app;web", "is not a container name; write app,web"),
        ("App", "is not a container name; write app"),
        ("web.app", "is not a container name; write names with commas between them"),
        ("app*", "has a wildcard; write names with commas between them"),
        ("app-?", "has a wildcard; write names with commas between them"),
    ],
)
def test_containers_in_another_notation(text: str, said: str) -> None:
    """The names are written out where they can be told."""
    options = parse_options({"x/containers": text}, "x/")
    assert [finding.message for finding in options.invalid] == [said]


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        ("/a/x.log   # access", "has a comment"),
        ("tail -F /a/x.log", "holds more than paths"),
        ("/a/x.log /b/y.log", "holds several paths"),
        ("file:///a/x.log", "is a URL"),
        ("- /a/x.log", "begins with a list dash"),
        ("app=/a/x.log", "has a key before the path; for container app write app:/a/x.log, otherwise /a/x.log"),
        ("A_B=/a/x.log", "has a key before the path; write /a/x.log"),
        ('"/a/x.log"', "has quotes or brackets"),
        ("~/x.log", "has a ~; write the home directory's whole path"),
    ],
)
def test_a_mistake_is_called_by_its_name(value: str, wrong: str) -> None:
    """So that whoever made it knows it again."""
    with pytest.raises(InvalidValueError) as raised:
        parse_logs(value)
    assert raised.value.message.startswith(wrong)


def test_a_value_is_looked_into_up_to_a_length() -> None:
    """Longer ones are written by nobody."""
    longest = "/a/x.log /b/" + "y" * (_MAX_EXAMINED - len("/a/x.log /b/"))
    assert "holds several paths" in advice_on_entry(longest)
    assert advice_on_entry(f"{longest}y") == ""
