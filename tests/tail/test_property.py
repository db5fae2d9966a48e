"""Whatever the app does with its files, in whatever order and however quickly: what it wrote is printed."""

import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from .sidecar import Sidecar

EXAMPLES = int(os.environ.get("PILLION_TAIL_EXAMPLES", "4"))
NAMES = ("app", "web")
ROTATIONS = 3


@dataclass
class Version:
    """What one file holds, from its creation or last truncation on."""

    #: Lines that must be printed, once.
    certain: list[str] = field(default_factory=list)
    #: Lines that were written after the last look.
    fresh: list[str] = field(default_factory=list)
    #: The line that has no end yet, and what of it the last look saw.
    partial: str = ""
    known: str = ""
    #: What is printed instead of the first fresh line if that is lost.
    instead: str = ""
    #: A sidecar has it open.
    open: bool = False

    def look(self) -> None:
        """All that is there is seen."""
        self.certain += self.fresh
        self.fresh = []
        self.known = self.partial
        self.open = True

    def finish(self) -> None:
        """All that is there will be read, and nothing is added."""
        self.look()
        self.certain += [self.partial] if self.partial else []

    def lose(self) -> None:
        """Note that what was not seen may be lost."""
        self.fresh += [self.partial] if self.partial else []
        self.instead = self.known


class App:
    """An app with log files, and the model of what has to be printed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.serial = 0
        self.files: dict[str, Version] = {}
        self.done: list[Version] = []
        self.target = 0

    def text(self, name: str) -> str:
        """Return a line that there is only once."""
        self.serial += 1
        return f"{name} {self.serial} {'x' * (self.serial * 37 % 300)}"

    def version(self, name: str) -> Version:
        """Return the file's version; it begins if there is none."""
        return self.files.setdefault(name, Version())

    def write(self, name: str, count: int) -> None:
        """Append whole lines."""
        version = self.version(name)
        lines = [self.text(name) for _ in range(count)]
        with (self.folder / name).open("a") as file:
            file.writelines(f"{line}\n" for line in lines)
        lines[0] = version.partial + lines[0]
        version.partial = ""
        version.fresh += lines

    def write_part(self, name: str) -> None:
        """Append the beginning of a line."""
        part = self.text(name)
        with (self.folder / name).open("a") as file:
            file.write(part)
        self.version(name).partial += part

    def rotate(self, name: str) -> None:
        """Rename the file, those before it too, and remove the oldest."""
        if name not in self.files:
            return
        self.remove(f"{name}.{ROTATIONS}")
        for number in range(ROTATIONS - 1, -1, -1):
            old = f"{name}.{number}" if number else name
            if old in self.files:
                (self.folder / old).rename(self.folder / f"{name}.{number + 1}")
                self.files[f"{name}.{number + 1}"] = self.files.pop(old)

    def remove(self, name: str) -> None:
        """Unlink it: what a sidecar has open is read all the same."""
        if name in self.files:
            (self.folder / name).unlink()
            version = self.files.pop(name)
            if version.open:
                version.finish()
            else:
                version.lose()
            self.done.append(version)

    def truncate(self, name: str) -> None:
        """Empty it, as ``>`` does: what was not looked at may be lost."""
        if name in self.files:
            os.truncate(self.folder / name, 0)
            version = self.files[name]
            version.lose()
            self.done.append(version)
            self.files[name] = Version(open=version.open)

    def looked(self) -> None:
        """Note that a sidecar has looked at everything."""
        for version in self.files.values():
            version.look()

    def check(self, printed: str) -> None:
        """Compare with what was printed by the end."""
        for version in self.files.values():
            version.finish()
        lines = [line for line in printed.split("\n") if line]
        assert len(lines) == len(set(lines)), "a line is there twice"
        place = {line: number for number, line in enumerate(lines)}
        allowed: set[str] = set()
        for version in (*self.done, *self.files.values()):
            missing = [line for line in version.certain if line not in place]
            if version.instead and version.instead not in place and version.fresh[0] not in place:
                missing.append(version.instead)
            assert not missing, f"lost: {missing}"
            every = [*version.certain, version.instead, *version.fresh]
            order = [place[line] for line in every if line in place]
            assert order == sorted(order), f"out of order: {every}"
            allowed.update(every)
        assert set(lines) <= allowed, f"torn: {set(lines) - allowed}"


names = st.sampled_from([f"{name}.log" for name in NAMES])
steps = st.one_of(
    st.tuples(st.just("write"), names, st.integers(1, 400)),
    st.tuples(st.just("write_part"), names),
    st.tuples(st.just("rotate"), names),
    st.tuples(st.just("remove"), names),
    st.tuples(st.just("truncate"), names),
    st.tuples(st.just("pause")),
    st.tuples(st.just("pause")),
)


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink]
    if EXAMPLES > 4
    else [Phase.explicit, Phase.generate],
)
@given(script=st.lists(steps, min_size=5, max_size=40), pattern=st.sampled_from(["*.log", "**/*.log", "*"]))
def test_everything_is_printed(program: Path, script: list[tuple[object, ...]], pattern: str) -> None:
    """Nothing is lost, printed twice, torn or out of order."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "logs"
        folder.mkdir()
        app = App(folder)
        sidecar = Sidecar(Path(scratch), program, [f"{folder}/{pattern}"], {"PILLION_POLL": "0.03"})
        try:
            sidecar.looks(1)
            for word, *arguments in script:
                if word == "pause":
                    sidecar.looks()
                    app.looked()
                else:
                    getattr(app, str(word))(*arguments)
            app.check(sidecar.end().decode())
            assert not sidecar.errors
        finally:
            sidecar.kill()
