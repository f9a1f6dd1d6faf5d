"""The registry of credentials, and real MSAL against a small tenant: its requests, its cache, its errors."""

import base64
import contextlib
import hashlib
import json
import logging
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from test_http_transport import Asked, Loopback, Script, answer, ca, loopback, reply

from hunting_pipeline.apis import APIS
from hunting_pipeline.apis.clouds import Cloud
from hunting_pipeline.apis.connection import connection
from hunting_pipeline.auth import CREDENTIALS, choose, missing
from hunting_pipeline.auth.certificate import Certificate
from hunting_pipeline.auth.credential import Credential
from hunting_pipeline.auth.federated import FederatedToken
from hunting_pipeline.auth.secret import ClientSecret
from hunting_pipeline.auth.tokens import Tokens, tokens
from hunting_pipeline.errors import HuntingError, Misconfigured, Refused, ServiceFailed

__all__ = ["ca"]

TENANT = "11111111-2222-3333-4444-555555555555"
APP = "99999999-2222-3333-4444-555555555555"
SECRET = "s3cr3t~never.shown"


class Entra:
    """OpenID discovery and a token endpoint. Each login gets a new token; `says` replaces its answers."""

    def __init__(self) -> None:
        self.logins: list[dict[str, str]] = []
        self.says: Script | None = None
        self.discovery: Script | None = None
        self.lifetime = 3599
        self.address = ""

    def __call__(self, conn: socket.socket, asked: Asked) -> object:
        if asked.path.endswith("/.well-known/openid-configuration"):
            if self.discovery:
                return self.discovery(conn, asked)
            base = f"{self.address}/{asked.path.split('/')[1]}"
            urls = {"authorization_endpoint": "authorize", "token_endpoint": "token"}
            said: dict[str, object] = {key: f"{base}/oauth2/v2.0/{path}" for key, path in urls.items()}
        else:
            self.logins.append({key: value[0] for key, value in parse_qs(asked.body.decode()).items()})
            if self.says:
                return self.says(conn, asked)
            said = {
                "token_type": "Bearer",
                "expires_in": self.lifetime,
                "access_token": f"token-{len(self.logins)}",
            }
        conn.sendall(reply(200, json.dumps(said).encode(), content_type="application/json"))
        return True


@contextlib.contextmanager
def tenant(ca: trustme.CA, folder: Path) -> Iterator[tuple[Entra, Loopback]]:
    entra = Entra()
    with loopback(entra, ca, folder) as server:
        entra.address = server.url
        yield entra, server


def signing_in(server: Loopback, credential: Credential | None = None) -> Tokens:
    there = connection(APIS["graph"], Cloud.GLOBAL, login_url=server.url, ca_bundle=server.ca)
    return tokens(
        credential or ClientSecret(client_secret=SECRET),
        tenant_id=TENANT,
        client_id=APP,
        connection=there,
    )


def key_pair(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hunting")])
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )


RSA = rsa.generate_private_key(65537, 2048)
CERTIFICATE = key_pair(RSA)
CERTIFICATE_PEM = CERTIFICATE.public_bytes(serialization.Encoding.PEM)


def key_pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, password: bytes | None = None) -> bytes:
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password:
        encryption = serialization.BestAvailableEncryption(password)
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


any_credential = pytest.mark.parametrize("credential", CREDENTIALS, ids=lambda one: one.__name__)


@any_credential
def test_a_credential_states_its_settings(credential: type[Credential]) -> None:
    assert credential.title
    assert credential.missing({}), "no setting at all would always be complete"
    assert all(field.description for field in credential.model_fields.values())


@any_credential
def test_a_credential_is_complete_when_its_required_settings_are_set(credential: type[Credential]) -> None:
    required = credential.missing({})
    values: dict[str, object] = dict.fromkeys(required, "given")
    assert isinstance(choose(values), credential)
    assert missing(values) == ""
    for name in required:
        less = {other: value for other, value in values.items() if other != name} | {name: None}
        assert credential.missing(less) == (name,)
        with pytest.raises(Misconfigured, match=name):
            choose(less)


def test_of_several_complete_credentials_the_first_of_the_registry_signs_in() -> None:
    for at, credential in enumerate(CREDENTIALS):
        values = {name: "given" for later in CREDENTIALS[at:] for name in later.missing({})}
        assert isinstance(choose(values), credential)


def test_a_certificate_signs_in_before_a_workload_identity_and_a_secret() -> None:
    order = [CREDENTIALS.index(one) for one in (Certificate, FederatedToken, ClientSecret)]
    assert order == sorted(order)


def test_the_message_names_the_missing_setting_of_a_partly_set_credential() -> None:
    with pytest.raises(Misconfigured, match=r"set certificate$"):
        choose({"certificate_password": "pa55"})


def test_the_registry_loads_no_msal() -> None:
    """Settings import the registry, but most commands do not sign in."""
    heavy = "{'msal', 'cryptography', 'httpx'}"
    code = f"import hunting_pipeline.settings, sys; sys.exit(str({heavy} & set(sys.modules) or ''))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


def test_a_secret_gives_a_token_that_is_kept_until_its_renewal(ca: trustme.CA, tmp_path: Path) -> None:
    with tenant(ca, tmp_path) as (entra, server):
        app = signing_in(server)
        app.renew()  # no token is cached yet
        assert [app.token(), app.token()] == ["token-1", "token-1"]
        app.renew()
        assert [app.token(), app.token()] == ["token-2", "token-2"]
    assert entra.logins[0]["client_id"] == APP
    assert entra.logins[0]["client_secret"] == SECRET
    assert entra.logins[0]["grant_type"] == "client_credentials"
    assert "https://graph.microsoft.com/.default" in entra.logins[0]["scope"]
    assert {asked.path.split("/")[1] for asked in server.asked} == {TENANT}


def test_a_token_about_to_expire_is_replaced(ca: trustme.CA, tmp_path: Path) -> None:
    with tenant(ca, tmp_path) as (entra, server):
        entra.lifetime = 200  # MSAL does not use a token that expires within five minutes
        app = signing_in(server)
        assert [app.token(), app.token()] == ["token-1", "token-2"]


def test_threads_that_need_a_token_at_once_log_in_once(ca: trustme.CA, tmp_path: Path) -> None:
    with tenant(ca, tmp_path) as (entra, server):
        app = signing_in(server)
        barrier = threading.Barrier(8)

        def ask(_: int) -> str:
            barrier.wait()
            return app.token()

        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(ask, range(8))) == {"token-1"}
    assert len(entra.logins) == 1


@pytest.mark.parametrize("kind", ["pem", "pem-cert-first", "pem-password", "pfx", "pfx-password"])
def test_a_certificate_signs_the_login(kind: str, ca: trustme.CA, tmp_path: Path) -> None:
    password = b"pa55" if kind.endswith("password") else None
    path = tmp_path / "app"
    if kind.startswith("pem"):
        parts = [key_pem(RSA, password), CERTIFICATE_PEM]
        path.write_bytes(b"\n".join(reversed(parts) if kind == "pem-cert-first" else parts))
    else:
        encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if password:
            encryption = serialization.BestAvailableEncryption(password)
        path.write_bytes(pkcs12.serialize_key_and_certificates(b"app", RSA, CERTIFICATE, None, encryption))
    with tenant(ca, tmp_path) as (entra, server):
        credential = Certificate(
            certificate=path, certificate_password=password.decode() if password else None
        )
        assert signing_in(server, credential).token() == "token-1"
    head, claims, _ = entra.logins[0]["client_assertion"].split(".")
    header = json.loads(base64.urlsafe_b64decode(head + "=="))
    assert header["x5t#S256"].rstrip("=") == base64.urlsafe_b64encode(
        hashlib.sha256(CERTIFICATE.public_bytes(serialization.Encoding.DER)).digest()
    ).decode().rstrip("=")
    assert json.loads(base64.urlsafe_b64decode(claims + "=="))["iss"] == APP
    assert "client_secret" not in entra.logins[0]


def issued(
    name: str,
    key: rsa.RSAPrivateKey,
    issuer: tuple[str, rsa.RSAPrivateKey],
    *,
    days: tuple[float, float] = (-1, 1),
) -> x509.Certificate:
    """Return a certificate for `name`, signed by `issuer` and valid between two days from now."""

    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(named(issuer[0]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
        .sign(issuer[1], hashes.SHA256())
    )


def pem_of(*certificates: x509.Certificate) -> bytes:
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certificates)


KEYS = [rsa.generate_private_key(65537, 2048) for _ in range(3)]
ROOT = issued("root", KEYS[0], ("root", KEYS[0]))
UPPER = issued("upper", KEYS[1], ("root", KEYS[0]))
LOWER = issued("lower", KEYS[2], ("upper", KEYS[1]))
LEAF = issued("hunting", RSA, ("lower", KEYS[2]))
OLD_LEAF = issued("hunting", RSA, ("lower", KEYS[2]), days=(-9, -8))
STRANGER = issued("lower", KEYS[0], ("root", KEYS[0]))  # an intermediate's name, and another key


def sent_chain(path: Path, folder: Path, ca: trustme.CA, *, password: str | None = None) -> list[bytes]:
    """Sign in with the file, and return the certificates that the assertion holds, in DER."""
    with tenant(ca, folder) as (entra, server):
        signing_in(server, Certificate(certificate=path, certificate_password=password)).token()
    [login] = entra.logins
    header = json.loads(base64.urlsafe_b64decode(login["client_assertion"].split(".")[0] + "=="))
    return [base64.b64decode(one) for one in header["x5c"]]


CHAIN = [one.public_bytes(serialization.Encoding.DER) for one in (LEAF, LOWER, UPPER)]


@pytest.mark.parametrize(
    "parts",
    [
        [key_pem(RSA), pem_of(LEAF, LOWER, UPPER, ROOT)],
        [key_pem(RSA), pem_of(LEAF, LOWER, UPPER)],
        [pem_of(ROOT, UPPER, LOWER, LEAF), key_pem(RSA)],
        [pem_of(UPPER, LEAF), key_pem(RSA), pem_of(ROOT, LOWER)],
        [pem_of(OLD_LEAF, STRANGER, ROOT), key_pem(RSA), pem_of(LOWER, UPPER, LEAF)],
        [b"Bag Attributes\n  friendlyName: x\n", key_pem(RSA), b"subject=CN=x\n", pem_of(LEAF, UPPER, LOWER)],
    ],
)
def test_a_pem_file_sends_the_chain_in_order(parts: list[bytes], ca: trustme.CA, tmp_path: Path) -> None:
    path = tmp_path / "app.pem"
    path.write_bytes(b"".join(parts))
    assert sent_chain(path, tmp_path, ca) == CHAIN


@pytest.mark.parametrize("others", [[LOWER, UPPER, ROOT], [ROOT, UPPER, LOWER], [UPPER, STRANGER, LOWER]])
@pytest.mark.parametrize("password", [None, "pa55"])
def test_a_pfx_file_sends_the_chain_in_order(
    others: list[x509.Certificate], password: str | None, ca: trustme.CA, tmp_path: Path
) -> None:
    path = tmp_path / "app.pfx"
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password:
        encryption = serialization.BestAvailableEncryption(password.encode())
    path.write_bytes(pkcs12.serialize_key_and_certificates(b"app", RSA, LEAF, others, encryption))
    assert sent_chain(path, tmp_path, ca, password=password) == CHAIN


@pytest.mark.parametrize(
    ("content", "sent"),
    [
        (pem_of(CERTIFICATE), [CERTIFICATE]),  # signed by itself
        (pem_of(LEAF, UPPER, ROOT), [LEAF]),  # the next certificate is missing
        (pem_of(LEAF, STRANGER, ROOT), [LEAF]),  # the next certificate has another key
    ],
)
def test_only_certificates_that_belong_to_the_chain_are_sent(
    content: bytes, sent: list[x509.Certificate], ca: trustme.CA, tmp_path: Path
) -> None:
    path = tmp_path / "app.pem"
    path.write_bytes(key_pem(RSA) + content)
    der = [one.public_bytes(serialization.Encoding.DER) for one in sent]
    assert sent_chain(path, tmp_path, ca) == der


@pytest.mark.parametrize(
    ("certificate", "said"),
    [
        (OLD_LEAF, "expired on "),
        (issued("hunting", RSA, ("lower", KEYS[2]), days=(3, 9)), "is not valid before "),
    ],
)
def test_a_certificate_outside_its_validity_is_named_before_any_request(
    certificate: x509.Certificate, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "app.pem"
    path.write_bytes(key_pem(RSA) + pem_of(certificate, LOWER, UPPER))
    with pytest.raises(Misconfigured, match=f"^certificate .*CN=hunting.* {said}"):
        tokens(
            Certificate(certificate=path),
            tenant_id=TENANT,
            client_id=APP,
            connection=connection(APIS["graph"], Cloud.GLOBAL),
        )


def test_a_federated_token_is_read_again_at_each_login(ca: trustme.CA, tmp_path: Path) -> None:
    path = tmp_path / "workload"
    path.write_text("first\n")
    with tenant(ca, tmp_path) as (entra, server):
        app = signing_in(server, FederatedToken(federated_token=path))
        app.token()
        path.write_text("second\n")
        app.renew()
        app.token()
        path.unlink()
        app.renew()
        with pytest.raises(Misconfigured, match="federated"):
            app.token()
    assert [login["client_assertion"] for login in entra.logins] == ["first", "second"]


@pytest.mark.parametrize(
    ("content", "password"),
    [
        (b"", None),
        (b"no certificate at all", None),
        (CERTIFICATE_PEM, None),
        (key_pem(RSA), None),
        (key_pem(RSA, b"pa55") + CERTIFICATE_PEM, None),
        (key_pem(RSA, b"pa55") + CERTIFICATE_PEM, "wrong"),
        (key_pem(RSA) + CERTIFICATE_PEM, "needless"),
        (key_pem(rsa.generate_private_key(65537, 2048)) + CERTIFICATE_PEM, None),
        (key_pem(ec.generate_private_key(ec.SECP256R1())) + CERTIFICATE_PEM, None),
        (pkcs12.serialize_key_and_certificates(b"a", RSA, None, None, serialization.NoEncryption()), None),
        (pkcs12.serialize_key_and_certificates(b"a", RSA, CERTIFICATE, None, serialization.NoEncryption()),
         "needless"),
    ],
)  # fmt: skip
def test_a_bad_certificate_is_reported_before_any_request(
    content: bytes, password: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "app.pem"
    path.write_bytes(content)
    there = connection(APIS["graph"], Cloud.GLOBAL)
    with pytest.raises(Misconfigured, match="certificate") as caught:
        tokens(
            Certificate(certificate=path, certificate_password=password),
            tenant_id=TENANT,
            client_id=APP,
            connection=there,
        )
    assert "MII" not in str(caught.value)


@pytest.mark.parametrize(
    ("credential", "tenant_id", "client_id", "setting"),
    [
        (ClientSecret(client_secret=""), TENANT, APP, "client_secret"),
        (ClientSecret(client_secret=SECRET), "", APP, "tenant_id"),
        (ClientSecret(client_secret=SECRET), "../common", APP, "tenant_id"),
        (ClientSecret(client_secret=SECRET), TENANT + "\n", APP, "tenant_id"),
        (ClientSecret(client_secret=SECRET), TENANT, " ", "client_id"),
        (Certificate(certificate=Path("/nowhere.pem")), TENANT, APP, "certificate"),
        (FederatedToken(federated_token=Path("/nowhere")), TENANT, APP, "federated"),
    ],
)
def test_settings_that_cannot_work_are_named(
    credential: Credential, tenant_id: str, client_id: str, setting: str
) -> None:
    there = connection(APIS["graph"], Cloud.GLOBAL)
    with pytest.raises(Misconfigured, match=setting):
        tokens(credential, tenant_id=tenant_id, client_id=client_id, connection=there)


def entra_says(error: str, description: str, status: int = 401) -> Script:
    trace = " Trace ID: 0f5c Correlation ID: 77aa Timestamp: 2026-11-20 10:00:00Z"
    return answer(status, json.dumps({"error": error, "error_description": description + trace}).encode())


@pytest.mark.parametrize(
    ("says", "kind", "setting"),
    [
        (entra_says("invalid_client", "AADSTS7000215: Invalid client secret provided."), Misconfigured,
         "client_secret"),
        (entra_says("invalid_client", "AADSTS7000222: The provided client secret keys are expired."),
         Misconfigured, "client_secret"),
        (entra_says("unauthorized_client", "AADSTS700016: Application not found in the directory.", 400),
         Misconfigured, "client_id"),
        (entra_says("invalid_request", "AADSTS90002: Tenant not found.", 400), Misconfigured,
         "tenant_id"),
        (entra_says("invalid_client", "AADSTS700027: Client assertion failed."), Misconfigured,
         "certificate"),
        (entra_says("invalid_client", "AADSTS7000213: Invalid certificate chain."), Misconfigured,
         "certificate must also hold the intermediate certificates"),
        (entra_says("invalid_client", "AADSTS1000502: The provided certificate is not within its validity."),
         Misconfigured, "certificate has expired"),
        (entra_says("invalid_client", "AADSTS50012: Authentication failed."), Misconfigured,
         "register the certificate"),
        (entra_says("invalid_grant", "AADSTS65001: The user or administrator has not consented.", 400),
         Misconfigured, "grant admin consent"),
        (entra_says("invalid_resource", "AADSTS500011: The resource principal was not found.", 400),
         Misconfigured, "api"),
        (entra_says("access_denied", "AADSTS53003: Blocked by Conditional Access.", 400), Refused, "53003"),
        (entra_says("odd", "nobody knows", 400), Refused, "odd"),
        (entra_says("temporarily_unavailable", "AADSTS90033: Transient error.", 400), ServiceFailed, "90033"),
        (answer(503, b"<html>down</html>"), ServiceFailed, "localhost"),
        (answer(200, b"<html>a captive portal</html>"), Misconfigured, "login_url"),
        (answer(200, b"[]"), Misconfigured, "login_url"),
        (answer(200, b"<html>Sign in", content_type="text/html"), Misconfigured, "HTTPS_PROXY"),
        (answer(403, b"<html>Blocked", content_type="text/HTML; charset=utf-8"), Misconfigured,
         "403 web page: Blocked; a proxy"),
        (answer(503, b"<html>down</html>", content_type="text/html"), ServiceFailed, "localhost"),
        (answer(302, location="https://elsewhere.example/"), Misconfigured, "login_url"),
        (lambda conn, _: None, ServiceFailed, "login_url"),
    ],
)  # fmt: skip
def test_each_error_of_the_token_endpoint_says_what_to_change(
    says: Script, kind: type[HuntingError], setting: str, ca: trustme.CA, tmp_path: Path
) -> None:
    with tenant(ca, tmp_path) as (entra, server):
        entra.says = says
        with pytest.raises(kind, match=setting) as caught:
            signing_in(server).token()
    assert type(caught.value) is kind
    assert "Trace ID" not in str(caught.value)


@pytest.mark.parametrize(
    ("says", "kind", "setting"),
    [
        (entra_says("invalid_tenant", "AADSTS90002: Tenant 'x' not found.", 400), Misconfigured,
         "tenant_id is not a tenant of this cloud"),
        (answer(404, b"nothing here"), Misconfigured, "login_url"),
        (answer(200, b"<html>"), Misconfigured, "login_url"),
        (answer(200, b"{}"), Misconfigured, "login_url"),
        (answer(200, b'{"token_endpoint": "http://127.0.0.1:9/t/x", "authorization_endpoint": "x"}'),
         Misconfigured, "login_url"),
        (answer(200, b"[]"), Misconfigured, "login_url"),
        (answer(302, location="https://elsewhere.example/"), Misconfigured, "login_url"),
        (answer(500), ServiceFailed, "localhost"),
    ],
)  # fmt: skip
def test_each_error_of_discovery_says_what_to_change(
    says: Script, kind: type[HuntingError], setting: str, ca: trustme.CA, tmp_path: Path
) -> None:
    with tenant(ca, tmp_path) as (entra, server):
        entra.discovery = says
        app = signing_in(server)
        with pytest.raises(kind, match=setting):
            app.token()
        assert not entra.logins
        entra.discovery = None
        assert app.token() == "token-1"  # the failure is not cached


def test_an_unreachable_login_host_and_an_unknown_authority(ca: trustme.CA, tmp_path: Path) -> None:
    with tenant(ca, tmp_path) as (_, server):
        strangers = connection(APIS["graph"], Cloud.GLOBAL, login_url=server.url)
        app = tokens(
            ClientSecret(client_secret=SECRET), tenant_id=TENANT, client_id=APP, connection=strangers
        )
        with pytest.raises(Misconfigured, match="ca_bundle"):
            app.token()
        app = signing_in(server)
    with pytest.raises(ServiceFailed, match="login_url"):
        app.token()


def test_secrets_and_tokens_are_in_no_repr_log_or_traceback(
    ca: trustme.CA, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    credential = ClientSecret(client_secret=SECRET)
    assert SECRET not in repr(credential)
    assert "pa55" not in repr(Certificate(certificate=Path("x"), certificate_password="pa55"))
    with tenant(ca, tmp_path) as (entra, server):
        app = signing_in(server, credential)
        app.token()
        assert SECRET not in repr(app)
        app.renew()
        entra.says = entra_says("invalid_client", "AADSTS7000215: Invalid client secret provided.")
        with pytest.raises(Misconfigured) as caught:
            app.token()
        entra.says = lambda conn, _: None
        with pytest.raises(ServiceFailed) as dropped:
            app.token()
    for error in (caught.value, dropped.value):
        shown = traceback.TracebackException.from_exception(error, capture_locals=True)
        assert shown.__suppress_context__ or shown.__context__ is None
        ours = [frame for frame in shown.stack if frame.filename != __file__]
        assert ours
        assert not [frame.locals for frame in ours if SECRET in str(frame.locals)]
    assert caplog.text
    assert SECRET not in caplog.text
    assert "token-1" not in caplog.text
