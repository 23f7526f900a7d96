"""`python tests/fake_pbs COMMAND ...`: one command of the fake PBS, whose folder is $FAKE_PBS."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def start() -> int:
    """Run the command."""
    sys.path.insert(0, str(Path(__file__).parent.parent.parent))
    from tests.fake_pbs.client import main

    return main(Path(os.environ.pop("FAKE_PBS")), sys.argv[1], sys.argv[2:])


if __name__ == "__main__":
    sys.exit(start())
