"""Build one partitioned asset with checks from a table or a hunt."""

from collections.abc import Callable, Iterator, Sequence
from datetime import date
from functools import partial

import dagster as dg

from hunting_pipeline.errors import HuntingError
from hunting_pipeline.lake.verify import verify
from hunting_pipeline.model import TableSpec, ticks_of
from hunting_pipeline.orchestration.checks.complete import complete_result, complete_spec
from hunting_pipeline.orchestration.checks.health import HEALTH_CHECKS, health_results, health_specs
from hunting_pipeline.orchestration.checks.reconciled import reconciled_spec, recount
from hunting_pipeline.orchestration.keys import AUTOMATION_TAG, COMPLETE, KEPT_TAG, RECONCILED
from hunting_pipeline.orchestration.outcomes import errors_as_outcomes
from hunting_pipeline.orchestration.resources import HuntingResource
from hunting_pipeline.orchestration.table_run import Event
from hunting_pipeline.pipeline.coverage import archive_of, problems_of
from hunting_pipeline.pipeline.pull import OF_PARTITIONS

__all__ = ["checked_asset", "kept_tags"]

HealthResults = Callable[[HuntingResource], Iterator[dg.AssetCheckResult]]
"""A function that evaluates the checks that need no API call."""

Body = Callable[[dg.AssetExecutionContext, HuntingResource], Iterator[Event]]
"""A function that does the work of a step."""


def kept_tags(spec: TableSpec) -> dict[str, str]:
    """Return the tag of an asset that the sensor `keep_complete` requests."""
    return {KEPT_TAG: "snapshot" if spec.time_column is None else "rows"}


def checked_asset(
    asset: dg.AssetSpec,
    spec: TableSpec,
    *,
    hunting: HuntingResource,
    start: date,
    fresh_hours: float,
    execute: Body,
) -> dg.AssetsDefinition:
    """Build the asset of a tenant's table or hunt, with its checks.

    Args:
        asset: the asset spec. The tenant's name is added to its key.
        spec: the table or hunt.
        hunting: the tenant's resource.
        start: first day of the archive.
        fresh_hours: hours that the archive may lag behind before `fresh` warns.
        execute: materializes the partitions of a run.
    """
    asset = hunting.asset_spec(asset)
    health = partial(health_results, spec=spec, start=ticks_of(start), fresh_hours=fresh_hours)

    def body(context: dg.AssetExecutionContext, hunting: HuntingResource) -> Iterator[Event]:
        failure = None
        if context.selected_asset_keys:
            try:
                yield from execute(context, hunting)
            except dg.Failure as error:
                if not _of_partitions(error):
                    raise
                failure = error
        yield from _check_results(context, spec, start=ticks_of(start), health=health, hunting=hunting)
        if failure is not None:
            raise failure

    check_specs = [complete_spec(asset.key), *health_specs(asset.key, fresh_hours=fresh_hours)]
    if spec.recountable:
        check_specs.append(reconciled_spec(asset.key))
    return _asset_of(asset, check_specs, body, hunting=hunting)


def _of_partitions(failure: BaseException) -> bool:
    """Return whether a failure concerns some partitions only, so the checks still tell something."""
    cause: BaseException | None = failure
    while cause is not None and not isinstance(cause, HuntingError):
        cause = cause.__cause__
    return isinstance(cause, OF_PARTITIONS)


def _asset_of(
    spec: dg.AssetSpec, check_specs: Sequence[dg.AssetCheckSpec], body: Body, *, hunting: HuntingResource
) -> dg.AssetsDefinition:
    """Build an asset whose body yields an event for each partition when the partition is committed.

    The spec is `skippable` and the asset subsettable, so the body need not return an output. An output would
    mark all partitions of a run as materialized at once. Without an output, Dagster skips downstream steps in
    the same run. The checks therefore run in the step of the asset and not in steps of their own.
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


def _check_results(
    context: dg.AssetExecutionContext,
    spec: TableSpec,
    *,
    start: int,
    health: HealthResults,
    hunting: HuntingResource,
) -> Iterator[dg.AssetCheckResult]:
    """Evaluate the checks of a run. If the run materializes the table, `complete` was evaluated before.

    Raises:
        dg.Failure: a person must act.
        dg.RetryRequested: the quota is exhausted, or the service is down.
    """
    wanted = {check.name: check.asset_key for check in context.selected_asset_check_keys}
    with errors_as_outcomes(context.log):
        spec = hunting.settings().completed(spec)
        if COMPLETE in wanted and not context.selected_asset_keys:
            store = hunting.open_lake()
            verified = verify(store, spec, archive_of(store, spec, None))
            yield complete_result(
                wanted[COMPLETE],
                verified.comparisons,
                problems=problems_of(spec, verified.damaged, verified.foreign),
            )
        for result in health(hunting) if wanted.keys() & HEALTH_CHECKS else ():
            if result.check_name in wanted:
                yield result
        if RECONCILED in wanted:
            background = AUTOMATION_TAG in context.run.tags
            with hunting.pipeline(run_id=context.run.run_id, background=background) as pipeline:
                yield recount(pipeline, spec, start=start)
