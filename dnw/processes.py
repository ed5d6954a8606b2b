"""How many processes can share a step."""

from __future__ import annotations

from dnw.config import ConfigError, Train, listed
from dnw.ranges import divisors


def check_processes(train: Train, processes: int, said: str) -> None:
    """Refuse a number of processes that can't share a step.

    Args:
        train: batch, micro-batch and reduction.
        processes: of all nodes together.
        said: how the message begins, in the user's words.

    Raises:
        ConfigError: with what works instead: the largest micro-batch that so many can share, and the numbers
            of processes that can share these.
    """
    parts = train.batch // train.micro_batch
    possible = [count for count in divisors(parts) if _can_reduce(train, count)]
    if processes in possible:
        return
    exactly = ", reduce=exact" if train.reduce == "exact" else ""
    raise ConfigError(
        f"{said} can't share the {parts} micro-batches of a step "
        f"(batch={train.batch}, micro_batch={train.micro_batch}{exactly}); {_smaller(train, processes)}"
        f"these numbers of processes can: {listed(possible)}"
    )


def _can_reduce(train: Train, processes: int) -> bool:
    return train.reduce == "fast" or processes.bit_count() == 1


def _smaller(train: Train, processes: int) -> str:
    """Return the micro-batch that so many processes could share, and what it changes; else nothing."""
    share, rest = divmod(train.batch, processes)
    if rest or not _can_reduce(train, processes):
        return ""
    size = max(size for size in divisors(share) if size <= train.micro_batch)
    if size == 1:  # of a single image BatchNorm learns nothing
        return ""
    return (
        f"type micro_batch={size} for {processes} processes, which makes it another run: BatchNorm sees "
        f"{size} images at once instead of {train.micro_batch}, and the result differs; or "
    )
