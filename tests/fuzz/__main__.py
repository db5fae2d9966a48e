"""python -m tests.fuzz SECONDS: half of the time for the core, half for the server; what was found lies in FOLDER."""

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
    core = [sys.executable, "-m", "tests.fuzz.core", str(seconds // 2), str(folder)]
    answer = subprocess.run(core, stderr=subprocess.PIPE, text=True, check=False)
    (folder / "core.log").write_text(answer.stderr)
    figures = [line for line in answer.stderr.splitlines() if line.startswith("stat::")]
    print("core:", " ".join(line.removeprefix("stat::") for line in figures))
    if answer.returncode:
        print(f"core: a promise is broken; the body and core.log are in {folder}")
    with ExitStack() as stack:
        process = launch(folder, stack, "--header-timeout=1s", "--body-timeout=1s", "--keep-alive=1s")
        try:
            print("server:", attack(process, seconds / 2, seed=int(time.time())))
        except AssertionError as error:
            print("server:", error)
            return 1
    return int(answer.returncode != 0)


if __name__ == "__main__":
    sys.exit(main())
