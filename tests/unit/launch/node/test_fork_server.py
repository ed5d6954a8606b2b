"""What is forked, in a process of its own, since a fork server is for good."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[4]
PROGRAM = """
import multiprocessing, os, signal
from dnw.preemption import PEER_FAILED, SIGNALS
from launch.node import fork_server

imported = "by the agent"

def told(queue):
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with open(f"/proc/{os.getppid()}/comm") as comm:
        parent = comm.read().strip()
    grandparent = int(open(f"/proc/{os.getppid()}/stat").read().rpartition(")")[2].split()[1])
    queue.put((blocked, parent, grandparent, os.environ["DNW_PARENT_PID"] == str(os.getppid())))

before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
fork_server.begin()
assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
context = multiprocessing.get_context("forkserver")
queue = context.SimpleQueue()
child = context.Process(target=told, args=(queue,))
child.start()
blocked, parent, grandparent, follows = queue.get()
child.join()
assert blocked >= {*SIGNALS, PEER_FAILED}, blocked
assert parent == fork_server.NAME, parent
assert grandparent == os.getpid()
assert follows
fork_server.end()
print("as it should be")
"""


def test_its_children_have_signals_blocked_and_end_with_it(tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    head, _, rest = PROGRAM.partition("before = ")
    body = "".join(f"    {line}\n" for line in f"before = {rest}".splitlines())
    script.write_text(f"{head}if __name__ == '__main__':\n{body}")
    done = subprocess.run(
        [sys.executable, str(script)],
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "as it should be\n"), done.stderr
