"""Files of the paper's own code become checkpoints, and nothing in them is run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import golden_weights as golden
import pytest
import torch
from paper_checkpoint import FORMATS, published, state_of

from dnw.evaluate import main as evaluate
from dnw.import_reference import main
from dnw.profile.__main__ import main as profile
from dnw.training.checkpointed_model import load_checkpointed_model

STATIC = ["+exp=static_dnw"]


class Attack:
    """Runs a function when it is read by an ordinary load."""

    def __init__(self, function: Any, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[object, ...]]:
        return self.call


def import_file(file: Path, *words: str, out: Path) -> int:
    return main([str(file), *(words or STATIC), str(out)])


@FORMATS
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("static_dnw", ["+exp=static_dnw"]),
        ("discrete_dnw", ["+exp=discrete_dnw"]),
        ("mobilenet_dnw_x225_cifar", ["+exp=cifar_dnw"]),
    ],
)
def test_imported_network_gives_the_logits_of_the_paper(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], is_zip: bool, name: str, words: list[str]
) -> None:
    entry = golden.entries()[name]
    file = published(tmp_path / "a.pt", is_zip, model=state_of(name))
    assert import_file(file, *words, out=tmp_path / "new" / "out.pt") == 0
    assert "wiring=dnw, wiring.reference_quirks on" in capsys.readouterr().out
    train, model, step, names, _ = load_checkpointed_model(tmp_path / "new" / "out.pt")
    assert names is None
    assert (train.exp, step) == (words[0].removeprefix("+exp="), 15_680)
    with torch.no_grad():
        logits = model.eval()(golden.images(entry))
    expected = torch.tensor(entry["logits"])
    assert (logits - expected).abs().max() <= 1e-4 * expected.abs().max()
    assert profile([str(tmp_path / "new" / "out.pt")]) == 0
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out.pt"]


def test_large_networks_are_imported_too(tmp_path: Path) -> None:
    for name, words in {
        "mobilenet_dnw_small_x225_imagenet": ["+exp=imagenet_small", "width=0.225"],
        "resnet50_allsparse30": ["+exp=resnet50_sparse", "sparsity=0.7"],
    }.items():
        file = published(tmp_path / "a.pt", model=state_of(name))
        assert import_file(file, *words, out=tmp_path / f"{name}.pt") == 0


@pytest.mark.parametrize("form", ["best", "initialization"])
def test_forms_without_a_position(tmp_path: Path, form: str) -> None:
    torch.save({"model": state_of()} if form == "best" else state_of(), tmp_path / "a.pt")
    assert import_file(tmp_path / "a.pt", out=tmp_path / "out.pt") == 0
    assert load_checkpointed_model(tmp_path / "out.pt")[2] == 0


def test_evaluated_and_profiled_like_any_run(
    tmp_path: Path, few_images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["+exp=static_dnw", "data=fashion_mnist", "data.workers=0"]
    assert import_file(published(tmp_path / "a.pt"), *words, out=tmp_path / "out.pt") == 0
    capsys.readouterr()
    assert evaluate([str(tmp_path / "out.pt"), "--data", str(few_images)]) == 0
    assert "at step 15680: top-1" in capsys.readouterr().out


@FORMATS
@pytest.mark.parametrize("place", ["meters", "model"])
@pytest.mark.parametrize("function", [os.system, exec, Path.mkdir, eval])
def test_nothing_in_a_file_is_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], is_zip: bool, place: str, function: Any
) -> None:
    mark = tmp_path / "run by the file"
    command = {
        os.system: f"mkdir '{mark}'",
        exec: f"__import__('os').mkdir({str(mark)!r})",
        eval: f"__import__('os').mkdir({str(mark)!r})",
        Path.mkdir: mark,
    }[function]
    attack = Attack(function, command)
    file = published(tmp_path / "a.pt", is_zip, **{place: {"module.fc.bias": attack}})
    done = import_file(file, out=tmp_path / "out.pt")
    assert not mark.exists()
    err = capsys.readouterr().err
    if function in {os.system, Path.mkdir}:
        assert done == 1
        said = "system whose module posix is blocked" if function is os.system else "unrecognized function"
        assert said in err
    else:
        assert done == (0 if place == "meters" else 1)
        assert place == "meters" or "module.fc.bias: no tensor but Inert" in err
    assert (tmp_path / "out.pt").exists() == (done == 0)
    torch.load(file, weights_only=False)  # an ordinary load does run it
    assert mark.is_dir()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds neither a checkpoint nor a state dict"),
        ({"model": []}, "holds neither a checkpoint nor a state dict"),
        ({"model": {"a": 1}}, "a: no tensor but int, so no state dict"),
    ],
)
def test_what_holds_no_weights_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: object, message: str
) -> None:
    torch.save(content, tmp_path / "a.pt")
    assert import_file(tmp_path / "a.pt", out=tmp_path / "out.pt") == 1
    assert message in capsys.readouterr().err


def test_another_network_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert import_file(published(tmp_path / "a.pt"), "+exp=cifar_dnw", out=tmp_path / "out.pt") == 1
    err = capsys.readouterr().err
    assert "the weights are those of another network" in err
    assert "  bn.bias: in the file missing, in the model (1024,)" in err
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


def test_messages_of_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = published(tmp_path / "a.pt")
    (tmp_path / "there.pt").touch()
    for words, out, message in [
        (STATIC, "there.pt", f"{tmp_path / 'there.pt'}: exists; name a new file"),
        (["+exp=static_dwn"], "out.pt", "static_dnw"),
        (["+exp=static_random"], "out.pt", "wiring=random: the file has no mask, so it isn't a random graph"),
    ]:
        assert import_file(file, *words, out=tmp_path / out) == 1
        assert message in capsys.readouterr().err
    assert import_file(tmp_path / "none.pt", out=tmp_path / "out.pt") == 1
    assert "none.pt: can't be read (No such file or directory)" in capsys.readouterr().err


def test_quirks_can_be_turned_off(tmp_path: Path) -> None:
    file = published(tmp_path / "a.pt")
    words = ["+exp=static_dnw", "wiring.reference_quirks=false"]
    assert import_file(file, *words, out=tmp_path / "out.pt") == 0
    assert not load_checkpointed_model(tmp_path / "out.pt")[0].wiring.reference_quirks


def test_random_graph_keeps_its_mask(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = state_of()
    mask = torch.zeros(800 * 800)
    mask[torch.randperm(800 * 800, generator=torch.Generator().manual_seed(0))[:32_000]] = 1
    state["module.graph.mask"] = mask.view(800, 800, 1, 1)
    file = published(tmp_path / "a.pt", model=state)
    assert import_file(file, "+exp=static_random", out=tmp_path / "out.pt") == 0
    train, model, *_ = load_checkpointed_model(tmp_path / "out.pt")
    assert train.wiring.name == "dnw"
    assert torch.equal(model.graph.weight, state["module.graph.weight"] * state["module.graph.mask"])  # type: ignore[arg-type]
    assert import_file(file, "+exp=static_random", "width=0.04", out=tmp_path / "narrow.pt") == 1
    assert "graph.mask: 32000 edges in the file, but this width keeps 25600" in capsys.readouterr().err
