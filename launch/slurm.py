"""Submit a run, or with -m a sweep, and return at once: --help says how."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)  # the project, so that nothing need be installed

from launch.app import background, main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(background))
