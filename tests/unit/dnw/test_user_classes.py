from __future__ import annotations

import re
import sys
import zipfile
from pathlib import Path

import example
import pytest
import torch
from unit.shards.user_class.test_modules import write

from dnw import models, user_classes
from dnw.compose import training
from dnw.config import ConfigError, Train
from dnw.training.optimizer import build_optimizer
from dnw.wiring import edges_of

NET = """
from torch import nn
class Tiny(nn.Module):
    def __init__(self, classes, image_size, width=4):
        super().__init__()
        self.size = image_size
        self.body = nn.Conv2d(3, width, 3)
        self.head = nn.Linear(width, classes)
    def forward(self, images):
        return self.head(self.body(images).mean((2, 3)))
"""
WIRING = """
import torch
from dnw.wiring import Edges, draw
class Some(Edges):
    MASK_IS_SAVED = True
    def __init__(self, shape, budget, *, key, share=1.0, **given):
        super().__init__(shape, budget, **given)
        self.mask.copy_(draw(shape, int(budget * share), key=key, legal=given["legal"]))
    def begin(self, weight):
        pass
"""
OPTIMIZER = """
import torch
class Signed(torch.optim.SGD):
    def __init__(self, params, lr, scale=1.0, weight_decay=0.0):
        super().__init__(params, lr=lr * scale, weight_decay=weight_decay)
class Fixed(torch.optim.Optimizer):
    def __init__(self, params):
        super().__init__(params, {})
    def step(self, closure=None):
        pass
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def own(model: str = "static", wiring: str = "dnw", **changes: object) -> Train:
    sizes = {"width": 0.05} if model == "static" else {"width": None, "sparsity": 0.5}
    return example.train(model={"name": model}, wiring={"name": wiring}, **sizes, **changes)


def test_a_network_and_a_wiring_together(here: Path) -> None:
    write(here, lab_1__nets=NET, lab_1__growth=WIRING)
    model = models.build(own("lab_1.nets.Tiny", "lab_1.growth.Some"))
    assert model.size == 32
    masks = {name: edges.mask for name, (_, edges) in edges_of(model).items()}
    assert {name: int(mask.sum()) for name, mask in masks.items()} == {"body": 54, "head": 20}
    again = models.build(own("lab_1.nets.Tiny", "lab_1.growth.Some"))
    assert all(torch.equal(edges.mask, masks[name]) for name, (_, edges) in edges_of(again).items())


def test_a_wiring_in_a_graph_takes_options(here: Path) -> None:
    write(here, lab_2=WIRING)
    wiring = {"name": "lab_2.Some", "options": {"share": 0.5}}
    ((_, edges),) = edges_of(models.build(example.train(wiring=wiring))).values()
    assert int(edges.mask.sum()) == edges.budget // 2
    assert not (edges.mask & ~edges.legal).any()


def test_frozen_with_a_fingerprint_and_its_files(here: Path) -> None:
    write(here, lab_3__nets=NET, lab_3__growth="from lab_3.more import x\n" + WIRING, lab_3__more="x = 1")
    frozen, files = user_classes.freeze(own("lab_3.nets.Tiny", "lab_3.growth.Some"))
    assert sorted(dict(files)) == [f"user/lab_3/{name}.py" for name in ("__init__", "growth", "more", "nets")]
    write(here, lab_3__more="x = 2")
    changed, _ = user_classes.freeze(own("lab_3.nets.Tiny", "lab_3.growth.Some"))
    assert len({frozen.user_fingerprint, changed.user_fingerprint, ""}) == 3
    with pytest.raises(
        ConfigError, match=r"lab_3.growth.Some, lab_3.nets.Tiny: not what the run was prepared"
    ):
        models.build(frozen)
    assert user_classes.freeze(example.train()) == (example.train(), ())


def test_a_run_imports_what_it_keeps(here: Path) -> None:
    write(here, lab_4=NET)
    frozen, files = user_classes.freeze(own("lab_4.Tiny"))
    with zipfile.ZipFile(here / "code.zip", "w") as archive:
        for name, content in files:
            archive.writestr(name, content)
    write(here, lab_4="raise SystemExit('the edited one')")
    user_classes.prefer(here / "code.zip")
    assert type(models.build(frozen)).__name__ == "Tiny"
    assert "code.zip" in sys.modules["lab_4"].__file__


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            NET.replace("super()", "nothing()"),
            r"lab_\d+.py, line 5: NameError: name 'nothing' is not defined",
        ),
        (NET.replace("(2, 3)", "(2, 7)"), r"lab_\d+.py, line 10: IndexError"),
        (NET.replace("classes)", "3)"), r"gives out \(1, 3\) for one image where logits of shape \(1, 10\)"),
    ],
)
def test_one_that_fails_tells_file_and_line(here: Path, text: str, message: str) -> None:
    name = f"lab_{len(text)}"
    write(here, **{name: text})
    with pytest.raises(ConfigError, match=message) as told:
        models.build(own(f"{name}.Tiny"))
    assert len(str(told.value).splitlines()) == 1


def test_a_wiring_that_shares_a_budget_is_chosen_by_strength(here: Path) -> None:
    write(here, lab_6=WIRING)
    wiring = {"name": "lab_6.Some", "budget": "global"}
    with pytest.raises(
        ConfigError, match=r"lab_6.py, line 8: TypeError|must be derived from .*StrongestEdges"
    ):
        models.build(example.train(model={"name": "resnet18"}, width=None, sparsity=0.5, wiring=wiring))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["wiring=lab_7.Tiny"],
            r"wiring=lab_7.Tiny: .*lab_7.py, line 3: no wiring, as Tiny is derived from nn",
        ),
        (["model=lab_8.Some"], r"model=lab_8.Some: .*lab_8.py, line 4: a wiring, no network"),
        (["model=lab_7.Tiny", "model.options={widht: 3}"], r"has no option 'widht'; did you mean width\?"),
    ],
)
def test_words_that_are_refused(here: Path, words: list[str], message: str) -> None:
    write(here, lab_7=NET, lab_8=WIRING)
    train = training(["+exp=resnet50_sparse", *words])
    with pytest.raises(ConfigError, match=message):
        user_classes.freeze(train)


def test_options_are_typed_whole_or_one_by_one() -> None:
    for words in (["model.options={width: 3}"], ["model.options.width=3"]):
        assert training(["+exp=resnet50_sparse", "model=a.B", *words]).model.options == {"width": 3}


def test_a_file_in_place_of_a_class() -> None:
    with pytest.raises(
        ConfigError, match=r"wiring=my_lab/growth.py: must be the dotted path of a class: my_lab"
    ):
        training(["+exp=static_dnw", "wiring=my_lab/growth.py"])


def optimized(name: str, **changes: object) -> Train:
    return example.train(optim__name=name, optim__momentum=None, **{"optim__weight_decay": None} | changes)


def test_an_optimizer_takes_a_rate_a_decay_and_options(here: Path) -> None:
    write(here, lab_8=OPTIMIZER)
    train = optimized("lab_8.Signed", optim__options={"scale": 2.0}, optim__weight_decay=0.01)
    made = build_optimizer(models.build(train), train)
    assert type(made).__name__ == "Signed"
    assert made.param_groups[0]["lr"] == 2 * train.optim.lr
    assert made.param_groups[0]["weight_decay"] == 0.01
    frozen, files = user_classes.freeze(train)
    assert frozen.user_fingerprint
    assert sorted(dict(files)) == ["user/lab_8.py"]


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("lab_8.Fixed", {}, "Fixed must take lr too"),
        ("lab_8.Signed", {"optim__options": {"scala": 2.0}}, "no option 'scala'; did you mean scale?"),
        ("lab_8.Sgned", {}, "did you mean Signed?"),
        (
            "lab_9.Tiny",
            {},
            "no optimizer, as Tiny is derived from nn.Module; derive it from torch.optim.Optimizer",
        ),
    ],
)
def test_what_is_no_optimizer_is_told(here: Path, name: str, changes: dict[str, object], said: str) -> None:
    write(here, lab_8=OPTIMIZER, lab_9=NET)
    with pytest.raises(ConfigError, match=re.escape(said)) as raised:
        user_classes.freeze(optimized(name, **changes))
    assert str(raised.value).startswith(f"optim.name={name}: ")
    assert "\n" not in str(raised.value)
