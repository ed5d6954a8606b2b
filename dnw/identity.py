"""What a run is: the settings that its result depends on, and the signature made of them."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from dnw.config import Train, plain

# Settings that say where and how often, not what comes out: a run keeps its identity when they change.
NOT_IDENTITY = frozenset(
    {
        *("data.dir", "data.url", "data.cache", "data.cache_gb", "data.workers", "data.max_bad"),
        *("checkpoint", "log", "watchdog", "eval_batch", "wiring.source", "init", "profile"),
        "track",
    }
)


# Settings that came later, with what was so before: runs of earlier versions keep their identity.
AS_BEFORE: tuple[tuple[str, Any], ...] = (
    ("wiring.block", 1),
    ("wiring.options", {}),
    ("model.options", {}),
    ("data.augment_options", {}),
    ("data.eval_size", None),
    ("user_fingerprint", ""),
    ("init_fingerprint", ""),
    ("wiring.every", 100),
    ("wiring.drop", 0.3),
    ("wiring.start", 0.0),
    ("wiring.until", 0.75),
    ("wiring.cycles", 7),
    ("wiring.threshold", -5.0),
    ("wiring.rounds", 5),
    ("wiring.n", 2),
    ("wiring.m", 4),
    ("wiring.sr_ste", 2e-4),
    *(("wiring.hysteresis", 0.0), ("wiring.average", 0.0), ("wiring.swaps", 1.0)),
    *(("wiring.dense_until", 0.0), ("wiring.rescale", False), ("wiring.at_least", 0)),
    *(("optim.name", "sgd"), ("optim.options", {}), ("optim.step_epochs", None), ("optim.rise", 0.3)),
    *(("optim.end_lr", 0.0), ("optim.no_decay", []), ("optim.clip_norm", None), ("optim.ema", None)),
    *(("augment.randaugment_ops", 0), ("augment.randaugment_magnitude", 9), ("augment.trivial", False)),
    *(("augment.color_jitter", 0.0), ("augment.random_erase", 0.0)),
    *(("augment.mixup", 0.0), ("augment.cutmix", 0.0), ("augment.mix_prob", 1.0)),
    ("augment.sizes", []),
    ("optim.wired_lr_factor", 1.0),
)


def signature(train: Train) -> str:
    """Return the run's signature: 10 hex digits over all settings that change its result."""
    text = json.dumps(identity(plain(train)), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def identity(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the settings that the result depends on, nested as they are.

    A group of which none is left, as of settings that came later, isn't there.
    """
    kept = {
        key: value
        for key, value in values.items()
        if prefix + key not in NOT_IDENTITY and (prefix + key, value) not in AS_BEFORE
    }
    inside = {k: identity(v, f"{prefix}{k}.") if isinstance(v, dict) else v for k, v in kept.items()}
    return {key: value for key, value in inside.items() if value != {} or not values[key]}
