"""The whole tenant over HTTPS, with real clients."""

import json
import time
from typing import Any

import pytest
import requests
from emulator_client import NOW, PATHS, Client, session_for, sign_in

from hunting_emulator import ticks
from hunting_emulator.process import Endpoint
from hunting_emulator.tenant import Tenant, TenantOptions

HOUR = "Timestamp >= datetime(2026-11-18T10:00:00Z) and Timestamp < datetime(2026-11-18T11:00:00Z)"


def test_msal_gets_a_token_and_a_wrong_secret_gets_entras_words(endpoint: Endpoint) -> None:
    assert sign_in(endpoint)["expires_in"] > 3000
    refused = sign_in(endpoint, "wrong")
    assert refused["error"] == "invalid_client"
    assert refused["error_description"].startswith("AADSTS7000215: Invalid client secret provided.")


def test_the_xdr_envelope(client: Client) -> None:
    reply = client.post(
        "xdr", "print Timestamp = datetime(2020-08-30T06:38:35.7664356Z), FileName = 'a.exe', N = 1"
    )
    body = reply.json()
    assert list(body) == ["Stats", "Schema", "Results"]
    assert body["Stats"]["ExecutionTime"] > 0
    assert body["Schema"] == [
        {"Name": "Timestamp", "Type": "DateTime"},
        {"Name": "FileName", "Type": "String"},
        {"Name": "N", "Type": "Int64"},
    ]
    assert body["Results"] == [{"Timestamp": "2020-08-30T06:38:35.7664356Z", "FileName": "a.exe", "N": 1}]


def test_the_graph_envelope(client: Client) -> None:
    body = client.post("graph", "print N = 1, M = long(null)").json()
    assert list(body) == ["@odata.context", "schema", "results"]
    assert body["schema"] == [{"name": "N", "type": "Int64"}, {"name": "M", "type": "Int64"}]
    assert body["results"] == [{"N@odata.type": "#Int64", "N": 1, "M": {}}]


def test_take_0_answers_the_schema(client: Client) -> None:
    body = client.post("xdr", "AlertInfo | take 0").json()
    assert body["Results"] == []
    assert body["Schema"][0] == {"Name": "Timestamp", "Type": "DateTime"}


def test_the_api_returns_the_rows_of_the_tenant(client: Client) -> None:
    tenant = Tenant(TenantOptions(now=ticks.parse(NOW), rows={"DeviceNetworkEvents": 300_000}))
    held = tenant.rows("AlertInfo", ticks.parse(NOW) - 30 * ticks.DAY, ticks.parse(NOW) + 1)
    expected = sorted((ticks.text(row["Timestamp"]), row["AlertId"]) for row in held.to_pylist())
    for api in ("xdr", "graph"):
        body = client.post(api, "AlertInfo").json()
        rows = body.get("Results") or body["results"]
        assert sorted((row["Timestamp"], row["AlertId"]) for row in rows) == expected
    tenant.close()


def test_over_100000_rows_are_cut_without_an_error(client: Client) -> None:
    query = f"DeviceNetworkEvents | where {HOUR} | project Timestamp, ReportId"
    assert client.rows(f"{query} | count")[0]["Count"] > 120_000
    first, second = client.rows(query), client.rows(query)
    assert len(first) == len(second) == 100_000


def test_a_histogram_adds_up(client: Client) -> None:
    (whole,) = client.rows(f"DeviceNetworkEvents | where {HOUR} | summarize Rows = count()")
    query = f"DeviceNetworkEvents | where {HOUR} | summarize Rows = count() by"
    for by in ("Bin = bin(Timestamp, 1m)", "Bucket = hash(tostring(pack_all()), 8)"):
        assert sum(row["Rows"] for row in client.rows(f"{query} {by}")) == whole["Rows"]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("Nope | take 1", "Failed to resolve table or column expression named 'Nope'"),
        ("IdentityInfo | take 1", "Failed to resolve table or column expression named 'IdentityInfo'"),
        ("AlertInfo | where Nope == 1", "Failed to resolve column or scalar expression named 'Nope'"),
        ("AlertInfo | frob", "Syntax error"),
    ],
)
def test_wrong_queries_are_bad_requests(client: Client, query: str, message: str) -> None:
    for api in PATHS:
        reply = client.post(api, query)
        assert reply.status_code == 400
        assert reply.json()["error"]["code"] == "BadRequest"
        assert message in reply.json()["error"]["message"]


def test_every_reply_has_the_date_of_the_tenant(client: Client) -> None:
    dates = []
    for skew in (0.0, -2_400.0, None):
        client.configure(manners={"date_skew": skew})
        answered, refused = client.post("graph", "AlertInfo | take 1"), client.post("graph", "Nope | take 1")
        assert answered.headers.get("Date") == refused.headers.get("Date")
        dates.append(answered.headers.get("Date"))
    client.configure(manners={"date_skew": 0.0})
    assert dates == ["Fri, 20 Nov 2026 00:00:00 GMT", "Thu, 19 Nov 2026 23:20:00 GMT", None]


def test_the_endpoint_api_has_device_tables_only(client: Client) -> None:
    assert client.post("endpoint", "DeviceInfo | take 1").status_code == 200
    assert client.post("endpoint", "EmailEvents | take 1").status_code == 400


@pytest.mark.parametrize("body", [b'{"query": "AlertInfo"}', b'{"Query": "a\nb"}', b"[]", b'{"Query": ""}'])
def test_a_body_without_a_query_is_refused(client: Client, body: bytes) -> None:
    headers = {"Authorization": f"Bearer {client.token}"}
    reply = client.session.post(client.endpoint.url + PATHS["xdr"], data=body, headers=headers, timeout=10)
    assert reply.status_code == 400
    assert reply.json()["error"]["code"] == "InvalidRequestBody"
    assert reply.json()["error"]["message"] == "Missing query."


def test_a_body_over_a_megabyte_is_413(client: Client) -> None:
    assert client.post("xdr", "x" * 1_000_001).status_code == 413


def test_without_a_token_there_is_401(client: Client) -> None:
    for api, code in (("xdr", "Unauthorized"), ("graph", "InvalidAuthenticationToken")):
        reply = client.session.post(client.endpoint.url + PATHS[api], json={"Query": "AlertInfo"}, timeout=10)
        assert (reply.status_code, reply.json()["error"]["code"]) == (401, code)


def test_the_call_quota_answers_429_with_its_words(client: Client) -> None:
    client.configure(limits={"calls_per_minute": 1})
    client.rows("print 1")
    graph, xdr = client.post("graph", "print 1"), client.post("xdr", "print 1")
    assert (graph.status_code, graph.json()["error"]["code"]) == (429, "TooManyRequests")
    assert 0 < int(graph.headers["Retry-After"]) <= 60
    assert xdr.json()["error"]["code"] == "429"
    assert xdr.json()["error"]["message"] == "API calls quota exceeded! maximum allowed 1 per 00:01:00"
    assert client.stats()["over_quota"] == 2


def test_too_many_bytes_are_a_bad_request(client: Client) -> None:
    client.configure(limits={"bytes": 1_000_000})
    reply = client.post("xdr", f"DeviceNetworkEvents | where {HOUR}")
    assert reply.status_code == 400
    assert "exceeded the allowed result size" in reply.json()["error"]["message"]
    assert client.stats()["too_big"] == 1


def test_a_query_that_runs_too_long_is_504_without_words(client: Client) -> None:
    client.configure(limits={"request_seconds": 0.05})
    reply = client.post("xdr", "DeviceNetworkEvents | summarize count() by hash(tostring(pack_all()), 8)")
    assert reply.status_code == 504
    assert reply.json()["error"] == {
        "code": "UnknownError",
        "message": "",
        "target": reply.json()["error"]["target"],
    }


def test_stats_count_the_queries(client: Client) -> None:
    client.rows("AlertInfo | take 3")
    client.rows("AlertInfo | summarize count() by bin(Timestamp, 1d)")
    stats = client.stats()
    assert stats["calls"] == 2
    assert stats["by_table"] == {"AlertInfo": 2}
    assert stats["by_kind"] == {"rows": 1, "histogram": 1}
    assert stats["log"][0]["rows"] == 3
    assert stats["log"][0]["query"] == "AlertInfo | take 3"


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ("too_big", 400, "BadRequest"),
        ("preempted", 400, "BadRequest"),
        ("timeout", 504, "UnknownError"),
        ("error", 500, "InternalServerError"),
        ("unavailable", 503, "ServiceUnavailable"),
        ("token", 401, "Unauthorized"),
        ("quota", 429, "429"),
        ("cpu", 429, "CpuQuotaExceeded"),
    ],
)
def test_queued_refusals_meet_one_call(client: Client, fault: str, status: int, code: str) -> None:
    client.configure(faults={"queue": [fault]})
    reply = client.post("xdr", "print 1")
    assert (reply.status_code, reply.json()["error"]["code"]) == (status, code)
    assert client.post("xdr", "print 1").status_code == 200


def test_a_gateway_error_is_html(client: Client) -> None:
    client.configure(faults={"queue": ["gateway"]})
    reply = client.post("graph", "print 1")
    assert reply.status_code == 502
    assert reply.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize("fault", ["reset", "cut"])
def test_broken_connections_are_seen_by_the_client(client: Client, fault: str) -> None:
    client.configure(faults={"queue": [fault]})
    with pytest.raises(requests.RequestException):
        client.post("xdr", "AlertInfo")


def test_half_a_body_looks_complete_to_http(client: Client) -> None:
    client.configure(faults={"queue": ["half"]})
    reply = client.post("xdr", "AlertInfo")
    assert reply.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        json.loads(reply.text)


def test_hanging_and_dripping(client: Client) -> None:
    client.configure(manners={"hang_seconds": 3, "slow_seconds": 1.5}, faults={"queue": ["hang", "slow"]})
    with pytest.raises(requests.ReadTimeout):
        client.post("xdr", "print 1", timeout=0.5)
    started = time.monotonic()
    assert client.post("xdr", "print 1").json()["Results"] == [{"print_0": 1}]
    assert time.monotonic() - started > 0.5


def test_manners_of_the_envelope(client: Client) -> None:
    client.configure(manners={"schema_last": True, "swap_case": True, "plain_bool": True, "null": "null"})
    body = client.post("xdr", "print b = true").json()
    assert list(body) == ["Stats", "results", "schema"]
    assert body["schema"] == [{"name": "b", "type": "Boolean"}]
    assert body["results"] == [{"b": True}]
    assert list(client.post("graph", "print b = long(null)").json()) == [
        "@odata.context",
        "Results",
        "Schema",
    ]
    assert client.post("graph", "print b = long(null)").json()["Results"] == [{"b": None}]


def test_drift_changes_columns_between_two_calls(client: Client) -> None:
    def schema() -> dict[str, Any]:
        return {
            entry["Name"]: entry["Type"]
            for entry in client.post("xdr", "AlertInfo | take 1").json()["Schema"]
        }

    before = schema()
    change = {
        "add": {"Extra": "string"},
        "remove": ["Title"],
        "retype": {"Timestamp": "datetime", "Severity": "long"},
    }
    client.configure(drift={"AlertInfo": change})
    after = schema()
    assert set(after) == set(before) - {"Title"} | {"Extra"}
    assert after["Severity"] == "Int64"


def test_revoked_tokens_are_refused(client: Client) -> None:
    client.configure(revoke_tokens=True)
    assert client.post("xdr", "print 1").status_code == 401
    client.token = sign_in(client.endpoint)["access_token"]
    assert client.post("xdr", "print 1").status_code == 200


def test_the_admin_routes_refuse_unknown_settings(endpoint: Endpoint) -> None:
    session = session_for(endpoint)
    for wrong in ({"nonsense": 1}, {"limits": {"x": 1}}, {"faults": {"queue": ["x"]}}, {"manners": {"x": 1}}):
        assert session.post(f"{endpoint.url}/_emulator/config", json=wrong, timeout=10).status_code == 400
