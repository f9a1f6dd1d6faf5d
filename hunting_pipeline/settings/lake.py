"""The settings of the lake: its location, and the options of object stores."""

import re
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings

from hunting_pipeline.lake.location import STORES, StoreOptions, is_url

__all__ = ["LakeSettings", "is_no_path", "lake_below"]

_NO_PATH = re.compile(r"[a-z][a-z0-9+.-]+:|.*:.*@|.*password\s*=", re.IGNORECASE | re.DOTALL)
"""Text that is a URL, or was meant as one: as a path, its password would become the name of a folder."""

_WINDOWS_PATH = re.compile(r"[a-z]:[\\/]", re.IGNORECASE)

_ACCEPTED = "a path, or a URL with " + ", ".join(f"{scheme}://" for scheme in STORES if scheme)

_PROXIES = ("http", "https", "socks5", "socks5h")

_WITH_ACCOUNT = {"abfss"}
"""Schemes whose URL names the account: `abfss://container@account.dfs.core.windows.net/folder`."""


def is_no_path(text: str) -> bool:
    """Return whether a text is a URL, or was meant as one."""
    return bool(_NO_PATH.match(text)) and not _WINDOWS_PATH.match(text)


def lake_below(lake: str, name: str) -> str:
    """Return the location of a folder in a lake."""
    return f"{lake.rstrip('/')}/{name}" if is_url(lake) else str(Path(lake) / name)


class LakeSettings(BaseSettings):
    """The settings of the lake. Credentials are not among them: each cloud's own chain finds them."""

    lake: str = Field(
        "lake",
        description=(
            "folder of the lake, or `s3://bucket/folder`, `abfss://container@account.dfs.core.windows.net/folder`,"
            " `az://container/folder`, `gs://bucket/folder`"
        ),
    )
    lake_endpoint: str | None = Field(None, description="root URL of an object store outside the big clouds")
    lake_region: str | None = Field(None, description="region of the S3 bucket")
    lake_profile: str | None = Field(None, description="AWS profile for the lake, also for SSO")
    lake_path_style: bool | None = Field(
        None, description="bucket in the path of S3 requests; if empty, true with an endpoint"
    )
    lake_ca_bundle: Path | None = Field(
        None, description="PEM file with more authorities to trust for the object store"
    )
    lake_proxy: SecretStr | None = Field(
        None, description="URL of a proxy for the object store; if empty, the environment's proxy"
    )

    @field_validator("lake", mode="before")
    @classmethod
    def _accept_path(cls, value: object) -> object:
        return str(value) if isinstance(value, Path) else value

    @field_validator("lake")
    @classmethod
    def _check_lake(cls, value: str) -> str:
        """Refuse a location with a mistake without showing it, because it may contain a password."""
        if not is_url(value):
            if is_no_path(value):
                raise ValueError(f"the lake must be {_ACCEPTED}")
            return _without_home(value)
        url = urlsplit(value)
        if url.scheme not in STORES:
            raise ValueError(f"the lake must be {_ACCEPTED}")
        if url.query or url.fragment or url.password or ("@" in url.netloc) != (url.scheme in _WITH_ACCOUNT):
            raise ValueError(
                "the URL of the lake must be like s3://bucket/folder or"
                " abfss://container@account.dfs.core.windows.net/folder, without a user, a password or a key"
            )
        if url.scheme != "file" and not url.netloc.partition("@")[0]:
            raise ValueError("the URL of the lake names no bucket or container")
        return value

    @field_validator("lake_endpoint")
    @classmethod
    def _check_endpoint(cls, value: str | None) -> str | None:
        if value is not None and (urlsplit(value).scheme not in ("http", "https") or "@" in value):
            raise ValueError("the endpoint must be a URL with https:// (or http://), without a user")
        return value

    @field_validator("lake_proxy")
    @classmethod
    def _check_proxy(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and urlsplit(value.get_secret_value()).scheme not in _PROXIES:
            raise ValueError(f"the proxy must be a URL with {', '.join(f'{one}://' for one in _PROXIES)}")
        return value

    @property
    def store_options(self) -> StoreOptions:
        """The options with which the lake's store is opened."""
        return StoreOptions(
            endpoint=self.lake_endpoint,
            region=self.lake_region,
            profile=self.lake_profile,
            path_style=self.lake_path_style,
            ca_bundle=self.lake_ca_bundle,
            proxy=self.lake_proxy.get_secret_value() if self.lake_proxy else None,
        )


def _without_home(path: str) -> str:
    try:
        return str(Path(path).expanduser())
    except RuntimeError as error:
        raise ValueError(f"the home folder at the start of {path} is not known") from error
