"""How many processes can share a step."""

from __future__ import annotations

from dnw.config import ConfigError, Train, listed
from dnw.ranges import divisors


def can_share(train: Train, processes: int) -> bool:
    """Whether so many processes can share the micro-batches of a step."""
    return (train.batch // train.micro_batch) % processes == 0 and _can_reduce(train, processes)


def check_processes(train: Train, processes: int, said: str, fewer: str = "") -> None:
    """Refuse a number of processes that can't share a step.

    Args:
        train: batch, micro-batch and reduction.
        processes: of all nodes together.
        said: how the message begins, in the user's words.
        fewer: what to type for the largest smaller number that can, where there is one.

    Raises:
        ConfigError: with what works instead: the largest micro-batch that so many can share, and the numbers
            of processes that can share these.
    """
    if can_share(train, processes):
        return
    parts = train.batch // train.micro_batch
    possible = [count for count in divisors(parts) if can_share(train, count)]
    bits = "to the bit" if train.reduce == "exact" else "but for the rounding of sums"
    offered = f"{fewer} changes nothing in the result, {bits}; " if fewer else ""
    exactly = ", reduce=exact" if train.reduce == "exact" else ""
    raise ConfigError(
        f"{said} can't share the {parts} micro-batches of a step "
        f"(batch={train.batch}, micro_batch={train.micro_batch}{exactly}); "
        f"{offered}{_smaller(train, processes)}"
        f"these numbers of processes can: {listed(possible)}"
    )


def _can_reduce(train: Train, processes: int) -> bool:
    return train.reduce == "fast" or processes.bit_count() == 1


def _smaller(train: Train, processes: int) -> str:
    """Return the micro-batch that so many processes could share, and what it changes; else nothing."""
    share, rest = divmod(train.batch, processes)
    if rest:
        return ""
    size = max(size for size in divisors(share) if size <= train.micro_batch)
    if size == 1:  # of a single image BatchNorm learns nothing
        return ""
    words, changes = [], []
    if size != train.micro_batch:
        words.append(f"micro_batch={size}")
        changes.append(f"BatchNorm sees {size} images at once instead of {train.micro_batch}")
    if not _can_reduce(train, processes):
        words.append("reduce=fast")
        changes.append("bits depend on the number of processes")
    return (
        f"type {' '.join(words)} for {processes} processes, which makes it another run: "
        f"{' and '.join(changes)}, and the result differs; or "
    )
