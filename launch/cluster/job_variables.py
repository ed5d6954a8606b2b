"""Variables that a run reads on its nodes, and that sbatch is told to keep from its job."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from dnw.config import Train
from launch.config import Launch
from launch.node.notices import secret
from launch.node.tracking import followed
from launch.scheduler import sbatch_environment

OF_TRACKERS = {"mlflow": ("MLFLOW_", "DATABRICKS_"), "wandb": ("WANDB_",)}  # how their names begin


def kept_back(train: Train, launch: Launch, environment: Mapping[str, str] = os.environ) -> str | None:
    """Return what to say of variables that are set here, and that neither trackers nor notices would find.

    Args:
        train: the training configuration.
        launch: the launch configuration.
        environment: that of the submit command.
    """
    typed = (launch.cluster.additional_parameters or {}).get("export")
    handed = sbatch_environment.exported(environment, typed)
    missing = sorted(set(_read(train, launch, environment)) - handed - launch.environment.keys())
    if not missing:
        return None
    names = ",".join(missing)
    by = "SBATCH_EXPORT" if typed is None else "cluster.additional_parameters: export"
    return (
        f"{by}: keeps {', '.join(missing)} from the job, unless a login sets it on the nodes; "
        f"cluster.additional_parameters='{{export: \"{names}\"}}' hands it on"
    )


def _read(train: Train, launch: Launch, environment: Mapping[str, str]) -> Iterator[str]:
    prefixes = tuple(prefix for name in followed(train) for prefix in OF_TRACKERS[name])
    yield from (name for name in environment if name.startswith(prefixes))
    for service, name in secret.VARIABLES.items():
        if getattr(launch.notify, service) is True and environment.get(name, "").strip():
            yield name
