"""Accuracy of trained networks on images that nothing was chosen by; noted, so that it is computed once."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from bench.study.images import Images
from bench.study.runs import Trained
from dnw.config import ConfigError
from dnw.runs import jsonl


def tested(runs: Sequence[Trained], images: Images, notes: Path) -> list[float]:
    """Return top-1, percent, of each on the test images.

    Args:
        runs: trained ones, of one network.
        images: theirs.
        notes: JSON lines; what stands there is taken from there.

    Raises:
        ConfigError: a run was trained elsewhere, and not tested there.
    """
    fingerprint = images.fingerprint()
    known = {(note["run"], note["images"]): float(note["top1"]) for note in jsonl.read(notes)}
    for one in runs:
        key = (one.run.name, fingerprint)
        if one.elsewhere and not one.run.result.exists():
            if one.elsewhere.test is None:
                raise ConfigError(
                    f"{one.title}: trained elsewhere, but not tested; test it there by --report"
                )
            known[key] = one.elsewhere.test
        if key not in known:
            known[key] = _evaluated(one.run.folder, images.test)
            jsonl.append(notes, {"run": one.run.name, "images": fingerprint, "top1": known[key]})
    return [known[one.run.name, fingerprint] for one in runs]


def _evaluated(run: Path, folder: Path) -> float:
    """Evaluate the last weights of a run as `python -m dnw.evaluate RUN --data FOLDER` does."""
    import torch  # noqa: PLC0415  (takes seconds, and most lines that are typed again need none)

    from dnw.splits import open_splits  # noqa: PLC0415
    from dnw.training.checkpointed_model import load_checkpointed_model  # noqa: PLC0415
    from dnw.training.data import evaluation_batches  # noqa: PLC0415
    from dnw.training.distributed import ALONE  # noqa: PLC0415
    from dnw.training.evaluation import Normalize, evaluate  # noqa: PLC0415

    loaded = load_checkpointed_model(run)
    data = dataclasses.replace(loaded.train.data, dir=folder, url="", workers=0)
    train = dataclasses.replace(loaded.train, data=data)
    torch.set_num_threads(train.threads)
    _, val = open_splits(data, loaded.classes, loaded.noted, any_images=True)
    normalize = Normalize(data.mean, data.std, ALONE.device)
    batches = evaluation_batches(train, val, 0, 1)
    return evaluate(loaded.model.eval(), batches, normalize, ALONE, train.precision).top1
