"""The shared library behind the fake CUDA device: compiled once for each torch, loaded before torch is."""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

SOURCE = Path(__file__).with_name("device.cpp")
OPTIONS = ("-std=c++20", "-O0", "-shared", "-fPIC", "-D_GLIBCXX_USE_CXX11_ABI=1")


class Missing(Exception):
    """There is no compiler, or torch is built for CUDA; the message says what helps."""


def load() -> None:
    """Have torch, which must not have been imported yet, find a CUDA device.

    Raises:
        Missing: g++ is not installed, nor the library compiled before; or torch is built for CUDA.
        RuntimeError: torch is there already.
        subprocess.CalledProcessError: the source does not compile with this torch; g++ says why on stderr.
    """
    if "torch" in sys.modules:
        raise RuntimeError("torch was imported before fake_cuda.load(): it has looked for CUDA already")
    ctypes.CDLL(str(compiled()), mode=ctypes.RTLD_GLOBAL)


def compiled() -> Path:
    """Return the library, compiled where this source, torch and Python have none yet.

    Raises:
        Missing, subprocess.CalledProcessError: as `load`.
    """
    if found := re.search(r"^cuda\b.*= *'([0-9.]+)'", (_torch() / "version.py").read_text(), re.MULTILINE):
        raise Missing(f"a fake CUDA device takes a CPU build of torch, this one is built for CUDA {found[1]}")
    key = "\n".join((SOURCE.read_text(), version("torch"), sys.version, *OPTIONS))
    name = f"fake_cuda-{hashlib.sha256(key.encode()).hexdigest()[:16]}.so"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dnw"
    library = cache / name
    if not library.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=cache) as folder:  # several processes may compile side by side
            _compile(Path(folder) / name)
            (Path(folder) / name).replace(library)
    return library


def _compile(library: Path) -> None:
    if shutil.which("g++") is None:
        raise Missing("g++ is missing, which compiles the fake CUDA device: apt-get install g++")
    torch = _torch()
    folders = (f"-I{torch}/include", f"-L{torch}/lib", f"-Wl,-rpath,{torch}/lib")
    command = ["g++", *OPTIONS, str(SOURCE), *folders, "-ltorch_cpu", "-lc10", "-o", str(library)]
    subprocess.run(command, check=True)


def _torch() -> Path:
    spec = importlib.util.find_spec("torch")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent
