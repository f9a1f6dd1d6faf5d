"""A client for an emulator that shares no code with the pipeline."""

from dataclasses import dataclass
from typing import Any

import msal
import requests

from hunting_emulator.process import Endpoint

NOW = "2026-11-20T00:00:00Z"
PATHS = {
    "xdr": "/api/advancedhunting/run",
    "graph": "/v1.0/security/runHuntingQuery",
    "endpoint": "/api/advancedqueries/run",
}


@dataclass
class Client:
    """A client of one emulator."""

    endpoint: Endpoint
    session: requests.Session
    token: str

    def post(self, api: str, query: str, **options: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.token}", "Accept-Encoding": "identity"}
        options.setdefault("timeout", 30)
        return self.session.post(
            self.endpoint.url + PATHS[api], json={"Query": query}, headers=headers, **options
        )

    def rows(self, query: str) -> list[dict[str, Any]]:
        reply = self.post("xdr", query)
        assert reply.status_code == 200, reply.text
        found: list[dict[str, Any]] = reply.json()["Results"]
        return found

    def configure(self, **changes: Any) -> None:
        reply = self.session.post(f"{self.endpoint.url}/_emulator/config", json=changes, timeout=10)
        assert reply.status_code == 200, reply.text

    def stats(self) -> dict[str, Any]:
        found: dict[str, Any] = self.session.get(self.endpoint.stats_url, timeout=10).json()
        return found


def session_for(endpoint: Endpoint) -> requests.Session:
    session = requests.Session()
    session.verify = endpoint.ca_bundle
    session.trust_env = False
    return session


def sign_in(endpoint: Endpoint, credential: object = None) -> dict[str, Any]:
    app = msal.ConfidentialClientApplication(
        endpoint.client_id,
        client_credential=credential or endpoint.client_secret,
        authority=f"{endpoint.login_url}/{endpoint.tenant_id}",
        instance_discovery=False,
        http_client=session_for(endpoint),
    )
    found: dict[str, Any] = app.acquire_token_for_client(["https://graph.microsoft.com/.default"])
    return found


def client_of(endpoint: Endpoint) -> Client:
    return Client(endpoint, session_for(endpoint), sign_in(endpoint)["access_token"])
