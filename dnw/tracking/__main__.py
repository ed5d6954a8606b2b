"""Follow a run and feed a tracker: dnw/tracking/follow.py."""

from __future__ import annotations

import sys

from dnw.tracking.follow import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
