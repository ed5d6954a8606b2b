"""A time limit as Slurm writes it."""

from __future__ import annotations

import re

FORMS = "MINUTES, MM:SS, HH:MM:SS, DAYS-HH, DAYS-HH:MM or DAYS-HH:MM:SS"
SEXAGESIMAL = 3600  # from one hour on, YAML's reading of HH:MM:SS


def seconds(text: str) -> int:
    """Return what a time limit amounts to.

    Args:
        text: in one of sbatch's forms; "90" is 90 minutes, "1-12" a day and a half.

    Raises:
        ValueError: it has none of them, or is nothing at all.
    """
    found = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text.strip())
    if found is None:
        raise ValueError(f"a time limit in one of Slurm's forms, {FORMS}")
    days, *parts = (int(part) if part else None for part in found.groups())
    first, second, third = (part or 0 for part in parts)
    if days is not None:
        total = days * 86400 + first * 3600 + second * 60 + third
    elif parts[2] is not None:
        total = first * 3600 + second * 60 + third
    else:
        total = first * 60 + second
    if total == 0:
        raise ValueError("longer than nothing")
    return total


def text(value: object) -> object:
    """Return a time limit as it was typed, from what YAML made of it: a number is minutes.

    Raises:
        ValueError: a number that YAML may have made of 12:30:00, as it does without quotes.
    """
    if not isinstance(value, int):
        return value
    if value >= SEXAGESIMAL:
        raise ValueError(
            "less than 3600 where it is a number of minutes, or in quotes where it is a time: YAML reads "
            "12:30:00 as 45000"
        )
    return str(value)
