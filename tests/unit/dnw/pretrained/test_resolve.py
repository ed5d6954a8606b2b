"""Which file a run begins with, settled before it is submitted."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from example import train

from dnw.config import ConfigError, Train, dump
from dnw.identity import signature
from dnw.pretrained import published
from dnw.pretrained.published import Published
from dnw.pretrained.resolve import resolve_weights


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    torch.save({"a": torch.zeros(3)}, "x.pth")
    return tmp_path / "x.pth"


def of_a_library(**changes: object) -> Train:
    return train(model__name="torchvision/resnet18", width=None, sparsity=0.5, **changes)


def test_a_file_is_known_by_its_content(file: Path, tmp_path: Path) -> None:
    found = resolve_weights(train(init="x.pth"), None, download=True)
    assert found.init == str(file)
    (tmp_path / "y.pth").write_bytes(file.read_bytes())
    assert signature(resolve_weights(train(init="y.pth"), None, download=True)) == signature(found)
    torch.save({"a": torch.ones(3)}, "y.pth")
    assert signature(resolve_weights(train(init="y.pth"), None, download=True)) != signature(found)
    assert resolve_weights(train(init=None), None, download=True) == train()
    assert signature(train(init="x.pth")) == signature(train())


def test_a_run_that_has_saved_a_step_needs_no_weights(file: Path, tmp_path: Path) -> None:
    begun = resolve_weights(train(init="x.pth"), None, download=True)
    folder = tmp_path / "runs" / f"default-{signature(begun)}"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.yaml").write_text(dump(begun))
    (tmp_path / "runs" / "damaged").mkdir()
    (tmp_path / "runs" / "damaged" / "config.yaml").touch()
    file.unlink()
    with pytest.raises(ConfigError, match=r"x.pth: not there"):
        resolve_weights(train(init="x.pth"), tmp_path / "runs", download=True)
    (folder / "checkpoints" / "step-00000004.pt").touch()
    assert resolve_weights(train(init="x.pth"), tmp_path / "runs", download=True) == begun
    with pytest.raises(ConfigError, match=r"x.pth: not there"):  # another run
        resolve_weights(train(init="x.pth", seed=1), tmp_path / "runs", download=True)


def test_a_library_has_its_own(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    asked: list[str] = []
    monkeypatch.setattr(published, "find", lambda name: asked.append(name) or Published(file.as_uri()))
    wanted = of_a_library(init="torchvision")
    with pytest.raises(ConfigError, match=r"x.pth isn't in the cache yet; the launch fetches it"):
        resolve_weights(wanted, None, download=False)
    fetched = resolve_weights(wanted, None, download=True)
    assert fetched == resolve_weights(wanted, None, download=False)
    assert Path(fetched.init) == tmp_path / "torch" / "hub" / "checkpoints" / "x.pth"
    assert fetched.init_fingerprint == resolve_weights(train(init="x.pth"), None, False).init_fingerprint
    assert set(asked) == {"torchvision/resnet18"}


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("torchvison", r"no file 'torchvison'; did you mean torchvision\?"),
        ("timm:resnt18", "no file 'timm:resnt18'; init=timm takes the weights of model=timm/NAME"),
        ("timm/resnet18", "no file 'timm/resnet18'; init=timm takes the weights of model=timm/NAME"),
        ("x.pht", r"/x.pht: not there; did you mean x.pth\?"),
        ("~/nowhere/x.pth", "/nowhere/x.pth: not there, nor is its folder"),
    ],
)
def test_a_word_that_is_no_file(file: Path, word: str, said: str) -> None:
    with pytest.raises(ConfigError, match=f"^init: .*{said}$"):
        resolve_weights(train(init=word), None, download=True)
