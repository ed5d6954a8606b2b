import subprocess
from pathlib import Path

import pytest
from login_node import frozen

from dnw.runs.frozen_code import read_record
from launch import snapshot
from launch.errors import LaunchError


def git(root: Path, *words: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run(["git", *identity, "-C", str(root), *words], check=True, capture_output=True)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    for name in ("launch/snapshot.py", "dnw/train.py", "dnw/gone.py", "configs/a.yaml", "shards/a b.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    (root / ".gitignore").write_text("data/\n")
    return root


@pytest.fixture
def checkout(project: Path) -> Path:
    git(project, "init", "-q")
    git(project, "add", "-A")
    git(project, "commit", "-qm", "first")
    return project


def test_the_working_tree_as_it_is(checkout: Path, tmp_path: Path) -> None:
    (checkout / "dnw/train.py").write_text("edited")
    (checkout / "dnw/new.py").write_text("untracked")
    (checkout / "dnw/gone.py").unlink()
    (checkout / "data").mkdir()
    (checkout / "data/shard.tar").write_text("ignored")
    snapshot.write(tmp_path / "code.zip", checkout)
    assert frozen(tmp_path / "code.zip") == {
        ".gitignore": "data/\n",
        "launch/snapshot.py": "launch/snapshot.py",
        "dnw/train.py": "edited",
        "dnw/new.py": "untracked",
        "configs/a.yaml": "configs/a.yaml",
        "shards/a b.py": "shards/a b.py",
    }


def test_where_it_came_from(checkout: Path, tmp_path: Path) -> None:
    snapshot.write(tmp_path / "one", checkout)
    clean = read_record(tmp_path / "one")
    assert clean["dirty"] is False
    assert len(str(clean["commit"])) == 40
    (checkout / "dnw/train.py").write_text("edited")
    snapshot.write(tmp_path / "two", checkout)
    assert read_record(tmp_path / "two")["digest"] != clean["digest"]
    assert read_record(tmp_path / "two")["dirty"] is True
    assert read_record(tmp_path / "two")["commit"] == clean["commit"]


def test_before_the_first_commit(project: Path, tmp_path: Path) -> None:
    git(project, "init", "-q")
    snapshot.write(tmp_path / "code.zip", project)
    assert read_record(tmp_path / "code.zip")["commit"] is None
    assert "dnw/train.py" in frozen(tmp_path / "code.zip")


@pytest.mark.parametrize("surrounded", [False, True])
def test_without_git_the_packages(project: Path, tmp_path: Path, surrounded: bool) -> None:
    if surrounded:  # unpacked inside some other checkout, which ignores it
        git(tmp_path, "init", "-q")
        (tmp_path / ".gitignore").write_text("project\n")
    (project / "__pycache__").mkdir()
    (project / "launch/__pycache__").mkdir()
    (project / "launch/__pycache__/a.pyc").write_text("")
    (project / "notes.txt").write_text("not code")
    snapshot.write(tmp_path / "code.zip", project)
    assert set(frozen(tmp_path / "code.zip")) == {
        "launch/snapshot.py", "dnw/train.py", "dnw/gone.py", "configs/a.yaml", "shards/a b.py",
    }  # fmt: skip
    assert read_record(tmp_path / "code.zip")["commit"] is None


def test_without_the_program_git(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    snapshot.write(tmp_path / "code.zip", checkout)
    assert "dnw/train.py" in frozen(tmp_path / "code.zip")


def test_runs_inside_the_project_are_not_part_of_it(checkout: Path, tmp_path: Path) -> None:
    (checkout / "my runs/a").mkdir(parents=True)
    (checkout / "my runs/a/config.yaml").write_text("")
    snapshot.write(tmp_path / "code.zip", checkout, outside=[checkout / "my runs"])
    assert not [name for name in frozen(tmp_path / "code.zip") if name.startswith("my runs")]


def test_data_that_git_was_not_told_of(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "LIMIT_MB", 1)
    (checkout / "big.bin").write_bytes(bytes(2**21))
    with pytest.raises(
        LaunchError, match=r"comes to 2 MB, more than 1; .* is big.bin \(2 MB\)\. Name in \.gitignore"
    ):
        snapshot.write(tmp_path / "code.zip", checkout)
    assert not (tmp_path / "code.zip").exists()


def test_this_project_freezes_itself(tmp_path: Path) -> None:
    snapshot.write(tmp_path / "code.zip")
    files = frozen(tmp_path / "code.zip")
    for name in ("launch/node/agent.py", "dnw/train.py", "shards/index/index.py", "configs/config.yaml"):
        assert files[name] == (snapshot.ROOT / name).read_text()


def test_names_are_bytes(checkout: Path, tmp_path: Path) -> None:
    name = "configs/caf\udce9.yaml"  # Latin-1
    (checkout / name).write_text("latin")
    snapshot.write(tmp_path / "code.zip", checkout)
    assert frozen(tmp_path / "code.zip")[name] == "latin"
    assert snapshot.changed(tmp_path / "code.zip") == []


def test_configs_that_differ(checkout: Path, tmp_path: Path) -> None:
    snapshot.write(tmp_path / "code.zip", checkout)
    assert snapshot.differing_configs(tmp_path / "code.zip", checkout) == []
    (checkout / "configs/a.yaml").write_text("edited")
    (checkout / "configs/b.yaml").write_text("new")
    (checkout / "dnw/train.py").write_text("edited")
    assert snapshot.differing_configs(tmp_path / "code.zip", checkout) == ["configs/a.yaml", "configs/b.yaml"]
    assert snapshot.differing(tmp_path / "code.zip", checkout) == ["dnw/train.py"]
