"""Bodies that reach new code of the core are kept and changed further: libFuzzer, by atheris.

python -m tests.fuzz.core SECONDS FOLDER
"""

import sys
from pathlib import Path
from random import Random

import atheris

with atheris.instrument_imports(include=["webhook.injection"]):
    from tests.fuzz.oracle import judge
from tests.fuzz.mutations import SEEDS, mutated

#: Longer ones only take longer.
LENGTH = 65536


def change(body: bytes, length: int, seed: int) -> bytes:
    """Return a body changed by us, who know what a review is, or by libFuzzer, who does not."""
    random = Random(seed)
    changed = mutated(body, random) if random.random() < 0.9 else atheris.Mutate(body, len(body) + 64)
    return changed[:length]


def main() -> None:
    """Run for so many seconds; a body that breaks a promise lies in the folder afterwards."""
    seconds, folder = int(sys.argv[1]), Path(sys.argv[2])
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(SEEDS):
        (corpus / f"seed-{number}").write_bytes(seed)
    options = [f"-max_total_time={seconds}", f"-max_len={LENGTH}", f"-artifact_prefix={folder}/", "-timeout=30"]
    atheris.Setup(
        [sys.argv[0], *options, "-print_final_stats=1", "-verbosity=1", str(corpus)],
        lambda body: judge(body, opted_in=len(body) % 2 == 0),
        custom_mutator=change,
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
