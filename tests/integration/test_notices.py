"""The lines of docs/launching.md about being told: a real run tells real servers, and keeps no secret."""

from __future__ import annotations

import re
import subprocess
import zipfile
from pathlib import Path

import pytest
from documents import dry_run, typed
from local_servers import mail_server, web
from worker import ROOT

from launch.node.notices import secret

SECTION = (ROOT / "docs" / "launching.md").read_text().partition("## Being told\n")[2].partition("\n## ")[0]
LINES = [line.strip() for line in re.findall(r"^    \S.*$", SECTION, re.MULTILINE)]
TRIED = "python launch/local.py +exp=demo_dnw steps=4 notify.slack=true"
KEPT = "(umask 077; mkdir -p ~/.config/dnw; cat > ~/.config/dnw/slack)"
SECRET = "B0/S3CR3T"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in (*secret.VARIABLES.values(), "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def keep(home: Path, name: str, address: str) -> None:
    line = KEPT.replace("/slack", f"/{name}")
    subprocess.run(["bash", "-c", line], input=f"{address}\n", text=True, check=True)
    assert (home / ".config" / "dnw" / name).stat().st_mode & 0o777 == 0o600


def test_each_line_is_taken(home: Path, few_images: Path) -> None:
    keep(home, "slack", "https://hooks.slack.com/services/T0/B0/S3CR3T")
    keep(home, "ntfy", "S3CR3T")
    lines = [line for line in LINES if line.startswith("python launch/slurm.py")]
    assert set(LINES) == {*lines, TRIED, KEPT}
    for line in lines:
        printed = dry_run(line, f"data.dir={few_images}", "data.classes=10", f"runs_dir={home / 'runs'}")
        assert "#SBATCH" in printed
        assert "S3CR3T" not in printed


def test_a_run_tells_them_all_and_keeps_no_secret(home: Path, few_images: Path) -> None:
    with web() as slack, web() as ntfy, mail_server() as (smtp, mails):
        keep(home, "slack", f"{slack.address}/services/T0/{SECRET}")
        keep(home, "ntfy", f"{ntfy.address}/S3CR3T tk_S3CR3T")
        few = [
            "batch=32",
            "micro_batch=8",
            "data.workers=0",
            f"data.dir={few_images}",
            f"runs_dir={home / 'runs'}",
        ]
        typed(f"{TRIED} notify.ntfy=true notify.mail=me@uni.edu notify.smtp={smtp}", *few)
    (folder,) = (home / "runs").glob("demo_dnw/*")
    told = f"demo_dnw/{folder.name}: done, top-1 "
    ((path, _, message),) = slack.requests
    assert path.endswith(SECRET)
    assert message["text"].startswith(told)
    ((_, headers, message),) = ntfy.requests
    assert headers["Authorization"] == "Bearer tk_S3CR3T"
    assert message["message"].startswith(told)
    (mail,) = mails
    assert mail["Subject"].startswith(told)
    for file in folder.rglob("*"):
        if file.is_file():
            assert b"S3CR3T" not in file.read_bytes(), file
            if zipfile.is_zipfile(file):
                with zipfile.ZipFile(file) as archive:
                    names = [name for name in archive.namelist() if "S3CR3T" in str(archive.read(name))]
                assert set(names) <= {"tests/integration/test_notices.py"}, file
