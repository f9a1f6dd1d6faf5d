"""Materialize a range of partitions from Python, in this process."""

from collections.abc import Sequence

import dagster as dg

from hunting_pipeline.orchestration.keys import COMPLETE, RANGE_END_TAG, RANGE_START_TAG

__all__ = ["materialize_range"]


def materialize_range(
    definitions: dg.Definitions,
    tables: Sequence[str],
    *,
    first: str,
    last: str,
    instance: dg.DagsterInstance,
) -> dg.ExecuteInProcessResult:
    """Materialize the partitions `first` to `last`, both included, in one run.

    Args:
        definitions: the result of `hunting_pipeline.definitions.defs()`, for example.
        tables: names of tables with the same grain; `tenant/name` if the settings name several tenants.
        first: key of the first partition, such as `2026-11-20` or `2026-11-20T05`.
        last: key of the last partition.
        instance: the instance that records events. `DagsterInstance.ephemeral()` stores no events.

    Returns:
        The result of the run, failed or not, with the events of every committed partition.

    Raises:
        KeyError: a table is not an asset of `definitions`.
    """
    assets = {_name(key): asset for asset in _assets(definitions) for key in asset.keys}
    chosen = [assets[table] for table in tables]
    complete = [check for asset in chosen for check in asset.check_keys if check.name == COMPLETE]
    keys = [key for asset in chosen for key in asset.keys]
    return dg.materialize(
        chosen,
        selection=dg.AssetSelection.assets(*keys).without_checks() | dg.AssetSelection.checks(*complete),
        instance=instance,
        resources=dict(definitions.resources or {}),
        tags={RANGE_START_TAG: first, RANGE_END_TAG: last},
        raise_on_error=False,
    )


def _name(key: dg.AssetKey) -> str:
    """Return `AlertInfo` for `defender/AlertInfo`, `contoso/AlertInfo` for `contoso/defender/AlertInfo`."""
    return "/".join((*key.path[:-2], key.path[-1]))


def _assets(definitions: dg.Definitions) -> list[dg.AssetsDefinition]:
    return [asset for asset in definitions.assets or () if isinstance(asset, dg.AssetsDefinition)]
