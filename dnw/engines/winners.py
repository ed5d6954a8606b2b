"""Remember on disk which engine was fastest: measured once per network, machine and batch size.

One small JSON file per network and machine, in $XDG_CACHE_HOME/dnw/engines, else ~/.cache/dnw/engines. Its
name is a digest of whatever decides who wins, so a file is never out of date; any of them may be removed.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import llvmlite.binding
import torch

from dnw.compact import Compact
from dnw.compact.parts import fingerprint
from shards.atomic import replacing
from shards.files.home import in_home
from shards.machine.cores import usable_cores

log = logging.getLogger(__name__)


def place(network: Compact, candidates: Iterable[str], threads: int, precision: str) -> Path | None:
    """Return the file for this network, these engines, and the machine and libraries that this runs on.

    None where there is no home folder: all engines are measured by each process.

    Args:
        network: that is to run.
        candidates: names of engines.
        threads: that they compute with.
        precision: that they compute in.
    """
    device = network.device
    decisive = {
        "network": fingerprint(network),
        "candidates": sorted(candidates),
        "threads": threads,
        "precision": precision,
        "processor": [llvmlite.binding.get_host_cpu_name(), torch.backends.cpu.get_cpu_capability()],
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "cores": usable_cores(),
        "versions": {name: metadata.version(name) for name in ("dnw", "torch", "numba")},
    }
    name = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:32]
    folder = os.environ.get("XDG_CACHE_HOME") or in_home(".cache")
    return Path(folder, "dnw", "engines", f"{name}.json") if folder else None


def load(path: Path | None) -> dict[int, str]:
    """Return the winners so far, by batch size; none where there is no file, or no whole one."""
    if path is None:
        return {}
    try:
        found = json.loads(path.read_text())
        return {int(batch): str(name) for batch, name in found.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError) as error:
        log.warning("%s can't be read (%s): engines are measured anew", path, error)
        return {}


def keep(path: Path, batch: int, name: str) -> None:
    """Add one; where that can't be written the log says so, and it is measured again next time.

    Args:
        path: as `place` returns it.
        batch: images at a time.
        name: of the engine that was the fastest.
    """
    through = path.with_name(f"{path.name}.{os.getpid()}.tmp")  # processes may measure side by side
    content = json.dumps({**load(path), batch: name}) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, through) as file:
            file.write(content.encode())
    except OSError as error:
        log.warning("which engine is fastest can't be kept: %s", error)
