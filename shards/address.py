"""Addresses, as they may be shown."""

from __future__ import annotations

import re

_WHO = re.compile(r"(?<=://)[^/\s]+@")  # name and password in an address


def without_credentials(text: str) -> str:
    """Return a text without the names and passwords of the addresses in it."""
    return _WHO.sub("", text)


def shown(address: str) -> str:
    """Return an address without what allows to read it: a signature, or name and password."""
    return without_credentials(address.partition("?")[0]) if address.startswith("http") else address
