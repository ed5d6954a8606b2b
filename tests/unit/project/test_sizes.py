"""What a reader has to take in at once stays small: files, functions, folders."""

from __future__ import annotations

import ast
import subprocess
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
LINES_OF_A_FILE, LINES_OF_A_FUNCTION, FILES_OF_A_FOLDER = 400, 50, 25
# Each of its files is a word that users type, +exp=NAME, and is found by that name. Hydra would want
# +exp=FOLDER/NAME for a file in a folder of its own. A second folder on Hydra's search path would keep the
# words, but they would no longer say where their files are.
EXCEPTION = "configs/exp"


def tracked() -> list[Path]:
    """The files of the project, as they lie in the working tree."""
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [path for line in done.stdout.splitlines() if (path := Path(line)) and (ROOT / path).is_file()]


def test_folders_have_few_files() -> None:
    counts = Counter(str(path.parent) for path in tracked())
    large = {folder: count for folder, count in counts.items() if count > FILES_OF_A_FOLDER}
    assert large.keys() <= {EXCEPTION}, large


def test_files_and_functions_are_short() -> None:
    for path in tracked():
        if path.suffix == ".py":
            text = (ROOT / path).read_text()
            assert len(text.splitlines()) <= LINES_OF_A_FILE, path
            if path.parts[0] == "tests":
                continue
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.FunctionDef) and node.end_lineno is not None:
                    lines = node.end_lineno - node.lineno + 1
                    assert lines <= LINES_OF_A_FUNCTION, f"{path}: {node.name} has {lines} lines"
