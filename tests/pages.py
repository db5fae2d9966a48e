"""The commands in the pages for operators, each a block of shell, and how tests run them as they are written.

A command's name is its place: page, section, and its number there, as in ``runbooks.md#pilliondown 2``. A test that
runs it says its name; a command that no test runs is in :data:`NOT_RUN`, with the reason. A block of ``text`` right
behind a command is what it prints: a line ``…`` stands for any lines, a ``…`` in a line for any text.
"""

import os
import re
import subprocess
import textwrap
from collections.abc import Mapping
from pathlib import Path

__all__ = ["COMMANDS", "NOT_RUN", "OUTPUTS", "PAGES", "ROOT", "anchor", "commands", "files", "pattern", "run", "shows"]

ROOT = Path(__file__).parent.parent
#: The pages whose commands a user or an operator copies.
PAGES = (
    *(
        "README.md",
        "annotations.md",
        "certificates.md",
        "command-line.md",
        "get-started.md",
        "gitops.md",
        "installing.md",
    ),
    *("linting.md", "monitoring.md", "platforms.md", "playground.md", "runbooks.md", "security.md", "shipping.md"),
    *("status.md", "troubleshooting.md", "upgrading.md"),
)

_BLOCK = re.compile(r"^(?P<indent> *)```(?P<kind>\w*)[^\n]*\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
#: Blocks of four blanks are commands, too; a list's continuation has fewer.
_INDENTED = re.compile(r"(?<=\n\n)(?:    [^\n]*\n)+")
_TITLE = re.compile(r"^```[^\n]* ?title=(?P<name>\S+)[^\n]*\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)

_IMAGES = "tests/cluster/image.py builds the images from the Dockerfile, on bases of its own"
_MODES = "tests/cluster/test_rotation.py and test_cert_manager.py change the mode of releases of their own"
_SHOWN = "tests/cluster/test_certs_command.py runs it, with the test's kubeconfig"
_IN_PLACE = "tests/cluster/test_upgrade.py runs it, on a namespace of its own"
_STARTED = "docs/get-started.md has it as well, and tests/cluster/test_tour.py runs that"
_ELSEWHERE = "the runbooks have it with a namespace, and tests/cluster/test_runbooks.py runs that"
#: What no test runs as it is written, and why.
NOT_RUN = {
    "README.md#five-minutes-in-a-cluster 1": _STARTED,
    "README.md#five-minutes-in-a-cluster 2": _STARTED,
    "README.md#without-a-cluster 1": "docs/command-line.md has it as well, and tests/test_installation.py runs that",
    "annotations.md#a-namespace-that-opts-in 1": "tests/cluster/test_webhooks.py labels namespaces of its own",
    "annotations.md#a-namespace-that-opts-in 2": "it lists what other tests have made, too",
    "certificates.md#inspecting-certificates 1": _SHOWN,
    "certificates.md#rotating-now 1": _SHOWN,
    "command-line.md#krew 1": "there is no release yet; tests/cluster/test_krew.py installs from a server of its own",
    "get-started.md#build-the-images 1": f"{_IMAGES}; tests/test_makefile.py has what make says",
    "get-started.md#take-the-tour 1": "tests/cluster/test_tour.py runs the script",
    "installing.md#check-it 1": _ELSEWHERE,
    "installing.md#install 1": _IMAGES,
    "installing.md#the-image 1": _IMAGES,
    "installing.md#refuse-pods-while-no-server-responds 1": "tests/cluster/test_helm.py sets Fail, too",
    "installing.md#uninstalling 2": "tests/cluster/test_helm.py looks for what an interrupted test leaves",
    "installing.md#uninstalling 1": "tests/cluster/test_release.py uninstalls a release of its own",
    "linting.md#what-to-lint 1": "it needs the reader's own; tests/cli/test_lint.py has each kind of input",
    "monitoring.md#enable-it 1": "it needs the Prometheus operator; tests/cluster/test_chart.py renders these values",
    "monitoring.md#the-log 1": _ELSEWHERE,
    "playground.md#the-playground 1": "it does not end; tests/playground/process.py starts it",
    "security.md#who-can-call-the-webhook 2": "tests/cluster/test_client_certificate.py installs with this value",
    "status.md#which-pods-have-their-sidecar 1": "tests/cluster/test_status.py runs each, with names of its own",
    "runbooks.md#kubectl-logs-shows-too-little 1": "it needs a terminal, and the node's own /var/log/pods",
    "runbooks.md#pillioncertificateends 4": "it needs cert-manager's resources in a cluster that runs pods",
    "upgrading.md#from-a-chart-before-the-webhook-entries-had-the-releases-name 1": (
        "it needs the former chart; it was tried by hand, in each certificate mode"
    ),
    "upgrading.md#provided-to-cert-manager 1": _MODES,
    "upgrading.md#provided-to-self-managed 1": _MODES,
    "upgrading.md#replacing-sidecars-in-place 1": _IN_PLACE,
    "upgrading.md#self-managed-or-cert-manager-to-provided 1": _MODES,
    "upgrading.md#self-managed-to-cert-manager-and-back 1": _MODES,
    "upgrading.md#what-happens-to-running-pods 1": _ELSEWHERE,
}


def anchor(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def files(text: str) -> dict[str, str]:
    """Return the files of a page by name: blocks with ``title=NAME``."""
    return {match["name"]: match["text"] for match in _TITLE.finditer(text)}


def pattern(output: str) -> str:
    """Return a regular expression for the output that a page shows."""
    lines = [
        "(?:.*\n)*?" if line == "…" else ".*".join(re.escape(piece) for piece in line.split("…")) + "\n"
        for line in output.splitlines()
    ]
    return "".join(lines)


def commands(page: str, text: str) -> dict[str, str]:
    """Return the commands of a page by place: blocks of ``sh``, and those that are only indented."""
    return {place: command for place, (command, _) in _commands(page, text).items()}


def _commands(page: str, text: str) -> dict[str, tuple[str, str]]:
    """Return the commands of a page by place, each with the output that the page shows."""
    fenced = list(_BLOCK.finditer(text))
    outputs = {match.start(): textwrap.dedent(match["text"]) for match in fenced if match["kind"] == "text"}
    shown = {match.start(): outputs.get(match.end() + 2, "") for match in fenced}
    blocks = [(match.start(), textwrap.dedent(match["text"])) for match in fenced if match["kind"] == "sh"]
    # as long as before, so that places in the text stay
    prose = _BLOCK.sub(lambda match: "\n" * len(match[0]), text)
    blocks += [(match.start(), textwrap.dedent(match[0])) for match in _INDENTED.finditer(prose)]
    headings = [(match.start(), anchor(match[1])) for match in _HEADING.finditer(prose)]
    found: dict[str, tuple[str, str]] = {}
    counts: dict[str, int] = {}
    for start, block in sorted(blocks):
        section = [name for place, name in headings if place < start][-1]
        counts[section] = counts.get(section, 0) + 1
        found[f"{page}#{section} {counts[section]}"] = block, shown.get(start, "")
    return found


_ALL = {
    place: found
    for page in PAGES
    for place, found in _commands(page, (ROOT / ("" if page == "README.md" else "docs") / page).read_text()).items()
}
COMMANDS = {place: command for place, (command, _) in _ALL.items()}
#: What the pages show of what they print, by the place of the command.
OUTPUTS = {place: output for place, (_, output) in _ALL.items() if output}


def run(place: str, programs: Path, folder: Path, environment: Mapping[str, str] | None = None, **words: str) -> str:
    """Run a command as it is written, but for the page's words in capitals, and return what a terminal shows of it.

    kubectl and helm are those in ``programs``. It runs in the folder, and ``charts`` there is the project's.
    """
    charts = folder / "charts"
    if not charts.exists():
        charts.symlink_to(ROOT / "charts")
    path = f"{programs}:{os.environ['PATH']}"
    answer = subprocess.run(
        ["bash", "-c", _filled(COMMANDS[place], words)],
        cwd=folder,
        env={**os.environ, **(environment or {}), "PATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    return answer.stdout


def shows(place: str, output: str, **words: str) -> bool:
    """Return whether a command printed what the page shows; columns may have any width."""
    expected, found = (
        re.sub("^ | $", "", re.sub(" +", " ", text), flags=re.MULTILINE)
        for text in (_filled(OUTPUTS[place], words), output)
    )
    return re.fullmatch(pattern(expected), found) is not None


def _filled(text: str, words: Mapping[str, str]) -> str:
    for word, value in words.items():
        # a column of kubectl's may have the same name
        text = re.sub(rf"\b{word}\b(?!:\.)", value, text)
    return text
