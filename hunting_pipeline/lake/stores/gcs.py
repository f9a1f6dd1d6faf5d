"""Lakes in Google Cloud Storage. Tested against a stand-in of this project only."""

import os
from urllib.parse import urlsplit

import google.auth.exceptions
from obstore.auth.google import GoogleCredentialProvider
from obstore.store import GCSStore

from hunting_pipeline.lake.location import StoreOptions
from hunting_pipeline.lake.stores.object_clients import client_options, opening, prefix_of
from hunting_pipeline.lake.stores.object_errors import Service, sign_in_failed, sign_in_unanswered
from hunting_pipeline.lake.stores.objects import ObjectStore
from hunting_pipeline.lake.stores.protocol import Store

__all__ = ["open_at"]

GCS = Service(
    name="Google Cloud Storage",
    container="bucket",
    rights={
        "get": "storage.objects.get",
        "list": "storage.objects.list",
        "put": "storage.objects.create and storage.objects.delete, as in roles/storage.objectUser",
        "delete": "storage.objects.delete",
    },
    credentials=(
        "Credentials are Google's application default credentials: GOOGLE_APPLICATION_CREDENTIALS,"
        " `gcloud auth application-default login`, or the service account of the pod or machine"
    ),
    largest=5 * 1024**4,  # cloud.google.com/storage/quotas
    generations=True,
)

_KEYS = ("GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_PATH", "GOOGLE_SERVICE_ACCOUNT_KEY")
"""Variables with a service account's key. obstore reads them."""


def open_at(location: str, options: StoreOptions) -> Store:
    """Open a bucket, or a folder in it, by its URL `gs://bucket/prefix`.

    Raises:
        Misconfigured: there are no credentials.
        ServiceFailed: the service that issues the credentials did not answer.
    """
    with opening(location):
        client = GCSStore(
            urlsplit(location).netloc,
            prefix=prefix_of(location),
            config={"base_url": options.endpoint} if options.endpoint else {},
            client_options=client_options(options),
            credential_provider=None if any(map(os.environ.get, _KEYS)) else _identity(location),
        )
    return ObjectStore(client, location, GCS)


def _identity(location: str) -> GoogleCredentialProvider:
    """Return the application default credentials, after they have signed in once."""
    try:
        provider = GoogleCredentialProvider()
        provider()
    except google.auth.exceptions.TransportError as error:
        raise sign_in_unanswered(location, str(error)) from None
    except google.auth.exceptions.GoogleAuthError as error:
        raise sign_in_failed(location, GCS, str(error)) from None
    return provider
