"""Tables print anybody's words as they are."""

from __future__ import annotations

import re

import pytest
from rich.table import Table
from worker import ROOT

from dnw.console import PlainConsole, printable

ODD = "lost tensor[/bold] of [red] :warning: \x1b[31m\x07 end"


def test_markup_and_emoji_are_text_and_control_characters_are_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = Table("Reason [/]", title="[b]")
    table.add_row(ODD)
    PlainConsole().print(table, ODD)
    shown = capsys.readouterr().out
    assert shown.count(r"lost tensor[/bold] of [red] :warning: \x1b[31m\x07 end") == 2
    assert "Reason [/]" in shown
    assert "[b]" in shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [("ordinary, größer\nline", "ordinary, größer\nline"), ("a\tb\r", r"a\tb\r"), ("\udce9", r"\udce9")],
)
def test_printable(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_no_command_has_a_console_of_another_kind() -> None:
    files = [path for folder in ("launch", "dnw", "shards") for path in (ROOT / folder).rglob("*.py")]
    found = [path for path in files if re.search(r"rich.console import .*\bConsole\b", path.read_text())]
    assert found == [ROOT / "dnw" / "console.py"]
