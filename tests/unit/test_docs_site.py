"""The site of the documents can be built: `make docs` does it, and these tests find usual mistakes."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
CONFIG = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))


def pages_of(nav: Any) -> Iterator[str]:
    """Yield the paths of a navigation."""
    if isinstance(nav, str):
        yield nav
    elif isinstance(nav, dict):
        yield from pages_of(list(nav.values()))
    else:
        for part in nav:
            yield from pages_of(part)


def test_every_page_is_in_the_navigation_once() -> None:
    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    listed = [page for page in pages_of(CONFIG["nav"]) if not page.startswith("project/")]
    assert sorted(listed) == sorted(pages)


def test_every_document_of_the_top_folder_in_the_site_is_in_the_navigation() -> None:
    hook = (DOCS / "site_links.py").read_text("utf-8")
    found = dict(re.findall(r'"(\w+\.md)": "(project/[\w-]+\.md)"', hook))
    assert found
    assert all((ROOT / name).is_file() for name in found)
    assert {page for page in pages_of(CONFIG["nav"]) if page.startswith("project/")} == set(found.values())


def test_the_build_is_strict_about_links_and_the_site_loads_nothing_from_other_hosts() -> None:
    assert {"not_found", "anchors", "absolute_links", "unrecognized_links"} <= CONFIG["validation"][
        "links"
    ].keys()
    assert set(CONFIG["validation"]["links"].values()) | set(CONFIG["validation"]["nav"].values()) == {"warn"}
    assert "mkdocs build --strict" in (ROOT / "Makefile").read_text("utf-8")
    assert CONFIG["theme"]["font"] is False
    assert "offline" in CONFIG["plugins"]
    assert all((DOCS / script).is_file() for script in CONFIG["extra"]["polyfills"])
    assert not re.search(r"https?://", (ROOT / "mkdocs.yml").read_text("utf-8"))


def test_every_package_of_the_site_has_a_version_hashes_and_no_address() -> None:
    text = (DOCS / "requirements.txt").read_text("utf-8")
    entries = re.findall(r"^[a-z0-9].*(?:\n .*)*", text, re.MULTILINE)
    assert any(entry.startswith("mkdocs-material==") for entry in entries)
    assert all("==" in entry and "--hash=sha256:" in entry for entry in entries)
    assert "://" not in text
    assert "--index" not in text
