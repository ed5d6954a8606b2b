"""The strongest edges alone learn: the gradient of the rest is zero (ablation of the paper)."""

from __future__ import annotations

from dnw.wiring.strongest import StrongestEdges


class NoUpdateEdges(StrongestEdges):
    """As dnw, but nothing draws an edge that isn't chosen: it can only come in as chosen ones shrink."""
