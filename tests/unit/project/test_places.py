"""The tests of launch/node/job.py are in tests/unit/launch/node/test_job.py, and so for every module."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
LINES = 40  # a module of more has a file of tests
# Tested through what uses them, so far. A module that gets its file leaves this list; none joins it.
WITHOUT = {
    "shards": "command regular_file terminal",
    "dnw/compact": "check constants form unread",
    "dnw": "compose exported_model model_file onnx_graph processes setting_errors train words",
    "dnw/engines": "auto dense forward graph_dgl winners",
    "dnw/engines/native": "gpu kernel memory plan schedule vector",
    "dnw/models": "block_function continuous graph mobilenet_v1 static tiny",
    "dnw/paper": "safe_unpickle",
    "dnw/profile": "costs graphs",
    "dnw/training": "checkpointed_model dashboard distributed drawing evaluation loop reduction",
    "dnw/wiring": "making paths",
    "launch/commands": "table",
}


def place(module: Path) -> Path:
    """Return where the tests of a module are; those of a package's own module bear the folder's name."""
    name = module.parent.name if module.stem in {"__init__", "__main__"} else module.stem
    return Path("tests", "unit", module.parent, f"test_{name}.py")


def test_every_module_has_its_tests_where_its_name_says() -> None:
    sources = [path for name in ("launch", "dnw", "shards") for path in (ROOT / name).rglob("*.py")]
    long = [path.relative_to(ROOT) for path in sources if len(path.read_text().splitlines()) > LINES]
    missing = {path.with_suffix("") for path in long if not (ROOT / place(path)).is_file()}
    excused = {Path(folder, name) for folder, names in WITHOUT.items() for name in names.split()}
    assert missing == excused, "a module of more than 40 lines without tests, or one that has got some"
