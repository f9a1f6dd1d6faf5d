"""The site of the documents can be built: `make docs` does it, and these tests find usual mistakes."""

import ast
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


def texts_of_the_code() -> str:
    """Return all texts in the code of the package, one on each line. A value in an f-string is a blank."""
    found = []
    for path in (ROOT / "hunting_pipeline").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.JoinedStr):
                found.append(
                    "".join(
                        str(getattr(part, "value", "")) if isinstance(part, ast.Constant) else " "
                        for part in node.values
                    )
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join(found)


def test_every_message_in_the_page_about_problems_is_a_message_of_the_code() -> None:
    """The page writes messages in italics. An ellipsis stands for a value."""
    page = (DOCS / "troubleshooting.md").read_text("utf-8")
    quoted = [
        text for text in re.findall(r"(?<![*\w])\*([^*\n]+)\*", page) if text != "Queued"
    ]  # a word of Dagster
    texts = texts_of_the_code()
    assert len(quoted) > 12
    assert [text for text in quoted for part in text.split(" … ") if part not in texts] == []


def test_every_package_of_the_site_has_a_version_hashes_and_no_address() -> None:
    text = (DOCS / "requirements.txt").read_text("utf-8")
    entries = re.findall(r"^[a-z0-9].*(?:\n .*)*", text, re.MULTILINE)
    assert any(entry.startswith("mkdocs-material==") for entry in entries)
    assert all("==" in entry and "--hash=sha256:" in entry for entry in entries)
    assert "://" not in text
    assert "--index" not in text
