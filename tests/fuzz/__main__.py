"""python -m tests.fuzz SECONDS: a third each for core, configurations, server; finds lie in FOLDER."""

import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.fuzz.server import attack
from tests.service.process import launch


def main() -> int:
    """Print the figures; return 1 if anything was found."""
    seconds = int(sys.argv[1])
    folder = Path(tempfile.mkdtemp(prefix="pillion-fuzz-"))
    core = [sys.executable, "-m", "tests.fuzz.core", str(seconds // 3), str(folder)]
    answer = subprocess.run(core, stderr=subprocess.PIPE, text=True, check=False)
    (folder / "core.log").write_text(answer.stderr)
    figures = [line for line in answer.stderr.splitlines() if line.startswith("stat::")]
    print("core:", " ".join(line.removeprefix("stat::") for line in figures))
    if answer.returncode:
        print(f"core: a promise is broken; the body and core.log are in {folder}")
    configurations = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.configurations", str(seconds // 3)],
        check=False,
        text=True,
        stdout=subprocess.PIPE,
    )
    print("configurations:", configurations.stdout.strip())
    with ExitStack() as stack:
        process = launch(folder, stack, "--header-timeout=1s", "--body-timeout=1s", "--keep-alive=1s")
        try:
            print("server:", attack(process, seconds / 3, seed=int(time.time())))
        except AssertionError as error:
            print("server:", error)
            return 1
    return int(answer.returncode != 0 or configurations.returncode != 0)


if __name__ == "__main__":
    sys.exit(main())
