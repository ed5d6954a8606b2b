"""Texts without credentials."""

from __future__ import annotations

import io

import pytest

from dnw.tracking.credentials import Redacted
from dnw.tracking.tracker import TrackerError


def test_credentials_are_left_out_line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "abcdef123")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "x")  # too short to be told from other text
    monkeypatch.setenv("MLFLOW_TRACKING_AWS_SIGV4", "true")  # a switch
    out = io.StringIO()
    stream = Redacted(out)
    stream.write("key abc")
    assert not out.getvalue()
    stream.write("def123, http://me:secret@host:5000/x\nnext")
    stream.flush()
    assert stream.writable()
    assert out.getvalue() == "key ***, http://host:5000/x\n"
    assert str(TrackerError("abcdef123 is wrong, true")) == "*** is wrong, true"
