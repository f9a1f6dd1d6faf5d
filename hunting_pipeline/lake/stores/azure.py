"""Lakes in Azure Blob Storage, Azure Data Lake Storage Gen2 and Fabric OneLake."""

import os
from urllib.parse import urlsplit

from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError
from azure.identity import CredentialUnavailableError, DefaultAzureCredential
from obstore.auth.azure import AzureCredentialProvider
from obstore.store import AzureStore

from hunting_pipeline.errors import Misconfigured, setting
from hunting_pipeline.lake.location import StoreOptions
from hunting_pipeline.lake.stores.object_clients import client_options, opening, prefix_of
from hunting_pipeline.lake.stores.object_errors import Service, sign_in_failed, sign_in_unanswered
from hunting_pipeline.lake.stores.objects import ObjectStore
from hunting_pipeline.lake.stores.protocol import Store
from hunting_pipeline.redaction import hold

__all__ = ["open_at"]

AZURE = Service(
    name="Azure Storage",
    container="container",
    rights={
        "get": "the role Storage Blob Data Reader",
        "list": "the role Storage Blob Data Reader",
        "put": "the role Storage Blob Data Contributor",
        "delete": "the role Storage Blob Data Contributor",
    },
    credentials=(
        "Credentials come from AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN, or else from the Azure"
        " chain: environment, workload identity, managed identity, Azure CLI"
    ),
    largest=5000 * 1024**2,  # learn.microsoft.com/rest/api/storageservices/put-blob
)

_KEYS = (
    *("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_MASTER_KEY"),
    *("AZURE_STORAGE_SAS_KEY", "AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_TOKEN"),
)
"""Variables with a key or a token of the account. obstore reads them."""


def open_at(location: str, options: StoreOptions) -> Store:
    """Open a container, or a folder in it, by its URL.

    The URL is `abfss://container@account.dfs.core.windows.net/prefix`, the same with OneLake's host, or
    `az://container/prefix` with the account in `AZURE_STORAGE_ACCOUNT_NAME`.

    Raises:
        Misconfigured: the account is not known, or there are no credentials.
        ServiceFailed: the service that issues the credentials did not answer.
    """
    url = urlsplit(location)
    container, _, host = url.netloc.partition("@")
    account = host.partition(".")[0] or os.environ.get("AZURE_STORAGE_ACCOUNT_NAME", "")
    if not account:
        raise Misconfigured(
            f"the lake {location} names no storage account. No request was sent."
            f" Set {setting('lake')} to abfss://container@account.dfs.core.windows.net/prefix,"
            " or set AZURE_STORAGE_ACCOUNT_NAME"
        )
    config: dict[str, object] = {"account_name": account}
    if options.endpoint:
        config["endpoint"] = options.endpoint
    elif "fabric" in host:
        config["use_fabric_endpoint"] = True
    elif host and not host.endswith(".core.windows.net"):  # a sovereign cloud
        config["endpoint"] = f"https://{account}.blob.{host.partition('.dfs.')[2]}"
    with opening(location):
        client = AzureStore(
            container,
            prefix=prefix_of(location),
            config=config,  # type: ignore[arg-type] # a dictionary of its keys
            client_options=client_options(options),
            credential_provider=None if _has_key() else _identity(location),
        )
    return ObjectStore(client, location, AZURE)


def _has_key() -> bool:
    keys = [value for name in _KEYS if (value := os.environ.get(name))]
    hold(*keys)
    return bool(keys)


def _identity(location: str) -> AzureCredentialProvider:
    """Return the identity of this process, after it has signed in once."""
    provider = AzureCredentialProvider(DefaultAzureCredential())
    try:
        provider()
    except ServiceRequestError as error:
        raise sign_in_unanswered(location, error.message) from None
    except (ClientAuthenticationError, CredentialUnavailableError) as error:
        raise sign_in_failed(location, AZURE, error.message.partition("\n")[0]) from None
    return provider
