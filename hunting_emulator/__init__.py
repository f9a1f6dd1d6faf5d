"""A local Defender tenant over HTTPS: synthetic hunting tables, KQL on DuckDB, quotas and faults."""
