import sys

from shards import command
from shards.index import main

if __name__ == "__main__":
    sys.exit(command.run(main, prefix="shards.index: ", stopped=command.AGAIN))
