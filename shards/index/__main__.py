import sys

from shards import command
from shards.index import main

sys.exit(command.run(main, prefix="shards.index: ", stopped=command.AGAIN))
