"""The rewrite of an archived file from its own rows, with another unit of times.

The file is replaced as in a commit: whole or not at all, and only if it is still the file that was read. The
manifest keeps the row count and checksum, and the segments with their queries and times.
"""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from hunting_pipeline.errors import CommitRefused
from hunting_pipeline.lake.layout import data_path, manifest_path
from hunting_pipeline.lake.manifest import Manifest
from hunting_pipeline.lake.partition_file import Written, row_groups, write_partition_file
from hunting_pipeline.lake.schema import columns_of, fingerprint
from hunting_pipeline.lake.sources import merged_schema, sources
from hunting_pipeline.lake.stores import Store
from hunting_pipeline.model import TableSpec

__all__ = ["rewrite"]


def rewrite(store: Store, archived: Manifest, *, known: pa.Schema | None, spec: TableSpec) -> Manifest:
    """Write the file of a partition again, with the unit of times of `spec`. Return the new manifest.

    Args:
        store: the lake's store.
        archived: the manifest of the present file.
        known: the schema of the whole table, with the unit to write.
        spec: the table; for null-time rows, see `window.null_time_spec`.

    Raises:
        CommitRefused: the file is damaged, or another run replaced it. The present file stays.
        Misconfigured: the lake cannot be written. The present file stays.
    """
    path, written = data_path(archived.partition), Written()
    with store.local_file(path, version=archived.file_version) as copy:
        parts = sources((), archived, copy=copy, time_column=spec.time_column)
        schema = merged_schema(store, parts, spec, known)
        manifest = replace(archived, fingerprint=fingerprint(schema), columns=columns_of(schema))
        footer = replace(manifest, file_bytes=0, file_version="")

        def write(temporary: Path) -> None:
            tables = row_groups(store, parts, schema, spec)
            write_partition_file(
                temporary, tables, written, schema=schema, manifest=footer, spec=spec, spans=()
            )
            if written.proof != archived.proof:
                raise CommitRefused(
                    f"{archived.partition}: the new file would hold {written.proof}, but its manifest says"
                    f" {archived.proof}. The archive is unchanged. Check the table with `hunting reconcile`"
                )

        version = store.put_file(path, write, expected=archived.file_version)
    manifest = replace(manifest, file_bytes=written.file_bytes, file_version=version)
    store.put(manifest_path(archived.partition), manifest.to_json().encode())
    return manifest
