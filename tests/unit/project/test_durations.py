from __future__ import annotations

import durations
import pytest

pytest_plugins = ["pytester"]

SOME = """
import pytest

@pytest.mark.parametrize("a", [1, 2])
def test_short(a):
    pass

@pytest.mark.xdist_group("together")
def test_first():
    pass

def test_slow():
    pass

@pytest.mark.xdist_group("together")
def test_second():
    pass
"""


def test_a_function_is_as_slow_as_its_slowest_case() -> None:
    seconds = {
        "a.py::test_a[1]": 0.7,
        "a.py::test_a[x::y[0]]@group": 2.04,
        "b.py::test_b@group": 30,
        "c::d": 0.19,
    }
    text = durations.written(seconds, {})
    assert text == "30.0 b.py::test_b\n2.0 a.py::test_a\n"
    assert durations.read(text) == {"b.py::test_b": 30, "a.py::test_a": 2}


def test_a_function_is_as_slow_as_what_its_group_sets_up() -> None:
    seconds = {"a.py::test_a[x@y]@group": 9.0, "b.py::test_b@group": 0.1, "b.py::test_c[z@group]": 0.1}
    assert durations.written(seconds, {"group": 8.5}) == "9.0 a.py::test_a\n8.5 b.py::test_b\n"


def items(pytester: pytest.Pytester) -> list[pytest.Item]:
    return pytester.getitems(SOME)


def test_the_longest_group_comes_first_and_keeps_its_order(pytester: pytest.Pytester) -> None:
    found = items(pytester)
    file = found[0].nodeid.partition("::")[0]
    seconds = {f"{file}::test_slow": 2.0, f"{file}::test_first": 1.5, f"{file}::test_second": 1.0}
    ordered = [item.name for item in durations.longest_first(found, seconds)]
    assert ordered == ["test_first", "test_second", "test_slow", "test_short[1]", "test_short[2]"]


def test_quick_leaves_out_what_is_named(pytester: pytest.Pytester) -> None:
    found = items(pytester)
    file = found[0].nodeid.partition("::")[0]
    seconds = durations.read(f"2.0 {file}::test_slow\n3.0 {file}::test_short\n")
    assert [item.name for item in durations.short(found, seconds)] == ["test_first", "test_second"]


def test_every_name_on_file_is_that_of_a_test() -> None:
    """Else the test that bears the new name counts as a short one."""
    root = durations.FILE.parents[1]
    for name in durations.read(durations.FILE.read_text()):
        file, _, test = name.partition("::")
        test = test.rpartition("::")[2]  # of a class, say
        assert (root / file).exists(), name
        assert f"def {test}(" in (root / file).read_text(), name
