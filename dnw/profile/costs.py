"""What is known of a network's costs."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class CostBlock:
    """One graph of channels, or one layer of any other network.

    The nodes of a graph are those with a column: all but the outputs of a MobileNetV1-like block. The nodes
    of a layer are its input channels, its rows its output channels.
    """

    name: str
    nodes: int
    edges: int
    illegal: int  # edges chosen where none is computed: 0 unless wiring.reference_quirks
    has_output: int  # nodes with an outgoing edge
    has_input: int  # rows with an incoming edge
    live: int  # nodes on a path from the image to the classifier; of a layer those with an outgoing edge
    dead: int  # the other nodes
    live_edges: int  # edges on such a path; of a layer all


@dataclasses.dataclass(frozen=True)
class Profile:
    """Costs for one image.

    The effective ones count only what lies on a path from it to the classifier. They are known for graphs of
    channels; of any other network, whose layers are joined in ways of its own, they are those of all edges.
    """

    image_size: int
    params: int
    macs: int
    effective_params: int
    effective_macs: int
    repeats: int  # times the graph is run: steps in discrete time, evaluations in continuous time, else 1
    blocks: tuple[CostBlock, ...]
