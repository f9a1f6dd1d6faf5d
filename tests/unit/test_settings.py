"""Variables win over the file, and the file over defaults. Errors name the setting and show no secret."""

import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from hunting_pipeline.apis import APIS
from hunting_pipeline.apis.clouds import Cloud
from hunting_pipeline.auth import CREDENTIALS
from hunting_pipeline.auth.credential import Credential
from hunting_pipeline.errors import Misconfigured
from hunting_pipeline.http.verdict import printable
from hunting_pipeline.limits import GRAPH, TEST, XDR
from hunting_pipeline.settings import CONFIG_VARIABLE, Settings, load_settings, tenant_names

SECRET = "correct horse battery staple"


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Work in an empty folder, without settings of the machine."""
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


def test_the_defaults_need_no_setting() -> None:
    found = load_settings()
    assert (found.api, found.share, found.workers, found.tables) == ("graph", 0.8, 4, ())
    assert found.limits_profile is GRAPH
    assert found.lake == "lake"


def test_variables_win_over_the_file_and_the_file_over_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    found = configured(monkeypatch, 'api = "xdr"\nshare = 0.5\ntables = ["A", "B"]\n', SHARE="0.25")
    assert (found.api, found.share, found.tables) == ("xdr", 0.25, ("A", "B"))
    assert found.limits_profile is XDR


def test_the_file_can_lie_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text("workers = 7\n")
    assert configured(monkeypatch, "workers = 3\n", CONFIG=str(tmp_path / "other.toml")).workers == 7


@pytest.mark.parametrize("path", ["nowhere.toml", ".", "/dev/null/x", "x" * 300])
def test_a_named_settings_file_must_be_a_file(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    with pytest.raises(Misconfigured, match=CONFIG_VARIABLE):
        configured(monkeypatch, CONFIG=path)


def test_tables_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    assert configured(monkeypatch, TABLES=" A, B ,,C ").tables == ("A", "B", "C")


def test_the_test_profile_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert configured(monkeypatch, LIMITS="test").limits_profile is TEST


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TIMESTAMP_UNIT", "ms"),
        ("SHARE", "0"),
        ("SHARE", "1.1"),
        ("SHARE", "nan"),
        ("WORKERS", "0"),
        ("WORKERS", "33"),
        ("WORKERS", "many"),
        ("API", "graf"),
        ("CLOUD", "moon"),
        ("LIMITS", "generous"),
    ],
)
def test_a_wrong_value_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    with pytest.raises(Misconfigured, match=f"HUNTING_{name}: "):
        configured(monkeypatch, **{name: value})


LAKE_URLS = [
    "s3://bucket/lake",
    "abfss://container@account.dfs.core.windows.net/a/b",
    "abfss://workspace@onelake.dfs.fabric.microsoft.com/item.Lakehouse/Files/lake",
    "az://container/lake",
    "gs://bucket",
    "file:///lake",
]


@pytest.mark.parametrize("url", LAKE_URLS)
def test_a_lake_can_be_a_url(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    assert configured(monkeypatch, LAKE=url).lake == url


@pytest.mark.parametrize(
    "url",
    [
        "S3://u:hush-hush@bucket/x",
        "s3://key@bucket/x",
        "s3:///x",
        "az://container/x?sv=2022&sig=hush-hush",
        "abfss://container/x",
        "abfss://@account.dfs.core.windows.net/x",
        "ftp://host/x",
        "https://account.blob.core.windows.net/c?sig=hush-hush",
    ],
)
def test_a_url_that_cannot_be_a_lake_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    """A key in the URL would be in every message, log and manifest that names the lake."""
    with pytest.raises(Misconfigured, match=r"^HUNTING_LAKE: .*lake.*(s3://|bucket)") as caught:
        configured(monkeypatch, LAKE=url)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("endpoint", ["minio:9000", "ftp://minio", "https://u:hush-hush@minio"])
def test_an_endpoint_is_a_url_without_a_user(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    with pytest.raises(Misconfigured, match=r"^HUNTING_LAKE_ENDPOINT: .*https://") as caught:
        configured(monkeypatch, LAKE_ENDPOINT=endpoint)
    assert "hush" not in str(caught.value)


TYPOS = [
    "postgres:/u:hush-hush@h/db",
    "postgresql:u:hush-hush@h/db",
    "postgress://u:hush-hush@h/db",
    "POSTGRESQL://u:hush-hush@h/db",
    "postgresql//u:hush-hush@h/db",
    "u:hush-hush@h/db",
    "host=h user=u password=hush-hush",
    "s3:/key:hush-hush@bucket",
]


@pytest.mark.parametrize("url", TYPOS)
@pytest.mark.parametrize("name", ["LEDGER", "LAKE"])
def test_a_url_with_a_typo_is_no_path_and_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, url: str
) -> None:
    with pytest.raises(Misconfigured, match=f"^HUNTING_{name}: ") as caught:
        configured(monkeypatch, **{name: url})
    assert "hush" not in str(caught.value)
    with pytest.raises(ValueError, match=name.lower()) as invalid:
        Settings(**{name.lower(): url})
    assert "hush" not in str(invalid.value)


@pytest.mark.parametrize(
    "url",
    [f"postgresql://u:{password}@h/db" for password in ("hu@sh", "hu/sh", "hush?x", "hush#x", "1/hush")],
)
def test_a_password_with_a_separator_must_be_encoded(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Postgres would take the second half for a host or a port, and print it."""
    with pytest.raises(Misconfigured, match="%40") as caught:
        configured(monkeypatch, LEDGER=url)
    assert "hu" not in str(caught.value).replace("HUNTING", "")


@pytest.mark.parametrize(
    "ledger",
    [
        "quota.sqlite",
        "/data/ada@contoso/quota.sqlite",
        "C:\\Users\\ada@contoso\\quota.sqlite",
        "c:/x.db",
        "sqlite:////data/a:b@c.db",
        "postgres://h",
        "postgresql://u:p%40ss@h:5432/db?sslmode=require&user=ada@server",
        "postgresql://[::1]:5432,h2:1/db",
        "postgresql:///db?host=/run/postgresql",
        "postgresql://h?user=ada",
    ],
)
def test_a_ledger_is_a_path_or_a_url(monkeypatch: pytest.MonkeyPatch, ledger: str) -> None:
    assert configured(monkeypatch, LEDGER=ledger).ledger.get_secret_value() == ledger


@pytest.mark.parametrize("show", [repr, str, Settings.model_dump, Settings.model_dump_json, dict, vars])
def test_no_form_of_the_settings_shows_a_secret(
    monkeypatch: pytest.MonkeyPatch, show: Callable[..., object]
) -> None:
    found = configured(
        monkeypatch,
        LEDGER="postgresql://u:hush-hush@h/db",
        CLIENT_SECRET="hush-hush",
        CERTIFICATE_PASSWORD="hush-hush",
    )
    assert "hush" not in str(show(found))


def test_a_secret_of_a_wrong_type_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("client_secret", "ledger", "certificate_password"):
        with pytest.raises(Misconfigured, match=rf"hunting\.toml:1: {name}: ") as caught:
            configured(monkeypatch, f'{name} = ["{SECRET}"]\n')
        assert SECRET not in "".join(traceback.format_exception(caught.value))
        with pytest.raises(ValueError, match=name) as invalid:
            Settings(**{name: [SECRET]})
        assert SECRET not in "".join(traceback.format_exception(invalid.value))


def test_the_secrets_of_the_settings_are_removed_from_foreign_text(monkeypatch: pytest.MonkeyPatch) -> None:
    configured(monkeypatch, CLIENT_SECRET="hush-one", LEDGER="postgresql://u:hush%20three@h/db")
    assert printable("hush-one, hush three, hush+three, aHVzaC1vbmU=") == ", ".join(["[redacted]"] * 4)


@pytest.mark.parametrize("path", ["lake", "a:b/c", "1://x", "./s3://x", "/data/s3://x"])
def test_any_folder_can_be_a_lake(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    assert configured(monkeypatch, LAKE=path).lake == str(Path(path))


def test_a_lake_can_be_in_a_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert configured(monkeypatch, LAKE="~/lake").lake == str(tmp_path / "lake")


def test_an_unknown_home_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Misconfigured, match=r"^hunting\.toml:2: lake: .*~nosuch/lake"):
        configured(monkeypatch, 'share = 0.5\nlake = "~nosuch/lake"\n')


def test_every_wrong_value_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Misconfigured, match=r"HUNTING_SHARE: .*; HUNTING_WORKERS: "):
        configured(monkeypatch, SHARE="2", WORKERS="0")


def test_an_unknown_variable_is_refused_with_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Misconfigured, match="HUNTING_TENANTID; did you mean HUNTING_TENANT_ID"):
        configured(monkeypatch, TENANTID="x")


def test_an_unknown_key_of_the_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Misconfigured, match=r"hunting\.toml:2: colour: no such setting"):
        configured(monkeypatch, 'share = 0.5\ncolour = "blue"\n')


def test_a_wrong_value_of_the_file_is_named_with_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    text = '# ours\ntables = [\n  "AlertInfo",\n]\n\nshare = 2\n'
    with pytest.raises(Misconfigured, match=r"^hunting\.toml:6: share: Input should be less than"):
        configured(monkeypatch, text)
    with pytest.raises(Misconfigured, match=r"^HUNTING_SHARE: "):
        configured(monkeypatch, text, SHARE="3")


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
    credentials = ".*".join(name for one in CREDENTIALS for name in one.missing({})).upper()
    wanted = rf"(?s)HUNTING_TENANT_ID.*HUNTING_CLIENT_ID.*{credentials}.*`hunting demo`"
    with pytest.raises(Misconfigured, match=wanted):
        load_settings().tenant()


APP = {"TENANT_ID": "t", "CLIENT_ID": "c"}
COMPLETE = APP | {"CLIENT_SECRET": SECRET}

any_credential = pytest.mark.parametrize("credential", CREDENTIALS, ids=lambda one: one.__name__)


@any_credential
def test_any_credential_completes_a_tenant(
    monkeypatch: pytest.MonkeyPatch, credential: type[Credential]
) -> None:
    found = configured(monkeypatch, **APP | {name.upper(): "given" for name in credential.missing({})})
    assert found.tenant() == "t"
    assert type(found.credential) is credential


@any_credential
def test_an_incomplete_credential_is_refused_with_the_missing_settings(
    monkeypatch: pytest.MonkeyPatch, credential: type[Credential]
) -> None:
    *some, last = credential.missing({})
    with pytest.raises(Misconfigured, match=f"only partly configured: set .*HUNTING_{last.upper()}"):
        configured(monkeypatch, **APP | {name.upper(): "given" for name in some}).tenant()


@any_credential
def test_the_settings_are_those_that_the_credentials_state(credential: type[Credential]) -> None:
    for name, field in credential.model_fields.items():
        setting = Settings.model_fields[name]
        assert setting.description == field.description
        assert setting.default is None, "any other credential may sign in"


@pytest.mark.parametrize("missing", list(COMPLETE))
def test_an_incomplete_tenant_is_refused_with_the_missing_settings(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    variables = {name: value for name, value in COMPLETE.items() if name != missing}
    with pytest.raises(Misconfigured, match=f"HUNTING_{missing}"):
        configured(monkeypatch, **variables).tenant()


@pytest.mark.parametrize("api", APIS)
def test_every_api_can_be_chosen_and_brings_its_limits(monkeypatch: pytest.MonkeyPatch, api: str) -> None:
    found = configured(monkeypatch, API=api)
    assert (found.api, found.limits_profile) == (api, APIS[api].limits)


def test_only_the_default_api_has_no_announced_end(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().retirement == ""
    for api in ("xdr", "endpoint"):
        monkeypatch.setenv("HUNTING_API", api)
        assert "2027-02-01" in load_settings().retirement


def test_a_wrong_api_or_cloud_is_refused_with_the_valid_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Misconfigured, match=rf"HUNTING_API: .*{', '.join(APIS)}") as caught:
        configured(monkeypatch, API="graf", CLOUD="moon")
    assert "HUNTING_CLOUD: " in str(caught.value)
    assert all(cloud in str(caught.value) for cloud in Cloud)


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    found = configured(monkeypatch, **COMPLETE | {"CLIENT_SECRET": "", "SHARE": ""})
    assert found.share == 0.8
    with pytest.raises(Misconfigured, match="HUNTING_CLIENT_SECRET"):
        found.tenant()


SEVERAL = """\
api = "xdr"
client_id = "ours"

[tenants.contoso]
tenant_id = "c"
client_secret = "of contoso"
share = 0.5

[tenants.fabrikam]
tenant_id = "f"
lake = "elsewhere"
"""


def several(monkeypatch: pytest.MonkeyPatch, name: str, text: str = SEVERAL, **variables: str) -> Settings:
    Path("hunting.toml").write_text(text, "utf-8")
    for variable, value in variables.items():
        monkeypatch.setenv(f"HUNTING_{variable}", value)
    return load_settings(name)


def test_one_tenant_has_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    configured(monkeypatch, **COMPLETE)
    assert tenant_names() == ()
    with pytest.raises(
        Misconfigured, match=r"there is no tenant 'contoso': .* no section \[tenants\.contoso\]"
    ):
        load_settings("contoso")


def test_each_of_several_tenants_has_its_own_settings_over_the_common_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    contoso = several(monkeypatch, "contoso", LAKE="/data", SHARE="0.9")
    assert tenant_names() == ("contoso", "fabrikam")
    assert (contoso.tenant(), contoso.client_id, contoso.api) == ("c", "ours", "xdr")
    assert contoso.share == 0.5, "a tenant's own wins over what is meant for all"
    assert contoso.lake == "/data/contoso"
    fabrikam = load_settings("fabrikam")
    assert (fabrikam.share, fabrikam.lake) == (0.9, "elsewhere")
    assert fabrikam.ledger == contoso.ledger, "one ledger keeps a page for each tenant"


def test_a_tenants_variable_wins_over_its_section(monkeypatch: pytest.MonkeyPatch) -> None:
    found = several(monkeypatch, "contoso", TENANTS__CONTOSO__SHARE="0.25", TENANTS__CONTOSO__API="")
    assert (found.share, found.api) == (0.25, "xdr")


def test_missing_settings_of_a_tenant_are_named_by_its_own_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    fabrikam = several(monkeypatch, "fabrikam")
    with pytest.raises(Misconfigured, match=r"set .*HUNTING_TENANTS__FABRIKAM__CLIENT_SECRET"):
        fabrikam.tenant()


WRONG_TENANTS = {
    "[tenants.Contoso]\ntenant_id = 'c'": r"hunting\.toml:1: 'Contoso' is not a valid name of a tenant",
    "[tenants.a]\ntenant_id = 'c'\n[tenants.b]\ntenant_id = 'C'": r"hunting\.toml:4: .* have the same id",
    "share = 1\ntenants = ['a']": r"hunting\.toml:2: write each tenant as a section",
    "[tenants.a]\nshare = 1\nworkers = 0": r"hunting\.toml:3: workers: .*greater than",
    "[tenants.a]\ncolour = 'blue'": r"hunting\.toml:2: colour: no such setting",
    "lake = 'ftp://b'\n[tenants.a]\nlake = 'x'": r"hunting\.toml:1: lake: .*must be a path, or a URL",
    "[tenants.a]\nlake = 'ftp://b'": r"hunting\.toml:2: lake: .*must be a path, or a URL",
    "tenant_id = 'x'\n[tenants.a]": r"hunting\.toml:1: tenant_id: several tenants are configured \(a\)",
}


@pytest.mark.parametrize("text", WRONG_TENANTS)
def test_a_wrong_setting_of_a_tenant_is_named_with_its_line(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    with pytest.raises(Misconfigured, match=WRONG_TENANTS[text]):
        several(monkeypatch, "a", text)


def test_a_tenants_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Misconfigured, match=r"^HUNTING_TENANTS__CONTOSO__SHARE: "):
        several(monkeypatch, "contoso", TENANTS__CONTOSO__SHARE="2")


@pytest.mark.parametrize("name", ["TENANTS__CONTOSSO__SHARE", "TENANTS__CONTOSO__SHARES"])
def test_a_variable_of_no_tenant_is_refused_with_the_nearest(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with pytest.raises(Misconfigured, match="did you mean HUNTING_TENANTS__CONTOSO__SHARE"):
        several(monkeypatch, "contoso", **{name: "0.5"})


@pytest.mark.parametrize("name", ["", "contosso"])
def test_one_of_several_tenants_must_be_chosen(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    with pytest.raises(Misconfigured, match="contoso, fabrikam"):
        several(monkeypatch, name)


def test_a_tenants_secret_never_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    found = several(monkeypatch, "contoso")
    assert "of contoso" not in repr(found) + str(found.model_dump())
    with pytest.raises(Misconfigured) as caught:
        several(monkeypatch, "contoso", SEVERAL.replace('"of contoso"', f'["{SECRET}"]'))
    assert SECRET not in str(caught.value)
    assert "hunting.toml:6: client_secret" in str(caught.value)


def test_the_identity_changes_with_each_setting_that_signs_in_and_shows_no_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {"TENANT_ID": "t", "CLIENT_ID": "c", "CLIENT_SECRET": "very-secret"}.items():
        monkeypatch.setenv(f"HUNTING_{name}", value)
    first = load_settings().identity
    assert first == load_settings().identity
    assert "very-secret" not in first
    for name, value in {"WORKERS": "2", "TABLES": "AlertInfo"}.items():
        monkeypatch.setenv(f"HUNTING_{name}", value)
    assert load_settings().identity == first
    found = {first}
    for name, value in {"CLIENT_SECRET": "other", "CLIENT_ID": "d", "API": "xdr", "CLOUD": "gcc"}.items():
        monkeypatch.setenv(f"HUNTING_{name}", value)
        found.add(load_settings().identity)
    assert len(found) == 5
