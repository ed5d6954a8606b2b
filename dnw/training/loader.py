"""The processes that load images."""

from __future__ import annotations

import atexit
import tempfile
from multiprocessing.util import Finalize
from typing import Any, TypeVar

from torch.utils.data import DataLoader

from dnw.preemption import end_children
from dnw.temporary_folder import temporary_folder

T = TypeVar("T")


class Loader(DataLoader[T]):
    """A loader whose processes end with the process that they load for, whatever it ends of.

    They ignore SIGTERM, and an exception on its way out holds on to the iterator that would end them: Python
    would await them for ever.
    """

    def __iter__(self) -> Any:
        """Start the processes, and have them killed before torch and Python look after them."""
        tempfile.tempdir = temporary_folder()  # for the sockets through which they hand over batches
        iterator = super().__iter__()
        atexit.unregister(end_children)
        atexit.register(end_children)  # the last one registered is the first to be called
        Finalize(None, end_children, exitpriority=0)  # in a forked process nothing else is called
        return iterator
