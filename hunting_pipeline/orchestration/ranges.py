"""Drive assets from Python, in this process: what the UI's `Materialize` does with a range of partitions."""

from collections.abc import Sequence

import dagster as dg

from hunting_pipeline.orchestration.checks import COMPLETE

__all__ = ["materialize_range"]


def materialize_range(
    definitions: dg.Definitions,
    tables: Sequence[str],
    *,
    first: str,
    last: str,
    instance: dg.DagsterInstance,
) -> dg.ExecuteInProcessResult:
    """One run over the partitions `first` to `last`, both included, of tables that share a grain.

    Args:
        definitions: such as `hunting_pipeline.definitions.defs()`.
        tables: their names (`tenant/name` where there are several), each an asset of `definitions`.
        first, last: partition keys, `2026-11-20` or `2026-11-20T05`.
        instance: where events go; `DagsterInstance.ephemeral()` keeps none.

    Returns:
        The run's result, failed or not: `success`, and the events of every partition that was committed.

    Raises:
        KeyError: a table is no asset of `definitions`.
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
        tags={"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last},
        raise_on_error=False,
    )


def _name(key: dg.AssetKey) -> str:
    """`AlertInfo` of `defender/AlertInfo`, `contoso/AlertInfo` of `contoso/defender/AlertInfo`."""
    return "/".join((*key.path[:-2], key.path[-1]))


def _assets(definitions: dg.Definitions) -> list[dg.AssetsDefinition]:
    return [asset for asset in definitions.assets or () if isinstance(asset, dg.AssetsDefinition)]
