"""Settings in messages: a mark in the code becomes a variable in the message that a person reads."""

from pathlib import Path

import httpx
import pytest

from hunting_pipeline.errors import HuntingError, Misconfigured, Refused, setting
from hunting_pipeline.settings import Settings, name_settings, naming


@pytest.fixture(autouse=True)
def no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_message_shows_the_bare_name_of_a_setting() -> None:
    assert str(Misconfigured(f"set {setting('ca_bundle')} to a file")) == "set ca_bundle to a file"


@pytest.mark.parametrize(
    ("settings", "variable"),
    [
        (Settings(), "HUNTING_CLIENT_SECRET"),
        (Settings().named("contoso"), "HUNTING_TENANTS__CONTOSO__CLIENT_SECRET"),
    ],
)
def test_an_error_leaves_with_the_variables_of_its_tenant(settings: Settings, variable: str) -> None:
    with pytest.raises(Refused, match=f"^{variable} is wrong$"), naming(settings):
        raise Refused(f"{setting('client_secret')} is wrong", everything=True)


def test_the_innermost_tenant_names_the_variables() -> None:
    with (
        pytest.raises(HuntingError, match=r"^HUNTING_TENANTS__CONTOSO__LAKE$"),
        naming(Settings()),
        naming(Settings().named("contoso")),
    ):
        raise HuntingError(setting("lake"))


def test_without_settings_the_common_variables_are_named() -> None:
    error = HuntingError(f"set {setting('lake')}")
    name_settings(error)
    assert str(error) == "set HUNTING_LAKE"


def test_a_mark_of_no_setting_keeps_its_name() -> None:
    with pytest.raises(HuntingError, match=r"^no_such_thing is empty$"), naming(Settings()):
        raise HuntingError(f"{setting('no_such_thing')} is empty")


def test_notes_name_variables_too_and_an_error_in_a_note_keeps_its_marks() -> None:
    error = HuntingError("the first")
    error.add_note(Misconfigured(f"set {setting('share')}").marked)
    name_settings(error, Settings().named("contoso"))
    assert error.__notes__ == ["set HUNTING_TENANTS__CONTOSO__SHARE"]


def test_other_errors_pass_unchanged() -> None:
    with pytest.raises(httpx.ReadError, match="‹lake›"), naming(Settings()):
        raise httpx.ReadError(setting("lake"))
