"""The functions that open a lake and a pipeline from settings."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from importlib.metadata import version
from uuid import uuid4

from hunting_pipeline.apis import APIS
from hunting_pipeline.apis.connection import Connection, connection
from hunting_pipeline.auth.tokens import tokens
from hunting_pipeline.errors import HuntingError, Misconfigured, Refused
from hunting_pipeline.http.client import Client
from hunting_pipeline.lake.commit import Writer, claim, owner
from hunting_pipeline.lake.stores import Store, open_store
from hunting_pipeline.pipeline.acceptance import Acceptance
from hunting_pipeline.pipeline.clock import Clock, SystemClock
from hunting_pipeline.pipeline.memory import free_at_once
from hunting_pipeline.pipeline.session import Pipeline
from hunting_pipeline.publish import Publisher, open_publishers
from hunting_pipeline.quota.ledger import open_ledger
from hunting_pipeline.quota.protocol import Ledger
from hunting_pipeline.settings import Settings, naming

__all__ = ["open_lake", "open_pipeline", "open_quota"]


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
    background: bool = False,
) -> Iterator[Pipeline]:
    """Open a pipeline from settings, and close its connections at the end.

    Args:
        max_wait: the longest wait for quota, in seconds. A longer wait raises `QuotaExhausted`.
        clock: the clock of the run; the system's clock if None.
        run_id: the id of the run in manifests; a new id if None.
        publish: names of the table formats to publish to after each pull.
        background: whether no person waits for this run, so the calls of people go first.

    Raises:
        Misconfigured: a setting is missing or wrong, or the lake belongs to another tenant. No request was
            sent.
        HuntingError: an error from inside the context. Its message names the variables of its settings.
    """
    publishers = open_publishers(publish)
    with (
        _refusals_recorded(settings),
        naming(settings),
        _opened(
            settings, publishers, max_wait=max_wait, clock=clock, run_id=run_id, background=background
        ) as pipeline,
    ):
        yield pipeline


def open_quota(settings: Settings, *, clock: Callable[[], float] | None = None) -> Ledger:
    """Open the quota ledger of the configured tenant. This needs no credential.

    Args:
        settings: the settings.
        clock: a clock that replaces those of the ledger, see `open_ledger`.

    Raises:
        Misconfigured: a setting is missing or wrong, or the ledger cannot be opened.
        ServiceFailed: the database server does not answer.
    """
    return open_ledger(
        settings.ledger.get_secret_value(),
        tenant=settings.known_tenant(),
        limits=settings.limits_profile,
        share=settings.share,
        clock=clock,
    )


@contextmanager
def _refusals_recorded(settings: Settings) -> Iterator[None]:
    """Record an error in the ledger that every run with these settings would meet."""
    try:
        yield
    except (Misconfigured, Refused) as error:
        if error.everything:
            with suppress(HuntingError):
                settings.tenant()  # without an identity, nothing is recorded
                with closing(open_quota(settings)) as ledger:
                    ledger.record_access(settings.identity, refusal=str(error))
        raise


@contextmanager
def _opened(
    settings: Settings,
    publishers: Sequence[Publisher],
    *,
    max_wait: float,
    clock: Clock | None,
    run_id: str | None,
    background: bool,
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
        max_body_bytes=limits.body_ceiling,
        machine_clock=machine.now,
    )
    ledger = open_quota(settings, clock=clock.now if clock else None)
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
            accepted=Acceptance(ledger, settings.identity).record,
            background=background,
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
