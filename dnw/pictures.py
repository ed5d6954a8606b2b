"""The wiring of a network as pictures: the weight matrix of each graph, a dark dot for every edge.

Sources lie from left to right and targets from top to bottom, as columns and rows of the matrix.
"""

from __future__ import annotations

import io
import itertools

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from torch import nn

from dnw.wiring import Edges, edges_of

Pixels = npt.NDArray[np.uint8]
Positions = npt.NDArray[np.bool_]

PAPER, INK, FAINT, BORDER = (255, 255, 255), (33, 37, 46), (110, 117, 130), (160, 172, 192)
EDGE, NO_EDGE = (24, 44, 92), (250, 250, 247)
NEVER_COMPUTED, IMPOSSIBLE = (214, 85, 56), (225, 228, 233)
MARGIN, PER_ROW, NARROWEST = 48, 3, 340  # pixels, panels, pixels


def adjacency(edges: Edges, side: int = 1024) -> Pixels:
    """Draw one weight, uint8 [height, width, 3], neither side longer than `side` pixels.

    A larger matrix is thinned: a pixel is the darker the more edges it stands for, and one edge is enough to
    see it. A smaller one is enlarged by a whole factor. Lines mark where a layer of nodes begins. Of a weight
    with more than two dimensions all but the first are laid out as columns.
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


def wiring_png(model: nn.Module) -> bytes:
    """All wired weights of `model`, drawn into one PNG.

    Raises ValueError if nothing in the model is wired.
    """
    wirings = {name: edges for name, (_, edges) in edges_of(model).items()}
    if not wirings:
        raise ValueError("nothing to draw: no weight of the model is wired")
    buffer = io.BytesIO()
    _sheet(wirings).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _positions(edges: Edges) -> tuple[Positions, Positions]:
    """Which positions are chosen, and which the network can compute, both [rows, columns]."""
    chosen: Positions = edges.mask.cpu().flatten(1).numpy()
    if edges.layout is not None:
        return chosen, edges.layout.legal().numpy()
    if edges.legal is not None:
        return chosen, edges.legal.cpu().flatten(1).numpy()
    return chosen, np.ones_like(chosen)


def _pooled(positions: Positions, factor: int) -> npt.NDArray[np.float32]:
    """Share of the marked positions in each square of factor x factor."""
    pooled = positions.astype(np.float32)
    for axis, length in enumerate(positions.shape):
        pooled = np.add.reduceat(pooled, range(0, length, factor), axis=axis)
    return pooled / np.float32(factor**2)


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


def _sheet(wirings: dict[str, Edges]) -> Image.Image:
    """One panel for each weight, under a title and a legend."""
    side = 1024 if len(wirings) == 1 else 512
    panels = [(name, edges, Image.fromarray(adjacency(edges, side))) for name, edges in wirings.items()]
    rows = [panels[start : start + PER_ROW] for start in range(0, len(panels), PER_ROW)]
    head, caption = 128, 60
    tops = list(itertools.accumulate((caption + _tallest(row) + MARGIN for row in rows), initial=head))
    lefts = [MARGIN + column * (_widest(panels) + MARGIN) for column in range(PER_ROW)]
    sheet = Image.new("RGB", (max(lefts[len(rows[0]) - 1] + _widest(panels) + MARGIN, 820), tops[-1]), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, 30), f"Wiring of {sum(e.budget for e in wirings.values()):,} edges", INK, _font(30))
    _legend(draw, MARGIN, 78)
    for row, top in zip(rows, tops, strict=False):
        for (name, edges, picture), left in zip(row, lefts, strict=False):
            draw.text((left, top), name, INK, _font(20))
            draw.text((left, top + 27), _described(edges), FAINT, _font(15))
            sheet.paste(picture, (left, top + caption))
    return sheet


def _tallest(row: list[tuple[str, Edges, Image.Image]]) -> int:
    return max(picture.height for _, _, picture in row)


def _widest(panels: list[tuple[str, Edges, Image.Image]]) -> int:
    return max(NARROWEST, *(picture.width for _, _, picture in panels))


def _described(edges: Edges) -> str:
    chosen, computed = _positions(edges)
    used, possible = np.count_nonzero(chosen & computed), np.count_nonzero(computed)
    lost = np.count_nonzero(chosen) - used
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
