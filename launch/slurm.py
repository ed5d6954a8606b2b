"""Submit a run, or with -m a sweep, and return at once: --help says how."""

from __future__ import annotations

import os
import sys

# the project, so that nothing need be installed; without pathlib, since Ctrl-C isn't taken care of yet
sys.path[0] = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))  # noqa: PTH120

from shards import terminal  # noqa: E402

if __name__ == "__main__":
    terminal.begin()

from shards import environment  # noqa: E402

environment.require()

from launch.app import background, main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(background))
