"""The table from reply to verdict, for every known form of a reply."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hunting_pipeline.http.verdict import (
    CALLS_WAIT,
    CPU_WAIT,
    LONGEST_RETRY,
    LONGEST_WAIT,
    NoAnswer,
    NotAccepted,
    Refuse,
    Renew,
    Retry,
    Split,
    Verdict,
    Wait,
    accepted,
    judge,
    printable,
)

NOW = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
PERMISSION = "ThreatHunting.Read.All"
RETRIED = {408, 421, 423, 425, 500, 503, 520, 521, 522, 523}
KNOWN = {
    200,
    400,
    401,
    403,
    404,
    407,
    410,
    413,
    429,
    451,
    502,
    504,
    509,
    511,
    524,
    *RETRIED,
    *range(300, 400),
}


def verdict(status: int, code: str = "", message: str = "", **headers: str) -> Verdict | None:
    """Return the verdict on an error envelope with the given headers."""
    body = json.dumps({"error": {"code": code, "message": message, "target": "|a1.b2"}}).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return judge(status, named, body, permission=PERMISSION, now=NOW)


def raw(status: int, body: bytes) -> Verdict | None:
    return judge(status, {}, body, permission=PERMISSION, now=NOW)


def test_only_200_is_accepted() -> None:
    accepted = {status for status in range(100, 1000) if raw(status, b"") is None}
    assert accepted == {200}


@pytest.mark.parametrize(
    ("message", "kind", "hint"),
    [
        ("Failed to resolve table or column expression named 'EmailEvents'", Refuse, "not licensed"),
        ("'where' operator: Failed to resolve scalar expression named 'Nope'", Refuse, "column"),
        ("Syntax Error. A recognition error occurred.", Refuse, "Syntax Error"),
        ("Query execution has exceeded the allowed result size. Optimize your query", Split, "result size"),
        ("Query execution has exceeded the allowed limits. The query execution was preempted. Optimize",
         Split, "preempted"),
        ("", Refuse, "400 BadRequest"),
    ],
)  # fmt: skip
def test_a_bad_request_is_refused_unless_its_result_is_too_large(message: str, kind: type, hint: str) -> None:
    found = verdict(400, "BadRequest", message)
    assert isinstance(found, kind)
    assert hint in str(NotAccepted(found))  # type: ignore[arg-type]
    assert message[:60] in str(NotAccepted(found))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "InvalidRequestBody", Refuse),
        (400, "MissingRequiredParameter", Refuse),
        (401, "InvalidAuthenticationToken", Renew),
        (403, "DisabledFeature", Refuse),
        (404, "ResourceNotFound", Refuse),
        (413, "RequestEntityTooLarge", Refuse),
        (500, "InternalServerError", Retry),
        (500, "UnknownError", Retry),
        (503, "ServiceUnavailable", Retry),
        (504, "UnknownError", NoAnswer),
        (524, "", NoAnswer),
        (408, "RequestTimeout", Retry),
        (421, "", Retry),
        (423, "Locked", Retry),
        (425, "TooEarly", Retry),
        (520, "", Retry),
        (521, "", Retry),
        (522, "", Retry),
        (523, "", Retry),
        (509, "BandwidthLimitExceeded", Wait),
        (407, "", Refuse),
        (410, "Gone", Refuse),
        (451, "", Refuse),
        (511, "", Refuse),
        (525, "", Refuse),
        (526, "", Refuse),
        (507, "InsufficientStorage", Refuse),
        (501, "NotImplemented", Refuse),
        (409, "Conflict", Refuse),
        (206, "", Refuse),
    ],
)
def test_each_status_has_its_verdict(status: int, code: str, kind: type) -> None:
    found = verdict(status, code)
    assert isinstance(found, kind)
    assert f"{status} {code}".strip() in str(NotAccepted(found))  # type: ignore[arg-type]


@given(status=st.integers(100, 999).filter(lambda s: s not in KNOWN), body=st.binary(max_size=200))
def test_an_unknown_status_is_refused(status: int, body: bytes) -> None:
    assert isinstance(raw(status, body), Refuse)


@given(status=st.integers(100, 999), body=st.binary(max_size=300), after=st.text(max_size=40))
def test_every_body_and_header_gives_a_verdict(status: int, body: bytes, after: str) -> None:
    found = judge(status, {"Retry-After": after}, body, permission="p", now=NOW)
    if isinstance(found, Wait):
        assert 1 <= found.seconds <= LONGEST_WAIT
    if isinstance(found, Retry):
        assert 0 <= found.seconds <= LONGEST_RETRY


def test_html_is_shown_as_text_and_502_is_a_split() -> None:
    page = b"<html><head><title>502 Bad Gateway</title></head>\r\n<body>nginx\x1b[31m</body></html>"
    assert raw(502, page) == NoAnswer("502 web page: 502 Bad Gateway nginx [31m")
    assert verdict(502) == NoAnswer("502")


def test_the_missing_permission_is_named() -> None:
    found = verdict(403, "Forbidden", "The application does not have any of the required permissions")
    assert isinstance(found, Refuse)
    assert PERMISSION in found.message
    assert "required permissions" in found.message


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("DisabledFeature", "Tenant feature is not enabled."),
        ("DisallowedOperation", "The operation is not allowed."),
        ("Forbidden", "DisabledFeature: tenant feature is not enabled"),
    ],
)
def test_a_disabled_feature_is_not_a_missing_permission(code: str, message: str) -> None:
    found = verdict(403, code, message)
    assert isinstance(found, Refuse)
    assert found.everything
    assert PERMISSION not in found.message
    assert "the tenant does not have this feature" in found.message
    assert message in found.message


PAGE = b"<!DOCTYPE html><html><title>Blocked by policy</title></html>"


@pytest.mark.parametrize("status", [403, 407, 451, 511])
@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (PAGE, {}),
        (b"  \r\n" + PAGE, {}),
        (b"Blocked by policy", {"Content-Type": "text/html; charset=utf-8"}),
    ],
)
def test_a_page_of_a_proxy_is_not_a_missing_permission(
    status: int, body: bytes, headers: dict[str, str]
) -> None:
    found = judge(status, headers, body, permission=PERMISSION, now=NOW)
    assert isinstance(found, Refuse)
    assert found.message.startswith(f"{status} web page: Blocked by policy; ")
    assert "a proxy, firewall or captive portal answered" in found.message
    assert "HTTPS_PROXY" in found.message
    assert PERMISSION not in found.message


def test_a_web_page_is_no_result() -> None:
    html = {"content-type": "Text/HTML"}
    assert accepted(200, {"Content-Type": "application/json;odata.metadata=minimal"})
    assert accepted(200, {})
    assert not accepted(200, html)
    assert not accepted(204, {})
    found = judge(200, html, PAGE, permission=PERMISSION, now=NOW)
    assert isinstance(found, Retry)
    assert found.reason.startswith("200 web page: Blocked by policy; ")
    assert "captive portal" in found.reason


def test_a_redirect_names_its_target_and_the_setting() -> None:
    found = verdict(307, location="https://elsewhere.example/")
    assert isinstance(found, Refuse)
    assert "https://elsewhere.example/" in found.message
    assert "api_url" in found.message


@pytest.mark.parametrize(
    ("code", "message", "headers", "seconds"),
    [
        ("429", "API calls quota exceeded! maximum allowed 45 per 00:01:00", {}, 60),
        ("429", "API calls quota exceeded! maximum allowed 1500 per 01:00:00.", {}, 3600),
        ("429", "maximum allowed 9 per 1.00:00:00", {}, 86400),
        ("CpuQuotaExceeded", "Quota is used up. You can run queries again in 2871 seconds.", {}, 2871),
        ("CpuQuotaExceeded", "again in 1 second, maximum 45 per 00:01:00", {}, 1),
        ("TooManyRequests", "Too many", {"Retry_After": "17"}, 17),
        ("TooManyRequests", "again in 2871 seconds", {"retry_after": "17"}, 17),
        ("TooManyRequests", "", {"Retry_After": "Fri, 20 Nov 2026 10:05:00 GMT"}, 300),
        ("TooManyRequests", "", {"Retry_After": "Fri, 20 Nov 2026 10:05:00 -0000"}, 300),
        ("TooManyRequests", "", {"Retry_After": "Fri, 20 Nov 2026 09:00:00 GMT"}, CALLS_WAIT),
        ("TooManyRequests", "", {"Retry_After": "Fri, 20 Nov 2026 10:00:00 GMT"}, CALLS_WAIT),
        ("TooManyRequests", "", {"Retry_After": "0"}, CALLS_WAIT),
        ("CpuQuotaExceeded", "", {"Retry_After": "0"}, CPU_WAIT),
        ("CpuQuotaExceeded", "", {"Retry_After": "Fri, 20 Nov 2026 09:00:00 GMT"}, CPU_WAIT),
        ("CpuQuotaExceeded", "again in 2871 seconds", {"Retry_After": "0"}, 2871),
        ("CpuQuotaExceeded", "again in 0 seconds", {}, CPU_WAIT),
        ("TooManyRequests", "", {"Retry_After": "0.25"}, 1),
        ("TooManyRequests", "", {"Retry_After": "999999999"}, LONGEST_WAIT),
        ("TooManyRequests", "", {"Retry_After": "Fri, 20 Nov 9998 10:00:00 GMT"}, LONGEST_WAIT),
        ("TooManyRequests", "again in 999999999 seconds", {}, LONGEST_WAIT),
        ("TooManyRequests", "maximum 45 per 9999.00:00:00", {}, LONGEST_WAIT),
        ("TooManyRequests", "", {"Retry_After": "86400"}, 86400),
        ("TooManyRequests", "again in 5 seconds", {"Retry_After": "-3"}, 5),
        ("TooManyRequests", "again in 5 seconds", {"Retry_After": "9" * 400}, 5),
        ("TooManyRequests", "again in 5 seconds", {"Retry_After": "soon"}, 5),
        ("TooManyRequests", "", {}, CALLS_WAIT),
        ("CpuQuotaExceeded", "", {}, CPU_WAIT),
    ],
)
def test_the_wait_is_read_from_header_or_body(
    code: str, message: str, headers: dict[str, str], seconds: float
) -> None:
    assert verdict(429, code, message, **headers) == Wait(
        seconds, f"429 {code}: {message}".removesuffix(": ")
    )


@pytest.mark.parametrize("status", sorted(RETRIED))
@pytest.mark.parametrize(
    ("after", "seconds"),
    [
        ("17", 17),
        ("0", 0),
        ("soon", 0),
        ("999999", LONGEST_RETRY),
        ("Fri, 20 Nov 2026 10:01:00 GMT", 60),
        ("Fri, 20 Nov 2026 09:00:00 GMT", 0),
    ],
)
def test_a_retry_has_the_wait_of_the_header(status: int, after: str, seconds: float) -> None:
    assert verdict(status, "Code", "why", retry_after=after) == Retry(f"{status} Code: why", seconds)


def test_a_429_without_json_still_waits() -> None:
    assert raw(429, b"<h1>Slow down</h1> try again in 30 seconds") == Wait(
        30, "429 Slow down try again in 30 seconds"
    )


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b'{"error":{"code":"X","message":"why","innerError":{"request-id":"1"}}}', "X: why"),
        (b'{"error":"plain text"}', "plain text"),
        (b'{"code":"X","message":"why"}', "X: why"),
        (b'{"error":{"code":429,"message":null}}', "429"),
        (b"[1, 2]", "[1, 2]"),
        (b'{"error":{"code":"X","mess', '{"error":{"code":"X","mess'),
        (b"[" * 60_000, "[" * 499 + "…"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b'{"error":{"code":"X","message":"' + b"long " * 4000 + b'"}}', "X: " + ("long " * 100)[:499] + "…"),
    ],
)
def test_the_text_of_the_service_is_shortened(body: bytes, shown: str) -> None:
    assert raw(400, body) == Refuse(f"the service refused the query: 400 {shown}", everything=False)


@given(st.text(), st.integers(1, 50))
def test_foreign_text_is_one_short_printable_line(text: str, limit: int) -> None:
    shown = printable(text, limit=limit)
    assert len(shown) <= limit
    assert shown.isprintable()


def test_a_page_of_open_brackets_costs_no_time() -> None:
    assert printable("<" * 1_000_000, limit=500) == "<" * 499 + "…"
