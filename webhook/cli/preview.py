"""What the playground answers: a manifest as the webhook would change it, why, and what its pod then looks like.

Run as a program, it is the playground's worker.
"""

import argparse
import difflib
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from importlib.resources import files
from typing import Any

import msgspec

from webhook import documents
from webhook.cli.drawing import drawing
from webhook.cli.explain import as_json
from webhook.cli.inject import lines
from webhook.cli.terminal import visible
from webhook.configuration import load
from webhook.documents import Document
from webhook.errors import ManifestError, PillionError
from webhook.injection.annotations import OPTIONS
from webhook.injection.profile import Configuration
from webhook.json_values import as_mapping, at, json_pointer
from webhook.playground.worker import serve
from webhook.workloads.objects import objects
from webhook.workloads.reports import Report, Review, examine
from webhook.workloads.workload import Workload, operations

__all__ = ["Question", "answer", "main", "setup", "worker_command"]

#: The namespace of objects which name none.
NAMESPACE = "default"
#: So many pods, and so many remarks, are listed.
MAX_LISTED = 200
#: Documents of more lines are compared in a simpler way: difflib's time grows with the square of lines that recur.
LONG = 1000
#: How long the work on one text may take, in seconds of the processor. A megabyte of workloads takes three to five.
CPU_LIMIT = 8.0
#: How positions name the text.
SOURCE = "manifest"


class Question(msgspec.Struct, forbid_unknown_fields=True):
    """A question of the page: what becomes of ``text``.

    ``workload`` is the number of the pod, from 0, that is shown whole; ``opted_in`` says that all namespaces opt in.
    With ``key`` its annotation of that name is set to ``value`` first, or removed where that is None or blank.
    """

    text: str
    workload: int = 0
    opted_in: bool = False
    key: str = ""
    value: str | None = None


def setup(configuration: Configuration, source: str) -> bytes:
    """Return what the page begins with: profiles, fields and examples; ``source`` names the configuration."""
    return msgspec.json.encode(
        {
            "configuration": source,
            "prefix": configuration.prefix,
            "profiles": [
                {
                    "name": profile.name,
                    "description": profile.description,
                    "image": str(profile.container.get("image", "")),
                    "revision": profile.revision,
                    "default": profile.name == configuration.default_profile,
                    "native": profile.native,
                    "logs": [entry.text for entry in profile.logs],
                    "setup": list(profile.setup_steps),
                    "needs": list(profile.prerequisites),
                }
                for profile in configuration.profiles.values()
            ],
            "options": [
                {
                    "key": key,
                    "meaning": option.meaning,
                    "example": option.example,
                    "choices": list(configuration.profiles) if key == "profile" else option.choices,
                    "isList": option.is_list,
                }
                for key, option in OPTIONS.items()
            ],
            "examples": [_example(item.read_text(encoding="utf-8")) for item in _examples()],
        }
    )


def _examples() -> list[Any]:
    directory = files("webhook.playground") / "examples"
    return sorted((item for item in directory.iterdir() if item.name.endswith(".yaml")), key=lambda item: item.name)


def _example(text: str) -> dict[str, str]:
    """Return an example: its first line is a comment with the title."""
    return {"title": text.partition("\n")[0].lstrip("# "), "text": text}


def worker_command(config: str | None) -> list[str]:
    """Return the command of the worker that judges by this configuration file, or by the built-in configuration."""
    # pillion finds this package where it is installed; -P: a directory "webhook" in the current one is another
    program = f"import pillion; from {__name__} import main; main()"
    return [sys.executable, "-P", "-c", program, *(["--config", config] if config else [])]


def answer(configuration: Configuration, question: bytes) -> bytes:
    """Return the answer to a question, both in JSON; never raises for anything that a text may hold."""
    try:
        asked = msgspec.json.decode(question, type=Question)
        found = _answer(configuration, asked)
    except (msgspec.MsgspecError, UnicodeError) as error:
        found = _unreadable([_problem(ManifestError(f"the question can't be read: {error}"))])
    except RecursionError:
        found = _unreadable([_problem(ManifestError("nested too deeply"))])
    except ManifestError as error:
        found = _unreadable([_problem(error)])
    return msgspec.json.encode(found)


def _answer(configuration: Configuration, asked: Question) -> dict[str, Any]:
    text = asked.text
    stream = documents.read(text, SOURCE)
    problems = [problem for document in stream for problem in _problems(document, configuration.prefix)]
    if problems:
        return _unreadable(problems)
    reviewed = partial(examine, configuration=configuration, namespace=NAMESPACE, namespace_opt_in=asked.opted_in)
    reports = reviewed(stream)
    if asked.key in OPTIONS and (pods := _reviews(reports)):
        workload = pods[_number(pods, asked)].workload
        text = _annotated(stream, workload, f"{configuration.prefix}{asked.key}", asked.value)
        stream = documents.read(text, SOURCE)
        reports = reviewed(stream)
    reviews = _reviews(reports)
    return {
        "text": text,
        "problems": [],
        "remarks": _remarks(reports),
        "result": _marked(stream, reviews),
        "workloads": [
            {"title": visible(review.workload.title), "injected": review.verdict.injected}
            for review in reviews[:MAX_LISTED]
        ],
        "shown": _whole(reviews, _number(reviews, asked)) if reviews else None,
        "isBlank": all(document.is_blank for document in stream),
    }


def _problems(document: Document, prefix: str) -> Iterator[dict[str, Any]]:
    """Yield why a document can't be read."""
    try:
        for _ in objects(document, NAMESPACE, prefix):
            pass
    except ManifestError as error:
        yield _problem(error)


def _problem(error: ManifestError) -> dict[str, Any]:
    line, column = error.position or (1, 1)
    return {"level": "error", "line": line, "column": column, "text": visible(error.problem)}


def _unreadable(problems: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {"problems": problems[:MAX_LISTED]}


def _reviews(reports: Sequence[Report]) -> list[Review]:
    return [review for report in reports for review in report.reviews]


def _number(reviews: Sequence[Review], asked: Question) -> int:
    """Return the number of the pod that is asked for; the first where there is none of that number."""
    return asked.workload if 0 <= asked.workload < len(reviews) else 0


def _remarks(reports: Sequence[Report]) -> list[dict[str, Any]]:
    """Return what the author should know, in the order of the text."""
    found = [
        {
            "level": remark.severity.value,
            **remark.position._asdict(),
            "title": visible(report.item.title),
            "text": visible(remark.text),
        }
        for report in reports
        for remark in report.remarks_for(strict=False)
    ]
    return found[:MAX_LISTED]


def _whole(reviews: Sequence[Review], number: int) -> dict[str, Any]:
    """Return all about one pod: what ``pillion explain`` shows, its annotations, and its drawing."""
    review = reviews[number]
    prefix = review.verdict.configuration.prefix
    annotations = review.workload.annotations
    own = {key: annotations.get(f"{prefix}{key}") for key in OPTIONS}
    found = {**as_json(review, strict=False), "drawing": drawing(review)}
    return {
        **_visible(found),
        "number": number,
        "annotations": {key: value for key, value in own.items() if isinstance(value, str)},
    }


def _visible(value: Any) -> Any:
    """Return the value with each text in it as one that can be shown: no control characters."""
    match value:
        case str():
            return visible(value)
        case dict():
            return {key: _visible(item) for key, item in value.items()}
        case list() | tuple():
            return [_visible(item) for item in value]
    return value


# --- the result, with what is new in it --------------------------------------------------------------------------


def _marked(stream: Sequence[Document], reviews: Sequence[Review]) -> list[tuple[str, str]]:
    """Return the stream as ``pillion inject`` prints it, in runs of lines: ``+`` added, ``-`` removed, or blank.

    Documents are compared one by one: that is quick, and no line is taken for one of another pod.
    """
    runs: list[tuple[str, str]] = []
    own: dict[int, list[Review]] = {}
    for review in reviews:
        if not review.denied:
            own.setdefault(id(review.workload.document), []).append(review)
    for document in stream:
        after = documents.edited(document, operations(own.get(id(document), [])))
        for sign, text in [(_SAME, document.separator), *_compared(document.text, after)]:
            if runs and runs[-1][0] == sign:
                runs[-1] = (sign, runs[-1][1] + text)
            elif text:
                runs.append((sign, text))
    return runs


_ADDED, _REMOVED, _SAME = "+", "-", " "


def _compared(before: str, after: str) -> Iterator[tuple[str, str]]:
    if before == after:
        yield _SAME, before
        return
    old, new = lines(before), lines(after)
    if len(old) > LONG and (runs := _insertions(old, new)):
        yield from runs
        return
    for tag, old_start, old_end, new_start, new_end in difflib.SequenceMatcher(None, old, new).get_opcodes():
        if tag == "equal":
            yield _SAME, "".join(new[new_start:new_end])
        else:
            yield _REMOVED, "".join(old[old_start:old_end])
            yield _ADDED, "".join(new[new_start:new_end])


def _insertions(old: Sequence[str], new: Sequence[str]) -> list[tuple[str, str]]:
    """Return the runs where lines were only inserted, in linear time; none where others were changed, too."""
    runs = []
    place = 0
    for line in new:
        same = place < len(old) and line == old[place]
        place += same
        runs.append((_SAME if same else _ADDED, line))
    return runs if place == len(old) else []


# --- the form ----------------------------------------------------------------------------------------------------


def _annotated(stream: Sequence[Document], workload: Workload, name: str, value: str | None) -> str:
    """Return the text of all documents with an annotation of a pod set, or removed where the value is blank."""
    place = (*workload.place, *workload.template_path, "metadata")
    manifest = workload.document.value
    operations: list[dict[str, Any]] = []
    for path in (place, (*place, "annotations")):
        found = at(manifest, path)
        if found is None or found == {}:
            operations.append({"op": "add", "path": json_pointer(path), "value": {}})
        elif not isinstance(found, dict):
            raise ManifestError(
                f"{path[-1]} is no mapping", position=workload.template_position(path[len(place) - 1 :])
            )
    annotations = as_mapping(at(manifest, (*place, "annotations")))
    pointer = json_pointer((*place, "annotations", name))
    if value is not None and value.strip():
        operations.append({"op": "add", "path": pointer, "value": value})
    elif name not in annotations:
        operations = []
    elif len(annotations) > 1:
        operations = [{"op": "remove", "path": pointer}]
    else:
        operations = [{"op": "remove", "path": json_pointer((*place, "annotations"))}]
    return "".join(
        document.separator + documents.edited(document, operations if document is workload.document else [])
        for document in stream
    )


def main() -> None:
    """Answer the questions on standard input."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--config")
    try:
        configuration = load(parser.parse_args().config, shadow=False)
    except PillionError as error:
        # it was valid when the playground began
        problem = _problem(ManifestError(f"the configuration can't be used any more: {error}"))
        serve(lambda _: msgspec.json.encode(_unreadable([problem])), CPU_LIMIT)
    else:
        serve(partial(answer, configuration), CPU_LIMIT)
