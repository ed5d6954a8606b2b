"""A network taken apart and put together again."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from drawn_compact import some_network

from dnw.compact import Compact
from dnw.compact.form import Arrays
from dnw.compact.parts import fingerprint, put_together, taken_apart


@pytest.mark.parametrize("normed", [False, True])
def test_put_together_it_is_the_same(normed: bool) -> None:
    network = some_network(9, 1, 2, normed).arrays()
    arrays: dict[str, Arrays] = {}
    structure = json.loads(json.dumps(taken_apart(network, "n", arrays)))
    again = put_together(Compact, structure, "n", arrays)
    assert again.blocks[1].sums[0].columns == network.blocks[1].sums[0].columns
    np.testing.assert_array_equal(arrays["n.blocks.0.sums.0.weights"], network.blocks[0].sums[0].weights)
    assert (again.blocks[0].layers[0].norm is None) == (not normed)


def test_parts_of_another_type_are_refused() -> None:
    arrays: dict[str, Arrays] = {}
    structure = taken_apart(some_network(9, 1, 2, normed=False).arrays(), "n", arrays)
    with pytest.raises(TypeError, match=r"n\.image_size: must be int, got '9'"):
        put_together(Compact, structure | {"image_size": "9"}, "n", arrays)


def test_a_fingerprint_tells_networks_apart() -> None:
    torch.manual_seed(0)
    network = some_network(9, 1, 2, normed=False)
    assert fingerprint(network) == fingerprint(network.arrays().tensors())
    head = dataclasses.replace(network.head, bias=network.head.bias + 1)
    assert fingerprint(dataclasses.replace(network, head=head)) != fingerprint(network)
