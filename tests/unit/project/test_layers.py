"""Imports run one way, between packages and between their folders; the login node imports no torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
# Each line may import what stands above it, in its own package and in the packages before. A line is a folder
# ("node/") or modules at a package's top; modules of one folder may import each other, but not in a circle.
LAYERS = {
    "shards": ("*",),
    "dnw": (
        "console dotted invocation preemption setting_errors speed temporary_folder",
        "ranges",
        "config/",
        "config_file identity optimizer_registry",
        "compose model_registry nondeterministic processes schedule splits user_classes words",
        "hardware/",
        "wiring/",
        "runs/",
        "tracking/",
        "models/",
        "profile/",
        "compact/",
        "augmentation/",
        "training/",
        "paper/ pretrained/",
        "engines/",
        "exported/",
        "__init__",
        "train evaluate export import_reference profile/__main__",
        "self_test/",
    ),
    "launch": (
        "__init__ errors gpus",
        "scheduler/ pack/marks",
        "config frozen_config snapshot start_lock",
        "hydra_words",
        "compose",
        "cpu_hours earlier_run gpu_request grace_period loader_cores new_code",
        "node/",
        "self_test/ pack/",
        "prepare",
        "cluster/",
        "query/",
        "pipeline/",
        "existing",
        "commands/",
        "dry_run",
        "study/",
        "app",
        "cli demo local runs slurm",
    ),
    "hydra_plugins": ("*",),
}
PACKAGES = tuple(LAYERS)


def modules() -> dict[str, Path]:
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


MODULES = modules()


def imported(module: str, tree: ast.AST) -> Iterator[str]:
    """The project's modules that a module imports, inside functions and for types included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{module}: a relative import"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                if (found := name if name in MODULES else node.module) in MODULES:
                    yield found


def layer(module: str) -> tuple[int, int]:
    """Place of a module's package, and of its folder or name in there."""
    package, *rest = module.split(".")
    name = "/".join(rest) or "__init__"
    for place, line in enumerate(LAYERS[package]):
        names = line.split()
        if line == "*" or name in names:
            return PACKAGES.index(package), place
    for place, line in enumerate(LAYERS[package]):
        if f"{name.partition('/')[0]}/" in line.split():
            return PACKAGES.index(package), place
    raise AssertionError(f"{MODULES[module]}: no layer has it; add it to LAYERS in {Path(__file__).name}")


@cache
def graph() -> dict[str, set[str]]:
    return {module: set(imported(module, ast.parse(path.read_text()))) for module, path in MODULES.items()}


def test_every_module_has_a_layer() -> None:
    assert all(layer(module) for module in MODULES)


def test_imports_run_one_way() -> None:
    upwards = [
        f"{module} imports {other}"
        for module, others in graph().items()
        for other in others
        if layer(other) > layer(module)
    ]
    assert not upwards


def test_modules_of_a_layer_do_not_import_in_a_circle() -> None:
    above: list[str] = []
    done = set()

    def visit(module: str) -> None:
        assert module not in above, f"a circle: {' imports '.join([*above[above.index(module) :], module])}"
        if module not in done:
            above.append(module)
            for other in sorted(graph()[module] - {module}):
                visit(other)
            done.add(above.pop())

    for module in graph():
        visit(module)


@pytest.mark.parametrize("package", ["launch", "shards"])
def test_the_login_node_imports_no_torch(package: str) -> None:
    """Any of its modules; imports within functions are made when there is something to compute."""
    names = [name for name in MODULES if name.split(".")[0] == package]
    script = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module(name)\n"
        "    heavy = {'torch', 'torchvision', 'timm'} & set(sys.modules)\n"
        "    assert not heavy, f'{name} imports {heavy}'\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *names], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_what_begins_a_job_imports_no_library_that_computes_or_draws() -> None:
    """Each attempt on each node waits for it."""
    script = (
        "import sys, launch.node.job\n"
        "heavy = {'numpy', 'PIL', 'google', 'tensorboard', 'mlflow', 'wandb'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def brings(node: ast.AST) -> list[str]:
    """What an import brings, whether it is a statement or a call of import_module."""
    match node:
        case ast.Import(names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=str(module)):
            return [module]
        case ast.Call(func=ast.Attribute(attr="import_module"), args=[ast.Constant(str(name)), *_]):
            return [name]
    return []


def test_no_module_of_shards_names_torch() -> None:
    """Which holds for imports within functions as well."""
    naming = [
        f"{path}: {name}"
        for module, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text()))
        for name in brings(node)
        if module.split(".")[0] == "shards" and name.split(".")[0] in ("torch", "torchvision", "timm")
    ]
    assert not naming
