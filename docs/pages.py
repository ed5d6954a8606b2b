"""Builds the documentation as HTML: the pages of this folder, and one for each module, from its docstrings.

    make docs

Whatever can't be rendered is an error. Only the types of constructors that dataclasses and NamedTuples
generate are left out where pdoc can't read them; they stand at the attributes.
"""

from __future__ import annotations

import os
import re
import warnings
from pathlib import Path

import pdoc
from pdoc.extract import walk_specs
from pdoc.render_helpers import to_html

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("launch", "dnw", "shards")
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>body {{ max-width: 60rem; margin: 2rem auto; padding: 0 1rem; font: 1rem/1.5 sans-serif }}
pre {{ overflow-x: auto; background: #f4f4f4; padding: .7rem }} td, th {{ padding: .2rem .7rem }}
td {{ border-top: 1px solid #ccc; vertical-align: top }} img {{ max-width: 100% }}</style></head>
<body><p><a href="{top}README.html">Start</a> · <a href="{top}api/index.html">Modules</a></p>
{body}</body></html>
"""
_LINK = re.compile(r'(href|src)="(?![a-z]+:|#)([^"#]+)(#[^"]*)?"')


def pages() -> list[Path]:
    """Return the documents that become pages: the Markdown files at the root, and those of docs/."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def modules() -> list[str]:
    """Return the names of all modules, those that a package's `__all__` leaves out included."""
    paths = [path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    names = {path.with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__") for path in paths}
    return sorted(name for name in names if not name.endswith(".__main__"))


def build(folder: Path) -> None:
    """Write all pages into a folder.

    Args:
        folder: made if need be; files of an earlier build are replaced.

    Raises:
        UserWarning: something in a docstring or an annotation can't be rendered.
    """
    for page in pages():
        out = (folder / page.relative_to(ROOT)).with_suffix(".html")
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(render(page, folder))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.filterwarnings("ignore", "Suppressed execution of")  # libraries that ask what machine it is
        warnings.filterwarnings("ignore", r"(?s).* for [\w.]+\.__init__\b")
        pdoc.render.configure(docformat="google", show_source=False)
        pdoc.pdoc(*_named(), output_directory=folder / "api")


def _named() -> list[str]:
    """Return what pdoc has to be told: packages, then the modules that their `__all__` hides."""
    named: list[str] = []
    found: set[str] = set()
    for name in (*PACKAGES, *modules()):
        if name not in found:
            named.append(name)
            found.update(walk_specs([name]))
    return named


def render(page: Path, folder: Path) -> str:
    """Return a Markdown file as HTML; its links lead to the other pages, or into the clone."""

    def lead(found: re.Match[str]) -> str:
        attribute, target, anchor = found.groups(default="")
        path = (page.parent / target).resolve()
        is_page = path in pages()
        place = (folder / path.relative_to(ROOT)).with_suffix(".html") if is_page else path
        return f'{attribute}="{os.path.relpath(place, here)}{anchor}"'

    here = (folder / page.relative_to(ROOT)).parent
    top = "../" * len(page.relative_to(ROOT).parent.parts)
    title = page.read_text().partition("\n")[0].lstrip("# ")
    return PAGE.format(title=title, top=top, body=_LINK.sub(lead, to_html(page.read_text())))


if __name__ == "__main__":
    build(ROOT / "site")
    print(f"open {ROOT / 'site' / 'README.html'}")
