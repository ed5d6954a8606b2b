"""Whether Triton can build on this node: what calls its kernels is a module in C, made once and then kept."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import torch

from dnw.hardware.device import takes_kernels
from shards.files.home import in_home

CACHE = "TRITON_CACHE_DIR"  # by default ~/.triton/cache


def problem(device: torch.device) -> str | None:
    """Return why this project's kernels can't be called on a GPU, and what helps; None if they can.

    What a machine lacks is looked for only where Triton fails: a home that nodes share may hold the module.

    Args:
        device: that they are to run on; on one for which they aren't compiled nothing is amiss.
    """
    if not takes_kernels(device):
        return None
    from triton.runtime import driver  # noqa: PLC0415  (a CPU needs none, and may lack triton)

    try:
        driver.active.get_current_target()
    except (RuntimeError, AssertionError, ImportError, OSError, subprocess.CalledProcessError) as error:
        said = " ".join(str(error).split())
        return f"Triton can't build what calls its kernels: {_lacking() or said}"
    return None


def _lacking() -> str | None:
    """Return what a machine lacks to build a module for Python, and where it is to be had."""
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return "there is no C compiler; install gcc, load the site's module for it, or export CC=COMPILER"
    if shutil.which(compiler) is None:
        return f"CC={compiler} is no program here; unset it, or name one that is"
    header = Path(sysconfig.get_path("include", _scheme())) / "Python.h"
    if not header.exists():
        return f"{header} isn't there; install Python's headers (python3-dev, python3-devel)"
    typed = os.environ.get(CACHE)
    cache = Path(typed).expanduser() if typed else in_home(".triton", "cache")
    if cache is None:
        return f"there is no home folder to keep it in; export {CACHE}=FOLDER"
    above = next(folder for folder in (cache, *cache.parents) if folder.exists())
    if not os.access(above, os.W_OK | os.X_OK):
        return f"{cache} can't be written to; export {CACHE}=FOLDER"
    return None


def _scheme() -> str:
    """Return the scheme by which Triton looks for headers; Debian's own is for what users install."""
    return sysconfig.get_default_scheme().replace("posix_local", "posix_prefix")
