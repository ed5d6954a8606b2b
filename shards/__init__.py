import sys

from shards import terminal

if sys.argv[:1] == ["-m"]:  # this process is `python -m` something, and Python looks for that module
    terminal.begin()

    from shards import environment

    environment.require()
