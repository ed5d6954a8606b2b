import pytest

from launch.scheduler.host_list import expand

LISTS = {  # tests/slurm/test_cluster.py asks Slurm, too
    "n1": "n1",
    "n[1-3]": "n1 n2 n3",
    "n[01-03,7],gpu-a[1-2]b[3,4]": "n01 n02 n03 n7 gpu-a1b3 gpu-a1b4 gpu-a2b3 gpu-a2b4",
    "n[9-11]": "n9 n10 n11",
    "n[08-10,001]x,login": "n08x n09x n10x n001x login",
    "a.b-c[2,1].org": "a.b-c2.org a.b-c1.org",
}


@pytest.mark.parametrize(("listed", "names"), LISTS.items(), ids=LISTS)
def test_names_of_nodes(listed: str, names: str) -> None:
    assert expand(listed) == tuple(names.split())


@pytest.mark.parametrize("listed", ["", "n[1-", "n[a-b]", "n1,,n2", "n[1]]"])
def test_what_is_no_list(listed: str) -> None:
    with pytest.raises(ValueError, match="names of nodes as Slurm writes them"):
        expand(listed)
