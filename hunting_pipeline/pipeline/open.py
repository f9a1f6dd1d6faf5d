"""The functions that open a lake and a pipeline from settings."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from uuid import uuid4

from hunting_pipeline.apis import APIS
from hunting_pipeline.apis.connection import Connection, connection
from hunting_pipeline.auth.tokens import tokens
from hunting_pipeline.http.client import Client
from hunting_pipeline.lake.commit import Writer, claim, owner
from hunting_pipeline.lake.stores import Store, open_store
from hunting_pipeline.pipeline.calls import Clock, SystemClock, body_ceiling
from hunting_pipeline.pipeline.memory import free_at_once
from hunting_pipeline.pipeline.session import Pipeline
from hunting_pipeline.publish import Publisher, open_publishers
from hunting_pipeline.quota.ledger import open_ledger
from hunting_pipeline.settings import Settings, naming

__all__ = ["open_lake", "open_pipeline"]


def open_lake(settings: Settings) -> Store:
    """Open the configured lake. It need not exist yet.

    Raises:
        Misconfigured: the lake cannot be read, or has another layout version.
    """
    with naming(settings):
        store = open_store(settings.lake, settings.store_options)
        owner(store)  # refuses an unreadable folder, which would look like an empty lake
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
    """Open a pipeline from settings, and close its connections at the end.

    Args:
        max_wait: the longest wait for quota, in seconds. A longer wait raises `QuotaExhausted`.
        clock: the clock of the run; the system's clock if None.
        run_id: the id of the run in manifests; a new id if None.
        publish: names of the table formats to publish to after each pull.

    Raises:
        Misconfigured: a setting is missing or wrong, or the lake belongs to another tenant. No request was
            sent.
        HuntingError: an error from inside the context. Its message names the variables of its settings.
    """
    publishers = open_publishers(publish)
    with (
        naming(settings),
        _opened(settings, publishers, max_wait=max_wait, clock=clock, run_id=run_id) as pipeline,
    ):
        yield pipeline


@contextmanager
def _opened(
    settings: Settings,
    publishers: Sequence[Publisher],
    *,
    max_wait: float,
    clock: Clock | None,
    run_id: str | None,
) -> Iterator[Pipeline]:
    free_at_once()
    tenant = settings.tenant()
    store = open_lake(settings)
    claim(store, tenant, write=False)
    limits = settings.limits_profile
    here = _connection(settings)
    credential = tokens(
        settings.credential, tenant_id=tenant, client_id=str(settings.client_id), connection=here
    )
    machine = clock or SystemClock()
    client = Client(
        here,
        credential,
        request_seconds=limits.request_seconds,
        max_body_bytes=body_ceiling(limits),
        machine_clock=machine.now,
    )
    ledger = open_ledger(
        settings.ledger.get_secret_value(),
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
            clock=machine,
            publishers=publishers,
        )
    finally:
        client.close()
        ledger.close()


def _connection(settings: Settings) -> Connection:
    return connection(
        APIS[settings.api],
        settings.cloud,
        api_url=settings.api_url,
        login_url=settings.login_url,
        scope=settings.scope,
        ca_bundle=settings.ca_bundle,
    )
