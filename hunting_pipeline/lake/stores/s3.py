"""Lakes in Amazon S3, and in services that speak its protocol."""

from datetime import timedelta
from urllib.parse import urlsplit

import boto3
import botocore.exceptions
from obstore.auth.boto3 import Boto3CredentialProvider
from obstore.store import S3Store

from hunting_pipeline.errors import setting
from hunting_pipeline.lake.location import StoreOptions
from hunting_pipeline.lake.stores.object_clients import client_options, opening, prefix_of
from hunting_pipeline.lake.stores.object_errors import Service, sign_in_failed, sign_in_unanswered
from hunting_pipeline.lake.stores.objects import ObjectStore
from hunting_pipeline.lake.stores.protocol import Store
from hunting_pipeline.redaction import hold

__all__ = ["open_at"]

S3 = Service(
    name="S3",
    container="bucket",
    rights={
        "get": "s3:GetObject and s3:ListBucket",
        "list": "s3:ListBucket",
        "put": "s3:PutObject",
        "delete": "s3:DeleteObject",
    },
    credentials=(
        "Credentials come from the AWS environment variables, from a profile or SSO"
        f" ({setting('lake_profile')}, AWS_PROFILE), or from the role of the pod or machine"
    ),
    largest=5 * 1024**3,  # the limit of one PUT, docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
)

_CREDENTIALS_LAST = timedelta(minutes=5)
"""Time until credentials are asked for again. boto3 renews them at least ten minutes before they end."""


def open_at(location: str, options: StoreOptions) -> Store:
    """Open a bucket, or a folder in it, by its URL `s3://bucket/prefix`.

    Raises:
        Misconfigured: there are no credentials.
        ServiceFailed: the service that issues the credentials did not answer.
    """
    bucket, endpoint = urlsplit(location).netloc, options.endpoint
    try:
        session = boto3.Session(profile_name=options.profile, region_name=options.region)
        provider = Boto3CredentialProvider(session, ttl=_CREDENTIALS_LAST)
        credentials = provider()
        hold(credentials["secret_access_key"], credentials["token"] or "")
    except (botocore.exceptions.HTTPClientError, botocore.exceptions.ConnectionError) as error:
        raise sign_in_unanswered(location, str(error)) from None
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError, ValueError) as error:
        raise sign_in_failed(location, S3, _reason(error)) from None
    path_style = options.path_style if options.path_style is not None else endpoint is not None
    if endpoint and not path_style:  # obstore expects the bucket in the host then
        scheme, host = endpoint.split("://", 1)
        endpoint = f"{scheme}://{bucket}.{host}"
    with opening(location):
        client = S3Store(
            bucket,
            prefix=prefix_of(location),
            config={
                "region": options.region or session.region_name or "us-east-1",
                "virtual_hosted_style_request": not path_style,
                "disable_bulk_delete": True,  # not every service has it
                **({"endpoint": endpoint} if endpoint else {}),
            },
            client_options=client_options(options),
            credential_provider=provider,
        )
    return ObjectStore(client, location, S3)


def _reason(error: Exception) -> str:
    return "none were found" if isinstance(error, ValueError) else str(error)
