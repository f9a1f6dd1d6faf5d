"""A run over partitions of one table. It converts the receipts of a pull into Dagster events."""

import time
from collections.abc import Iterator, Sequence

import dagster as dg

from hunting_pipeline.errors import CommitRefused, HuntingError
from hunting_pipeline.lake.inspect import inspect
from hunting_pipeline.lake.layout import data_path
from hunting_pipeline.lake.verify import Comparison, compare
from hunting_pipeline.model import Partition, TableSpec, partition_from_key
from hunting_pipeline.orchestration import metadata
from hunting_pipeline.orchestration.checks.complete import complete_result, partition_evaluation
from hunting_pipeline.orchestration.keys import (
    AUTOMATION_TAG,
    BACKFILL_TAG,
    COLUMN_LINEAGE,
    RECONCILE_TAG,
    ROW_COUNT,
)
from hunting_pipeline.orchestration.markdown import unlinked
from hunting_pipeline.orchestration.outcomes import errors_as_outcomes
from hunting_pipeline.orchestration.recorded_rows import RecordedRows
from hunting_pipeline.orchestration.resources import HuntingResource
from hunting_pipeline.pipeline import Pipeline, Pull
from hunting_pipeline.pipeline.coverage import archive_of, problems_of
from hunting_pipeline.pipeline.progress import Reporter
from hunting_pipeline.pipeline.pull import OF_PARTITIONS, combined
from hunting_pipeline.quota.report import describe_left
from hunting_pipeline.window import available, partitions_in

__all__ = ["Event", "materialize_table"]

Event = dg.AssetMaterialization | dg.AssetObservation | dg.AssetCheckEvaluation | dg.AssetCheckResult


def materialize_table(
    context: dg.AssetExecutionContext, spec: TableSpec, *, key: dg.AssetKey, hunting: HuntingResource
) -> Iterator[Event]:
    """Archive the partitions of a run. With the tag `hunting/reconcile`, fetch only the spans that differ.

    Raises:
        dg.Failure: a person must act. All other partitions are committed.
        dg.RetryRequested: the quota is exhausted, or the service is down. Committed partitions stay.
    """
    partitions = [partition_from_key(spec.name, partition) for partition in context.partition_keys]
    background = AUTOMATION_TAG in context.run.tags
    with (
        errors_as_outcomes(context.log),
        hunting.pipeline(run_id=context.run.run_id, background=background) as pipeline,
    ):
        run = TableRun(context, hunting.settings().completed(spec), pipeline=pipeline, key=key)
        reconcile = RECONCILE_TAG in context.run.tags
        yield from run.reconcile(partitions) if reconcile else run.pull(partitions)
        if pipeline.client.clock.machine_wrong:
            context.log.warning("This machine's clock is %s", pipeline.client.clock.summary)


class TableRun:
    """A step that pulls one table and yields an event for each committed partition."""

    def __init__(
        self, context: dg.AssetExecutionContext, spec: TableSpec, *, pipeline: Pipeline, key: dg.AssetKey
    ) -> None:
        self._context = context
        self._spec = spec
        self._pipeline = pipeline
        self._key = key
        self._comparisons: list[Comparison] = []
        self._errors: list[HuntingError] = []
        self._rows = RecordedRows(context.instance, key)

    def pull(self, partitions: Sequence[Partition]) -> Iterator[Event]:
        """Fetch the missing spans of the partitions, and yield the events."""
        with self._pipeline.pull(self._spec, partitions, renew=True, observe=self._reporter()) as pull:
            before = pull.report
            self._log_future(before.future)
            yield from self._archived_before(before.covered)
            yield from self._receipts(pull)
            after = pull.report  # the first reply may have corrected the time
            self._log_future([p for p in after.future if p not in before.future])
            yield from self._archived_before([p for p in after.covered if p not in before.covered])
        yield from self._end(partitions)

    def reconcile(self, partitions: Sequence[Partition]) -> Iterator[Event]:
        """Count the partitions again, fetch the spans that differ, and yield the events."""
        with self._pipeline.reconcile(self._spec, partitions, observe=self._reporter()) as (found, pull):
            different = len(found.grown) + len(found.shrunk)
            self._context.log.info(
                "%s: %d of %d time bins differ between the archive and the service."
                " In %d of these bins, the service has fewer rows than the archive.",
                self._spec.name,
                different,
                len(found.bins),
                len(found.shrunk),
            )
            if found.other_query:
                self._context.log.warning(
                    "%s: %d partitions were archived by another query. They stay unchanged."
                    " To fetch them again, materialize them.",
                    self._spec.name,
                    len(found.other_query),
                )
            yield from self._receipts(pull, added="late rows")
        yield from self._end(partitions)

    def _end(self, partitions: Sequence[Partition]) -> Iterator[Event]:
        """Yield the check of the run's partitions, and raise the error of the run.

        If the error concerns some partitions only, the check reports the others.
        """
        error = combined(self._errors) if self._errors else None
        if error is None or isinstance(error, OF_PARTITIONS):
            yield self._complete(partitions)
        if error is not None:
            raise error

    def _complete(self, partitions: Sequence[Partition]) -> dg.AssetCheckResult:
        """Return the check of the run's partitions.

        It also fails if another file is damaged whose rows the service still holds.
        """
        window = available(self._pipeline.now(), self._pipeline.limits.retention_days, self._spec)
        asked = {*partitions, *partitions_in(self._spec, window)}
        archive = archive_of(self._pipeline.store, self._spec, asked)
        problems = problems_of(self._spec, archive.damaged, archive.foreign)
        return complete_result(self._key, self._comparisons, problems=problems)

    def _reporter(self) -> Reporter:
        return Reporter(
            lambda line: self._context.log.info(unlinked(line)),
            time.time,
            quota=lambda: describe_left(self._pipeline.ledger.usage()),
        )

    def _receipts(self, pull: Pull, *, added: str = "rows added") -> Iterator[Event]:
        before = pull.report
        try:
            for receipt in pull:
                after = pull.report
                yield from self._committed(
                    receipt.partition,
                    **metadata.of_receipt(receipt, added=added),
                    **metadata.of_spending(before, after),
                )
                before = after
        except HuntingError as error:
            self._errors.append(error)

    def _log_future(self, future: Sequence[Partition]) -> None:
        if future:
            keys = ", ".join(partition.key for partition in future)
            self._context.log.info(
                "%s: these partitions are in the future or not settled yet. A later run fetches them: %s",
                self._spec.name,
                keys,
            )

    def _archived_before(self, covered: Sequence[Partition]) -> Iterator[Event]:
        """Yield events for partitions that are in the lake, but not yet recorded in Dagster.

        The errors of damaged files are kept until the other partitions are archived.
        """
        recorded = self._recorded()
        for partition in covered:
            if partition.key not in recorded:
                try:
                    yield from self._committed(partition)
                except CommitRefused as error:
                    self._errors.append(error)

    def _recorded(self) -> set[str]:
        """Return the partitions recorded in Dagster. A new backfill and the automation need new events."""
        needs_events = {BACKFILL_TAG, AUTOMATION_TAG} & self._context.run.tags.keys()
        return (
            set()
            if needs_events and not self._context.retry_number
            else self._context.instance.get_materialized_partitions(self._key)
        )

    def _committed(self, partition: Partition, **more: dg.MetadataValue) -> Iterator[Event]:
        store = self._pipeline.store
        inspection = inspect(store, partition, self._spec)
        comparison = compare(inspection)
        self._comparisons.append(comparison)
        described = {**metadata.of_archived(inspection, uri=store.uri(data_path(partition))), **more}
        if partition.null_time:  # rows without a time have no partition in Dagster
            yield dg.AssetObservation(self._key, description="rows without a time", metadata=described)
            return
        defined = self._context.assets_def.get_asset_spec(self._key).metadata
        if COLUMN_LINEAGE in defined:  # the UI reads the lineage of the latest materialization
            described[COLUMN_LINEAGE] = defined[COLUMN_LINEAGE]
        described[ROW_COUNT] = dg.MetadataValue.int(
            self._rows.total_with(partition.key, inspection.manifest.proof.rows)
        )
        yield dg.AssetMaterialization(self._key, partition=partition.key, metadata=described)
        yield partition_evaluation(self._key, comparison)
