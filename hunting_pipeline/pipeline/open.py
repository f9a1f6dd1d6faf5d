"""From settings to a pipeline that is ready to ask."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from uuid import uuid4

from hunting_pipeline.apis.connection import Api, Cloud, Connection, connection
from hunting_pipeline.auth.tokens import Certificate, ClientSecret, Credential, FederatedToken, tokens
from hunting_pipeline.errors import Misconfigured
from hunting_pipeline.http.client import Client
from hunting_pipeline.lake.commit import Writer, claim
from hunting_pipeline.lake.layout import LAKE_FILE
from hunting_pipeline.lake.store import LocalStore
from hunting_pipeline.pipeline.calls import Clock, SystemClock, body_ceiling
from hunting_pipeline.pipeline.memory import free_at_once
from hunting_pipeline.pipeline.session import Pipeline
from hunting_pipeline.publish import open_publishers
from hunting_pipeline.quota.ledger import open_ledger
from hunting_pipeline.settings import Settings

__all__ = ["open_lake", "open_pipeline"]


def open_lake(settings: Settings) -> LocalStore:
    """The configured lake, which need not exist yet.

    Raises:
        Misconfigured: the path is no folder, or may not be looked into.
    """
    store = LocalStore(settings.lake)
    store.size(LAKE_FILE)  # what cannot be looked into is not taken for an empty lake
    return store


@contextmanager
def open_pipeline(
    settings: Settings,
    *,
    max_wait: float,
    clock: Clock | None = None,
    run_id: str | None = None,
    publish: Sequence[str] = (),
) -> Iterator[Pipeline]:
    """Everything a run needs; connections are closed at the end.

    Args:
        patience: seconds to wait for quota at a stretch before `QuotaExhausted` is raised.
        clock: time, for tests.
        run_id: goes into manifests; a new one if None.
        publish: names of the table formats to publish to after each pull.

    Raises:
        Misconfigured: a setting is missing or wrong, or the lake is another tenant's. Nothing was asked.
    """
    free_at_once()
    publishers = open_publishers(publish)
    tenant = settings.tenant()
    store = open_lake(settings)
    claim(store, tenant, write=False)
    limits = settings.limits_profile
    here = _connection(settings)
    credential = tokens(
        _credential(settings), tenant_id=tenant, client_id=str(settings.client_id), connection=here
    )
    client = Client(
        here, credential, request_seconds=limits.request_seconds, max_body_bytes=body_ceiling(limits)
    )
    ledger = open_ledger(
        settings.ledger,
        tenant=tenant,
        limits=limits,
        share=settings.share,
        clock=clock.now if clock else None,
    )
    engine = f"hunting-pipeline {version('hunting-pipeline')}"
    writer = Writer(tenant, settings.api, engine, run_id or uuid4().hex)
    try:
        yield Pipeline(
            store=store,
            client=client,
            tokens=credential,
            ledger=ledger,
            limits=limits,
            share=settings.share,
            writer=writer,
            workers=settings.workers,
            max_wait=max_wait,
            clock=clock or SystemClock(),
            publishers=publishers,
        )
    finally:
        client.close()
        ledger.close()


def _connection(settings: Settings) -> Connection:
    return connection(
        Api(settings.api),
        _cloud(settings.cloud),
        api_url=settings.api_url,
        login_url=settings.login_url,
        scope=settings.scope,
        ca_bundle=settings.ca_bundle,
    )


def _cloud(name: str) -> Cloud:
    try:
        return Cloud(name)
    except ValueError:
        raise Misconfigured(f"HUNTING_CLOUD is {name!r}; there are {', '.join(Cloud)}") from None


def _credential(settings: Settings) -> Credential:
    """The first of certificate, workload identity and secret that is set."""
    if settings.certificate is not None:
        password = settings.certificate_password
        return Certificate(settings.certificate, password.get_secret_value() if password else None)
    if settings.federated_token is not None:
        return FederatedToken(settings.federated_token)
    if settings.client_secret is not None:
        return ClientSecret(settings.client_secret.get_secret_value())
    raise Misconfigured("set HUNTING_CLIENT_SECRET, HUNTING_CERTIFICATE or HUNTING_FEDERATED_TOKEN")
