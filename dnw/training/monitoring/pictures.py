"""The wiring of a network as pictures: the weight matrix of each graph, a dark dot for every edge.

Sources lie from left to right and targets from top to bottom, as columns and rows of the matrix. A dot of a
convolution is a whole filter, the darker the more of its entries are edges. Of a network with many wired
weights the largest are drawn.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn

from dnw.wiring import Edges, edges_of

Pixels = npt.NDArray[np.uint8]
Positions = npt.NDArray[np.bool_]
Shares = npt.NDArray[np.float32]
Panel = tuple[str, str, Image.Image]  # name, description, picture

PAPER, INK, FAINT, BORDER = (255, 255, 255), (33, 37, 46), (110, 117, 130), (160, 172, 192)
EDGE, NO_EDGE = (24, 44, 92), (250, 250, 247)
NEVER_COMPUTED, IMPOSSIBLE = (214, 85, 56), (225, 228, 233)
MARGIN, PER_ROW, NARROWEST = 48, 3, 340  # pixels, panels, pixels
DRAWN = 6  # panels


def adjacency(edges: Edges, side: int = 1024) -> Pixels:
    """Draw one weight, uint8 [height, width, 3], neither side longer than `side` pixels.

    A larger matrix is thinned: a pixel is the darker the more edges it stands for, and one edge is enough to
    see it. A smaller one is enlarged by a whole factor. Lines mark where a layer of nodes begins. Depthwise
    filters, which have one source each, are laid out as rows.
    """
    chosen, computed = _positions(edges)
    thinned = -(-max(chosen.shape) // side)
    share = _pooled(chosen, thinned)
    is_computed = _pooled(computed, thinned) > 0
    paper = np.where(is_computed[..., None], NO_EDGE, IMPOSSIBLE).astype(np.float32)
    ink = np.where(is_computed[..., None], EDGE, NEVER_COMPUTED).astype(np.float32)
    picture = paper + (ink - paper) * np.cbrt(share)[..., None]
    enlarged = max(side // max(share.shape), 1)
    picture = picture.repeat(enlarged, axis=0).repeat(enlarged, axis=1)
    empty = (share == 0).repeat(enlarged, axis=0).repeat(enlarged, axis=1)
    picture[_borders(edges, enlarged / thinned, empty.shape) & empty] = BORDER
    return picture.round().astype(np.uint8)


def panels(wirings: Mapping[str, Edges]) -> dict[str, Pixels]:
    """Pictures of wired weights, by their paths, in their order; of the DRAWN largest at most.

    The more weights there are, the smaller are the pictures.
    """
    by_size = sorted(wirings, key=lambda name: -wirings[name].mask.numel())  # stable
    kept = set(by_size[:DRAWN])
    side = 1024 if len(wirings) == 1 else 512 if len(wirings) <= DRAWN else 256
    return {name: adjacency(edges, side) for name, edges in wirings.items() if name in kept}


def wiring_png(model: nn.Module) -> bytes:
    """Return all pictures in one PNG, each under its name and its number of edges.

    Raises ValueError if nothing in the model is wired.
    """
    wirings = {name: edges for name, (_, edges) in edges_of(model).items()}
    if not wirings:
        raise ValueError("nothing to draw: no weight of the model is wired")
    pictures = panels(wirings)
    title = f"Wiring of {sum(int(edges.mask.count_nonzero()) for edges in wirings.values()):,} edges"
    if len(pictures) < len(wirings):
        title += f": the {len(pictures)} largest of {len(wirings)} weights"
    captioned = [
        (name, _described(wirings[name]), Image.fromarray(pixels)) for name, pixels in pictures.items()
    ]
    buffer = io.BytesIO()
    _sheet(captioned, title).save(buffer, "PNG")
    return buffer.getvalue()


def _positions(edges: Edges) -> tuple[Shares, Positions]:
    """How much of each position is chosen, and which the network can compute, both [rows, columns]."""
    chosen = _matrix(edges.mask)
    if edges.layout is not None:
        return chosen, edges.layout.legal().numpy()
    if edges.legal is not None:
        return chosen, _matrix(edges.legal) > 0
    return chosen, np.ones_like(chosen, dtype=np.bool_)


def _matrix(mask: Tensor) -> Shares:
    """Share of the marked entries in the filter from each source to each target."""
    is_convolution = mask.ndim > 2 and mask.shape[1] > 1
    matrix = mask.flatten(2).float().mean(2) if is_convolution else mask.flatten(1).float()
    shares: Shares = matrix.cpu().numpy()
    return shares


def _pooled(positions: Positions | Shares, factor: int) -> Shares:
    """Share of the marked positions in each square of factor x factor."""
    marked = torch.from_numpy(positions.astype(np.float32))[None]
    pooled: Shares = F.avg_pool2d(marked, factor, ceil_mode=True, divisor_override=factor**2)[0].numpy()
    return pooled


def _borders(edges: Edges, scale: float, shape: tuple[int, ...]) -> Positions:
    """Mark the pixels at which a layer of nodes begins, but for the first layer."""
    marked = np.zeros(shape, dtype=np.bool_)
    if edges.layout is not None:
        for start, _ in edges.layout.spans[1:]:
            if start < edges.layout.columns:
                marked[:, int(start * scale)] = True
            if start > edges.layout.first_target:
                marked[int((start - edges.layout.first_target) * scale), :] = True
    return marked


def _sheet(captioned: list[Panel], title: str) -> Image.Image:
    """All panels under the title and a legend."""
    rows = [captioned[start : start + PER_ROW] for start in range(0, len(captioned), PER_ROW)]
    head, caption = 128, 60
    tops = list(itertools.accumulate((caption + _tallest(row) + MARGIN for row in rows), initial=head))
    lefts = [MARGIN + column * (_widest(captioned) + MARGIN) for column in range(PER_ROW)]
    right = lefts[len(rows[0]) - 1] + _widest(captioned) + MARGIN
    sheet = Image.new("RGB", (max(right, 820), tops[-1]), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, 30), title, INK, _font(30))
    _legend(draw, MARGIN, 78)
    for row, top in zip(rows, tops, strict=False):
        for (name, description, picture), left in zip(row, lefts, strict=False):
            draw.text((left, top), name, INK, _font(20))
            draw.text((left, top + 27), description, FAINT, _font(15))
            sheet.paste(picture, (left, top + caption))
    return sheet


def _tallest(row: list[Panel]) -> int:
    return max(picture.height for _, _, picture in row)


def _widest(captioned: list[Panel]) -> int:
    return max(NARROWEST, *(picture.width for _, _, picture in captioned))


def _described(edges: Edges) -> str:
    chosen = edges.mask.cpu()
    computed = torch.ones_like(chosen) if edges.legal is None else edges.legal.cpu()
    if edges.layout is not None:
        computed = edges.layout.legal().view(chosen.shape)
    used, possible = int((chosen & computed).sum()), int(computed.sum())
    lost = int(chosen.sum()) - used
    text = f"{used:,} of {possible:,} possible edges, {used / possible:.1%}"
    return f"{text}; {lost:,} never computed" if lost else text


def _legend(draw: ImageDraw.ImageDraw, left: int, top: int) -> None:
    font = _font(15)
    kinds = {
        "edge": EDGE,
        "no edge": NO_EDGE,
        "impossible": IMPOSSIBLE,
        "chosen, but never computed": NEVER_COMPUTED,
    }
    for kind, color in kinds.items():
        draw.rectangle((left, top, left + 16, top + 16), fill=color, outline=BORDER)
        draw.text((left + 24, top - 1), kind, FAINT, font)
        left += 24 + round(draw.textlength(kind, font)) + 26
    draw.text((left, top - 1), "column: from node, row: to node", FAINT, font)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
