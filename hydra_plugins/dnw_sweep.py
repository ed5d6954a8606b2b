"""`-m`: hydra-submitit-launcher's launcher, made to compose every run of a sweep here, on the login node.

The launcher as it comes pickles Hydra's state, composes each configuration again on the node (so that an
edit made meanwhile changes the job), waits until all jobs have ended, and never starts one again. This one
only composes; the runs then go the way of any single run (launch/cluster/submit.py), together.

Whoever names another of Hydra's launchers gets this one, set to do what that stands for (launch/compose.py):
submitit_slurm a job array, submitit_local this machine in the background, basic this machine in the
foreground, one run after the other (launch/app.py).
"""

from __future__ import annotations

from collections.abc import Sequence

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra_plugins.hydra_submitit_launcher.submitit_launcher import SlurmLauncher
from omegaconf import open_dict


class Prepared(SlurmLauncher):  # type: ignore[misc]
    """Composes every run of a sweep and hands it to the task function, in this process.

    Args:
        array_parallelism: runs at a time; None: as cluster.array_parallelism says.
        cluster: the option of the group of this name; None: as the command line says.
    """

    def __init__(self, array_parallelism: int | None = None, cluster: str | None = None) -> None:
        super().__init__()
        self._words = [] if array_parallelism is None else [f"cluster.array_parallelism={array_parallelism}"]
        self._cluster = [] if cluster is None else [f"cluster={cluster}"]

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        """Submit a sweep; Hydra's sweeper calls this once, with the words of every run."""
        return [self._compose([*self._words, *self._where(words), *words]) for words in job_overrides]

    def _where(self, words: Sequence[str]) -> list[str]:
        return [] if any(word.startswith("cluster=") for word in words) else self._cluster

    def _compose(self, overrides: list[str]) -> JobReturn:
        assert self.hydra_context is not None
        assert self.config is not None
        assert self.task_function is not None
        config = self.hydra_context.config_loader.load_sweep_config(self.config, overrides)
        HydraConfig.instance().set_config(config)
        with open_dict(config):
            del config["hydra"]
        self.task_function(config)
        done = JobReturn(overrides=overrides, cfg=config, status=JobStatus.COMPLETED)
        done.return_value = None
        return done
