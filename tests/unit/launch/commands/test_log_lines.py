from pathlib import Path

from launch.commands.log_lines import Tail, failures, merged

TRACEBACK = """\
Traceback (most recent call last):
  File "train.py", line 3, in <module>
    main()

RuntimeError: broken
"""


def test_a_tail_gives_whole_lines_once(tmp_path: Path) -> None:
    path = tmp_path / "log"
    tail = Tail(path, "")
    assert tail.lines() == []
    path.write_bytes(b"a\nb")
    assert [line.text for line in tail.lines()] == ["a"]
    with path.open("ab") as file:
        file.write("c\xff\r\nd".encode("latin-1"))
    assert [line.text for line in tail.lines()] == ["bc\ufffd"]
    assert [line.text for line in tail.lines(to_the_end=True)] == ["d"]
    assert tail.lines(to_the_end=True) == []
    path.write_bytes(b"e\n")
    assert [line.text for line in tail.lines()] == ["e"]


def test_a_traceback_may_be_cut_off(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("Traceback (most recent call last):\n  File\n" + TRACEBACK)
    (one,) = failures(merged([Tail(tmp_path / "log", "")]))
    assert one.lines[-1].text == "RuntimeError: broken"
    assert (one.lines[0].text, one.times) == ("Traceback (most recent call last):", 1)


def test_files_are_merged_by_their_stamps_and_each_stays_in_order(tmp_path: Path) -> None:
    for name, seconds in (("a", (1, 4)), ("b", (2, 3))):
        lines = [f"2026-11-23 01:14:0{second},123  {name}{second}\n" for second in seconds]
        (tmp_path / name).write_text(lines[0] + "  unstamped\n" + lines[1])
    found = merged([Tail(tmp_path / name, name) for name in "ab"])
    assert [str(line).split()[-1] for line in found] == ["a1", "unstamped", "b2", "unstamped", "b3", "a4"]
    assert [line.source for line in found] == ["a", "a", "b", "b", "b", "a"]


def test_alike_tracebacks_of_ranks_are_counted(tmp_path: Path) -> None:
    text = "".join(f"[rank{rank}]: {line}\n" for rank in (0, 1) for line in TRACEBACK.splitlines())
    (tmp_path / "log").write_text(text + TRACEBACK.replace("broken", "other"))
    assert [(one.lines[-1].text, one.times) for one in failures(merged([Tail(tmp_path / "log", "")]))] == [
        ("[rank0]: RuntimeError: broken", 2),
        ("RuntimeError: other", 1),
    ]
