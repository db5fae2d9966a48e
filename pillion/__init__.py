"""Where the programs start: the one name that the wheel puts into site-packages.

There the packages ``webhook`` and ``certs`` are in this directory, so that they neither overwrite nor meet others of
these names: docs/decisions/0028-one-name-in-site-packages.md.
"""

import sys
from pathlib import Path

__all__ = ["answer_kubectl", "main"]

# in front: whatever else is installed, these two names are ours in this process
sys.path.insert(0, str(Path(__file__).parent))


def main() -> int:
    """Run the command that the arguments name, and return its exit code."""
    from webhook import cli  # noqa: PLC0415 — the path must be there before, and the keeper needs no command line

    return cli.main()


def answer_kubectl() -> int:
    """Print what completes ``kubectl pillion``, and return the exit code."""
    from webhook.cli import completion  # noqa: PLC0415

    return completion.answer_kubectl()
