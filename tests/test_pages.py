"""Every command in the operator's pages is run by a test, or is named with the reason why not."""

import re
import subprocess

import pytest

from tests import pages
from tests.pages import COMMANDS, NOT_RUN, OUTPUTS, PAGES, ROOT, anchor, commands, shows

PAGE = """\
# A page

Text, and `kubectl get pods` in it.

```sh
one
```

    two \\
      --more

## A section, and more

- an item:

  ```sh
  three
  ```

```yaml
no: command
```

```console
$ pillion none
```

    four
"""
TROUBLESHOOTING = (ROOT / "docs/troubleshooting.md").read_text()
RUNBOOKS = (ROOT / "docs/runbooks.md").read_text()
#: What each alert's section answers, in this order.
ANSWERS = ["Meaning", "Diagnosis", "Mitigation", "Verification"]


def named_by_tests() -> set[str]:
    """Return the places that stand in the tests' code."""
    place = re.compile(rf'"((?:{"|".join(map(re.escape, PAGES))})#[\w-]+ \d+)"')
    tests = [path for path in (ROOT / "tests").rglob("test_*.py") if path.name != "test_pages.py"]
    return {name for path in tests for name in place.findall(path.read_text())}


def test_every_command_is_run() -> None:
    """A new one needs a test that runs it, or a reason in tests/pages.py; nothing is named that is not there."""
    run = named_by_tests()
    assert run & NOT_RUN.keys() == set()
    assert run | NOT_RUN.keys() == COMMANDS.keys()


def test_commands_are_found() -> None:
    """In blocks of sh, in lists, and where they are only indented; other blocks are none."""
    assert commands("page.md", PAGE) == {
        "page.md#a-page 1": "one\n",
        "page.md#a-page 2": "two \\\n  --more\n",
        "page.md#a-section-and-more 1": "three\n",
        "page.md#a-section-and-more 2": "four\n",
    }


@pytest.mark.parametrize("place", COMMANDS)
def test_a_command_is_shell(place: str) -> None:
    """As far as bash can say without running it."""
    answer = subprocess.run(["bash", "-n"], input=COMMANDS[place], capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stderr) == (0, "")


def test_runbooks_begin_with_what_one_sees() -> None:
    """The table of symptoms leads to every section but those that it does not need to."""
    head, _, _ = RUNBOOKS.partition("\n## ")
    table = set(re.findall(r"\]\(#([\w-]+)\)", head))
    sections = {match.lower().replace(" ", "-") for match in re.findall(r"^## ([\w ]+)$", RUNBOOKS, re.MULTILINE)}
    assert sections - table <= {*("before-you-begin", "does-pillion-answer", "alerts", "certificates", "failure-modes")}


@pytest.mark.parametrize("section", re.split(r"^##+ ", RUNBOOKS, flags=re.MULTILINE))
def test_a_runbook_answers_four_questions(section: str) -> None:
    """What it means, what shows the cause, what mends it, how one sees that it is mended; alerts' always do."""
    answers = re.findall(r"^\*\*(\w+)\.\*\*", section, re.MULTILINE)
    assert answers in ([], ANSWERS)
    assert bool(answers) or not section.startswith("Pillion")


def test_troubleshooting_begins_with_what_one_sees() -> None:
    """The table leads to every section, in their order."""
    head, _, _ = TROUBLESHOOTING.partition("\n## ")
    sections = [anchor(heading) for heading in re.findall(r"^## (.+)$", TROUBLESHOOTING, re.MULTILINE)]
    assert re.findall(r"\]\(#([\w-]+)\)", head) == sections


@pytest.mark.parametrize("section", re.split(r"^## ", TROUBLESHOOTING, flags=re.MULTILINE)[1:])
def test_troubleshooting_answers_by_a_command(section: str) -> None:
    """One whose output is shown, so that tests compare it."""
    heading = section.partition("\n")[0]
    places = [place for place in OUTPUTS if place.startswith(f"troubleshooting.md#{anchor(heading)} ")]
    assert places or "```console\n$ pillion" in section


def test_the_output_of_a_command_is_the_text_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """At once behind it, and with the page's words replaced; columns may have any width."""
    output = "  NAME   AGE\nPOD …  1\n"
    page = f"# A\n\n```sh\none POD\n```\n\n```text\n{output}```\n\n```sh\ntwo\n```\n\nThen:\n\n```text\nb\n```\n"
    found = pages._commands("p.md", page)
    assert found == {"p.md#a 1": ("one POD\n", output), "p.md#a 2": ("two\n", "")}
    monkeypatch.setitem(OUTPUTS, "p.md#a 1", output)
    assert shows("p.md#a 1", "NAME      AGE\nshop-7 x 1\n", POD="shop-7")
    assert not shows("p.md#a 1", "NAME      AGE\nshop-7 x 2\n", POD="shop-7")
    assert not shows("p.md#a 1", "NAME      AGE\nPOD x 1\n", POD="shop-7")
