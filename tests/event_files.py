"""TensorBoard's files, written without torch."""

from __future__ import annotations

import io

from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from dnw.runs.folder import Run


def draw(run: Run, step: int, *names: str) -> None:
    """Write an event file of a scalar and pictures of one step."""
    writer = EventFileWriter(str(run.tensorboard), filename_suffix=f".{step}")
    writer.add_event(event(step, Summary.Value(tag="train/loss", simple_value=1.5)))
    for name in names:
        png = io.BytesIO()
        Image.new("RGB", (4, 4), (step, 0, 0)).save(png, "PNG")
        image = Summary.Image(height=4, width=4, colorspace=3, encoded_image_string=png.getvalue())
        writer.add_event(event(step, Summary.Value(tag=name, image=image)))
    writer.close()


def event(step: int, value: Summary.Value) -> Event:
    """What is written of a value at a step."""
    return Event(wall_time=1e9 + step, step=step, summary=Summary(value=[value]))
