"""Wirings: which edges of a weight exist, as parametrizations that fit the weight of any module."""

from __future__ import annotations

from dnw.wiring.choice import Choice, choose_all
from dnw.wiring.complete import CompleteEdges
from dnw.wiring.dnw import DnwEdges
from dnw.wiring.edges import Edges
from dnw.wiring.fixed import FixedEdges
from dnw.wiring.layout import Layout
from dnw.wiring.no_update import NoUpdateEdges
from dnw.wiring.pool import Pool
from dnw.wiring.random_edges import RandomEdges, draw
from dnw.wiring.strongest import StrongestEdges
from dnw.wiring.targeted_dropout import RegularTargetedDropoutEdges, TargetedDropoutEdges
from dnw.wiring.wired import edges_of, raw_weight, wire

__all__ = [
    "Choice",
    "CompleteEdges",
    "DnwEdges",
    "Edges",
    "FixedEdges",
    "Layout",
    "NoUpdateEdges",
    "Pool",
    "RandomEdges",
    "RegularTargetedDropoutEdges",
    "StrongestEdges",
    "TargetedDropoutEdges",
    "choose_all",
    "draw",
    "edges_of",
    "raw_weight",
    "wire",
]
