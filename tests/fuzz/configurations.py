"""Configurations with some places changed: each is refused by name or works in every pod; and files of changed bytes.

python -m tests.fuzz.configurations SECONDS
"""

import json
import sys
import time
from collections import Counter
from contextlib import suppress
from random import Random
from typing import Any

from ruamel.yaml import YAML

from tests.configuration.examples import FULL, VALUES, paths
from tests.configuration.judge import judge
from tests.fuzz.mutations import changed_bytes, changed_tree
from tests.goldens import CASES
from webhook.configuration import parse
from webhook.errors import ConfigurationError

__all__ = ["attack"]

KEYS = [path[-1] for path in paths(FULL) if path and isinstance(path[-1], str)]


def _seeds() -> list[Any]:
    """Return what to begin with: the full example, and the goldens' configurations."""
    files = [case.folder / "configuration.yaml" for case in CASES]
    yaml = YAML(typ="safe", pure=True)
    return [FULL, *(json.loads(json.dumps(yaml.load(file.read_text()))) for file in files if file.exists())]


SEEDS = _seeds()


def _document(random: Random) -> Any:
    document = json.loads(json.dumps(random.choice(SEEDS)))
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        document = changed_tree(document, random, values=VALUES, keys=KEYS)
    return document


def attack(number: int, seed: int, seconds: float = 3600) -> Counter[str]:
    """Judge so many configurations, or for so long; return what became of them. AssertionError for a broken promise."""
    random = Random(seed)
    counts: Counter[str] = Counter()
    end = time.monotonic() + seconds
    while counts.total() < number and time.monotonic() < end:
        if random.random() < 0.1:
            content = changed_bytes(json.dumps(random.choice(SEEDS)).encode(), random)
            with suppress(ConfigurationError):
                parse(content, "fuzz.yaml")
            counts["bytes"] += 1
        else:
            counts["taken" if judge(_document(random)) is not None else "refused"] += 1
    return counts


def main() -> int:
    """Print the figures."""
    print(dict(attack(sys.maxsize, int(time.time()), float(sys.argv[1]))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
