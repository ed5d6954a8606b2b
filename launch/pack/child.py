"""One run of a pack, in a process of its own, with its own code: python -m launch.pack.child.

The job comes pickled on standard input. It begins with the signals blocked that ask for a stop, so that one
that comes before it listens is neither lost nor the end of it.
"""

import os
import pickle
import signal
import sys

from dnw import preemption

PARENT = "DNW_PACK_PID"  # the variable in which the process around says its id


def main() -> None:
    """Work on the run; raises SystemExit, as Job does."""
    preemption.follow_parent(int(os.environ[PARENT]), signal.SIGTERM)
    pickle.load(sys.stdin.buffer)()  # noqa: S301  (from the process around)


if __name__ == "__main__":
    main()
