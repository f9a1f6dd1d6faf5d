"""Signed requests that create buckets, and the credentials of the test servers."""

import base64
import hashlib
import hmac
from email.utils import formatdate
from typing import Final

import httpx
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

REGION: Final = "us-east-1"
KEY_ID: Final = "test"
SECRET: Final = "testtest"
ACCOUNT: Final = "devstoreaccount1"
ACCOUNT_KEY: Final = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
"""The account and key that Microsoft documents for Azurite."""


def create_bucket(kind: str, endpoint: str, name: str) -> None:
    """Create a bucket or a container.

    Raises:
        httpx.HTTPError: the server cannot be reached or refuses.
    """
    sign = {"azurite": _sign_azure, "gcs": _sign_gcs}.get(kind, _sign_s3)
    url = f"{endpoint}/{name}"
    with httpx.Client(trust_env=False, timeout=10) as client:
        params = {"restype": "container"} if kind == "azurite" else {}
        client.put(url, params=params, headers=sign(url)).raise_for_status()


def _sign_s3(url: str) -> dict[str, str]:
    request = AWSRequest("PUT", url)
    S3SigV4Auth(Credentials(KEY_ID, SECRET), "s3", REGION).add_auth(request)
    return dict(request.headers)


def _sign_azure(url: str) -> dict[str, str]:
    """Sign the creation of a container with a shared key. The signed path has the account twice."""
    headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
    signed = [f"{name}:{value}" for name, value in headers.items()]
    text = "\n".join(["PUT", *[""] * 11, *signed, f"/{ACCOUNT}{httpx.URL(url).path}", "restype:container"])
    digest = hmac.new(base64.b64decode(ACCOUNT_KEY), text.encode(), hashlib.sha256).digest()
    return {**headers, "Authorization": f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}"}


def _sign_gcs(_url: str) -> dict[str, str]:
    return {"Authorization": "Bearer stand-in"}
