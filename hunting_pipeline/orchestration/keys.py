"""Names that code reads back from Dagster: checks, tags and metadata keys.

For example, a sensor finds a check by its name, and partitions by a metadata key. Labels that only people
read are not listed here.
"""

__all__ = [
    "AUTOMATED_TAG",
    "AUTOMATION_TAG",
    "BACKFILL_TAG",
    "CALLS",
    "CODE_REFERENCES",
    "COLUMN_LINEAGE",
    "COLUMN_SCHEMA",
    "COMPLETE",
    "DEADLINE",
    "DRIFT",
    "FRESH",
    "GAPS_PRIORITY",
    "HEALTHY",
    "KEPT_TAG",
    "NEAR_DEADLINE",
    "PARTITION_ROW_COUNT",
    "PRIORITY_TAG",
    "QUOTA_SECONDS",
    "RANGE_END_TAG",
    "RANGE_START_TAG",
    "RECONCILED",
    "RECONCILE_TAG",
    "REFRESH_PRIORITY",
    "ROW_COUNT",
    "SECONDS_WAITED",
    "STALE_PARTITIONS",
    "SUPPORTED",
    "TABLE_NAME",
    "TENANT_TAG",
    "URI",
]

COMPLETE, RECONCILED = "complete", "reconciled"
FRESH, DRIFT, DEADLINE = "fresh", "drift", "deadline"
"""Names of the checks of a table."""

HEALTHY, SUPPORTED = "healthy", "supported"
"""Names of the checks of the quota asset."""

STALE_PARTITIONS = "hunting/stale_partitions"
"""Metadata of `reconciled`: keys of partitions with late rows. The sensor `reconcile_stale` reads them."""

NEAR_DEADLINE = "hunting/near_deadline"
"""Metadata of `deadline`: keys of partitions that expire soon. The sensor `last_call` reads them."""

CALLS, QUOTA_SECONDS, SECONDS_WAITED = "calls", "quota seconds", "seconds waited"
"""Metadata of a materialization: its cost. `hunting_pipeline.materialize` sums the values."""

RECONCILE_TAG = "hunting/reconcile"
"""Tag of a run that counts archived partitions again and fetches those that differ."""

TENANT_TAG = "hunting/tenant"
"""Tag of assets and runs if the settings name several tenants. The value is the tenant's name."""

AUTOMATION_TAG = "hunting/automation"
"""Tag of a run that a sensor requested. The value is the sensor's name. Its calls give way to people's."""

AUTOMATED_TAG = "hunting/automated"
"""Tag of assets: `on` if their sensors run by default, `off` if a person starts them."""

KEPT_TAG = "hunting/keep_complete"
"""Tag of assets that the sensor `keep_complete` requests: `rows`, or `snapshot` for a table without times."""

REFRESH_PRIORITY, GAPS_PRIORITY = "-1", "-2"
"""Values of the tag `dagster/priority` of requested runs. The runs of people have the priority 0."""

RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"
BACKFILL_TAG = "dagster/backfill"
PRIORITY_TAG = "dagster/priority"
"""Tags that Dagster defines."""

TABLE_NAME = "dagster/table_name"
COLUMN_LINEAGE = "dagster/column_lineage"
COLUMN_SCHEMA = "dagster/column_schema"
CODE_REFERENCES = "dagster/code_references"
ROW_COUNT = "dagster/row_count"
PARTITION_ROW_COUNT = "dagster/partition_row_count"
URI = "dagster/uri"
"""Metadata keys that Dagster defines."""
