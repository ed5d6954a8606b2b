"""`make docs` makes pages without a warning, and their links lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path.append(str(ROOT / "docs"))

import pages  # noqa: E402

pytestmark = pytest.mark.xdist_group("pages")  # one worker makes what they share


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    script = "import sys, pathlib, pages; pages.build(pathlib.Path(sys.argv[1]))"
    line = [sys.executable, "-W", "error::UserWarning", "-c", script, str(folder)]
    done = subprocess.run(line, cwd=ROOT / "docs", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_module_has_a_page(built: Path) -> None:
    assert {"launch.slurm", "dnw.wiring", "dnw.wiring.edges"} < set(pages.modules())
    for name in pages.modules():
        assert (built / "api" / f"{name.replace('.', '/')}.html").is_file(), name


def test_a_page_shows_what_the_docstring_says(built: Path) -> None:
    page = (built / "api" / "dnw" / "runs" / "lock.html").read_text()
    assert "Raises" in page


def test_links_lead_somewhere(built: Path) -> None:
    found = [*built.glob("*.html"), *built.glob("docs/*.html")]
    assert len(found) == len(pages.pages())
    for page in found:
        for target in re.findall(r'(?:href|src)="(?![a-z]+:|#)([^"#]+)', page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
