"""Which URL, scope and login host each surface has in each cloud, and which combinations do not exist."""

from itertools import product
from pathlib import Path

import pytest
import trustme

from hunting_pipeline.apis.connection import Api, Cloud, connection
from hunting_pipeline.errors import Misconfigured

XDR = "/api/advancedhunting/run"
ENDPOINT = "/api/advancedqueries/run"
GRAPH = "/v1.0/security/runHuntingQuery"
COM, US = "https://login.microsoftonline.com", "https://login.microsoftonline.us"


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
def test_urls_and_login_hosts(api: str, cloud: str, url: str, login: str) -> None:
    there = connection(Api(api), Cloud(cloud))
    assert (there.url, there.login_url) == (url, login)


def test_every_combination_exists_or_says_why_not() -> None:
    regions = {Cloud.US, Cloud.EU, Cloud.UK, Cloud.AU, Cloud.SWA, Cloud.INA, Cloud.AEA}
    missing = (
        {(api, Cloud.CHINA) for api in Api}
        | {(Api.GRAPH, region) for region in regions}
        | {(Api.ENDPOINT, region) for region in regions - {Cloud.US, Cloud.EU, Cloud.UK}}
    )
    for api, cloud in product(Api, Cloud):
        if (api, cloud) in missing:
            with pytest.raises(Misconfigured, match=f"HUNTING_CLOUD={cloud}"):
                connection(api, cloud)
        else:
            assert connection(api, cloud).url.startswith("https://")
            assert connection(api, cloud).scope.endswith("/.default")


def test_a_region_shares_the_audience_of_its_cloud_and_the_scope_can_be_set() -> None:
    assert connection(Api.XDR, Cloud.EU).scope == "https://api.security.microsoft.com/.default"
    assert connection(Api.XDR, Cloud.DOD).scope == "https://api-gov.security.microsoft.us/.default"
    assert connection(Api.XDR, Cloud.EU, scope="https://x/.default").scope == "https://x/.default"


def test_each_surface_names_its_permissions() -> None:
    assert connection(Api.GRAPH, Cloud.GLOBAL).permission == "ThreatHunting.Read.All"
    assert connection(Api.XDR, Cloud.GLOBAL).permission == (
        "AdvancedHunting.Read.All (application) or AdvancedHunting.Read (delegated)"
    )
    assert connection(Api.ENDPOINT, Cloud.GLOBAL).application_permission == "AdvancedQuery.Read.All"


@pytest.mark.parametrize("root", ["https://localhost:8443", "https://localhost:8443/"])
def test_given_urls_are_roots(root: str) -> None:
    there = connection(Api.XDR, Cloud.GLOBAL, api_url=root, login_url=root)
    assert (there.url, there.login_url) == (f"https://localhost:8443{XDR}", "https://localhost:8443")
    assert connection(Api.XDR, Cloud.GLOBAL, api_url=there.url).url == there.url


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
        "https://[::1",
    ],
)
def test_urls_that_would_betray_a_token_or_lead_nowhere_are_refused(url: str) -> None:
    with pytest.raises(Misconfigured, match="HUNTING_API_URL") as caught:
        connection(Api.GRAPH, Cloud.GLOBAL, api_url=url)
    assert "pw" not in str(caught.value)
    with pytest.raises(Misconfigured, match="HUNTING_LOGIN_URL"):
        connection(Api.GRAPH, Cloud.GLOBAL, login_url=url)


def test_a_ca_bundle_must_hold_certificates(tmp_path: Path) -> None:
    good, bad = tmp_path / "ca.pem", tmp_path / "bad.pem"
    trustme.CA().cert_pem.write_to_path(str(good))
    bad.write_text("nothing")
    assert connection(Api.GRAPH, Cloud.GLOBAL, ca_bundle=good).ca_bundle == good
    for path in (bad, tmp_path / "absent.pem", tmp_path):
        with pytest.raises(Misconfigured, match="HUNTING_CA_BUNDLE"):
            connection(Api.GRAPH, Cloud.GLOBAL, ca_bundle=path)
