"""The program ``kubectl``, through which commands reach a cluster: it knows kubeconfigs, logins and proxies."""

import argparse
import json
import os
import re
import shlex
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Raw, Struct

from webhook.cli.terminal import visible
from webhook.errors import ClusterError
from webhook.injection.reasons import quote_untrusted

__all__ = ["FORBIDDEN", "NOT_FOUND", "TIME_LIMIT", "Answer", "Kubectl", "add_options", "document", "path"]

#: For one call, in seconds: somebody may have to log in meanwhile.
TIME_LIMIT = 120.0
#: Objects of one request, as kubectl itself asks for them.
PAGE = 500
#: So often a list is begun anew that can't be continued: etcd keeps what a list needs for five minutes at least.
MAX_BEGINNINGS = 3

#: Values of :attr:`webhook.errors.ClusterError.reason`: apimachinery, meta/v1 StatusReason.
FORBIDDEN, NOT_FOUND = "Forbidden", "NotFound"
_EXPIRED = frozenset({"Expired", "Gone"})

#: How kubectl begins to say why it failed: https://github.com/kubernetes/kubectl, pkg/cmd/util/helpers.go
_FAILURE = re.compile(
    r"^(?:Error from server|error: |Unable to connect to the server|The connection to the server )", re.MULTILINE
)
_WARNING = re.compile(r"^Warning: ", re.MULTILINE)
_SERVERS_REASON = re.compile(r"Error from server \((\w+)\): ")
#: More is not kept of what kubectl says; it is a sentence.
_MAX_WORDS = 8 * 1024


class Answer(NamedTuple):
    """What a call printed, and the warnings that the API server sent."""

    output: bytes
    warnings: list[str]


def add_options(group: argparse._ArgumentGroup) -> None:
    """Add the options that choose a cluster."""
    group.add_argument("--kubeconfig", metavar="FILE", help="passed on to kubectl")
    group.add_argument("--context", metavar="NAME", help="passed on to kubectl")


def path(*steps: str, **query: str | None) -> str:
    """Return a path for :meth:`Kubectl.raw`; a query that is None is left out.

    :class:`ClusterError` for a step that is no name: kubectl resolves ``..`` and ``%2F`` itself.
    https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#path-segment-names
    """
    wrong = next((step for step in steps if step in ("", ".", "..") or "/" in step or "%" in step), None)
    if wrong is not None:
        raise ClusterError(f"{quote_untrusted(wrong)} is no name of an object")
    found = {name: value for name, value in query.items() if value is not None}
    return "/" + "/".join(quote(step, safe="") for step in steps) + (f"?{urlencode(found)}" if found else "")


def document(item: Raw) -> dict[str, Any]:
    """Return an object of :meth:`Kubectl.pages`; :class:`ClusterError` for what is none."""
    try:
        return msgspec.json.decode(item, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        raise ClusterError("the API server's answer has something that is no object") from None


@dataclass(frozen=True, slots=True)
class Kubectl:
    """kubectl with the options that choose a cluster; None leaves the choice to kubectl.

    ``request_timeout`` is for one request, in kubectl's form (``60s``); ``time_limit`` is for one call of kubectl.
    """

    kubeconfig: str | None = None
    context: str | None = None
    time_limit: float = TIME_LIMIT
    request_timeout: str | None = None

    def words(self, namespace: str) -> list[str]:
        """Return the options of a command for people that means this cluster and a namespace."""
        return _words({"kubeconfig": self.kubeconfig, "context": self.context, "namespace": namespace})

    def get(self, *names: str, **options: str) -> Any:
        """Return the object, or the list, that ``kubectl get`` prints; None where it prints nothing."""
        output = self.run("get", *names, output="json", **options)
        try:
            return json.loads(output) if output else None
        except (ValueError, RecursionError):
            raise ClusterError(f"`{_text(['kubectl', 'get', *names])}` printed no JSON") from None

    def raw(self, path: str) -> bytes:
        """Return what the API server answers to a GET of a path."""
        return self.run("get", raw=path)

    def read(self, path: str) -> Any:
        """Return the object that the API server answers to a GET of a path."""
        try:
            return json.loads(self.raw(path))
        except (ValueError, RecursionError):
            raise ClusterError(f"the API server's answer to {visible(path)} is no JSON") from None

    def pages(self, *steps: str, **query: str | None) -> Iterator[list[Raw]]:
        """Yield the objects of a list page by page, each as the bytes of its JSON.

        A list that takes so long that the API server can't continue it (410 Gone) is begun anew; what has been yielded
        is left out then. So each object comes once, and what is created or deleted meanwhile may come or not.
        """
        seen: set[str] = set()
        token: str | None = None
        beginnings = 1
        while True:
            try:
                items, following = _page(self.raw(path(*steps, **query, limit=str(PAGE), **{"continue": token})))
            except ClusterError as error:
                if token is None or error.reason not in _EXPIRED or beginnings == MAX_BEGINNINGS:
                    raise
                token, beginnings = None, beginnings + 1
                continue
            yield [item for uid, item in items.items() if uid not in seen]
            seen.update(items)
            token = following
            if token is None:
                return

    def run(self, verb: str, *names: str, **options: str) -> bytes:
        """Return what ``kubectl VERB`` prints; :class:`ClusterError` where it fails, with kubectl's words."""
        return self.call(verb, names, options).output

    def call(
        self,
        verb: str,
        names: Sequence[str],
        options: Mapping[str, str],
        *,
        stdin: bytes | None = None,
        hold_warnings: bool = False,
    ) -> Answer:
        """Return what ``kubectl VERB`` answers; :class:`ClusterError` where it fails, with kubectl's words.

        An option is ``--name=value`` and each name stands after ``--``: none of them can become another option,
        whatever text it is. What kubectl says on standard error goes where ours goes, at once: it may ask for a login.
        Only why it fails is left to the error, and with ``hold_warnings`` the warnings to the answer.
        """
        chosen = {
            "kubeconfig": self.kubeconfig,
            "context": self.context,
            "request_timeout": self.request_timeout,
            **options,
        }
        command = ["kubectl", *verb.split(), *_words(chosen), *(["--", *names] if names else [])]
        held = _Held([_FAILURE, _WARNING] if hold_warnings else [_FAILURE])
        try:
            answer = subprocess.run(  # noqa: S603
                command,
                # None leaves it the terminal's: somebody may have to log in
                input=stdin,
                stdout=subprocess.PIPE,
                stderr=held.writing,
                timeout=self.time_limit,
                check=False,
            )
        except FileNotFoundError:
            raise ClusterError(
                "there is no kubectl on PATH, and a cluster is reached through it; "
                "install it (https://kubernetes.io/docs/tasks/tools/), or name files"
            ) from None
        except subprocess.TimeoutExpired:
            raise ClusterError(f"`{_text(command)}` was ended: it took longer than {self.time_limit:g} s") from None
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise ClusterError(f"`{_text(command)}` can't be run: {reason}") from None
        finally:
            said = held.end()
        if answer.returncode < 0:
            raise ClusterError(f"`{_text(command)}` was ended by signal {-answer.returncode}")
        if answer.returncode > 0:
            raise _failed(command, answer.returncode, said)
        return Answer(answer.stdout, [line[9:] for line in said.splitlines() if _WARNING.match(line)])


def _words(options: Mapping[str, str | None]) -> list[str]:
    return [f"--{name.replace('_', '-')}={value}" for name, value in options.items() if value is not None]


class _ListMetadata(Struct, rename={"next": "continue"}):
    next: str | None = None


class _Page(Struct):
    metadata: _ListMetadata
    items: list[Raw] | None = None


class _IdentityMetadata(Struct):
    uid: str = ""


class _Identity(Struct):
    metadata: _IdentityMetadata


_decode_page = msgspec.json.Decoder(_Page).decode
_decode_identity = msgspec.json.Decoder(_Identity).decode


def _page(body: bytes) -> tuple[dict[str, Raw], str | None]:
    """Return the objects of a page by their uids, and what continues the list, None at its end."""
    try:
        page = _decode_page(body)
        items = {_decode_identity(item).metadata.uid: item for item in page.items or ()}
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        raise ClusterError("the API server's answer is no list of objects") from None
    return items, page.metadata.next or None


class _Held:
    """A pipe for a program's standard error: from a line on that matches a pattern it is held back.

    What is written before such a line, and at other times, goes to ours at once.
    """

    def __init__(self, patterns: list[re.Pattern[str]]) -> None:
        self._patterns = patterns
        self._text = ""
        self._reading, self.writing = os.pipe()
        self._thread = threading.Thread(target=self._forward, daemon=True)
        self._thread.start()

    def end(self) -> str:
        """Return what was held back, after the program has ended."""
        os.close(self.writing)
        # what the program started, and is still there, may have the pipe open
        self._thread.join(timeout=1)
        return self._text

    def _forward(self) -> None:
        with open(self._reading, "rb", buffering=0) as pipe:  # noqa: PTH123 — a descriptor, no path
            while chunk := pipe.read(64 * 1024):
                # kubectl writes a message at a time; several may have come since
                text = chunk.decode(errors="replace")
                found = [match.start() for pattern in self._patterns if (match := pattern.search(text))]
                if found:
                    self._text = (self._text + text[min(found) :])[:_MAX_WORDS]
                    chunk = text[: min(found)].encode()
                os.write(2, chunk)


def _failed(command: list[str], code: int, said: str) -> ClusterError:
    """Return the error for a call that failed; its text ends with the words in which kubectl says why."""
    words = "; ".join(visible(line) for line in said.splitlines() if line and not _WARNING.match(line))
    found = _SERVERS_REASON.match(words)
    text = f"`{_text(command)}` failed with exit code {code}"
    sentence = words.removeprefix(found[0]) if found else words
    return ClusterError(f"{text}: {words}" if words else text, reason=found[1] if found else "", sentence=sentence)


def _text(command: list[str]) -> str:
    """Return a command as one would type it."""
    return visible(shlex.join(command))
