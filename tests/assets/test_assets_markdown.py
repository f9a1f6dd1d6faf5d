"""Text from outside is shown as text in Dagster: in descriptions, in metadata and in the log of a run."""

import ast
import re
from pathlib import Path

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from hunting_pipeline.catalog import entry, spec
from hunting_pipeline.errors import ServiceFailed
from hunting_pipeline.hunt_files import hunt_file
from hunting_pipeline.model import Column
from hunting_pipeline.orchestration import HuntingQueries, metadata
from hunting_pipeline.orchestration.checks.health import drift_result
from hunting_pipeline.orchestration.markdown import code_block, plain, unlinked
from hunting_pipeline.orchestration.outcomes import errors_as_outcomes
from hunting_pipeline.orchestration.quota_asset import healthy_result
from hunting_pipeline.pipeline.health import Drift
from hunting_pipeline.quota import Usage

PACKAGE = Path(metadata.__file__).parents[1]

_MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])

_LINKS = re.compile(r"(https?://|www(?=\.))[-.\w]+|[-.\w+]+@[-\w]+(\.[-\w]+)+", re.IGNORECASE)
"""The texts that remark-gfm, the parser in Dagster's UI, makes links of. It looks for them outside code."""

ATTACKS = [
    "![x](http://a.example/b.png)",
    "![x][r]\n\n[r]: http://a.example/b.png",
    "<http://a.example>",
    "https://a.example/",
    "HTTP://a.example/",
    "www.a.example",
    "a@a.example",
    "[x](javascript:alert(1))",
    "<img src=http://a.example/b.png>",
    "<svg onload=x>",
    "&#33;&lbrack;x](http://a.example)",
    "\\![x](y)",
    "`![x](y)",
    "``` ![x](y) ``` ` `` x``http://a.example`b`` ```",
    "```\n![x](y)\n```",
    "~~~\n![x](y)",
    "a | b\n--|--\n![x](y) | c",
    "1. a",
    "- a",
    "# a",
    "=====",
    "> a",
    "_a_ *b* ~~c~~ **d** [^1] [ ] a",
    "    indented",
]

words = st.one_of(
    st.sampled_from(ATTACKS), st.text("`~![]()<>&\\|_*#-+=1.:/@ \n\thw", max_size=12), st.text()
)
texts = st.lists(words, max_size=5).map(" ".join)


def tokens(markdown: str) -> list[Token]:
    """Return all tokens of a text, without the paragraph around the text."""
    found = [inner for token in _MARKDOWN.parse(markdown) for inner in (token.children or [token])]
    return [token for token in found if not token.type.startswith("paragraph_")]


def reads(markdown: str) -> str:
    """Return what a person reads. Fail if there is anything but text and code."""
    shown = tokens(markdown)
    assert {token.type for token in shown} <= {"text", "text_special", "code_inline"}, markdown
    outside = "".join("\0" if token.type == "code_inline" else token.content for token in shown)
    assert not _LINKS.search(outside), markdown
    return "".join(token.content for token in shown)


def normal(text: str) -> str:
    """Return a text as the parser reads it: it replaces NUL, as CommonMark demands."""
    return " ".join(text.replace("\0", "\ufffd").split())


@given(texts)
def test_a_description_shows_any_text_and_nothing_else(text: str) -> None:
    assert reads(plain(text)) == normal(text)


@pytest.mark.parametrize("text", ATTACKS)
def test_a_description_shows_an_attack_as_text(text: str) -> None:
    assert reads(plain(text)) == normal(text)
    assert reads(plain(f"{text} {text}")) == normal(f"{text} {text}")


def test_a_usual_description_has_no_escapes() -> None:
    text = "Schema changes (1): 2026-11-20: +B, A string → long; 30 of 36 calls in 60 s left"
    assert plain(text) == text


@given(texts)
def test_a_code_block_shows_any_text_unchanged(text: str) -> None:
    (block,) = tokens(str(code_block(text, language="kusto").value))
    assert (block.type, block.info) == ("fence", "kusto")
    assert block.content.rstrip("\n") == re.sub("\r\n?", "\n", text.replace("\0", "\ufffd")).rstrip("\n")


@given(texts)
def test_a_log_has_no_url(text: str) -> None:
    assert not re.search("https?://", unlinked(text), re.IGNORECASE)


def test_names_of_columns_reach_descriptions_as_text() -> None:
    columns = metadata.schema_of([Column("![x](http://a.example/b.png)", "![x](y)")]).value.columns
    assert [column.description for column in columns] == [None], "Dagster shows names and types as text"
    found = Drift(passed=False, summary=f"Schema changes (1): +{ATTACKS[0]}", schemas=2, partitions=2)
    assert reads(str(drift_result(found).description)) == found.summary


def test_the_words_of_the_service_reach_descriptions_as_text() -> None:
    usage = Usage(
        tenant="t",
        at=0.0,
        share=0.8,
        rates=(),
        running=0,
        waiting={},
        blocked_until=60.0,
        block_reason=ATTACKS[0],
        failures=9,
        failure=ATTACKS[0],
        owners={},
        priorities={},
        longest_wait=0.0,
    )
    assert reads(str(healthy_result(usage).description)).endswith(ATTACKS[0])


def test_a_hunt_and_a_filter_are_shown_as_text(tmp_path: Path) -> None:
    path = tmp_path / "odd.kql"
    query = 'DeviceEvents\n| where FileName != "```"\n// ![x](http://a.example/b.png)'
    path.write_text(f"// description: {ATTACKS[0]}\n{query}\n")
    asset = HuntingQueries().get_asset_spec(hunt_file(path))
    assert reads(str(asset.description)) == ATTACKS[0]
    (block,) = tokens(str(asset.metadata["query"].value))
    assert block.content.strip() == path.read_text().strip()
    filtered = metadata.of_asset(spec("AlertInfo", where='Title != "```"'), entry("AlertInfo"))["where"]
    (block,) = tokens(str(filtered.value))
    assert block.content.strip() == 'Title != "```"'


def test_the_log_of_a_retry_quotes_the_service_without_links(capsys: pytest.CaptureFixture[str]) -> None:
    log = dg.build_op_context().log
    with pytest.raises(dg.RetryRequested), errors_as_outcomes(log):
        raise ServiceFailed("503: see http://a.example/b.png.")
    assert "see http[:]//a.example/b.png." in capsys.readouterr().err


def test_only_one_module_writes_markdown_metadata() -> None:
    writers = {
        path.name
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in ("md", "MarkdownMetadataValue")
    }
    assert writers == {"markdown.py"}
