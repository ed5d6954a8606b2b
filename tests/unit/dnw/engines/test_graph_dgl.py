"""The engine of the Deep Graph Library."""

from __future__ import annotations

import os
import sys

import pytest
from drawn_networks import (
    drawn,
    one_thread,  # noqa: F401
)

from dnw.engines import build

pytestmark = pytest.mark.usefixtures("one_thread")


def test_dgl_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    remedy = r"python -m pip install 'dnw\[dgl\]'"
    if sys.version_info >= (3, 12):
        remedy = "it is there for Python 3.11"
    monkeypatch.setitem(sys.modules, "dgl", None)
    monkeypatch.setitem(os.environ, "DGLBACKEND", "pytorch")
    with pytest.raises(ImportError, match=f"engine dgl needs the Deep Graph Library .*: {remedy}"):
        build("dgl", drawn("static", 32, oddity=None), 32)
