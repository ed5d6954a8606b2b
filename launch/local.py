"""Work on a run here, in the foreground: --help says how."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)  # the project, so that nothing need be installed

from shards import environment  # noqa: E402

environment.require()

from launch.app import foreground, main  # noqa: E402

if __name__ == "__main__":
    if {"--help", "-h"} & set(sys.argv):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends us, without a word
    sys.exit(main(foreground))
