from pathlib import Path

import pytest

from dnw.runs import class_names
from dnw.runs.folder import Run
from shards.errors import ShardError


def test_names_are_noted_once(tmp_path: Path) -> None:
    run = Run(tmp_path)
    class_names.write(run, None)
    assert class_names.read(run) is None
    class_names.write(run, ("b", "a\n", "caf\udce9"))
    class_names.write(run, ("others",))
    assert class_names.read(run) == ("b", "a\n", "caf\udce9")
    run.classes.write_text("[")
    with pytest.raises(ShardError, match=r"classes\.json: no list of names in JSON"):
        class_names.read(run)
