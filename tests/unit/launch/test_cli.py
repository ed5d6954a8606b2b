import runpy
import sys
from importlib.util import find_spec

import pytest

import dnw
from launch import cli
from shards import terminal


def typed(monkeypatch: pytest.MonkeyPatch, *words: str) -> list[tuple[str, list[str]]]:
    """Which modules `dnw` with these words runs, and with which command line."""
    ran: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(terminal, "begin", lambda: None)  # it is for a whole process
    monkeypatch.setattr(sys, "argv", ["dnw", *words])
    monkeypatch.setattr(runpy, "run_module", lambda name, **_: ran.append((name, sys.argv)))
    cli.main()
    return ran


def test_a_word_hands_on_what_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["+exp=demo_dnw", "nodes=2"]
    assert typed(monkeypatch, "submit", *words) == [("launch.slurm", ["dnw submit", *words])]
    assert typed(monkeypatch, "shards", "write", "--help") == [
        ("shards.write", ["dnw shards write", "--help"])
    ]


def test_every_word_names_a_module() -> None:
    for module, _ in (*cli.COMMANDS.values(), *cli.SHARDS.values()):
        assert find_spec(module) is not None, module


@pytest.mark.parametrize(
    ("words", "shown"), [([], cli.COMMANDS), (["--help"], cli.COMMANDS), (["shards"], cli.SHARDS)]
)
def test_help_lists_the_words(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    shown: dict[str, object],
) -> None:
    assert typed(monkeypatch, *words) == []
    out = capsys.readouterr().out
    assert all(f" {word} " in out for word in shown)


def test_version_and_an_unknown_word(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed(monkeypatch, "--version")
    assert capsys.readouterr().out == f"dnw {dnw.__version__}\n"
    with pytest.raises(SystemExit) as ended:
        typed(monkeypatch, "shards", "wirte")
    assert ended.value.code == cli.MISUSED
    assert capsys.readouterr().err == "dnw shards: no command 'wirte'; there are: write, verify, index\n"
