"""The table from reply to verdict, for every known form of a reply."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hunting_pipeline.http.verdict import (
    CALLS_WAIT,
    CPU_WAIT,
    NoAnswer,
    NotAccepted,
    Refuse,
    Renew,
    Retry,
    Split,
    Verdict,
    Wait,
    judge,
    printable,
)

NOW = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
PERMISSION = "ThreatHunting.Read.All"
KNOWN = {200, 400, 401, 403, 404, 413, 429, 500, 502, 503, 504, *range(300, 400)}


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
        assert 1 <= found.seconds < 1e12


def test_html_is_shown_as_text_and_502_is_a_split() -> None:
    page = b"<html><head><title>502 Bad Gateway</title></head>\r\n<body>nginx\x1b[31m</body></html>"
    assert raw(502, page) == NoAnswer("502 502 Bad Gateway nginx [31m")
    assert verdict(502) == NoAnswer("502")


def test_the_missing_permission_is_named() -> None:
    found = verdict(403, "Forbidden", "The application does not have any of the required permissions")
    assert isinstance(found, Refuse)
    assert PERMISSION in found.message
    assert "required permissions" in found.message


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
        ("TooManyRequests", "", {"Retry_After": "Fri, 20 Nov 2026 09:00:00 GMT"}, 1),
        ("TooManyRequests", "", {"Retry_After": "0"}, 1),
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
