"""One table as one asset: a thin body that turns a pull's receipts into Dagster's events."""

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from functools import partial

import dagster as dg

from hunting_pipeline.lake.inspect import Inspection, inspect
from hunting_pipeline.lake.layout import data_path
from hunting_pipeline.lake.manifest import load_all
from hunting_pipeline.model import Partition, TableSpec, partition_from_key, ticks_of
from hunting_pipeline.orchestration import checks, metadata
from hunting_pipeline.orchestration.checks import Comparison
from hunting_pipeline.orchestration.outcomes import told_to_dagster
from hunting_pipeline.orchestration.progress import Reporter
from hunting_pipeline.orchestration.quota import left_of
from hunting_pipeline.orchestration.recounts import RECONCILED, recount, recount_spec
from hunting_pipeline.orchestration.resources import RECONCILE_TAG, HuntingResource
from hunting_pipeline.orchestration.watch import WATCHED, watch_specs, watched
from hunting_pipeline.pipeline import Pipeline, Pull

__all__ = ["Event", "checked_asset", "materialize_table"]

Event = dg.AssetMaterialization | dg.AssetObservation | dg.AssetCheckEvaluation | dg.AssetCheckResult

_BACKFILL_TAG = "dagster/backfill"

Watch = Callable[[HuntingResource], Iterator[dg.AssetCheckResult]]
"""Makes the checks that ask nobody."""

Body = Callable[[dg.AssetExecutionContext, HuntingResource], Iterator[Event]]


def checked_asset(
    asset: dg.AssetSpec,
    spec: TableSpec,
    *,
    hunting: HuntingResource,
    start: date,
    fresh_hours: float,
    execute: Body,
) -> dg.AssetsDefinition:
    """A tenant's table or hunt with its checks.

    Args:
        asset: how it looks; the tenant's name goes before its key.
        spec: what the pipeline is told.
        hunting: of the tenant.
        start: first day of its archive.
        fresh_hours: how far the archive may lag before `fresh` warns.
        execute: materializes the partitions of a run.
    """
    owned = hunting.owned(asset)
    watch = partial(watched, spec=spec, start=ticks_of(start), fresh_hours=fresh_hours)

    def body(context: dg.AssetExecutionContext, hunting: HuntingResource) -> Iterator[Event]:
        if context.selected_asset_keys:
            yield from execute(context, hunting)
        yield from _checked(context, spec, start=ticks_of(start), watch=watch, hunting=hunting)

    check_specs = [checks.complete_spec(owned.key), *watch_specs(owned.key, fresh_hours=fresh_hours)]
    if spec.recountable:
        check_specs.append(recount_spec(owned.key))
    return _asset_of(owned, check_specs, body, hunting=hunting)


def _asset_of(
    spec: dg.AssetSpec, check_specs: Sequence[dg.AssetCheckSpec], body: Body, *, hunting: HuntingResource
) -> dg.AssetsDefinition:
    """An asset whose body yields an event for each partition as it is committed.

    The spec is `skippable` and the asset subsettable, so that the body need not return an output: an output
    would mark a whole range as done at once. For the same reason its checks are made in the same step: those
    of a step of their own would be skipped, and shown so, whenever they run together with the asset.
    """

    @dg.multi_asset(
        name="__".join(spec.key.path),
        specs=[spec.replace_attributes(skippable=True)],
        check_specs=check_specs,
        can_subset=True,
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=hunting.key,
        required_resource_keys={hunting.key},
    )
    def _asset(context: dg.AssetExecutionContext) -> Iterator[Event]:
        yield from body(context, getattr(context.resources, hunting.key))

    return _asset


def materialize_table(
    context: dg.AssetExecutionContext, spec: TableSpec, *, key: dg.AssetKey, hunting: HuntingResource
) -> Iterator[Event]:
    """Bring the run's partitions of a table into the lake; under `RECONCILE_TAG`, make them equal again.

    Raises:
        dg.Failure: a person must act; every partition that could be committed is.
        dg.RetryRequested: the quota is spent, or the service is down; finished work stays.
    """
    partitions = [partition_from_key(spec.name, partition) for partition in context.partition_keys]
    with told_to_dagster(context.log), hunting.pipeline(run_id=context.run.run_id) as pipeline:
        telling = _Telling(context, spec, pipeline=pipeline, key=key)
        reconciling = RECONCILE_TAG in context.run.tags
        yield from telling.reconciled(partitions) if reconciling else telling.pulled(partitions)


def _checked(
    context: dg.AssetExecutionContext, spec: TableSpec, *, start: int, watch: Watch, hunting: HuntingResource
) -> Iterator[dg.AssetCheckResult]:
    """Make the run's checks of a table; `complete` only where the table itself is not materialized.

    Raises:
        dg.Failure: a person must act.
        dg.RetryRequested: the quota is spent, or the service is down.
    """
    wanted = {check.name: check.asset_key for check in context.selected_asset_check_keys}
    with told_to_dagster(context.log):
        if checks.COMPLETE in wanted and not context.selected_asset_keys:
            yield checks.summary(wanted[checks.COMPLETE], checks.verified(hunting.lake(), spec))
        for result in watch(hunting) if wanted.keys() & WATCHED else ():
            if result.check_name in wanted:
                yield result
        if RECONCILED in wanted:
            with hunting.pipeline(run_id=context.run.run_id) as pipeline:
                yield recount(pipeline, spec, start=start)


class _Telling:
    """Pulls within one step and tells Dagster."""

    def __init__(
        self, context: dg.AssetExecutionContext, spec: TableSpec, *, pipeline: Pipeline, key: dg.AssetKey
    ) -> None:
        self._context = context
        self._spec = spec
        self._pipeline = pipeline
        self._key = key
        self._comparisons: list[Comparison] = []
        self._rows: dict[str, int] = {}

    def pulled(self, partitions: Sequence[Partition]) -> Iterator[Event]:
        with self._pipeline.pull(self._spec, partitions, renew=True, observe=self._reporter()) as pull:
            self._say_what_is_not_due(pull.report.future)
            yield from self._archived_before(pull.report.covered)
            yield from self._receipts(pull)
        yield checks.summary(self._key, self._comparisons)

    def reconciled(self, partitions: Sequence[Partition]) -> Iterator[Event]:
        with self._pipeline.reconcile(self._spec, partitions, observe=self._reporter()) as (found, pull):
            different = len(found.grown) + len(found.shrunk)
            self._context.log.info(
                "%s: %d of %d bins differ, %d of them shrank",
                self._spec.name,
                different,
                len(found.bins),
                len(found.shrunk),
            )
            if found.other_query:
                self._context.log.warning(
                    "%s: %d partitions were archived by another query and are left as they are;"
                    " materialize them to have them fetched anew",
                    self._spec.name,
                    len(found.other_query),
                )
            yield from self._receipts(pull, added="late rows")
        yield checks.summary(self._key, self._comparisons)

    def _reporter(self) -> Reporter:
        return Reporter(
            self._context.log.info, time.time, quota=lambda: left_of(self._pipeline.ledger.usage())
        )

    def _receipts(self, pull: Pull, *, added: str = "rows added") -> Iterator[Event]:
        before = pull.report
        for receipt in pull:
            after = pull.report
            yield from self._committed(
                receipt.partition,
                **metadata.of_receipt(receipt, added=added),
                **metadata.of_spending(before, after),
            )
            before = after

    def _say_what_is_not_due(self, future: Sequence[Partition]) -> None:
        if future:
            keys = ", ".join(partition.key for partition in future)
            self._context.log.info("%s %s: not begun or not settled, left for later", self._spec.name, keys)

    def _archived_before(self, covered: Sequence[Partition]) -> Iterator[Event]:
        """What the lake holds already is told where Dagster, or the backfill that asks, cannot know it."""
        told = self._known_to_dagster()
        for partition in covered:
            if partition.key not in told:
                yield from self._committed(partition)

    def _known_to_dagster(self) -> set[str]:
        fresh_backfill = _BACKFILL_TAG in self._context.run.tags and not self._context.retry_number
        return set() if fresh_backfill else self._context.instance.get_materialized_partitions(self._key)

    def _committed(self, partition: Partition, **more: dg.MetadataValue) -> Iterator[Event]:
        store = self._pipeline.store
        seen = inspect(store, partition, None if partition.null_time else self._spec.time_column)
        comparison = checks.comparison_of(seen)
        self._comparisons.append(comparison)
        told = {
            **metadata.of_archived(seen, uri=store.uri(data_path(partition))),
            "dagster/row_count": dg.MetadataValue.int(self._rows_with(seen)),
            **more,
        }
        if partition.null_time:  # its rows have no time, so Dagster has no partition for them
            yield dg.AssetObservation(self._key, description="rows without a time", metadata=told)
            return
        yield dg.AssetMaterialization(self._key, partition=partition.key, metadata=told)
        yield checks.evaluation(self._key, comparison)

    def _rows_with(self, seen: Inspection) -> int:
        """Rows of the whole table; its manifests are read once a run."""
        if not self._rows:
            archived = load_all(self._pipeline.store, self._spec.name)
            self._rows = {manifest.partition.key: manifest.proof.rows for manifest in archived}
        self._rows[seen.manifest.partition.key] = seen.manifest.proof.rows
        return sum(self._rows.values())
