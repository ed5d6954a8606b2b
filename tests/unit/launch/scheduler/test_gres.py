from pathlib import Path

import pytest
from login_node import commands

from launch.scheduler import gres
from launch.scheduler.gres import Gpus, NodeKind, amount, node_kinds, split
from launch.scheduler.slurm_command import SlurmError


@pytest.mark.parametrize(
    ("text", "gpus", "others"),
    [
        ("gpu:a100:4(S:0-1),lustre:1", [Gpus(4, "a100")], ["lustre:1"]),
        ("gpu:2(IDX:0,1)", [Gpus(2)], []),
        ("gpu", [Gpus(1)], []),
        ("gpu:a100", [Gpus(1, "a100")], []),
        ("gpu:1g.5gb:7", [Gpus(7, "1g.5gb")], []),
        ("gres/gpu:a100=2", [Gpus(2, "a100")], []),
        ("gres:gpu:3", [Gpus(3)], []),
        ("gpu:tesla:2,gpu:kepler:1", [Gpus(2, "tesla"), Gpus(1, "kepler")], []),
        ("(null)", [], []),
        ("gpu:nvidia_h100_80gb_hbm3:8(S:0-1)", [Gpus(8, "nvidia_h100_80gb_hbm3")], []),
        ("gpu:a100:2(S:0,2-3),shard:a100:8(S:0),mps:200", [Gpus(2, "a100")], ["shard:a100:8", "mps:200"]),
        ("cpu=4,gres/gpu=2", [Gpus(2)], ["cpu=4"]),
        ("gpumem:80G", [], ["gpumem:80G"]),
    ],
)
def test_generic_resources(text: str, gpus: list[Gpus], others: list[str]) -> None:
    assert split(text) == (gpus, others)


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("4", Gpus(4)),
        ("a100:4", Gpus(4, "a100")),
        ("1g.10gb:1", Gpus(1, "1g.10gb")),
        ("a100:2,v100:2", None),
        ("a100", None),
    ],
)
def test_amounts(text: str, asked: Gpus | None) -> None:
    assert amount(text) == asked
    assert asked is None or str(asked) == text


def test_kinds_of_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = commands(tmp_path, monkeypatch)
    (lab / "nodes").write_text(
        "low*|4|(null)|(null)\ngpu|6|a,b|gpu:a100:4(S:0)\ngpu|2|a,b|gpu:a100:4(S:0-1)\n"
    )
    assert node_kinds() == [
        NodeKind("low", True, 4, None),
        NodeKind("gpu", False, 8, Gpus(4, "a100"), frozenset({"a", "b"})),
    ]
    (lab / "nodes").write_text(
        "mig|1|(null)|gpu:a100:2(S:0),gpu:a100_1g.5gb:7(S:1)\nmig|1|(null)|gpu:1g.10gb+me:7\n"
    )
    assert [(kind.gpus, kind.has_slices) for kind in node_kinds()] == [
        (Gpus(2, "a100"), True),
        (Gpus(7, "1g.10gb+me"), True),
    ]
    (lab / "nodes").write_text("Welcome to the cluster\n")
    with pytest.raises(SlurmError, match=r"^sinfo: prints what can't be understood: 'Welcome"):
        gres.node_kinds()
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SlurmError, match="sinfo: not found here"):
        gres.node_kinds()
