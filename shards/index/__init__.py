"""The index of a split: which shards it has, and where in them each sample is.

    python -m shards.index FOLDER                          make the indexes of tar files that are there
    python -m shards.index FOLDER --split train='a-*.tar'  ... and say which of them are which split

Beside the shards of a split lie index-<split>.json, what the shards are, and index-<split>.npy, one row of
`shards.shard.MEMBER` for each sample. A reader of other shards than those indexed gets an error, never other
samples. `_info.json` is the form in which timm wants the same facts.
"""

from shards.index.absent import absent
from shards.index.index import VERSION, Index, fingerprint, save, save_info
from shards.index.tars import build, main

__all__ = ["VERSION", "Index", "absent", "build", "fingerprint", "main", "save", "save_info"]
