"""Weights that libraries publish: which they are, found in a cache, and fetched; from file:// alone."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from dnw import model_registry
from dnw.config import ConfigError
from dnw.pretrained import published
from dnw.pretrained.published import Published

TORCH = "https://download.pytorch.org/models/"
TIMM = """
def _cfg(url='', **kwargs):
    return {'url': url, **kwargs}
tables = {
    'b.one': _cfg(),
    'b.two': _cfg(hf_hub_id='timm/'),
    'b.three': _cfg('https://host/three.pth', hf_hub_id='me/mine', hf_hub_filename='x.bin'),
    'c.one': _cfg('https://host/c.pth'),
    'c.two*': _cfg('https://host/two.pth'),
    'd': _cfg('https://host/d.npz', custom_load=True),
}
default_cfgs = generate_default_cfgs(tables)
more = generate_default_cfgs({'e.one': _cfg(), 'f': _cfg('https://host/f-01234567.pth')})
"""


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("resnet18", f"{TORCH}resnet18-f37072fd.pth"),
        ("resnet50", f"{TORCH}resnet50-11ad3fa6.pth"),
        ("alexnet", f"{TORCH}alexnet-owt-7be5be79.pth"),
    ],
)
def test_torchvision_publishes(name: str, file: str) -> None:
    assert published.find(f"torchvision/{name}") == Published(file)


def test_timm_publishes(monkeypatch: pytest.MonkeyPatch) -> None:
    repository = "timm/resnet18.a1_in1k"
    found = published.find("timm/resnet18")
    assert (found.repository, found.names[0]) == (repository, "model.safetensors")
    assert found.url == f"https://huggingface.co/{repository}/resolve/main/model.safetensors"
    monkeypatch.setattr(model_registry, "source", lambda *_: TIMM)
    assert published.find("timm/b").repository == "timm/b.two"
    assert published.find("timm/c") == Published("https://host/two.pth")
    assert published.find("timm/f") == Published("https://host/f-01234567.pth")
    for name, said in {
        "a": "publishes no weights for model=timm/a; init=FILE takes others",
        "d": "a form of their own",
    }.items():
        with pytest.raises(ConfigError, match=said):
            published.find(f"timm/{name}")


def test_a_file_is_fetched_once_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    digest = hashlib.sha256(b"weights").hexdigest()[:8]
    source = tmp_path / f"net-{digest}.pth"
    source.write_bytes(b"weights")
    one = Published(source.as_uri())
    assert one.cached() is None
    path = one.fetch()
    assert path == tmp_path / "torch" / "hub" / "checkpoints" / source.name
    assert (one.cached(), path.read_bytes()) == (path, b"weights")
    assert one.is_at(str(path))
    source.with_name("net-00000000.pth").write_bytes(b"weights")
    other = Published(source.with_name("net-00000000.pth").as_uri())
    with pytest.raises(ConfigError, match=r"can't be fetched \(.*has the SHA256 .*, not 00000000"):
        other.fetch()
    gone = Published((tmp_path / "gone.pth").as_uri())
    with pytest.raises(ConfigError, match=r"gone.pth isn't in the cache, and can't be fetched .*init=FILE"):
        gone.fetch()


def test_what_the_hub_has_fetched_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants
    import huggingface_hub.file_download

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    one = Published("https://huggingface.co/me/mine", "me/mine", ("model.safetensors", "pytorch_model.bin"))
    assert one.cached() is None
    folder = tmp_path / "models--me--mine"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("0123")
    (folder / "snapshots" / "0123").mkdir(parents=True)
    file = folder / "snapshots" / "0123" / "pytorch_model.bin"
    file.write_bytes(b"weights")
    assert one.cached() == file
    assert one.is_at(str(file))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    file.unlink()
    with pytest.raises(
        ConfigError, match=r"isn't in the cache, and can't be fetched \(.*; fetch it where there"
    ):
        one.fetch()
