"""Secrets in foreign text are removed in every form, and ordinary text stays."""

import base64
import html
import json
import time
from urllib.parse import quote, quote_plus, unquote

import pytest

from hunting_pipeline import redaction
from hunting_pipeline.http.verdict import printable
from hunting_pipeline.redaction import MASK, SHORTEST, hold, hold_private_keys, hold_url, redacted

SECRETS = [
    "abc8Q~xY.Z-0_1",
    'p@ss w/rd:+"quoted"&<b>',
    "back\\slash%41&amp;",
    "pässwörd-日本-🔑",
    "nrt-begins-like-an-escape",
    "12345678",
]


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def entities(text: str, form: str) -> str:
    return "".join(f"&{form.format(ord(c))};" for c in text)


def encoded(secret: str, before: str, after: str) -> list[str]:
    """Return a secret in every form; the base64 forms encode it between two other texts."""
    data = (before + secret + after).encode()
    return [
        secret,
        quote(secret, safe=""),
        quote(secret, safe="").lower() if secret.islower() else quote(secret),
        quote_plus(secret),
        quote(quote(secret, safe=""), safe=""),
        "".join(f"%{byte:02x}" for byte in secret.encode()),
        json.dumps(secret)[1:-1],
        json.dumps(secret)[1:-1].replace("/", "\\/"),
        json.dumps(json.dumps(secret)[1:-1])[1:-1],
        json.dumps(quote_plus(secret))[1:-1],
        "".join(f"\\u{unit:04X}" for unit in memoryview(secret.encode("utf-16-le")).cast("H")),
        "".join(f"\\x{byte:02x}" for byte in secret.encode()),
        html.escape(secret),
        html.escape(html.escape(secret)),
        html.escape(json.dumps(secret)[1:-1]),
        entities(secret, "#{}"),
        entities(secret, "#x{:X}"),
        "\0".join(secret),
        base64.b64encode(data).decode(),
        base64.urlsafe_b64encode(data).decode(),
        base64.encodebytes(data).decode(),
        quote(base64.b64encode(data).decode(), safe=""),
        json.dumps(base64.b64encode(data).decode()).replace("/", "\\/"),
    ]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("before", ["", "u", "us", "use", "user:", "it\\", "100%", "x&"])
def test_every_form_of_a_held_secret_is_removed(secret: str, before: str) -> None:
    hold(secret)
    for after in ("", "&", "z", "yz", ";amp"):
        for form in encoded(secret, before, after):
            found = redacted(f"error: {form} was sent")
            assert found.startswith("error: ")
            assert found.endswith(" was sent")
            assert MASK in found
            rest = found.removeprefix("error: ").removesuffix(" was sent").replace(MASK, "")
            neighbours = base64.b64encode(before.encode()) + base64.b64encode(after.encode())
            assert len(unquote(rest)) <= len(neighbours) + 4, form


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_is_removed_before_the_text_is_cut(secret: str) -> None:
    hold(secret)
    for form in encoded(secret, "", ""):
        for start in range(480, 505):
            assert _longest_common(printable("." * start + form), form) < 4, form


def _longest_common(text: str, form: str) -> int:
    """Return the length of the longest beginning of a form with which the text ends."""
    text = text.rstrip("…")
    return max(n for n in range(len(form) + 1) if text.endswith(form[:n]))


def test_a_secret_within_a_tag_is_removed_before_tags_are_cut() -> None:
    hold(SECRETS[0])
    assert SECRETS[0][:5] not in printable("-" * 3995 + f"<input value={SECRETS[0]}>", limit=500)


JWT = "eyJ0eXAiOiJKV1QiLCJhbGciOiJub25lIn0.eyJhdWQiOiJ4In0.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (f"Authorization: Bearer {JWT} is invalid", "Authorization: Bearer [redacted] is invalid"),
        (f"token {JWT[:40]}", "token [redacted]"),  # cut by the service
        (f"token {JWT.lower()}.", "token [redacted]"),
        ("Bearer%200123456789abcdef0123", "Bearer%20[redacted]"),
        ("Proxy-Authorization: Basic dXNlcjpwYXNzd29yZA==", "Proxy-Authorization: Basic [redacted]"),
        ("client_id=a&client_secret=hush&x=1", "client_id=a&client_secret=[redacted]&x=1"),
        ("client_id%3Da%26client_secret%3Dhush", "client_id%3Da%26client_secret%3D[redacted]"),
        ('{"client_secret": "hush"}', '{"client_secret": "[redacted]"}'),
        (r"{\"client_assertion\":\"a.b.c\"}", r"{\"client_assertion\":\"[redacted]\"}"),
        ("&quot;client_secret&quot;:&quot;hush&quot;", "&quot;client_secret&quot;:&quot;[redacted]&quot;"),
        ("GET http://user:hush@proxy:8080/", "GET http://[redacted]@proxy:8080/"),
    ],
)
def test_an_unknown_secret_is_removed_by_its_form(text: str, kept: str) -> None:
    assert redacted(text) == kept
    assert redacted(kept) == kept


@pytest.mark.parametrize(
    "text",
    [
        "AADSTS7000216: The request body must contain the following parameter: 'client_assertion'.",
        "AADSTS7000215: Invalid client secret provided.",
        'Bearer authorization_uri="https://login.windows.net/x", error="invalid_token"',
        "Basic authentication is not allowed; use Bearer tokens instead",
        "'where' operator: Failed to resolve column named 'Foo' (line 1:23)",
        "https://graph.microsoft.com/v1.0?x=a@b",
        "client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "100% of 45 calls & more; C:\\new\\temp é 日本",
    ],
)
def test_ordinary_text_stays(text: str) -> None:
    hold(*SECRETS)
    assert redacted(text) == text


def test_a_short_secret_does_not_shred_messages() -> None:
    hold("a", "e-r+", "1234567", "      ", "", "-" * 20)
    assert redacted("an error -- at 12:34:51") == "an error -- at 12:34:51"
    hold("x" * SHORTEST)
    assert redacted("x" * SHORTEST) == MASK


def test_several_secrets_that_overlap_are_removed_as_one() -> None:
    hold("abcdefgh", "efghijkl", "defghi")
    assert redacted(quote("<abcdefghijkl>")) == f"%3C{MASK}%3E"


def test_each_line_of_a_private_key_is_held() -> None:
    lines = ["MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcw", "ggSjAgEAAoIBAQC7"]
    hold_private_keys("-----BEGIN PRIVATE KEY-----\n" + "\n".join(lines) + "\n-----END PRIVATE KEY-----\n")
    for line in lines:
        assert redacted(f"near {line}, x") == f"near {MASK}, x"


@pytest.mark.parametrize("password", ["hush-hush", "p%40ss%2Fword", "tiny"])
def test_the_passwords_of_urls_are_held(password: str, monkeypatch: pytest.MonkeyPatch) -> None:
    basic = base64.b64encode(f"ada:{unquote(password)}".encode()).decode()
    hold_url(f"postgresql://ada:{password}@h/db")
    assert basic[:8] not in redacted(f"407 {basic}")
    monkeypatch.setattr(redaction, "_held", {})
    monkeypatch.setenv("HTTPS_PROXY", f"http://ada:{password}@proxy:3128")
    found = redacted(f"407 {basic}, {password}, {unquote(password)}")
    assert basic[:8] not in found
    assert password == "tiny" or found.count(MASK) == 3


def test_hostile_text_is_read_in_linear_time() -> None:
    hold(*SECRETS)
    texts = [
        "\\",
        "%25",
        "&amp;",
        "bearer a",
        "Bearer+",
        "eyJ",
        "client_secret",
        "password=\\",
        "://a:",
        "A",
        "\\u",
    ]
    for text in texts:
        started = time.perf_counter()
        redacted(text * (65_536 // len(text)))
        assert time.perf_counter() - started < 2, text
