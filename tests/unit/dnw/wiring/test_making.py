"""From the configuration to the edges of a weight."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import get_args

import example
import pytest
import torch

from dnw import models
from dnw.config import WIDEST_STATIC, ConfigError, Wiring
from dnw.config.wiring import KINDS
from dnw.wiring import edges_of
from dnw.wiring.making import make_edges

SMALL = {"name": "mobilenet", "small": True}


def test_width_beyond_the_legal_edges_is_refused() -> None:
    """Here too, should it come past the check of the configuration."""
    widest = example.train(width=WIDEST_STATIC)
    models.build(widest)
    message = "width: 0.415 asks for 265600 edges in graph 0, which has 264960 legal ones: take at most 0.414"
    with pytest.raises(ConfigError, match=message):
        models.build(dataclasses.replace(widest, width=0.415))


def test_random_graph_of_the_papers_code_wastes_edges() -> None:
    """Its static network draws among blocks of 100 where layers have 192 nodes."""
    network = models.build(example.train(wiring={"name": "random", "reference_quirks": True}))
    _, edges = edges_of(network)["graph"]
    used = int((edges.mask.squeeze() & edges.layout.legal()).sum())
    assert int(edges.mask.sum()) == 32_000
    assert abs(used - 27_082) < 250  # another random stream than the paper's
    corrected = models.build(example.train(wiring__name="random"))
    _, edges = edges_of(corrected)["graph"]
    assert int((edges.mask.squeeze() & edges.layout.legal()).sum()) == 32_000


def test_random_graph_of_a_mobilenet_has_no_quirk() -> None:
    plain, quirky = (
        models.build(example.train(model=SMALL, wiring={"name": "random", "reference_quirks": quirks}))
        for quirks in (False, True)
    )
    for (_, one), (_, other) in zip(edges_of(plain).values(), edges_of(quirky).values(), strict=True):
        assert torch.equal(one.mask, other.mask)


def test_every_wiring_is_named_wherever_it_has_to_be() -> None:
    root = Path(__file__).resolve().parents[4]
    names = set(get_args(KINDS))
    files = {path.stem for path in (root / "configs" / "wiring").glob("*.yaml")}
    assert files == names, "each name of a wiring in dnw/config/wiring.py has a file in configs/wiring"
    rows = set(re.findall(r"^\| `(\w+)` \|", (root / "docs" / "wiring.md").read_text(), re.MULTILINE))
    assert names <= rows, "each wiring has a row in the first table of docs/wiring.md"
    for name in names - {"complete"}:
        train = dataclasses.replace(example.train(), wiring=Wiring(name=name, source="x"))
        try:
            made = make_edges(train, 0, (4, 8), 16)
        except KeyError:
            pytest.fail(f"dnw/wiring/making.py doesn't say how edges of {name} are made")
        assert made.budget == 16
