"""The tables in the service, as assets that are external to Dagster. They are the sources of the hunts."""

from collections.abc import Iterable, Sequence

import dagster as dg

from hunting_pipeline.catalog import catalog

__all__ = ["service_assets", "service_key"]

_PREFIX = "service"


def service_key(table: str, prefix: Sequence[str] = ()) -> dg.AssetKey:
    """Return the key of a table in the service. `prefix` is the tenant's name, if it has one."""
    return dg.AssetKey([*prefix, _PREFIX, table])


def service_assets(specs: Iterable[dg.AssetSpec]) -> list[dg.AssetSpec]:
    """Return an external asset for each table in the service that one of `specs` depends on."""
    keys = {dep.asset_key for spec in specs for dep in spec.deps}
    return [
        dg.AssetSpec(
            key,
            description=catalog()[key.path[-1]].description,
            group_name=_PREFIX,
            kinds={"microsoft"},
        )
        for key in sorted(keys)
        if key.path[-2:-1] == [_PREFIX] and key.path[-1] in catalog()
    ]
