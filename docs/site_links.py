"""A hook of mkdocs: the site holds each file of the repository that a page links.

The documents have links that are valid in the repository, such as `../hunting_pipeline/plan.py`. In the site,
a link to a file outside of `docs/` leads to a copy of the file. Documents of the top folder become pages.
A link to a file that does not exist stays as it is, so `mkdocs build --strict` refuses it.
"""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"

PAGES = {
    "ARCHITECTURE.md": "project/architecture.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
    "SECURITY.md": "project/security-policy.md",
}
"""Documents of the top folder, and their pages in the site."""

_LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, *, config: Any) -> Files:
    """Add the documents of the top folder, and the linked files outside of `docs/`."""
    for name, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / name)))
    for page in list(files.documentation_pages()):
        for path in _linked(page):
            target = _place(path)
            if target.startswith("source/") and target not in files.src_uris:
                files.append(File.generated(config, target, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Files) -> str:
    """Replace each link to a file of the repository by a link to its place in the site."""
    del config, files
    home = Path(page.file.abs_src_path).parent
    start = posixpath.dirname(page.file.src_uri) or "."

    def moved(link: re.Match[str]) -> str:
        path = (home / link[1]).resolve()
        path = path / "index.md" if path.is_dir() else path
        if not path.is_file():
            return link[0]
        return f"]({posixpath.relpath(_place(path), start)}{link[2] or ''})"

    return _LINK.sub(moved, markdown)


def _linked(page: File) -> Iterator[Path]:
    """Yield the files of the repository that a page links."""
    home = Path(str(page.abs_src_path)).parent
    for link in _LINK.finditer(page.content_string):
        path = (home / link[1]).resolve()
        if path.is_file() and path.is_relative_to(ROOT):
            yield path


def _place(path: Path) -> str:
    """Return the place of a file in the site. With the ending `.txt`, browsers show a program as text."""
    if path.is_relative_to(DOCS):
        return path.relative_to(DOCS).as_posix()
    name = path.relative_to(ROOT).as_posix()
    return PAGES.get(name, f"source/{name}.txt")
