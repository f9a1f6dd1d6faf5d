"""Every API of the registry, with its URL, scope and login host in each cloud."""

import json
from importlib import import_module
from itertools import product
from pathlib import Path

import pytest
import trustme

from hunting_pipeline.apis import APIS
from hunting_pipeline.apis.api import Api, execution_time, query_body
from hunting_pipeline.apis.clouds import Cloud
from hunting_pipeline.apis.connection import connection
from hunting_pipeline.errors import Misconfigured
from hunting_pipeline.limits import PROFILES

XDR = "/api/advancedhunting/run"
ENDPOINT = "/api/advancedqueries/run"
GRAPH = "/v1.0/security/runHuntingQuery"
COM, US = "https://login.microsoftonline.com", "https://login.microsoftonline.us"

any_api = pytest.mark.parametrize("api", APIS.values(), ids=list(APIS))


@any_api
def test_an_api_has_all_its_parts(api: Api) -> None:
    assert APIS[api.name] is api
    assert import_module(f"hunting_pipeline.apis.{api.name}").API is api
    assert Cloud.GLOBAL in api.hosts, "regions take their token's audience from the global cloud"
    assert api.path.startswith("/")
    assert api.application_permission in api.permission
    assert api.delegated_permission in api.permission
    assert api.limits in PROFILES.values()
    assert all(key == key.lower() for key in api.envelope), "replies are read without regard to case"
    assert b"T | take 1" in api.body("T | take 1")
    assert api.running_seconds({}) is None


def test_the_registry_is_frozen() -> None:
    with pytest.raises(TypeError):
        APIS["mine"] = APIS["graph"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("api", "cloud"), list(product(APIS.values(), Cloud)), ids=lambda value: getattr(value, "name", value)
)
def test_every_combination_exists_or_says_why_not(api: Api, cloud: Cloud) -> None:
    if cloud in api.hosts:
        there = connection(api, cloud)
        assert there.url == f"https://{api.hosts[cloud]}{api.path}"
        assert there.scope.startswith("https://")
        assert there.api is api
        return
    offered = any(cloud in other.hosts for other in APIS.values())
    with pytest.raises(Misconfigured, match=f"cloud={cloud}") as caught:
        connection(api, cloud)
    assert (api.name in str(caught.value)) == offered
    assert ("does not offer a hunting API" in str(caught.value)) != offered


@pytest.mark.parametrize(
    ("api", "cloud", "url", "login"),
    [
        ("graph", "global", f"https://graph.microsoft.com{GRAPH}", COM),
        ("graph", "gcc", f"https://graph.microsoft.com{GRAPH}", COM),
        ("graph", "gcc-high", f"https://graph.microsoft.us{GRAPH}", US),
        ("graph", "dod", f"https://dod-graph.microsoft.us{GRAPH}", US),
        ("xdr", "global", f"https://api.security.microsoft.com{XDR}", COM),
        ("xdr", "swa", f"https://swa.api.security.microsoft.com{XDR}", COM),
        ("xdr", "gcc", f"https://api-gcc.security.microsoft.us{XDR}", COM),
        ("xdr", "gcc-high", f"https://api-gov.security.microsoft.us{XDR}", US),
        ("xdr", "dod", f"https://api-gov.security.microsoft.us{XDR}", US),
        ("endpoint", "global", f"https://api.securitycenter.microsoft.com{ENDPOINT}", COM),
        ("endpoint", "eu", f"https://api-eu.securitycenter.microsoft.com{ENDPOINT}", COM),
        ("endpoint", "gcc", f"https://api-gcc.securitycenter.microsoft.us{ENDPOINT}", COM),
        ("endpoint", "dod", f"https://api-gov.securitycenter.microsoft.us{ENDPOINT}", US),
    ],
)
def test_urls_and_login_hosts_of_defenders_apis(api: str, cloud: str, url: str, login: str) -> None:
    there = connection(APIS[api], Cloud(cloud))
    assert (there.url, there.login_url) == (url, login)


def test_the_clouds_of_defenders_apis() -> None:
    regions = {Cloud.US, Cloud.EU, Cloud.UK, Cloud.AU, Cloud.SWA, Cloud.INA, Cloud.AEA}
    assert set(Cloud) - set(APIS["xdr"].hosts) == {Cloud.CHINA}
    assert set(Cloud) - set(APIS["graph"].hosts) == {Cloud.CHINA, *regions}
    assert set(Cloud) - set(APIS["endpoint"].hosts) == {Cloud.CHINA, *regions} - {
        Cloud.US,
        Cloud.EU,
        Cloud.UK,
    }


def test_a_region_shares_the_audience_of_its_cloud_and_the_scope_can_be_set() -> None:
    xdr = APIS["xdr"]
    assert connection(xdr, Cloud.EU).scope == "https://api.security.microsoft.com/.default"
    assert connection(xdr, Cloud.DOD).scope == "https://api-gov.security.microsoft.us/.default"
    assert connection(xdr, Cloud.EU, scope="https://x/.default").scope == "https://x/.default"


def test_defenders_apis_name_their_permissions() -> None:
    assert APIS["graph"].permission == "ThreatHunting.Read.All"
    assert APIS["xdr"].permission == (
        "AdvancedHunting.Read.All (application) or AdvancedHunting.Read (delegated)"
    )
    assert APIS["endpoint"].application_permission == "AdvancedQuery.Read.All"


def test_a_query_with_line_breaks_is_one_json_string() -> None:
    assert json.loads(query_body('T\n| where A == "é"')) == {"Query": 'T\n| where A == "é"'}


@pytest.mark.parametrize(
    ("stats", "seconds"),
    [
        ({"ExecutionTime": 0.5}, 0.5),
        ({"ExecutionTime": 0}, 0.0),
        ({"ExecutionTime": -1}, None),
        ({"ExecutionTime": "00:00:01"}, None),
        ({}, None),
    ],
)
def test_running_time_comes_from_the_statistics(stats: dict[str, object], seconds: float | None) -> None:
    assert execution_time(stats) == seconds


@pytest.mark.parametrize(
    "root",
    ["https://localhost:8443", "https://localhost:8443/", "https://127.0.0.1:8443", "https://[::1]:8443"],
)
def test_given_urls_are_roots(root: str) -> None:
    there = connection(APIS["xdr"], Cloud.GLOBAL, api_url=root, login_url=root)
    assert (there.url, there.login_url) == (f"{root.rstrip('/')}{XDR}", root.rstrip("/"))
    assert connection(APIS["xdr"], Cloud.GLOBAL, api_url=there.url).url == there.url


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:8443",
        "localhost:8443",
        "ftp://host",
        "https://",
        "https://user:pw@host",
        "https://host?x=1",
        "https://host#x",
        "https://ho st",
        "https://host\n",
        "https://host:port",
        "https://host:99999",
        "https://[::1",
        "https://[::x]",
        "https://999.1.1.1",
        "https://ho*st",
        "https://höst",
        "https://host/\x7f",
    ],
)
def test_urls_that_would_leak_a_token_or_are_invalid_are_refused(url: str) -> None:
    with pytest.raises(Misconfigured, match="api_url") as caught:
        connection(APIS["graph"], Cloud.GLOBAL, api_url=url)
    assert "pw" not in str(caught.value)
    with pytest.raises(Misconfigured, match="login_url"):
        connection(APIS["graph"], Cloud.GLOBAL, login_url=url)


def test_a_ca_bundle_must_hold_certificates(tmp_path: Path) -> None:
    good, bad = tmp_path / "ca.pem", tmp_path / "bad.pem"
    trustme.CA().cert_pem.write_to_path(str(good))
    bad.write_text("nothing")
    assert connection(APIS["graph"], Cloud.GLOBAL, ca_bundle=good).ca_bundle == good
    for path in (bad, tmp_path / "absent.pem", tmp_path):
        with pytest.raises(Misconfigured, match="ca_bundle"):
            connection(APIS["graph"], Cloud.GLOBAL, ca_bundle=path)
