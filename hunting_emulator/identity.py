"""The part of Entra that a client uses: OpenID discovery and tokens for client credentials."""

import base64
import hashlib
import json
import secrets
import time
import uuid
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509 import Certificate


@dataclass(frozen=True, slots=True)
class App:
    """An app registration: its secret, an optional certificate, and the granted permissions."""

    client_id: str
    client_secret: str
    roles: frozenset[str]
    certificate: Certificate | None = None


@dataclass(frozen=True, slots=True)
class TokenError:
    """A refusal of the token endpoint, with the same text as from Entra."""

    status: int
    error: str
    code: int
    text: str

    def body(self) -> dict[str, object]:
        """Return the JSON body of the refusal."""
        stamp = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime())
        trace, correlation = str(uuid.uuid4()), str(uuid.uuid4())
        return {
            "error": self.error,
            "error_description": f"AADSTS{self.code}: {self.text} Trace ID: {trace}"
            f" Correlation ID: {correlation} Timestamp: {stamp}",
            "error_codes": [self.code],
            "timestamp": stamp,
            "trace_id": trace,
            "correlation_id": correlation,
        }


@dataclass
class Identity:
    """The sign-in of one tenant. `lifetime` is the lifetime of tokens in seconds."""

    tenant_id: str
    app: App
    lifetime: float = 3599.0
    _tokens: dict[str, tuple[float, str]] = field(default_factory=dict)

    def discovery(self, base: str) -> dict[str, object]:
        """Return the OpenID configuration, which MSAL requests first."""
        root = f"{base}/{self.tenant_id}"
        return {
            "issuer": f"{root}/v2.0",
            "token_endpoint": f"{root}/oauth2/v2.0/token",
            "authorization_endpoint": f"{root}/oauth2/v2.0/authorize",
            "device_authorization_endpoint": f"{root}/oauth2/v2.0/devicecode",
            "jwks_uri": f"{root}/discovery/v2.0/keys",
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
            "response_types_supported": ["code", "token"],
        }

    def issue(self, form: dict[str, str], endpoint: str) -> dict[str, object] | TokenError:
        """Return a token for a client credentials request, or the refusal."""
        if form.get("grant_type") != "client_credentials":
            return TokenError(
                400, "unsupported_grant_type", 70003, "The app requested an unsupported grant type."
            )
        if form.get("client_id") != self.app.client_id:
            text = f"Application with identifier '{form.get('client_id')}' was not found in the directory."
            return TokenError(400, "unauthorized_client", 700016, text)
        if not form.get("scope", "").endswith("/.default"):
            text = f"The provided value for the input parameter scope '{form.get('scope', '')}' is not valid."
            return TokenError(400, "invalid_scope", 1002012, text)
        refused = self._authenticate(form, endpoint)
        if refused is not None:
            return refused
        token = self._token(form["scope"].removesuffix("/.default"))
        return {"token_type": "Bearer", "expires_in": int(self.lifetime), "access_token": token}

    def _token(self, audience: str) -> str:
        """Create a token in the form of a JWT, for clients that parse it. Its signature is random."""
        expires = time.time() + self.lifetime
        head = _encoded({"typ": "JWT", "alg": "none"})
        claims = {
            "aud": audience,
            "tid": self.tenant_id,
            "exp": int(expires),
            "roles": sorted(self.app.roles),
        }
        token = f"{head}.{_encoded(claims)}.{secrets.token_urlsafe(24)}"
        self._tokens[token] = (expires, audience)
        return token

    def _authenticate(self, form: dict[str, str], endpoint: str) -> TokenError | None:
        if "client_assertion" in form:
            return self._check_assertion(form["client_assertion"], endpoint)
        given = form.get("client_secret", "")
        if not given:
            names = "'client_assertion' or 'client_secret'"
            text = f"The request body must contain the following parameter: {names}."
            return TokenError(401, "invalid_client", 7000216, text)
        if not secrets.compare_digest(given.encode(), self.app.client_secret.encode()):
            text = (
                "Invalid client secret provided. Ensure the secret being sent in the request is the client"
                f" secret value, not the client secret ID, for a secret added to app '{self.app.client_id}'."
            )
            return TokenError(401, "invalid_client", 7000215, text)
        return None

    def _check_assertion(self, assertion: str, endpoint: str) -> TokenError | None:
        refused = TokenError(
            401,
            "invalid_client",
            700027,
            "The certificate with identifier used to sign the client"
            " assertion is not registered on application, or the assertion is not valid.",
        )
        key = self.app.certificate.public_key() if self.app.certificate else None
        try:
            head, claims, signature = assertion.split(".")
            header, body = json.loads(_decoded(head)), json.loads(_decoded(claims))
            if not isinstance(key, rsa.RSAPublicKey):
                return refused
            pad: padding.AsymmetricPadding = padding.PKCS1v15()
            if header.get("alg") == "PS256":
                pad = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=hashlib.sha256().digest_size)
            key.verify(_decoded(signature), f"{head}.{claims}".encode(), pad, hashes.SHA256())
        except (ValueError, InvalidSignature):
            return refused
        fresh = isinstance(body.get("exp"), int | float) and body["exp"] > time.time()
        return (
            None
            if fresh and body.get("aud") == endpoint and body.get("iss") == self.app.client_id
            else refused
        )

    def audience(self, authorization: str) -> str | None:
        """Return the audience of a valid bearer token, or None for an unknown or expired token."""
        scheme, _, token = authorization.partition(" ")
        expires, audience = self._tokens.get(token, (0.0, ""))
        return audience if scheme.lower() == "bearer" and expires > time.time() else None

    def revoke(self) -> None:
        """Make every token invalid at once."""
        self._tokens.clear()


def _encoded(value: dict[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
