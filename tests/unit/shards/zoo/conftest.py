"""`python -m dnw.evaluate` on the shards of a folder, as it is typed, by networks that all folders share."""

from __future__ import annotations

import contextlib
import functools
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from shards.index import Index

Evaluated = Callable[[Path], tuple[int, str]]


@pytest.fixture(scope="session")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Evaluated:
    """Returns how many images of the split to validate with it counted, 0 where it failed, and what it said.

    A network is made once for each number of classes, and its speed isn't measured.
    """
    from run_folder import make
    from saved_step import save

    from dnw import evaluate, speed
    from dnw.profile import profile
    from dnw.training.checkpointed_model import load_checkpointed_model

    @functools.cache
    def run_of(classes: int) -> Path:
        folder = tmp_path_factory.mktemp("runs")
        crop = "resized_crop_flip"
        run = make(folder, data__classes=classes, data__image_size=16, data__augment=crop)
        save(run, 1)
        return run.folder

    loaded, profiled = functools.cache(load_checkpointed_model), functools.cache(profile)

    def typed(folder: Path) -> tuple[int, str]:
        words = [str(run_of(Index.record(folder, "val").num_classes)), "--data", str(folder), "--json"]
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(evaluate, "load_checkpointed_model", loaded)
            patched.setattr(evaluate, "profile", profiled)
            patched.setattr(evaluate, "measure", lambda *_: speed.Speed({}, 0.0))
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = evaluate.main(words)
        assert code == (0 if out.getvalue() else 1)
        return (json.loads(out.getvalue())["samples"] if code == 0 else 0), err.getvalue()

    return typed
