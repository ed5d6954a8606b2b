"""BatchNorm and ReLU together on a GPU, forward and backward, as Triton kernels.

torch's own norm writes its result, which ReLU reads and writes again; in the backward the same happens to the
gradient. A step of the MobileNetV1-like network moves a fifth fewer bytes without. Either pass is three
launches: each program sums up its rows of some channels, one kernel combines these sums, each program writes
its rows. How rows are split among programs follows from the shape alone, and sums are combined in the order
of the rows: equal inputs give equal bits, on any GPU of one kind. Variances are combined from those of tiles
(Chan, Golub and LeVeque 1979): a mean far from zero costs no accuracy. All sums are float32.

Where ReLU cut off is computed again in the backward, from what is read anyway. Not measured on a GPU.

Shapes: x_NC, rows of C channels: the pixels of feature maps whose channels lie side by side.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

CHANNELS = 64  # at most, of a program
TILE = 4096  # values that a program looks at together
WARPS = 8  # of a program: 16 values for each thread
PROGRAMS = 512  # at most, for a group of channels: so many sums are combined


@torch.library.custom_op("dnw::norm_relu", mutates_args=("running_mean", "running_var"))
def norm_relu(
    x_NC: Tensor,
    scale: Tensor,
    shift: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    momentum: float,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalize each channel over the rows, scale, shift, cut off what is negative.

    Args:
        x_NC: contiguous, float32 or bfloat16, of two rows at least.
        scale: float32 [C].
        shift: float32 [C].
        running_mean: float32 [C], updated in place as torch.nn.BatchNorm2d does.
        running_var: float32 [C], updated likewise.
        momentum: share of this batch in the running statistics.
        eps: added to the variance.

    Returns:
        the result, of x_NC's type; the mean and the inverse deviation of the batch, float32 [C].
    """
    rows, channels = x_NC.shape
    given_NC = torch.empty_like(x_NC)
    mean, inverse = torch.empty_like(scale), torch.empty_like(scale)
    grid, shape = _split(rows, channels)
    sums = scale.new_empty(2, grid[0], channels)
    with torch.cuda.device_of(x_NC):
        _sum_up[grid](x_NC, sums, rows, channels, **shape)
        _to_statistics[(grid[1],)](
            *(sums, mean, inverse, running_mean, running_var, rows, channels, grid[0], momentum, eps), **shape
        )
        _apply[grid](x_NC, given_NC, scale, shift, mean, inverse, rows, channels, **shape)
    return given_NC, mean, inverse


@norm_relu.register_fake
def _(
    x_NC: Tensor,
    scale: Tensor,
    shift: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    momentum: float,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return what has these shapes."""
    return torch.empty_like(x_NC), torch.empty_like(scale), torch.empty_like(scale)


@torch.library.custom_op("dnw::norm_relu_backward", mutates_args=())
def norm_relu_backward(
    to_given_NC: Tensor, x_NC: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, inverse: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of x_NC, scale and shift.

    Args:
        to_given_NC: the gradient of the result, contiguous, of x_NC's type.
        x_NC: what was normalized: N pixels of C channels.
        scale: of each channel, float32 [C].
        shift: the same.
        mean: of the batch, [C], as `norm_relu` returned it.
        inverse: 1 over the batch's standard deviation, likewise.
    """
    rows, channels = x_NC.shape
    to_x_NC = torch.empty_like(x_NC)
    to_scale, to_shift = torch.empty_like(scale), torch.empty_like(scale)
    grid, shape = _split(rows, channels)
    sums = scale.new_empty(2, grid[0], channels)
    of_norm = (scale, shift, mean, inverse)
    with torch.cuda.device_of(x_NC):
        _sum_up_gradients[grid](to_given_NC, x_NC, *of_norm, sums, rows, channels, **shape)
        _combine[(grid[1],)](sums, to_scale, to_shift, channels, grid[0], **shape)
        _apply_backward[grid](
            *(to_given_NC, x_NC, to_x_NC, *of_norm, to_scale, to_shift, rows, channels), **shape
        )
    return to_x_NC, to_scale, to_shift


@norm_relu_backward.register_fake
def _(
    to_given_NC: Tensor, x_NC: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, inverse: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return what has these shapes."""
    return torch.empty_like(x_NC), torch.empty_like(scale), torch.empty_like(scale)


def _split(rows: int, channels: int) -> tuple[tuple[int, int], dict[str, int]]:
    """Return the programs, by rows and by channels, and the size and number of a program's tiles."""
    wide = min(CHANNELS, triton.next_power_of_2(channels))
    high = TILE // wide
    tiles = triton.next_power_of_2(triton.cdiv(rows, high * PROGRAMS))
    grid = triton.cdiv(rows, high * tiles), triton.cdiv(channels, wide)
    return grid, {"HIGH": high, "WIDE": wide, "TILES": tiles, "num_warps": WARPS}


@triton.jit  # type: ignore[untyped-decorator]
def _places(first, rows, channels, channel, inside, HIGH: tl.constexpr):  # type: ignore[no-untyped-def]
    """Return where the values of a tile are whose first row is `first`, and which of them there are."""
    row = first + tl.arange(0, HIGH)
    return row.to(tl.int64)[:, None] * channels + channel[None, :], (row < rows)[:, None] & inside[None, :]


@triton.jit
def _before_relu(x, to_given, mask, of_scale, of_shift, of_mean, of_inverse):  # type: ignore[no-untyped-def]
    """Return the normalized values of a tile, and the gradient of what ReLU was given."""
    centred = (tl.load(x, mask=mask, other=0).to(tl.float32) - of_mean) * of_inverse
    gradient = tl.load(to_given, mask=mask, other=0).to(tl.float32)
    return centred, tl.where(centred * of_scale + of_shift <= 0, 0, gradient)


@triton.jit
def _merged(count, mean, spread, other_count, other_mean, other_spread):  # type: ignore[no-untyped-def]
    """Return number, mean and sum of squared deviations of two sets together; 0 of none."""
    total = count + other_count
    share = other_count / tl.maximum(total, 1)
    apart = other_mean - mean
    return total, mean + apart * share, spread + other_spread + apart * apart * count * share


@triton.jit(do_not_specialize=["rows"])  # type: ignore[untyped-decorator]
def _sum_up(  # type: ignore[no-untyped-def]
    x_NC, sums, rows, channels, HIGH: tl.constexpr, WIDE: tl.constexpr, TILES: tl.constexpr
):
    """Write mean and sum of squared deviations of a program's rows."""
    channel = tl.program_id(1) * WIDE + tl.arange(0, WIDE)
    inside = channel < channels
    first = tl.program_id(0) * (HIGH * TILES)
    count = tl.zeros([WIDE], tl.float32)
    mean = tl.zeros([WIDE], tl.float32)
    spread = tl.zeros([WIDE], tl.float32)
    for tile in range(TILES):
        at, mask = _places(first + tile * HIGH, rows, channels, channel, inside, HIGH)
        x = tl.load(x_NC + at, mask=mask, other=0).to(tl.float32)
        here = tl.minimum(tl.maximum(rows - first - tile * HIGH, 0), HIGH).to(tl.float32)
        tile_mean = tl.sum(x, 0) / tl.maximum(here, 1)
        apart = tl.where(mask, x - tile_mean[None, :], 0)
        tile_spread = tl.sum(apart * apart, 0)
        count, mean, spread = _merged(count, mean, spread, here, tile_mean, tile_spread)
    at = tl.program_id(0) * channels + channel
    tl.store(sums + at, mean, mask=inside)
    tl.store(sums + tl.num_programs(0) * channels + at, spread, mask=inside)


@triton.jit(do_not_specialize=["rows", "programs", "momentum", "eps"])  # type: ignore[untyped-decorator]
def _to_statistics(  # type: ignore[no-untyped-def]
    sums,
    mean,
    inverse,
    running_mean,
    running_var,
    rows,
    channels,
    programs,
    momentum,
    eps,
    HIGH: tl.constexpr,
    WIDE: tl.constexpr,
    TILES: tl.constexpr,
):
    """Combine the means and squared deviations of all programs, and update the running statistics.

    The mean of all comes first; then each program's deviation from it is added to its own.
    """
    channel = tl.program_id(0) * WIDE + tl.arange(0, WIDE)
    inside = channel < channels
    total = tl.zeros([WIDE], tl.float32)
    for start in range(0, programs, HIGH):
        at, mask = _places(start, programs, channels, channel, inside, HIGH)
        here = tl.minimum(rows - (start + tl.arange(0, HIGH)) * (HIGH * TILES), HIGH * TILES).to(tl.float32)
        total += tl.sum(tl.load(sums + at, mask=mask, other=0) * here[:, None], 0)
    of_all = total / rows
    spread = tl.zeros([WIDE], tl.float32)
    for start in range(0, programs, HIGH):
        at, mask = _places(start, programs, channels, channel, inside, HIGH)
        here = tl.minimum(rows - (start + tl.arange(0, HIGH)) * (HIGH * TILES), HIGH * TILES).to(tl.float32)
        apart = tl.load(sums + at, mask=mask, other=0) - of_all[None, :]
        own = tl.load(sums + programs * channels + at, mask=mask, other=0)
        spread += tl.sum(tl.where(mask, own + apart * apart * here[:, None], 0), 0)
    tl.store(mean + channel, of_all, mask=inside)
    tl.store(inverse + channel, 1 / tl.sqrt(spread / rows + eps), mask=inside)
    before = tl.load(running_mean + channel, mask=inside)
    tl.store(running_mean + channel, before + momentum * (of_all - before), mask=inside)
    before = tl.load(running_var + channel, mask=inside)
    tl.store(running_var + channel, before + momentum * (spread / (rows - 1) - before), mask=inside)


@triton.jit
def _channel_values(scale, shift, mean, inverse, channel, inside):  # type: ignore[no-untyped-def]
    """Return the four values of each channel, as rows."""
    return (
        tl.load(scale + channel, mask=inside, other=0)[None, :],
        tl.load(shift + channel, mask=inside, other=0)[None, :],
        tl.load(mean + channel, mask=inside, other=0)[None, :],
        tl.load(inverse + channel, mask=inside, other=0)[None, :],
    )


@triton.jit(do_not_specialize=["rows"])  # type: ignore[untyped-decorator]
def _apply(  # type: ignore[no-untyped-def]
    x_NC,
    given_NC,
    scale,
    shift,
    mean,
    inverse,
    rows,
    channels,
    HIGH: tl.constexpr,
    WIDE: tl.constexpr,
    TILES: tl.constexpr,
):
    """Write a program's rows, normalized and cut off; what isn't a number stays so."""
    channel = tl.program_id(1) * WIDE + tl.arange(0, WIDE)
    inside = channel < channels
    of_scale, of_shift, of_mean, of_inverse = _channel_values(scale, shift, mean, inverse, channel, inside)
    for tile in range(TILES):
        at, mask = _places((tl.program_id(0) * TILES + tile) * HIGH, rows, channels, channel, inside, HIGH)
        x = tl.load(x_NC + at, mask=mask, other=0).to(tl.float32)
        normed = (x - of_mean) * of_inverse * of_scale + of_shift
        tl.store(given_NC + at, tl.where(normed < 0, 0, normed), mask=mask)


@triton.jit(do_not_specialize=["rows"])  # type: ignore[untyped-decorator]
def _sum_up_gradients(  # type: ignore[no-untyped-def]
    to_given_NC,
    x_NC,
    scale,
    shift,
    mean,
    inverse,
    sums,
    rows,
    channels,
    HIGH: tl.constexpr,
    WIDE: tl.constexpr,
    TILES: tl.constexpr,
):
    """Write a program's part of the gradients of scale and shift."""
    channel = tl.program_id(1) * WIDE + tl.arange(0, WIDE)
    inside = channel < channels
    of_scale, of_shift, of_mean, of_inverse = _channel_values(scale, shift, mean, inverse, channel, inside)
    to_scale = tl.zeros([WIDE], tl.float32)
    to_shift = tl.zeros([WIDE], tl.float32)
    for tile in range(TILES):
        at, mask = _places((tl.program_id(0) * TILES + tile) * HIGH, rows, channels, channel, inside, HIGH)
        centred, gradient = _before_relu(
            x_NC + at, to_given_NC + at, mask, of_scale, of_shift, of_mean, of_inverse
        )
        to_scale += tl.sum(gradient * centred, 0)
        to_shift += tl.sum(gradient, 0)
    at = tl.program_id(0) * channels + channel
    tl.store(sums + at, to_scale, mask=inside)
    tl.store(sums + tl.num_programs(0) * channels + at, to_shift, mask=inside)


@triton.jit(do_not_specialize=["programs"])  # type: ignore[untyped-decorator]
def _combine(  # type: ignore[no-untyped-def]
    sums,
    to_scale,
    to_shift,
    channels,
    programs,
    HIGH: tl.constexpr,
    WIDE: tl.constexpr,
    TILES: tl.constexpr,
):
    """Add up the parts of all programs."""
    channel = tl.program_id(0) * WIDE + tl.arange(0, WIDE)
    inside = channel < channels
    of_scale = tl.zeros([WIDE], tl.float32)
    of_shift = tl.zeros([WIDE], tl.float32)
    for start in range(0, programs, HIGH):
        at, mask = _places(start, programs, channels, channel, inside, HIGH)
        of_scale += tl.sum(tl.load(sums + at, mask=mask, other=0), 0)
        of_shift += tl.sum(tl.load(sums + programs * channels + at, mask=mask, other=0), 0)
    tl.store(to_scale + channel, of_scale, mask=inside)
    tl.store(to_shift + channel, of_shift, mask=inside)


@triton.jit(do_not_specialize=["rows"])  # type: ignore[untyped-decorator]
def _apply_backward(  # type: ignore[no-untyped-def]
    to_given_NC,
    x_NC,
    to_x_NC,
    scale,
    shift,
    mean,
    inverse,
    to_scale,
    to_shift,
    rows,
    channels,
    HIGH: tl.constexpr,
    WIDE: tl.constexpr,
    TILES: tl.constexpr,
):
    """Write a program's rows of the gradient of what was normalized."""
    channel = tl.program_id(1) * WIDE + tl.arange(0, WIDE)
    inside = channel < channels
    of_scale, of_shift, of_mean, of_inverse = _channel_values(scale, shift, mean, inverse, channel, inside)
    along = tl.load(to_scale + channel, mask=inside, other=0)[None, :] / rows
    level = tl.load(to_shift + channel, mask=inside, other=0)[None, :] / rows
    for tile in range(TILES):
        at, mask = _places((tl.program_id(0) * TILES + tile) * HIGH, rows, channels, channel, inside, HIGH)
        centred, gradient = _before_relu(
            x_NC + at, to_given_NC + at, mask, of_scale, of_shift, of_mean, of_inverse
        )
        tl.store(to_x_NC + at, (gradient - level - centred * along) * of_inverse * of_scale, mask=mask)
