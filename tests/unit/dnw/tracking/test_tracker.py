"""Trackers by name."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from local_servers import free_port

from dnw.tracking.making import make
from dnw.tracking.tracker import TrackerError, in_one_line, remedy


def test_a_missing_library_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dnw.tracking.wandb_tracker", None)
    monkeypatch.delitem(sys.modules, "dnw.tracking.wandb_tracker")
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(TrackerError, match=r"wandb: .* not installed; .* -m pip install wandb"):
        make("wandb")
    assert remedy("mlflow") == f"{sys.executable} -m pip install mlflow-skinny"


@pytest.mark.parametrize(("name", "is_helped"), [("mlflow", True), ("wandb", False)])
def test_what_helps_with_mlflow_is_not_told_of_another(name: str, is_helped: bool) -> None:
    with pytest.raises(TrackerError) as told, in_one_line(name):
        raise OSError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate")
    assert ("MLFLOW_TRACKING_SERVER_CERT_PATH" in str(told.value)) is is_helped


def test_a_server_that_is_not_there_is_told_with_what_to_look_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """By MLflow's own client, at a port where nobody listens."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    made: Any = make("mlflow")
    with (
        pytest.raises(TrackerError, match=r"no server answers there: see whether it runs") as told,
        in_one_line("mlflow"),
    ):
        made._client.get_experiment_by_name("demo")
    assert "\n" not in str(told.value)
