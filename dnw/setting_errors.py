"""What to say of a setting that isn't one, or of a value that it can't have."""

from __future__ import annotations

import dataclasses
import difflib
import re
import shlex
import typing
from collections.abc import Collection, Sequence
from typing import Any

from shards.errors import did_you_mean

FORMAT = "version"  # of config.yaml; nobody types it
FROZEN = ("_fingerprint", "_signature")  # what the launcher fills in ends like this
INSTEAD = {
    "checkpoint.every": "checkpoint.every_minutes=20 or checkpoint.every_steps=100 sets an interval",
    "data.dir": "shards that lie elsewhere are named by data.url=",
}
ELSEWHERE = {  # what other programs call it
    **dict.fromkeys(["learning_rate", "base_lr"], "optim.lr=RATE"),
    **dict.fromkeys(["optimizer", "opt"], "optim.name=NAME"),
    **dict.fromkeys(["betas", "eps", "alpha"], "a part of optim.options={NAME: VALUE}"),
    **dict.fromkeys(["scheduler", "lr_scheduler", "sched"], "optim.schedule=NAME"),
    **dict.fromkeys(["clip_grad", "grad_clip", "max_grad_norm", "gradient_clip_val"], "optim.clip_norm=NORM"),
    **dict.fromkeys(["model_ema", "ema_decay", "model_ema_decay"], "optim.ema=0.9999"),
    **dict.fromkeys(
        ["auto_augment", "autoaugment", "aa", "randaugment", "rand_augment"],
        "augment.randaugment_ops=2, or augment.trivial=true",
    ),
    **dict.fromkeys(["mixup_alpha", "mixup"], "augment.mixup=ALPHA"),
    **dict.fromkeys(["cutmix_alpha", "cutmix"], "augment.cutmix=ALPHA"),
    **dict.fromkeys(["trivialaugment", "trivialaugmentwide"], "augment.trivial=true"),
    **dict.fromkeys(["reprob", "random_erasing", "erasing"], "augment.random_erase=PROBABILITY"),
    **dict.fromkeys(["min_lr", "eta_min"], "optim.end_lr=RATE"),
    **dict.fromkeys(["batch_size", "bs", "global_batch_size"], "batch=N, images of a step of all processes"),
    **dict.fromkeys(["max_epochs", "num_epochs", "n_epochs"], "epochs=N"),
    **dict.fromkeys(["max_steps", "num_steps", "max_iters"], "steps=N"),
    **dict.fromkeys(["gpus", "devices", "num_gpus", "nproc_per_node"], "nproc=N, one process on each GPU"),
    **dict.fromkeys(["ntasks", "ntasks_per_node", "tasks_per_node"], "nproc=N, processes of a node"),
    "gres": "cluster.gpus_per_node=N",
    **dict.fromkeys(["num_processes"], "nproc=N, processes of a node"),
    **dict.fromkeys(["num_nodes", "nnodes", "num_machines"], "nodes=N"),
    **dict.fromkeys(
        ["master_port", "rdzv_endpoint", "main_process_port"], "port=N, or none: a free one is found"
    ),
    **dict.fromkeys(
        ["standalone", "master_addr", "node_rank", "machine_rank", "rdzv_backend", "rdzv_id", "strategy"],
        "left out: processes and nodes find each other, and share each batch",
    ),
    **dict.fromkeys(
        ["device", "gpu", "cuda", "accelerator"],
        "left out: each process takes a GPU where there are any; cluster.gpus_per_node=0 trains on the CPU",
    ),
    **dict.fromkeys(
        ["accumulate_grad_batches", "gradient_accumulation_steps", "accum_iter"], "micro_batch=N"
    ),
    **dict.fromkeys(["img_size", "input_size", "crop_size"], "data.image_size=N"),
    **dict.fromkeys(["warmup", "warmup_steps"], "optim.warmup_epochs=N"),
    **dict.fromkeys(["debug", "fast_dev_run", "dry"], "steps=2, or dry_run=true, which trains nothing"),
    **dict.fromkeys(["job_name", "run_name"], "left out: a run is named by its experiment and settings"),
    **dict.fromkeys(["error", "log_file"], "left out: logs lie in the run folder"),
    "num_workers": "data.workers=N, of each process",
    **dict.fromkeys(["output_dir", "save_dir", "log_dir", "out_dir", "output"], "runs_dir=FOLDER"),
    **dict.fromkeys(["data_dir", "data_path", "root"], "data.dir=FOLDER"),
    **dict.fromkeys(["resume", "resume_from", "ckpt_path", "auto_resume"], "the same line, typed again"),
    **dict.fromkeys(
        ["pretrained", "weights", "init_weights", "load_from", "init_from", "initial_checkpoint", "finetune"],
        "init=FILE, or init=torchvision or timm",
    ),
    **dict.fromkeys(["amp", "fp16", "bf16", "mixed_precision"], "precision=bf16"),
    **dict.fromkeys(["arch", "architecture", "backbone", "network"], "model=NAME"),
    **dict.fromkeys(["dataset", "datamodule"], "data=NAME"),
    **dict.fromkeys(["experiment", "config", "recipe"], "+exp=NAME"),
    **dict.fromkeys(["wandb", "logger", "tensorboard"], "written for TensorBoard unasked"),
}
_AMONG = 3  # settings that a message offers


def known_keys(kind: Any, prefix: str = "") -> list[str]:
    """Return every key of a configuration dataclass, dotted."""
    keys = []
    types = typing.get_type_hints(kind)  # evaluates every annotation of the class
    for field in dataclasses.fields(kind):
        keys.append(prefix + field.name)
        inner = types[field.name]
        if dataclasses.is_dataclass(inner):
            keys += known_keys(inner, f"{prefix}{field.name}.")
    return keys


def no_such_setting(key: str, known: Collection[str]) -> str:
    """Return what to say of a key that is none of the known ones."""
    if key == FORMAT:
        return f"{key}: no setting, but the format of config.yaml; leave it out"
    settable = [one for one in known if one != FORMAT and not one.endswith(FROZEN)]
    group, _, last = key.rpartition(".")
    inside = [one for one in settable if one.rpartition(".")[2] == last and one != key]
    beside = [one for one in settable if group and one.startswith(f"{group}.")]
    if instead := None if inside else ELSEWHERE.get(last.replace("-", "_").lower()):
        return f"{key}: no such setting; here it is {instead}"
    if beside and len(inside) != 1:
        nearest = did_you_mean(last, [one.rpartition(".")[2] for one in beside])
        nearest = nearest.replace("mean ", f"mean {group}.")
        return f"{key}: no such setting{nearest or '; there are: ' + ', '.join(beside)}"
    meant = f"; did you mean {' or '.join(inside[:_AMONG])}?" if inside else did_you_mean(key, settable)
    return f"{key}: no such setting{meant}"


def explain(problems: Sequence[Any], known: Collection[str]) -> list[str]:
    """Return a line for each setting that pydantic has a problem with."""
    found: dict[str, Any] = {}
    for problem in problems:
        key = _setting(known, problem)
        if key not in found or problem["type"] in {"finite_number", "missing"}:
            found[key] = problem
    return [_line(key, problem, known) for key, problem in found.items()]


def _setting(known: Collection[str], problem: Any) -> str:
    """Return the setting that a problem is with: of a list, whichever of its values it is, the list."""
    parts = [str(part) for part in problem["loc"]]
    prefixes = [".".join(parts[:count]) for count in range(len(parts), 0, -1)]
    is_known = problem["type"] != "unexpected_keyword_argument" and not _is_missing_whole(problem)
    return next((prefix for prefix in prefixes if is_known and prefix in known), prefixes[0])


def _is_missing_whole(problem: Any) -> bool:
    return problem["type"] == "missing" and not isinstance(problem["loc"][-1], int)


def _line(key: str, problem: Any, known: Collection[str]) -> str:
    if problem["type"] == "unexpected_keyword_argument":
        return no_such_setting(key, known)
    if _is_missing_whole(problem):
        return f"{key}: must be set"
    return f"{key}: must {_must(key, problem)}"


def _elsewhere(key: str, value: str) -> str:
    """Return what to say of a value for which there are settings of their own, as other programs call it."""
    ours = {name: one for name, one in ELSEWHERE.items() if one.startswith(f"{key.rpartition('.')[2]}.")}
    nearest = difflib.get_close_matches(value.lower(), ours, n=1)
    return f"; here it is {ours[nearest[0]]}" if nearest else ""


def _must(key: str, problem: Any) -> str:
    value, context = problem["input"], problem.get("ctx", {})
    match problem["type"]:
        case "missing" | "too_long":
            count = context.get("max_length") or problem["loc"][-1] + 1
            return f"have {count} values (got {value!r})"
        case "tuple_type" if value is None:
            return "be a list (got None)"
        case "tuple_type":
            inner = f'"{value}"' if isinstance(value, str) else "" if value is False else value
            typed = f"{key}=[{inner}]"
            return f"be a list (got {value!r}), in brackets: {shlex.quote(typed)}"
        case "dataclass_type":
            return f"be set by its parts, {key}.NAME=VALUE (got {value!r})"
        case "path_type":
            return f"be the name of a folder (got {value!r})"
    text = problem["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    bounds = [bound for bound in context.values() if isinstance(bound, float)]
    if bounds:  # in pydantic's words 3.4e38 has 39 digits
        text = f"{text.rpartition(' ')[0]} {bounds[0]:g}"
    instead = f"; {INSTEAD[key]}" if key in INSTEAD else ""
    if not instead and problem["type"] == "literal_error" and isinstance(value, str):
        instead = did_you_mean(value, re.findall("'([^']+)'", context["expected"])) or _elsewhere(key, value)
    return f"be {text} (got {value!r}){instead}"
