"""What the UI shows of a table and of a partition. Pure: values in, Dagster metadata out."""

from collections.abc import Mapping, Sequence

import dagster as dg
import pyarrow as pa

from hunting_pipeline.catalog import Entry
from hunting_pipeline.decode.kinds import kind_of
from hunting_pipeline.lake.inspect import Inspection
from hunting_pipeline.model import Column, Receipt, Report, TableSpec, iso_of
from hunting_pipeline.orchestration.picture import bars, preview

__all__ = [
    "Metadata",
    "description_of",
    "of_archived",
    "of_asset",
    "of_computed",
    "of_receipt",
    "of_spending",
    "schema_of",
]

Metadata = Mapping[str, dg.MetadataValue]


def description_of(entry: Entry) -> str:
    """Markdown: what the table is, and how it lands."""
    how = (
        f"Sliced by `{entry.time_column}`; one Parquet file a partition."
        if entry.time_column
        else "No time column: a snapshot of the whole table, once a day."
    )
    preview_note = " In public preview." if entry.preview else ""
    reference = f"https://learn.microsoft.com/defender-xdr/advanced-hunting-{entry.name.lower()}-table"
    return f"[{entry.name}]({reference}), of {entry.service}.{preview_note} {how}"


def of_asset(spec: TableSpec, entry: Entry) -> Metadata:
    """What is known of a table before anything is pulled."""
    wanted = [column for column in entry.columns if not spec.columns or column.name in spec.columns]
    text = dg.MetadataValue.text
    return {
        "dagster/table_name": text(spec.name),
        "dagster/column_schema": schema_of(wanted),
        "columns": dg.MetadataValue.int(len(wanted)),
        "time column": text(spec.time_column or "none: a snapshot a day"),
        **({"where": dg.MetadataValue.md(f"```kusto\n{spec.where}\n```")} if spec.where else {}),
    }


def schema_of(columns: Sequence[Column]) -> dg.TableSchemaMetadataValue:
    """Columns with their Arrow types, and Kusto's word for each beside it."""
    return dg.MetadataValue.table_schema(
        dg.TableSchema(
            [
                dg.TableColumn(
                    column.name,
                    type=str(kind_of(column.kusto_type).arrow),
                    description=f"Kusto {column.kusto_type}",
                    tags={"kusto": column.kusto_type},
                )
                for column in columns
            ]
        )
    )


def of_archived(seen: Inspection, *, uri: str) -> Metadata:
    """What a partition's file holds, whoever wrote it and when."""
    value = dg.MetadataValue
    manifest = seen.manifest
    window = manifest.partition.window
    picture = bars(seen.bins, first=iso_of(window.start), last=iso_of(window.end)) if seen.bins else ""
    return {
        "dagster/partition_row_count": value.int(manifest.proof.rows),
        "dagster/uri": value.path(uri),
        "dagster/column_schema": schema_of(manifest.columns),
        "bytes": value.int(manifest.file_bytes),
        "JSON bytes": value.int(manifest.body_bytes),
        "slices": value.int(len(manifest.segments)),
        "columns": value.int(len(manifest.columns)),
        "checksum": value.text(str(manifest.proof.checksum)),
        "schema fingerprint": value.text(manifest.fingerprint),
        "rescued values": value.int(manifest.rescued),
        "covers": value.text(", ".join(map(str, manifest.covered))),
        "committed": value.timestamp(manifest.committed_at / 10_000_000),
        "preview": value.md("\n\n".join(part for part in (picture, preview(seen.head)) if part)),
    }


def of_computed(rows: pa.Table, size: int, *, uri: str) -> Metadata:
    """What a partition of a computed table holds, in a file of `size` bytes."""
    value = dg.MetadataValue
    columns = [dg.TableColumn(field.name, type=str(field.type)) for field in rows.schema]
    return {
        "dagster/partition_row_count": value.int(rows.num_rows),
        "dagster/uri": value.path(uri),
        "dagster/column_schema": value.table_schema(dg.TableSchema(columns)),
        "bytes": value.int(size),
        "preview": value.md(preview(rows.slice(0, 5))),
    }


def of_receipt(receipt: Receipt, *, added: str) -> Metadata:
    """What is only known when a partition has just been committed; `added` names the rows that came anew."""
    value = dg.MetadataValue
    metadata: dict[str, dg.MetadataValue] = {}
    if receipt.previous_rows is not None:
        metadata[added] = value.int(receipt.proof.rows - receipt.previous_rows)
    if receipt.time_range is not None:
        metadata["first row"], metadata["last row"] = (value.text(iso_of(t)) for t in receipt.time_range)
    return metadata


def of_spending(before: Report, after: Report) -> Metadata:
    """What was spent of the tenant's quota between two moments of a run."""
    value = dg.MetadataValue
    return {
        "calls": value.int(after.calls - before.calls),
        "quota seconds": value.float(round(after.running_seconds - before.running_seconds, 3)),
        "seconds waited": value.float(round(after.waited_seconds - before.waited_seconds, 3)),
    }
