"""Files that documents name are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
NAMED = re.compile(r"\b((?:launch|dnw|shards|configs|tests|bench|docs|hydra_plugins)/[\w/.-]*\w/?)")


def named(document: Path) -> set[str]:
    """What looks like a file of the project; one that a pattern or a placeholder names is none."""
    text = document.read_text()
    found = {match[1] for match in NAMED.finditer(text) if text[match.end() : match.end() + 1] not in "*<{"}
    return {name for name in found if name.endswith((".py", ".md", ".yaml", ".txt", "/"))}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_files_that_a_document_names_are_there(document: Path) -> None:
    base = (ROOT, document.parent)
    missing = [name for name in named(document) if not any((folder / name).exists() for folder in base)]
    assert missing == []


def test_names_are_found() -> None:
    assert {"launch/node/agent.py", "dnw/runs/ledger.py"} <= named(ROOT / "CONTRIBUTING.md")
