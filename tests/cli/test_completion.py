"""Tests of webhook.cli.completion, in real shells and with the real kubectl: they are asked as Tab asks them."""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.cli.conftest import Call
from tests.promtool import REQUIRED
from webhook.cli import COMMANDS, completion

#: Lines, and what can follow at their end; a line that begins with another command is not for bash's own function.
ANSWERS: Mapping[str, set[str]] = {
    "pillion ": {"--help", "--version", *COMMANDS},
    "pillion ex": {"explain"},
    "pillion lint --str": {"--strict"},
    "pillion lint -f ": {"app.json", "app.yaml", "manifests/", "two words.yml"},
    "pillion lint -f app.y": {"app.yaml"},
    "pillion lint -f manifests/": {"manifests/shop.yaml"},
    "pillion lint -f manifests/.": {"manifests/.hidden.yaml"},
    "pillion lint -f app.yaml -o ": {"text", "json", "sarif"},
    "pillion inject --diff --conf": {"--config"},
    "pillion inject --config notes": {"notes.txt"},
    "pillion inject --prefix ": set(),
    "pillion certs ": {"--help", "show", "verify", "rotate"},
    "pillion certs rotate l": {"leaf"},
    "pillion certs show -n shop": {"shop", "shop-test"},
    "pillion certs verify --context prod": {"production"},
    "pillion completion ": {"--help", "bash", "zsh", "fish"},
    "pillion nonsense x": set(),
}
#: What kubectl itself completes, by the option.
KUBECTL = """\
echo "$*" >> calls
case "$*" in
  *--namespace*) printf 'shop\\nshop-test\\n:4\\n' ;;
  *--context*) printf 'production\\tcurrent\\n:4\\n' ;;
esac
"""
#: Loads the script, and answers a line by the function that it registered for the program.
BASH = """\
source <(pillion completion bash)
read -r _ _ _ _ _ _ _ _ function _ < <(complete -p pillion)
COMP_LINE=$1 COMP_POINT=${#1} COMP_TYPE=9
"$function" pillion
printf '%s\\n' "${COMPREPLY[@]}"
"""
FISH = "pillion completion fish | source; complete -C $argv[1] | string split -f1 \\t"
#: What a shell at a terminal is told: Tab completes, and prints the line as it then is between bytes that nobody types.
ZSHRC = """\
autoload -Uz compinit
compinit -u -D
source <(pillion completion zsh)
answer() {
  zle complete-word
  print -rn -- $'\\x01'"$BUFFER"$'\\x02'
}
zle -N answer
bindkey '^I' answer
print -n $'\\x01ready\\x02'
"""
#: Starts such a shell, types a line and Tab, and prints the answer.
ZSH = """\
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell 'source ./zshrc'
zpty -r shell text $'*\\x02'
zpty -w -n shell "$1"$'\\t'
zpty -r shell text $'*\\x02'
text=${text##*$'\\x01'}
print -r -- "${text%$'\\x02'}"
"""


def needs(name: str) -> pytest.MarkDecorator:
    """Return what leaves a test out where a program is missing, unless nothing may be missing."""
    missing = not (shutil.which(name) or os.environ.get(REQUIRED))
    return pytest.mark.skipif(missing, reason=f"there is no {name}; apt-get install {name}")


def program(path: Path, text: str) -> None:
    """Write a program that the shell runs."""
    path.write_text(f"#!/bin/sh\n{text}")
    path.chmod(0o755)


@pytest.fixture
def programs(folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder on PATH with pillion's programs and a stand-in for kubectl; the working directory has files."""
    programs = tmp_path_factory.mktemp("a blank")
    names = {"pillion": "webhook.cli import main", "kubectl-pillion": "webhook.cli import main"}
    names["kubectl_complete-pillion"] = "webhook.cli.completion import answer_kubectl as main"
    for name, imports in names.items():
        program(programs / name, f"exec {sys.executable} -c 'import sys; from {imports}; sys.exit(main())' \"$@\"")
    program(programs / "kubectl", KUBECTL)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    (folder / "manifests").mkdir()
    for name in ("app.yaml", "app.json", "notes.txt", "two words.yml", ".hidden.yaml", "a\nb.yaml"):
        (folder / name).touch()
    for name in ("shop.yaml", ".hidden.yaml"):
        (folder / "manifests" / name).touch()
    return programs


def printed(*command: str) -> list[str]:
    """Return the lines that a program prints; it says nothing on standard error."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.usefixtures("programs")
@pytest.mark.parametrize("line", ANSWERS)
class TestEachLine:
    """The same answers in each shell, and from kubectl's plugin."""

    def test_bash(self, line: str) -> None:
        """Names are quoted as bash has them."""
        found = printed("bash", "--norc", "-c", BASH, "bash", line)
        assert {each.rstrip().replace("\\ ", " ") for each in found} - {""} == ANSWERS[line]

    @needs("fish")
    def test_fish(self, line: str) -> None:
        """Fish quotes them itself."""
        assert set(printed("fish", "--no-config", "-c", FISH, line)) == ANSWERS[line]

    def test_kubectl_is_answered(self, line: str) -> None:
        """By a line for each, and its directive at the end: no files, and no blank behind a folder."""
        *found, directive = printed("kubectl_complete-pillion", *line.split(" ")[1:])
        assert {each.partition("\t")[0] for each in found} == ANSWERS[line]
        assert directive == (":6" if "manifests/" in ANSWERS[line] else ":4")


@needs("zsh")
@pytest.mark.usefixtures("programs")
@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("pillion ex", "pillion explain "),
        ("pillion lint -f app.y", "pillion lint -f app.yaml "),
        ("pillion lint -f two", "pillion lint -f two\\ words.yml "),
        ("pillion certs rotate l", "pillion certs rotate leaf "),
        ("helm template shop | pillion lint -f - -o sa", "helm template shop | pillion lint -f - -o sarif "),
        ("kubectl-pillion unin", "kubectl-pillion uninject "),
    ],
)
def test_zsh(line: str, completed: str, folder: Path) -> None:
    """At a terminal, also behind a pipe."""
    (folder / "zshrc").write_text(ZSHRC)
    assert printed("zsh", "-f", "-c", ZSH, "zsh", line) == [completed]


@pytest.mark.usefixtures("programs")
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_has_what_is_replaced_in_it(pillion: Call, shell: str) -> None:
    """A new version of the library that names the line otherwise is noticed."""
    script = pillion("completion", shell).out
    assert "kubectl-pillion" in script
    assert ("$BUFFER" in script, "$CURSOR" in script) == ((shell == "bash",) * 2)
    assert ("words[1,CURRENT-1]" in script) == (shell == "zsh")


@pytest.mark.usefixtures("programs")
def test_a_name_with_a_quote(folder: Path) -> None:
    """A word that kubectl passes on is as it was typed, whatever is in it."""
    (folder / "it's a 'b'.yaml").touch()
    for begun in ("it's", "it's a 'b'", "it's a '"):
        assert printed("kubectl_complete-pillion", "lint", "-f", begun) == ["it's a 'b'.yaml", ":4"]


@pytest.mark.usefixtures("programs")
def test_kubectl_is_asked_in_the_cluster_of_the_line(folder: Path) -> None:
    """By its own completion, with the options that choose a cluster, and with a limit."""
    line = ["certs", "show", "--context", "a b", "--kubeconfig", "other", "-n", "sh"]
    assert printed("kubectl_complete-pillion", *line)[:-1] == ["shop", "shop-test"]
    asked = "__complete --request-timeout=3s --kubeconfig=other --context=a b --namespace sh"
    assert (folder / "calls").read_text().splitlines() == [asked]


@pytest.mark.usefixtures("programs")
def test_kinds_and_names(folder: Path) -> None:
    """Of an object in the cluster, the kinds that have pods; kubectl knows the names."""
    parser = argparse.ArgumentParser()
    named = parser.add_argument("target", metavar="KIND/NAME")
    chosen = argparse.Namespace(namespace="shop", context=None)
    assert "deployment/" in completion._values("", action=named, parsed_args=chosen)
    completion._values("deployment/w", action=named, parsed_args=chosen)
    asked = "__complete --request-timeout=3s --namespace=shop get deployment/w"
    assert (folder / "calls").read_text().splitlines() == [asked]


@pytest.mark.usefixtures("programs")
def test_names_behind_a_kind(folder: Path) -> None:
    """As kubectl takes them."""
    printed("kubectl_complete-pillion", "upgrade", "-n", "shop", "pod", "web-1", "w")
    asked = "__complete --request-timeout=3s --namespace=shop get pod w"
    assert (folder / "calls").read_text().splitlines() == [asked]


@pytest.mark.parametrize("kubectl", ["exec sleep 60", "exit 1", None], ids=["hangs", "fails", "is not there"])
def test_without_an_answer_of_kubectl(kubectl: str | None, programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is offered, after three seconds at most and without a word."""
    (programs / "kubectl").unlink()
    if kubectl is None:
        monkeypatch.setenv("PATH", str(programs))
    else:
        program(programs / "kubectl", kubectl)
    assert printed("kubectl_complete-pillion", "certs", "show", "-n", "") == [":4"]


@pytest.mark.usefixtures("programs")
@pytest.mark.parametrize("name", ["app.yaml/", "absent/", "~nobody-of-that-name/"])
def test_what_is_no_folder_has_no_files(name: str) -> None:
    """Whatever it is."""
    assert list(completion._files(name, ("",))) == []


@pytest.mark.usefixtures("programs")
class TestWithoutTheLibrary:
    """An installation without the extra says what to install, and no Tab runs a command."""

    @pytest.fixture(autouse=True)
    def without(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let argcomplete not be found."""
        (folder / "argcomplete.py").write_text("raise ModuleNotFoundError")
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), *sys.path]))

    @pytest.mark.parametrize(
        ("command", "code"), [(("pillion", "completion", "bash"), 2), (("kubectl_complete-pillion", "in"), 1)]
    )
    def test_it_is_said(self, command: tuple[str, ...], code: int) -> None:
        """In one sentence."""
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        said = "completion needs the Python package argcomplete; install Pillion with it, as pillion[completion]"
        assert (done.returncode, done.stdout, done.stderr) == (code, "", f"{command[0].split('-c')[0]}: {said}\n")

    def test_tab_does_nothing(self) -> None:
        """The shell gets an exit code, nothing else."""
        environment = {**os.environ, "_ARGCOMPLETE": "1", "COMP_LINE": "pillion in", "COMP_POINT": "10"}
        done = subprocess.run(["pillion"], env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (1, "", "")


@pytest.mark.parametrize(
    "variables", [{}, {"COMP_LINE": "pillion in"}, {"COMP_LINE": "pillion in", "COMP_POINT": "x"}], ids=len
)
@pytest.mark.usefixtures("programs")
def test_a_question_without_a_line(variables: dict[str, str]) -> None:
    """Whoever sets the variables, there is no traceback."""
    done = subprocess.run(
        ["pillion"], env={**os.environ, "_ARGCOMPLETE": "1", **variables}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="there is no kubectl")
def test_kubectl_itself(folder: Path, programs: Path) -> None:
    """The real kubectl finds the plugin's program, and passes its answer on to the shell."""
    (programs / "kubectl").unlink()
    environment = {**os.environ, "KUBECONFIG": str(folder / "absent")}
    command = ["kubectl", "__complete", "pillion", "lint", "-f", "app.y"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "app.yaml\n:4\n"
