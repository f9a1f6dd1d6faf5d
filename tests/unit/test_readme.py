"""The documents state what the code does."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from hunting_pipeline.apis import APIS
from hunting_pipeline.auth import CREDENTIALS
from hunting_pipeline.cli.app import COMMANDS
from hunting_pipeline.cli.commands.demo import SNAPSHOT, TABLES

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    found = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert found
    assert found.loader
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_generated_blocks_are_those_of_the_code(generate: ModuleType) -> None:
    for page in generate.PAGES:
        text = page.read_text("utf-8")
        assert generate.generated(text) == text, f"{page.name}: run `python docs/generate.py`"


def test_each_generated_block_stands_in_the_documents_and_at_most_once_in_a_page(
    generate: ModuleType,
) -> None:
    found = set()
    for page in generate.PAGES:
        marks = re.findall(r"<!-- (\w+) -->\n.*?<!-- /\1 -->", page.read_text("utf-8"), re.DOTALL)
        assert len(marks) == len(set(marks)), page.name
        found.update(marks)
    assert found == {*generate.BLOCKS, "demo"}


def test_every_page_with_a_generated_block_is_generated(generate: ModuleType) -> None:
    pages = {path for path in (ROOT / "docs").rglob("*.md") if "<!-- /" in path.read_text("utf-8")}
    measured = {ROOT / "docs" / "performance.md"}  # `make performance` writes its blocks
    assert pages - measured <= set(generate.PAGES)


@pytest.mark.parametrize("block", ["aadsts", "http"])
def test_each_known_error_has_a_cause_and_a_solution(block: str, generate: ModuleType) -> None:
    rows = generate.BLOCKS[block]().splitlines()[2:]
    assert len(rows) > 15
    for row in rows:
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert all(re.search(r"\w", cell) for cell in cells[-2:]), row


def test_every_api_and_credential_is_documented() -> None:
    operations = (ROOT / "docs" / "operations.md").read_text("utf-8")
    for api in APIS.values():
        cells = [
            f"`{api.name}`",
            api.title,
            f"`{api.application_permission}`",
            f"`{api.delegated_permission}`",
        ]
        assert f"| {' | '.join(cells)} |" in operations
        assert all(host in operations for host in api.hosts.values())
    for credential in CREDENTIALS:
        assert f"| {credential.title} | `HUNTING_" in operations


def test_every_command_of_the_readme_exists() -> None:
    assert set(re.findall(r"^hunting (\w+)", README, re.MULTILINE)) <= set(COMMANDS)


def test_every_make_target_of_the_readme_exists() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert set(re.findall(r"make (\w+)", README)) <= targets


def test_every_linked_file_exists() -> None:
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text("utf-8")):
            assert (page.parent / link).exists(), f"{page.name} links {link}"


def test_the_demo_of_the_readme_shows_the_tables_of_the_command() -> None:
    (shown,) = re.findall(r"<!-- demo -->\n(.*?)<!-- /demo -->", README, re.DOTALL)
    for table in (*TABLES, SNAPSHOT):
        assert re.search(rf"{table} +[\d,]+ +\d+ +[\d.]+ [kMG]?B", shown), table


def test_each_promise_names_tests_of_its_linked_files() -> None:
    rows = (ROOT / "docs" / "promises.md").read_text("utf-8").split("\n## What is not promised", 1)[0]
    promises = [row.rsplit("|", 2)[1] for row in rows.splitlines() if row.startswith("| ") and "](" in row]
    links = [link for proof in promises for link in re.split(r"(?=\[test_)", proof)[1:]]
    assert len(links) >= len(promises) > 50
    for link in links:
        path = re.findall(r"\]\(\.\./([\w/]+\.py)\)", link)[0]
        tests = re.findall(r"`(test_\w+)`", link)
        assert tests, f"{path} is linked without a test"
        defined = set(re.findall(r"^def (test_\w+)\(", (ROOT / path).read_text("utf-8"), re.MULTILINE))
        assert set(tests) <= defined, f"{path} has no {', '.join(sorted(set(tests) - defined))}"
