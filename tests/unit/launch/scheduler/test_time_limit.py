import pytest

from launch.scheduler import time_limit


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 5400), ("1:30", 90), ("0:00:30", 30), ("12:30:00", 45000), ("1-12", 129600),
        ("2-00:10", 173400), ("1-00:00:01", 86401),
    ],
)  # fmt: skip
def test_slurms_forms_of_a_time_limit(text: str, seconds: int) -> None:
    assert time_limit.seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "1:2:3:4", "-5", "1-", "1.5", "0", "0:00", "UNLIMITED"])
def test_what_is_no_time_limit(text: str) -> None:
    with pytest.raises(ValueError, match=r"MM:SS|longer than nothing"):
        time_limit.seconds(text)


def test_what_yaml_may_have_made_of_a_time_is_refused() -> None:
    assert time_limit.text(90) == "90"
    assert time_limit.text("12:30:00") == "12:30:00"
    with pytest.raises(ValueError, match="YAML reads 12:30:00 as 45000"):
        time_limit.text(45000)
