"""A bucket of a test, with the settings and the environment that reach it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import obstore
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from obstore.store import AzureStore, GCSStore, S3Store

from object_servers.signing import ACCOUNT, ACCOUNT_KEY, KEY_ID, REGION, SECRET

SCHEMES = {"azurite": "az", "gcs": "gs"}
"""URL schemes of kinds that are not S3."""
FOREIGN = ("AWS_", "AZURE_", "GOOGLE_", "GCLOUD_")
"""Prefixes of environment variables that could carry credentials of the machine into a test."""


@dataclass(frozen=True)
class Bucket:
    """A new bucket with an empty lake.

    Attributes:
        kind: kind of the server: `seaweedfs`, `azurite`, `moto`, `rclone` or `gcs`.
        name: name of the bucket or container.
        endpoint: URL of the server, or of a proxy in front of it.
        server: URL of the server. The helpers below use it, so no proxy sees them.
        env: the variables with the credentials. The fixture has set them.
        folder: folder of the lake in the bucket.
    """

    kind: str
    name: str
    endpoint: str
    server: str
    env: Mapping[str, str]
    folder: str = "lake"

    @property
    def url(self) -> str:
        return f"{SCHEMES.get(self.kind, 's3')}://{self.name}/{self.folder}"

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of a lake in this bucket, for `Settings(**bucket.settings)`."""
        settings: dict[str, Any] = {"lake": self.url, "lake_endpoint": self.endpoint}
        if self.kind not in SCHEMES:
            settings |= {"lake_region": REGION, "lake_path_style": True}
        return settings

    @property
    def variables(self) -> dict[str, str]:
        """The settings and the credentials as environment variables, for other processes."""
        return {f"HUNTING_{name.upper()}": str(value) for name, value in self.settings.items()} | dict(
            self.env
        )

    def at(self, name: str) -> "Bucket":
        """Return another lake in the same bucket."""
        return replace(self, folder=name)

    @cached_property
    def store(self) -> S3Store | AzureStore | GCSStore:
        """The lake's folder as an obstore store, straight to the server."""
        client: Any = {"allow_http": True}
        if self.kind == "azurite":
            return AzureStore(
                self.name,
                prefix=self.folder,
                endpoint=self.server,
                account_name=ACCOUNT,
                account_key=ACCOUNT_KEY,
                client_options=client,
            )
        if self.kind == "gcs":
            return GCSStore(
                self.name,
                prefix=self.folder,
                base_url=self.server,
                bearer_token="stand-in",
                client_options=client,
            )
        return S3Store(
            self.name,
            prefix=self.folder,
            endpoint=self.server,
            region=REGION,
            access_key_id=KEY_ID,
            secret_access_key=SECRET,
            virtual_hosted_style_request=False,
            client_options=client,
        )

    def objects(self, prefix: str | None = None) -> list[str]:
        """List the keys of the lake, relative to it and sorted."""
        return sorted(entry["path"] for page in obstore.list(self.store, prefix) for entry in page)

    def read(self, key: str) -> bytes:
        return bytes(obstore.get(self.store, key).bytes())

    def write(self, key: str, data: bytes) -> None:
        obstore.put(self.store, key, data, use_multipart=False)

    def upload(self, lake: Path) -> None:
        """Copy a lake's folder, as `aws s3 sync` and azcopy do."""
        for path in sorted(path for path in lake.rglob("*") if path.is_file()):
            self.write(path.relative_to(lake).as_posix(), path.read_bytes())

    def remove(self, key: str) -> None:
        obstore.delete(self.store, key)

    def contents(self, suffix: str = "") -> dict[str, bytes]:
        """Return the content of each key that ends with `suffix`."""
        return {key: self.read(key) for key in self.objects() if key.endswith(suffix)}


def credentials(kind: str, server: str, folder: Path) -> dict[str, str]:
    """Return the environment variables with the credentials of a server. GCS takes a file in this folder."""
    if kind == "azurite":
        return {"AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT, "AZURE_STORAGE_ACCOUNT_KEY": ACCOUNT_KEY}
    if kind == "gcs":
        file = folder / "service_account.json"
        file.write_text(json.dumps(_service_account(server)))
        return {"GOOGLE_APPLICATION_CREDENTIALS": str(file)}
    return {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET}


def _service_account(server: str) -> dict[str, str]:
    return {
        "type": "service_account",
        "project_id": "hunting",
        "client_email": "hunting@example.com",
        "client_id": "1",
        "private_key_id": "1",
        "private_key": _private_key(),
        "token_uri": f"{server}/token",
    }


@cache
def _private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, form, serialization.NoEncryption()).decode()
