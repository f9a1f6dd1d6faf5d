"""Text from outside cannot control the terminal, and is not read as markup of the library that prints it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hunting_pipeline.cli.log import warn
from hunting_pipeline.cli.problems import complain
from hunting_pipeline.cli.progress import reporting
from hunting_pipeline.cli.show import print_facts, print_table
from hunting_pipeline.cli.text import print_json, visible
from hunting_pipeline.errors import Refused
from hunting_pipeline.model import Progress, Step

HOSTILE = "\x1b]8;;http://a.example\x07x\x1b[2J\r\x9b1m\u202e [link=http://a.example]y[/link] [/]"
SHOWN = "\\x1b]8;;http://a.example\\x07x\\x1b[2J\\r\\x9b1m\\u202e [link=http://a.example]y[/link] [/]"


def progress(message: str) -> Progress:
    return Progress(
        "T",
        Step.WAITING,
        f"T: {message}",
        slices=0,
        slices_planned=1,
        rows=0,
        rows_planned=1,
        partitions=0,
        partitions_planned=1,
        calls=0,
    )


@given(st.text())
def test_any_text_becomes_printable_lines(text: str) -> None:
    assert all(line.isprintable() for line in visible(text).split("\n"))


@given(st.text())
def test_a_printable_text_stays_unchanged(text: str) -> None:
    if text.isprintable():
        assert visible(text) == text


def test_standard_error_shows_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    error = Refused(HOSTILE)
    error.add_note(HOSTILE)
    complain(error)
    warn(HOSTILE)
    with reporting(quiet=False) as observe:
        observe(progress(HOSTILE))
    assert capsys.readouterr().err.splitlines() == [
        f"hunting: {SHOWN}",
        f"hunting: {SHOWN}",
        SHOWN,
        f"T: {SHOWN}",
    ]


def test_bars_show_control_characters(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "400")
    with reporting(quiet=False) as observe:
        observe(progress(HOSTILE))
    shown = capsys.readouterr().err
    assert SHOWN in shown
    assert "\x1b]8" not in shown


def test_tables_and_facts_show_control_characters_and_brackets(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(HOSTILE, [HOSTILE, "b"], [[HOSTILE, 1000]])
    print_facts({HOSTILE: HOSTILE})
    shown = capsys.readouterr().out
    assert shown.count(SHOWN) == 5
    assert "1,000" in shown
    assert all(line.isprintable() for line in shown.splitlines())


def test_json_has_only_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({HOSTILE: HOSTILE})
    shown = capsys.readouterr().out
    assert json.loads(shown) == {HOSTILE: HOSTILE}
    assert all(line.isascii() and line.isprintable() for line in shown.splitlines())
