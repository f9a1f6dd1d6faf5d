"""Variables over file over defaults; what is wrong is named, and no secret shows."""

from pathlib import Path

import pytest

from hunting_pipeline.errors import Misconfigured
from hunting_pipeline.limits import GRAPH, TEST, XDR
from hunting_pipeline.settings import CONFIG_VARIABLE, Settings, load_settings

SECRET = "correct horse battery staple"


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty folder, and no setting from outside."""
    import os

    for name in list(os.environ):
        if name.startswith("HUNTING_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def configured(monkeypatch: pytest.MonkeyPatch, text: str = "", **variables: str) -> Settings:
    if text:
        Path("hunting.toml").write_text(text, "utf-8")
    for name, value in variables.items():
        monkeypatch.setenv(f"HUNTING_{name}", value)
    return load_settings()


def test_defaults_need_nothing() -> None:
    found = load_settings()
    assert (found.surface, found.share, found.workers, found.tables) == ("graph", 0.8, 4, ())
    assert found.limits_profile is GRAPH
    assert found.lake == Path("lake")


def test_variables_win_over_the_file_and_the_file_over_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    found = configured(monkeypatch, 'surface = "xdr"\nshare = 0.5\ntables = ["A", "B"]\n', SHARE="0.25")
    assert (found.surface, found.share, found.tables) == ("xdr", 0.25, ("A", "B"))
    assert found.limits_profile is XDR


def test_the_file_can_lie_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text("workers = 7\n")
    assert configured(monkeypatch, "workers = 3\n", CONFIG=str(tmp_path / "other.toml")).workers == 7


@pytest.mark.parametrize("path", ["nowhere.toml", "."])
def test_a_named_file_must_be_one(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    with pytest.raises(Misconfigured, match=CONFIG_VARIABLE):
        configured(monkeypatch, CONFIG=path)


def test_tables_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    assert configured(monkeypatch, TABLES=" A, B ,,C ").tables == ("A", "B", "C")


def test_the_test_profile_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert configured(monkeypatch, LIMITS="test").limits_profile is TEST


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SHARE", "0"),
        ("SHARE", "1.1"),
        ("SHARE", "nan"),
        ("WORKERS", "0"),
        ("WORKERS", "33"),
        ("WORKERS", "many"),
        ("SURFACE", "sentinel"),
        ("LIMITS", "generous"),
    ],
)
def test_a_wrong_value_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    with pytest.raises(Misconfigured, match=f"HUNTING_{name}: "):
        configured(monkeypatch, **{name: value})


def test_every_wrong_value_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Misconfigured, match=r"HUNTING_SHARE: .*; HUNTING_WORKERS: "):
        configured(monkeypatch, SHARE="2", WORKERS="0")


def test_an_unknown_variable_is_refused_with_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Misconfigured, match="HUNTING_TENANTID; did you mean HUNTING_TENANT_ID"):
        configured(monkeypatch, TENANTID="x")


def test_an_unknown_key_of_the_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Misconfigured, match="HUNTING_COLOUR"):
        configured(monkeypatch, 'colour = "blue"\n')


@pytest.mark.parametrize("text", ["share = ", "[[", "share = 1\nshare = 1"])
def test_a_file_that_is_no_toml_is_named(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    with pytest.raises(Misconfigured, match=r"hunting\.toml cannot be read"):
        configured(monkeypatch, text)


def test_a_file_that_is_no_text_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("hunting.toml").write_bytes(b"share = '\xff'")
    with pytest.raises(Misconfigured, match=r"hunting\.toml cannot be read"):
        load_settings()


def test_secrets_never_show(monkeypatch: pytest.MonkeyPatch) -> None:
    found = configured(monkeypatch, CLIENT_SECRET=SECRET, CERTIFICATE_PASSWORD=SECRET)
    assert SECRET not in repr(found) + str(found) + str(found.model_dump()) + found.model_dump_json()
    assert found.client_secret is not None
    assert found.client_secret.get_secret_value() == SECRET


def test_a_wrong_secret_never_shows_in_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Misconfigured) as caught:
        configured(monkeypatch, f'client_secret = ["{SECRET}"]\n')
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().share = 0.9


def test_without_a_tenant_the_message_says_how_to_set_one_or_do_without() -> None:
    with pytest.raises(Misconfigured, match=r"(?s)HUNTING_TENANT_ID.*HUNTING_CLIENT_ID.*make ui.*make demo"):
        load_settings().tenant()


COMPLETE = {"TENANT_ID": "t", "CLIENT_ID": "c", "CLIENT_SECRET": SECRET}


def test_a_whole_tenant_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert configured(monkeypatch, **COMPLETE).tenant() == "t"


@pytest.mark.parametrize("credential", ["CERTIFICATE", "FEDERATED_TOKEN"])
def test_a_file_will_do_instead_of_a_secret(monkeypatch: pytest.MonkeyPatch, credential: str) -> None:
    variables = {**COMPLETE, credential: "file.pem"}
    del variables["CLIENT_SECRET"]
    assert configured(monkeypatch, **variables).tenant() == "t"


@pytest.mark.parametrize("missing", list(COMPLETE))
def test_half_a_tenant_is_refused_by_what_is_missing(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    variables = {name: value for name, value in COMPLETE.items() if name != missing}
    with pytest.raises(Misconfigured, match=f"HUNTING_{missing}"):
        configured(monkeypatch, **variables).tenant()


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    found = configured(monkeypatch, **COMPLETE | {"CLIENT_SECRET": "", "SHARE": ""})
    assert found.share == 0.8
    with pytest.raises(Misconfigured, match="HUNTING_CLIENT_SECRET"):
        found.tenant()
