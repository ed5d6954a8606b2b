from __future__ import annotations

import pytest
import torch
from torch import nn

from dnw.training.running_stats import RunningStatistics


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1), nn.BatchNorm2d(2)
    )


def test_one_micro_batch_is_what_torch_does() -> None:
    torch.manual_seed(0)
    ours, theirs = network(), network()
    theirs.load_state_dict(ours.state_dict())
    running = RunningStatistics(ours)
    for _ in range(3):
        x = torch.randn(8, 3, 5, 5)
        running.train()
        running.next_micro_batch(0)
        assert torch.equal(ours(x), theirs(x))
        running.step(running.collected)
    running.evaluate(3)
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, msg=name)
    x = torch.randn(2, 3, 5, 5)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


def test_each_norm_has_its_own_momentum() -> None:
    """The last of them has none: then the running statistics are the mean over all steps."""
    torch.manual_seed(0)
    ours, theirs = (
        nn.Sequential(*(nn.BatchNorm2d(2, momentum=momentum) for momentum in (0.01, 0.5, None)))
        for _ in range(2)
    )
    running = RunningStatistics(ours)
    for step in range(1, 5):
        x = torch.randn(8, 2, 5, 5)
        running.train()
        running.next_micro_batch(0)
        ours(x)
        theirs(x)
        running.step(running.collected)
        if step == 2:  # a restart in between
            running.evaluate(step)
            running = RunningStatistics(ours)
            running.evaluate(step)
    running.evaluate(4)
    assert [norm.momentum for norm in ours] == [0.01, 0.5, None]
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, msg=name)


@pytest.mark.parametrize("count", [2, 4])
def test_several_micro_batches_count_alike(count: int) -> None:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(3)
    running = RunningStatistics(norm)
    micro_batches = torch.randn(count, 8, 3, 5, 5)
    running.train()
    for number, x in enumerate(micro_batches):
        running.next_micro_batch(number)
        norm(x)
    running.step(running.collected)
    running.evaluate(1)
    means = torch.stack([x.mean((0, 2, 3)) for x in micro_batches]).mean(0)
    variances = torch.stack([x.var((0, 2, 3)) for x in micro_batches]).mean(0)
    torch.testing.assert_close(norm.running_mean, 0.1 * means)
    torch.testing.assert_close(norm.running_var, 0.9 + 0.1 * variances)
    assert norm.num_batches_tracked == 1


def test_evaluation_in_between_changes_nothing() -> None:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(3)
    running = RunningStatistics(norm)
    x = torch.randn(8, 3, 5, 5)
    for interrupted in (False, True):
        running.train()
        running.next_micro_batch(0)
        norm(x)
        if interrupted:
            running.step(running.collected)
            running.evaluate(1)
            shown = norm.running_mean.clone()
            norm.eval()(x + 1)
            assert torch.equal(norm.running_mean, shown)
            norm.train()
