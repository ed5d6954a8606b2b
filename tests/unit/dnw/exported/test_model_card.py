"""The page about an exported network."""

from __future__ import annotations

import dataclasses

import example
import pytest
import yaml
from drawn_compact import some_network
from exported import CARD

from dnw.config import Train
from dnw.exported.model_card import card_path, model_card
from dnw.profile.costs import Profile

COSTS = Profile(32, 9_000, 8_000, 7_000, 6_000, 1, ())
VAL = {"step": 10, "kind": "val", "top1": 61.5, "top5": 90.0, "samples": 2000}


def page(
    name: str = "one.safetensors",
    licence: str | None = None,
    train: Train | None = None,
    **changes: object,
) -> str:
    card = dataclasses.replace(CARD, **changes)  # type: ignore[arg-type]
    records = [VAL | {"top1": 1.0}, VAL, VAL | {"step": 9}, {"step": 10, "kind": "train", "top1": 2.0}]
    return model_card(
        name, card, train or example.train(), some_network(9, 1, 2, normed=False), COSTS, records, licence
    )


def test_it_says_what_is_known() -> None:
    text = page(resize=37)
    assert "top-1 61.50 %, top-5 90.00 % of 2,000 validation images" in text
    assert "| costs | 6,000 multiply-adds an image, 7,000 parameters |" in text
    assert "shorter side scaled to 37 pixels, then the centre cut out" in text
    assert "cut out; trained on 32 pixels |" in page(image_size=40)
    assert "| licence of the weights | not stated; ask who trained it" in text
    assert 'dnw.load("one.safetensors")' in text


def test_an_accuracy_that_was_not_measured_is_not_known() -> None:
    assert "| accuracy | not known: no evaluation at step 11 |" in page(step=11)


def test_where_the_weights_began_is_told() -> None:
    given = {"init_fingerprint": "0123456789abcdef" * 4}
    hub = "/home/me/.cache/huggingface/hub/models--timm--resnet18.a1_in1k/snapshots/0123/model.safetensors"
    for path, told in (
        ("/data/x.pth", "x.pth"),
        (hub, "models--timm--resnet18.a1\\_in1k/snapshots/0123/model.safetensors"),
    ):
        train = example.train(init=path, **given)
        assert f"| began with | {told}, SHA-256 0123456789abcdef |" in page(train=train)
    source = {"wiring__name": "fine_tune", "wiring__source": "/runs/cifar_complete/default-0123456789"}
    assert "| began with | run cifar\\_complete/default-0123456789 |" in page(train=example.train(**source))
    assert "began with" not in page()


@pytest.mark.parametrize("licence", [None, "apache-2.0", 'other: "mine"\n---'])
def test_its_head_is_yaml(licence: str | None) -> None:
    head = yaml.safe_load(page(licence=licence).split("\n---\n")[0])
    assert head.get("license") == licence
    assert head["library_name"] == "dnw"


def test_names_are_shown_as_they_are() -> None:
    assert "\n# \\<b\\>x\\|y.safetensors\n" in page("<b>x|y.safetensors")
    assert card_path(example.train().data.dir / "a.safetensors").name == "a.card.md"
