"""The number of rows of a table, summed over the partitions that Dagster has recorded."""

from functools import cached_property

import dagster as dg

from hunting_pipeline.orchestration.keys import PARTITION_ROW_COUNT, ROW_COUNT

__all__ = ["RecordedRows"]


class RecordedRows:
    """The recorded rows of one asset, during one run.

    The latest event of the asset holds the sum so far. So no run reads the manifests of the whole table.
    """

    def __init__(self, instance: dg.DagsterInstance, key: dg.AssetKey) -> None:
        self._instance = instance
        self._key = key
        self._replaced: dict[str, int] = {}
        self._total: int | None = None

    def total_with(self, partition: str, rows: int) -> int:
        """Return the sum after a partition is recorded with this number of rows."""
        if self._total is None:
            self._total = _value(self._instance.get_latest_materialization_event(self._key), ROW_COUNT)
        before = self._replaced.get(partition)
        if before is None:
            before = self._recorded(partition) if partition in self._partitions else 0
        self._replaced[partition] = rows
        self._total += rows - before
        return self._total

    @cached_property
    def _partitions(self) -> set[str]:
        return self._instance.get_materialized_partitions(self._key)

    def _recorded(self, partition: str) -> int:
        asked = dg.AssetRecordsFilter(asset_key=self._key, asset_partitions=[partition])
        found = self._instance.fetch_materializations(asked, limit=1).records
        return _value(found[0].event_log_entry, PARTITION_ROW_COUNT) if found else 0


def _value(event: dg.EventLogEntry | None, name: str) -> int:
    materialization = event.asset_materialization if event else None
    found = materialization.metadata.get(name) if materialization else None
    return int(str(found.value)) if found else 0
