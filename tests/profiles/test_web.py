"""The profile `web` serves what its patterns mean, and nothing else that lies there."""

import contextlib
import os
import re
import socket
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.promtool import REQUIRED
from webhook.profiles import builtins

from .web import Web, missing

Start = Callable[..., Web]

SECRET = "a secret"


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Return the folder that stands for the mounted volume."""
    (tmp_path / "outside.log").write_text(SECRET)
    folder = tmp_path / "logs"
    folder.mkdir()
    return folder


def require_programs() -> None:
    """Leave the test out where there is no nginx."""
    if missing():
        assert not os.environ.get(REQUIRED), missing()
        pytest.skip(missing())


@pytest.fixture
def start(tmp_path: Path, logs: Path) -> Iterator[Start]:
    """Start the sidecar on patterns in the volume, and end it after the test."""
    require_programs()
    started = []

    def start_one(*patterns: str) -> Web:
        started.append(Web(tmp_path, [f"{logs}/{pattern}" for pattern in patterns], [logs]))
        return started[-1]

    yield start_one
    for web in started:
        web.end()


def write(folder: Path, *names: str) -> None:
    """Write files that contain their names."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


TREE = (
    *("app.log", "app.log.1", "app.log.2.gz", "notes.txt", ".hidden.log", "ü.log", "[a].log"),
    *("sub/app.log", "sub/notes.txt", "sub/deep/app.log", ".git/app.log", "sub/.git/app.log"),
)


@pytest.mark.parametrize(
    ("patterns", "meant"),
    [
        (["app.log"], {"app.log"}),
        ([".hidden.log"], {".hidden.log"}),
        (["*.log"], {"app.log", "ü.log", "[a].log"}),
        (["app.log*"], {"app.log", "app.log.1", "app.log.2.gz"}),
        (["?.log"], {"ü.log"}),
        (["[a].log"], {"[a].log"}),
        ([".*"], {".hidden.log"}),
        (["*"], {"app.log", "app.log.1", "app.log.2.gz", "notes.txt", "ü.log", "[a].log"}),
        (["**/app.log"], {"app.log", "sub/app.log", "sub/deep/app.log"}),
        (["sub/**/*"], {"sub/app.log", "sub/notes.txt", "sub/deep/app.log"}),
        (["app.log", "sub/*.txt"], {"app.log", "sub/notes.txt"}),
        (["nothing.log"], set()),
        (["missing/*.log"], set()),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_matches_is_served_and_listed(patterns: list[str], meant: set[str], start: Start, logs: Path) -> None:
    """Of each file in the tree: the page lists it, and its address serves it, exactly if a pattern means it."""
    write(logs, *TREE)
    web = start(*patterns)
    # an address is the path below the folder that all patterns share
    shared = os.path.commonpath([Path(pattern.replace("**/", "")).parent for pattern in patterns])
    below = {os.path.relpath(name, shared): name for name in TREE}
    assert {below[name] for name in web.listed()} == meant
    served = {
        name for address, name in below.items() if not address.startswith("..") and web.status("/" + address) == 200
    }
    assert served == meant
    assert not web.errors


@pytest.mark.parametrize(
    "target",
    [
        *(
            "/../outside.log",
            "/%2e%2e/outside.log",
            "/sub/../../outside.log",
            "/..%2foutside.log",
            "/%2e%2e%2foutside.log",
        ),
        *(
            "//file",
            "/file",
            "//",
            "/%2f/file",
            "/app.log/",
            "/app.log%00",
            "/app.log%00.log",
            "/sub",
            "/sub/",
            "/./",
            "/.log",
        ),
        *("/app.log%2f", "/%ff.log", "/web.js", "/nginx.conf", "/app%2elog/..%2f..%2foutside.log"),
    ],
)
def test_no_address_leads_elsewhere(target: str, start: Start, logs: Path) -> None:
    """Whatever it is written like, and nobody reaches nginx's own location for files."""
    write(logs, "app.log", "sub/x.txt")
    reply = start("*.log").ask(target)
    assert reply.status in (400, 404) or (reply.status == 200 and b"Files that match" in reply.body)
    assert SECRET.encode() not in reply.body


def test_globs(start: Start, logs: Path) -> None:
    """The table of `tail/src/pattern.rs`, as far as an annotation can have such globs."""
    table = [
        ("*", "app.log", True),
        ("*.log", "app.log", True),
        ("*.log", "app.log.1", False),
        ("app?.log", "app1.log", True),
        ("app?.log", "app.log", False),
        ("?.log", "ü.log", True),
        ("?.log", "😀.log", True),
        ("[a-c].log", "b.log", True),
        ("[a-c].log", "d.log", False),
        ("[!a-c].log", "b.log", False),
        ("[!a-c].log", "d.log", True),
        ("[^a-c].log", "d.log", True),
        ("[]].log", "].log", True),
        ("[!]].log", "].log", False),
        ("[a-].log", "-.log", True),
        ("[a-].log", "b.log", False),
        ("[ac-e].log", "d.log", True),
        ("[à-ü].log", "é.log", True),
        ("[a.log", "[a.log", True),
        ("[a*", "[ab", True),
        ("*[", "x[", True),
        ("a*b*c", "aXbXbXc", True),
        ("a*b*c", "aXbXbX", False),
        ("a*b*c", "abc", True),
        ("ab*ba", "aba", False),
        ("*a*", "bab", True),
        ("**a", "ba", True),
        ("*.*.log", "a.b.log", True),
        ("*.*.log", "a.log", False),
        ("a*a", "a", False),
        ("x.log", "x+log", False),
        ("(a|b)+.log", "(a|b)+.log", True),
        ("(a|b)+*", "a", False),
        ("*a" * 60 + "b", "a" * 255, False),
    ]
    for number, (_, name, _) in enumerate(table):
        write(logs, f"{number}/{name}")
    web = start(*(f"{number}/{glob}" for number, (glob, _, _) in enumerate(table)))
    found = [(glob, name, web.status(f"/{number}/{name}") == 200) for number, (glob, name, _) in enumerate(table)]
    assert found == table


class TestSymlinks:
    """What lies in a volume is up to the application; the sidecar's own files are not."""

    def test_out_of_the_volume(self, start: Start, logs: Path) -> None:
        """A file, a folder, and the pattern's own folder."""
        write(logs, "app.log")
        targets = ("/proc/self/environ", "/etc/passwd", "../outside.log", "/dev/zero", "nowhere", "loop.log")
        for number, target in enumerate(targets):
            (logs / f"{number}.log").symlink_to(target)
        (logs / "loop.log").symlink_to("loop.log")
        (logs / "up").symlink_to("..")
        (logs / "elsewhere").symlink_to("/etc")
        web = start("*.log", "up/*.log", "elsewhere/*", "up/**/*")
        assert web.listed() == {"app.log"}
        asked = [f"/{number}.log" for number in range(len(targets))]
        assert {web.status(path) for path in (*asked, "/up/outside.log", "/elsewhere/passwd")} == {404}

    def test_out_of_the_patterns_folder(self, start: Start, logs: Path) -> None:
        """Also where it stays in the volume."""
        write(logs, "private.txt", "app/app.log")
        (logs / "app/private.log").symlink_to("../private.txt")
        web = start("app/*.log")
        assert web.listed() == {"app.log"}
        assert web.status("/private.log") == 404

    def test_within_the_patterns_folder(self, start: Start, logs: Path) -> None:
        """Loggers write such links: to the newest file, or to the newest folder."""
        write(logs, "2026/app-3.txt")
        (logs / "2026/current.log").symlink_to("app-3.txt")
        (logs / "2026/absolute.log").symlink_to(logs / "2026/app-3.txt")
        (logs / "newest").symlink_to("2026")
        web = start("newest/*.log")
        assert web.listed() == {"absolute.log", "current.log"}
        assert {web.ask(f"/{name}").body for name in web.listed()} == {b"2026/app-3.txt"}

    def test_exchanged_while_it_is_asked_for(self, start: Start, logs: Path) -> None:
        """A file, or a folder on the way to it, that becomes a symlink between a look and the opening."""
        write(logs, "a/x.log")
        (logs.parent / "elsewhere").mkdir()
        write(logs.parent / "elsewhere", "x.log")
        web = start("**/*.log")
        ended = threading.Event()

        def exchange() -> None:
            (logs / "link").symlink_to(logs.parent / "elsewhere")
            while not ended.is_set():
                for one, other in (("a", "real"), ("link", "a"), ("a", "link"), ("real", "a")):
                    (logs / one).rename(logs / other)

        thread = threading.Thread(target=exchange)
        thread.start()
        try:
            replies = {(reply.status, reply.body) for reply in (web.ask("/a/x.log") for _ in range(500))}
        finally:
            ended.set()
            thread.join()
        assert {body for status, body in replies if status == 200} == {b"a/x.log"}
        assert {status for status, _ in replies} <= {200, 403, 404}


def test_only_regular_files_are_served(start: Start, logs: Path) -> None:
    """Not what would block, or never end."""
    write(logs, "folder.log/x")
    os.mkfifo(logs / "pipe.log")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(logs / "socket.log"))
        with contextlib.suppress(PermissionError):  # only root may make one
            os.mknod(logs / "device.log", stat.S_IFCHR | 0o600, os.makedev(1, 5))
        web = start("*.log")
        assert web.listed() == set()
        assert {web.status(f"/{name}.log") for name in ("folder", "pipe", "socket", "device")} == {404}
        assert not web.errors


HOSTILE = (
    *(
        "<script>alert(1)</script>.log",
        "\"onclick='x'.log",
        "new\nline.log",
        "100%.log",
        "%41.log",
        "$file.log",
        "${PORT}.log",
    ),
    *(
        "a;b{c}.log",
        "?q=1.log",
        "#x.log",
        "a&amp;b.log",
        " .log",
        "back\\slash.log",
        "$(touch x).log",
        "`id`.log",
        "é😀.log",
        "tab\t.log",
    ),
    *("'; return 200 pwned; #.log", "} location /x { return 200; } #.log", "__proto__", "javascript:alert(1).log"),
)
#: What the page itself is made of.
TAGS = {"title", "h1", "table", "tr", "th", "td", "a", "p"}


class TestHostileNames:
    """Nothing in a name has a meaning: not to the shell, nginx, JavaScript, HTML or an address."""

    def test_of_files(self, start: Start, logs: Path) -> None:
        """Each is shown as it is, and its link serves it."""
        write(logs, *HOSTILE)
        web = start("**/*")
        page = web.page()
        assert set(page.links.values()) == set(HOSTILE)
        assert page.tags <= TAGS
        for link, name in page.links.items():
            assert web.ask(link.removeprefix(".")).body.decode() == name

    def test_of_patterns(self, start: Start, logs: Path) -> None:
        """Each means the file of its name."""
        names = [name for name in HOSTILE if "/" not in name]
        write(logs, *names, "other.log")
        web = start(*names)
        page = web.page()
        assert set(page.links.values()) == set(names)
        assert page.tags <= TAGS
        assert web.ask("/x").status == web.ask("/other.log").status == 404
        assert not (logs.parent / "x").exists()
        assert not web.errors

    def test_that_are_no_text(self, start: Start, logs: Path) -> None:
        """They do not keep others from being listed."""
        Path(os.fsdecode(os.fsencode(logs) + b"/\xff\xfe.log")).write_text("bytes")
        write(logs, "app.log")
        web = start("*.log")
        assert "app.log" in web.listed()
        assert web.ask("/%ff%fe.log").status in (200, 404)


def test_files_come_and_go(start: Start, logs: Path) -> None:
    """The next request sees it: nothing is kept."""
    web = start("**/*.log")
    assert (web.listed(), web.status("/sub/new.log")) == (set(), 404)
    write(logs, "sub/new.log")
    assert (web.listed(), web.status("/sub/new.log")) == ({"sub/new.log"}, 200)
    (logs / "sub/new.log").write_text("grown")
    assert web.ask("/sub/new.log").body == b"grown"
    (logs / "sub/new.log").unlink()
    assert (web.listed(), web.status("/sub/new.log")) == (set(), 404)


def test_a_page_of_the_application(start: Start, logs: Path) -> None:
    """The file index.html is what a folder's address shows, if a pattern means it."""
    write(logs, "index.html", "sub/index.html", "other/x.html")
    web = start("**/*.html")
    assert [web.ask(path).body for path in ("/", "/sub/")] == [b"index.html", b"sub/index.html"]
    assert web.status("/other/") == 404


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("index.html", "text/html"),
        ("app.log", "text/plain"),
        ("app.log.1", "text/plain"),
        ("app", "text/plain"),
        ("app.json", "application/json"),
        ("app.log.gz", "application/gzip"),
        ("app.constructor", "text/plain"),
        ("app.__proto__", "text/plain"),
    ],
)
def test_content_types(name: str, content_type: str, start: Start, logs: Path) -> None:
    """By the name alone: a browser does not guess."""
    write(logs, name)
    headers = start("*").ask(f"/{name}").headers
    assert headers["Content-Type"] == content_type
    assert (headers["X-Content-Type-Options"], headers["Cache-Control"]) == ("nosniff", "no-store")


def test_part_of_a_file(start: Start, logs: Path) -> None:
    """As `tail` over HTTP asks for."""
    write(logs, "app.log")
    web = start("*.log")
    reply = web.ask("/app.log", Range="bytes=-3")
    assert (reply.status, reply.body) == (206, b"log")
    reply = web.ask("/app.log", "HEAD")
    assert (reply.status, reply.body, reply.headers["Content-Length"]) == (200, b"", "7")


@pytest.mark.parametrize(
    ("method", "size", "status"), [("POST", 10, 405), ("POST", 2000, 413), ("PUT", 0, 405), ("DELETE", 0, 405)]
)
def test_nothing_is_taken(method: str, size: int, status: int, start: Start, logs: Path) -> None:
    """A body would fill the sidecar's own volume, and the pod be evicted."""
    write(logs, "app.log")
    web = start("*.log")
    assert web.ask("/app.log", method, b"x" * size).status == status
    assert (logs / "app.log").read_text() == "app.log"


def test_more_files_than_a_page_has(start: Start, logs: Path) -> None:
    """The first are listed, a note says so, and the others are served."""
    names = [f"{number:04}.log" for number in range(2000)]
    write(logs, *names)
    web = start("*.log")
    listed = web.listed()
    assert listed == set(names[: len(listed)])
    assert 1000 < len(listed) < 2000
    reply = web.ask("/")
    assert b"There are more files than this page lists" in reply.body
    assert len(reply.body) < 140_000
    assert web.status("/1999.log") == 200


def test_more_files_than_are_looked_at(start: Start, logs: Path) -> None:
    """A note says so."""
    for number in range(3000):
        (logs / f"{number:04}{'x' * 200}").touch()
    web = start("*.log")
    assert b"There are more files and directories than this page looks at" in web.ask("/").body
    write(logs, "app.log")
    assert web.status("/app.log") == 200


def test_memory(start: Start, logs: Path) -> None:
    """However many files there are, a page takes less than the profile's limit, with room for the rest of nginx."""
    for number in range(50_000):
        (logs / f"{number}.log").touch()
    web = start("*.log")
    assert web.ask("/").status == 200
    assert web.peak() < 40 << 10


@pytest.mark.parametrize(("folders", "notes"), [(1, 1), (100, 10)])
def test_folders_that_cant_be_listed(folders: int, notes: int, start: Start) -> None:
    """The page says why it is empty; of many folders, for some."""
    body = start(*(f"{number}/*.log" for number in range(folders))).ask("/").body
    assert body.count(b": No such file or directory") == notes


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start it as somebody else")
def test_what_its_user_cant_read() -> None:
    """A file is listed and refused, and of a folder the page says that it can't be read."""
    require_programs()
    with tempfile.TemporaryDirectory() as name:  # pytest's own folder is root's alone
        folder = Path(name)
        folder.chmod(0o755)
        logs = folder / "logs"
        write(logs, "app.log", "secret.log", "closed/app.log")
        (logs / "secret.log").chmod(0o600)
        (logs / "closed").chmod(0o700)
        web = Web(folder, [f"{logs}/*.log", f"{logs}/closed/*.log"], [logs], user=65532)
        try:
            assert web.listed() == {"app.log", "secret.log"}
            assert {path: web.status(path) for path in ("/app.log", "/secret.log", "/closed/app.log")} == {
                "/app.log": 200,
                "/secret.log": 403,
                "/closed/app.log": 404,
            }
            assert f"{logs}/closed: Permission denied".encode() in web.ask("/").body
        finally:
            web.end()


def test_a_pod_carries_the_programs_without_comments() -> None:
    """But for the first line, which says what it does."""
    _, _, shell, _, script = builtins()["web"]["sidecar"]["command"]
    assert [len(re.findall(rf"^\s*{mark}", text, re.MULTILINE)) for mark, text in (("#", shell), ("//", script))] == [
        1,
        1,
    ]
