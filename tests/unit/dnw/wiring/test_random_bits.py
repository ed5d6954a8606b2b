import torch

from dnw.wiring.random_bits import chance, uniform

CPU = torch.device("cpu")


def test_uniform_numbers_fill_the_unit_interval() -> None:
    numbers = uniform(10_000, (7,), CPU)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert (torch.histc(numbers, 10, 0, 1) - 1000).abs().max() < 120
    assert torch.equal(numbers[:100], uniform(100, (7,), CPU)), "number i is a function of i"


def test_uniform_and_chance_see_the_same_numbers() -> None:
    numbers, tossed = uniform(1000, (7,), CPU), chance(0.3, 1000, (7,), CPU)
    assert numbers[tossed].max() < 0.3 <= numbers[~tossed].min() + 2**-24
