"""TensorBoard's writer, whose failures are no failures of the run.

TensorBoard's own names a file after the clock, opens it anew for each write and, where that fails once,
raises at every event that follows. But TensorBoard reads files in the order of their names, clocks of nodes
differ, and people remove `tb/` while a run trains. All that is drawn stands in metrics.jsonl.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard import FileWriter, SummaryWriter

from shards.files.folder_entries import matching

log = logging.getLogger(__name__)

PREFIX = "events.out.tfevents."  # of a file's name; behind it the second in which it was begun
FLUSH_S = 5.0  # TensorBoard looks for news as often
AGAIN_S = 60.0  # between tries to write what couldn't be written


class EventFile:
    """An event file; of any thread. What can't be written is kept, and goes to another file later."""

    def __init__(self, folder: Path) -> None:
        """Begin one in a folder, named so that TensorBoard reads it after those that are there."""
        self._folder = folder
        self._file: int | None = None
        self._pending = bytearray()
        self._flushed = self._failed = -AGAIN_S
        self._lock = threading.Lock()
        self._problem = ""

    def get_logdir(self) -> str:
        """Return the folder."""
        return str(self._folder)

    def add_event(self, event: Event) -> None:
        """Add an event; it is on its way to the disk within some seconds, if others follow."""
        with self._lock:
            RecordWriter(_Appending(self._pending)).write(event.SerializeToString())
            if time.monotonic() > self._flushed + FLUSH_S:
                self._write()

    def flush(self) -> None:
        """Write what was added."""
        with self._lock:
            self._write()

    def close(self) -> None:
        """Write what was added, whenever the last try was, and close the file."""
        with self._lock:
            self._failed = -AGAIN_S
            self._write()
            self._leave()

    def _write(self) -> None:
        self._flushed = time.monotonic()
        if not self._pending or self._flushed < self._failed + AGAIN_S:
            return
        try:
            if self._file is None:
                self._begin()
            self._append()
        except OSError as error:
            self._failed = time.monotonic()
            self._leave()
            self._tell(f"{error.strerror or error}")
        else:
            self._pending.clear()
            self._tell("")

    def _begin(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        seconds = [
            path.name[len(PREFIX) :].partition(".")[0] for path in matching(self._folder, f"{PREFIX}*")
        ]
        second = max(int(time.time()), *(int(text) + 1 for text in seconds if text.isdecimal()), 0)
        path = self._folder / f"{PREFIX}{second:010d}.{socket.gethostname()}.{os.getpid()}.0"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        head = bytearray()
        version = Event(wall_time=time.time(), file_version="brain.Event:2")
        RecordWriter(_Appending(head)).write(version.SerializeToString())
        self._pending[:0] = head

    def _append(self) -> None:
        """Write all that is pending, into a file that still is where it was begun."""
        assert self._file is not None
        if not os.fstat(self._file).st_nlink:
            self._leave()
            self._begin()
        left = memoryview(bytes(self._pending))
        while left:
            left = left[os.write(self._file, left) :]

    def _leave(self) -> None:
        """Close the file; what is written next begins another one, for this one may end in half an event."""
        if self._file is not None:
            file, self._file = self._file, None
            try:
                os.close(file)
            except OSError as error:  # a server's, for what was written before
                self._tell(f"{error.strerror or error}")

    def _tell(self, problem: str) -> None:
        if problem and problem != self._problem:
            log.warning(
                "%s: TensorBoard's files can't be written: %s; the run goes on: metrics.jsonl has its curves",
                *(self._folder, problem),
            )
        elif self._problem and not problem:
            log.info("%s: TensorBoard's files are written again", self._folder)
        self._problem = problem


class Board(SummaryWriter):
    """torch's writer, on an EventFile."""

    def __init__(self, folder: Path, purge_step: int | None) -> None:
        """Begin a file; TensorBoard hides what earlier ones hold from `purge_step` on, None: nothing."""
        self._file = _Writer(folder)
        super().__init__(str(folder), purge_step=purge_step)
        if purge_step is not None:
            self._file.add_event(Event(step=purge_step, file_version="brain.Event:2"))
            self._file.add_event(Event(step=purge_step, session_log=SessionLog(status=SessionLog.START)))

    def _get_file_writer(self) -> FileWriter:
        """Return what every method of torch's writes to."""
        return self._file

    def flush(self) -> None:
        """Write what was added."""
        self._file.flush()

    def close(self) -> None:
        """Write what was added, and close the file."""
        self._file.close()


class _Writer(FileWriter):
    """torch's file writer, on an EventFile."""

    def __init__(self, folder: Path) -> None:
        self.event_writer = EventFile(folder)


class _Appending:
    """What TensorBoard's RecordWriter writes to: the end of some bytes."""

    def __init__(self, to: bytearray) -> None:
        self._to = to

    def write(self, data: bytes) -> None:
        self._to += data
