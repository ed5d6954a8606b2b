"""Private interfaces of other libraries: each is in docs/architecture.md, bounded, and as it was seen."""

from __future__ import annotations

import _compat_pickle
import argparse
import ast
import inspect
import multiprocessing.connection
import multiprocessing.forkserver
import multiprocessing.util
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from torch.distributed.elastic.multiprocessing.api import MultiprocessContext
from torch.multiprocessing.spawn import ProcessContext
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.tensorboard import SummaryWriter

from dnw.models.torchvision_cpu import torchvision

ROOT = Path(__file__).resolve().parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TABLE = re.findall(
    r"^\| (`.*?) \| `(\S+)`.* \| (\S+) ([\d.]+)(?: to ([\d.]+))? \| (.*) \|$",
    (ROOT / "docs" / "architecture.md").read_text().partition("## Private interfaces")[2],
    re.MULTILINE,
)
PUBLIC = {"_asdict", "_exit", "_fields", "_fields_", "_replace"}  # documented, in spite of the underscore
INSTALLED = Path(torch.__file__).parent


def parameters(function: Callable[..., object]) -> list[str]:
    return list(inspect.signature(function).parameters)


def source(name: str) -> str:
    """The text of a module of torch that is slow to import."""
    return (INSTALLED / name).read_text()


def fork_server() -> bool:
    server = multiprocessing.forkserver._forkserver
    kept = {"_forkserver_address", "_forkserver_alive_fd", "_forkserver_pid"}
    served = parameters(multiprocessing.forkserver.main)[:3] == ["listener_fd", "alive_r", "preload"]
    named = multiprocessing.connection.arbitrary_address  # type: ignore[attr-defined]
    ended = multiprocessing.util._run_finalizers  # type: ignore[attr-defined]
    return kept <= vars(server).keys() and served and callable(named) and callable(ended)


def started_workers() -> bool:
    return (
        parameters(MultiprocessContext._start) == ["self"]
        and "self._pc = mp.start_processes(" in inspect.getsource(MultiprocessContext._start)
        and "process.terminate()" in inspect.getsource(ProcessContext.join)
    )


def compiler() -> bool:
    utils, rules, top = (source(f"_dynamo/{name}.py") for name in ("utils", "trace_rules", "__init__"))
    asked = ("def get_optimize_ddp_mode()", "def is_compile_supported(")
    return all(text in utils for text in asked) and "def clear_lru_cache()" in rules and "    disable," in top


def script() -> bool:
    from submitit.slurm.slurm import _make_sbatch_string

    taken = {"command", "folder", "map_count", "job_name", "time", "nodes", "signal_delay_s", "setup"}
    return taken <= set(parameters(_make_sbatch_string))


def command_of_a_job() -> bool:
    from submitit.core import _submit

    return "submitit_main()" in inspect.getsource(_submit) and '__name__ == "__main__"' in inspect.getsource(
        _submit
    )


def vector_instructions() -> bool:
    import numba.core.cgutils
    import numba.extending
    from llvmlite import ir

    emitted = ("gep", "load", "store", "fmul", "fadd", "phi", "branch", "cbranch")
    return all(hasattr(ir.IRBuilder, name) for name in emitted) and callable(numba.extending.intrinsic)


def uncounted_arrays() -> bool:
    from numba.core.cpu import CPUTargetOptions

    return "_nrt" in vars(CPUTargetOptions) or hasattr(CPUTargetOptions, "_nrt")


def code_on_disk() -> bool:
    import numba
    from numba.core.caching import FunctionCache

    taken = {"load_overload": ["self", "sig", "target_context"], "save_overload": ["self", "sig", "data"]}
    is_known = all(parameters(getattr(FunctionCache, name)) == words for name, words in taken.items())
    return is_known and hasattr(numba.njit(nms), "_cache") and callable(FunctionCache.flush)


def nms() -> bool:
    torchvision()
    schema = "torchvision::nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
    return str(torch.ops.torchvision.nms.default._schema) == schema


def shared_memory() -> bool:
    return bool(torch.UntypedStorage._new_shared(8).is_shared())


def event_file() -> bool:
    return parameters(SummaryWriter._get_file_writer) == ["self"]


def writes() -> bool:
    tensor = torch.zeros(2)
    before = tensor._version
    tensor.copy_(tensor.clone())
    return bool(tensor._version > before)


def filling() -> bool:
    return callable(torch._C._set_deterministic_fill_uninitialized_memory)


def batch_norm() -> bool:
    forward = torch.ops.aten._batch_norm_impl_index.default._schema
    backward = torch.ops.aten._batch_norm_impl_index_backward.default._schema
    given = "input weight bias running_mean running_var training momentum eps cudnn_enabled"
    back = (
        "impl_index input grad_output weight running_mean running_var save_mean save_var_transform train eps"
    )
    return [one.name for one in forward.arguments] == given.split() and [
        one.name for one in backward.arguments
    ] == [*back.split(), "output_mask", "reservedSpace"]


def copies() -> bool:
    two = [torch.zeros(2)]
    torch._foreach_copy_(two, [torch.ones(2)])
    return two[0].tolist() == [1.0, 1.0]


def dispatch() -> bool:
    return parameters(TorchDispatchMode.__torch_dispatch__) == ["self", "func", "types", "args", "kwargs"]


def bf16() -> bool:
    return isinstance(torch.ops.mkldnn._is_mkldnn_bf16_supported(), bool)


def base_classes() -> bool:
    return issubclass(torch.nn.BatchNorm2d, _BatchNorm) and issubclass(torch.nn.Conv2d, _ConvNd)


def batch_size() -> bool:
    return parameters(F._verify_batch_size) == ["size"]  # type: ignore[attr-defined]


def python_2_names() -> bool:
    return _compat_pickle.IMPORT_MAPPING["__builtin__"] == "builtins" and bool(_compat_pickle.NAME_MAPPING)


def subcommands() -> bool:
    return isinstance(argparse.ArgumentParser().add_subparsers(), argparse._SubParsersAction)


def sweeps() -> bool:
    return parameters(BasicSweeper.validate_batch_is_legal) == ["self", "batch"]


CHECKS: dict[str, Callable[[], bool]] = {
    "_forkserver": fork_server,
    "_start": started_workers,
    "_dynamo": compiler,
    "_make_sbatch_string": script,
    "_submit": command_of_a_job,
    "BasicSweeper": sweeps,
    "LLVM IR": vector_instructions,
    "_nrt": uncounted_arrays,
    "_cache": code_on_disk,
    "_BatchNorm": base_classes,
    "_verify_batch_size": batch_size,
    "_compat_pickle": python_2_names,
    "_SubParsersAction": subcommands,
    "nms": nms,
    "_new_shared": shared_memory,
    "_get_file_writer": event_file,
    "_version": writes,
    "_set_deterministic_fill_uninitialized_memory": filling,
    "_batch_norm_impl_index": batch_norm,
    "_foreach_copy_": copies,
    "_python_dispatch": dispatch,
    "_is_mkldnn_bf16_supported": bf16,
}


def installed(library: str) -> str:
    return "{}.{}".format(*sys.version_info) if library == "Python" else version(library)


@pytest.mark.parametrize("row", TABLE, ids=[row[0] for row in TABLE])
def test_it_is_as_it_was_seen(row: tuple[str, ...]) -> None:
    interface, place, library, *_ = row
    (check,) = [one for name, one in CHECKS.items() if name in interface]
    try:
        is_known = check()
    except (AttributeError, ImportError, OSError, TypeError) as error:
        is_known = False
        print(f"{type(error).__name__}: {error}")
    found = f"{library} {installed(library)}"
    assert is_known, f"{found} has changed {interface}: adapt {place}, then the row in docs/architecture.md"


@pytest.mark.parametrize("row", TABLE, ids=[row[0] for row in TABLE])
def test_it_is_bounded_by_the_version_it_was_seen_with(row: tuple[str, ...]) -> None:
    _, place, library, first, last, _ = row
    seen = last or first
    needed = {one.name: one.specifier for one in map(Requirement, PROJECT["dependencies"])}
    bounds = SpecifierSet(PROJECT["requires-python"]) if library == "Python" else needed[library]
    above = [*map(int, seen.split(".")[:2])]
    assert bounds.contains(seen), f"{library} {seen} was seen, and pyproject.toml refuses it"
    following = f"{above[0]}.{above[1] + 1}"
    assert not bounds.contains(following), f"pyproject.toml admits {library} {following}: look at {place}"
    assert (ROOT / place).is_file()


def test_every_row_has_a_check() -> None:
    assert len(TABLE) == len(CHECKS)


def foreign(tree: ast.AST, ours: set[str]) -> Iterator[str]:
    """Names with one underscore in front that a module takes from elsewhere."""
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Attribute):
            names = [node.attr]
        elif isinstance(node, ast.ImportFrom):
            names = [*str(node.module).split("."), *(alias.name for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [part for alias in node.names for part in alias.name.split(".")]
        yield from (name for name in names if re.match(r"_[A-Za-z]", name) and name not in ours | PUBLIC)


def own(tree: ast.AST) -> Iterator[str]:
    """Names that a module defines or assigns."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and getattr(node.value, "id", "") in {"self", "cls"}:
            yield from [node.attr] if isinstance(node.ctx, ast.Store) else []


def test_no_other_private_interface_is_used() -> None:
    paths = [
        path for top in ("launch", "dnw", "shards", "hydra_plugins") for path in (ROOT / top).rglob("*.py")
    ]
    trees = {path: ast.parse(path.read_text()) for path in paths}
    ours = {name for tree in trees.values() for name in own(tree)} - {"_start"}
    told = " ".join(row[0] for row in TABLE)
    unknown = {
        f"{path.relative_to(ROOT)}: {name}"
        for path, tree in trees.items()
        for name in foreign(tree, ours)
        if name not in told
    }
    assert not sorted(unknown), "private interfaces without a row in docs/architecture.md"
