"""Batches on a GPU, copied there beside the computation, a batch ahead.

A step of many short kernels leaves the processor no lead over the GPU: a copy begun when its batch is needed
would be waited for. On a stream of its own, from page-locked memory, it goes on while the batch before it is
computed. Page-locked memory is the loader's own copy of a batch (pin_memory), made before a worker may write
its shared memory again; torch keeps it until the copies out of it are done.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from dnw.training.data import Batch


def on_device(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    """Return the same batches with images and labels on `device`; on the CPU they stay what they are.

    On a GPU one more batch is taken from `batches` than was asked for.
    """
    return batches if device.type == "cpu" else _ahead(batches, device)


def _ahead(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    stream = torch.cuda.Stream(device)
    coming = _begin_copy(batches, device, stream)
    while coming is not None:
        batch, copied = coming
        coming = _begin_copy(batches, device, stream)
        computing = torch.cuda.current_stream(device)
        computing.wait_event(copied)  # not for the stream, on which the next copy is under way
        for tensor in (batch.images_BCHW, batch.labels_B):
            tensor.record_stream(computing)  # or the next copy could be given its memory too early
        yield batch
        del batch, tensor  # a consumer that is done with it frees its memory


def _begin_copy(
    batches: Iterator[Batch], device: torch.device, stream: torch.cuda.Stream
) -> tuple[Batch, torch.cuda.Event] | None:
    """Start copying the next batch; return it and the event of its arrival, None after the last."""
    batch = next(batches, None)
    if batch is None:
        return None
    copied = torch.cuda.Event()
    with torch.cuda.stream(stream):
        images_BCHW = batch.images_BCHW.to(device, non_blocking=True)
        labels_B = batch.labels_B.to(device, non_blocking=True)
        copied.record(stream)
    return Batch(images_BCHW, labels_B, batch.replaced_R), copied
