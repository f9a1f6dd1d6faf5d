"""Metadata that the UI shows for a table and for a partition. Pure: values in, Dagster metadata out."""

from collections.abc import Mapping, Sequence

import dagster as dg
import pyarrow as pa

from hunting_pipeline.catalog import Entry, column_description
from hunting_pipeline.decode.kinds import kind_of
from hunting_pipeline.lake.inspect import Inspection
from hunting_pipeline.lake.micros import TICKS_TYPE, unit_of
from hunting_pipeline.lake.picture import bars, preview
from hunting_pipeline.model import Column, Receipt, Report, TableSpec, TimestampUnit, iso_of
from hunting_pipeline.orchestration.keys import (
    CALLS,
    COLUMN_SCHEMA,
    PARTITION_ROW_COUNT,
    QUOTA_SECONDS,
    SECONDS_WAITED,
    TABLE_NAME,
    URI,
)
from hunting_pipeline.orchestration.markdown import code_block

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

_REFERENCE = "https://learn.microsoft.com/defender-xdr/advanced-hunting-"
"""Start of the address of a table's documentation."""


def description_of(entry: Entry) -> str:
    """Return a description of the table in Markdown."""
    how = (
        f"Partitioned by `{entry.time_column}`; one Parquet file for each partition."
        if entry.time_column
        else "The table has no time column. It is archived as a snapshot once a day."
    )
    preview_note = " Public preview." if entry.preview else ""
    return f"{entry.description}{preview_note}\n\n{how}"


def of_asset(spec: TableSpec, entry: Entry) -> Metadata:
    """Return the metadata of a table from the catalogue."""
    wanted = [column for column in entry.columns if not spec.columns or column.name in spec.columns]
    text = dg.MetadataValue.text
    return {
        TABLE_NAME: text(spec.name),
        COLUMN_SCHEMA: schema_of(wanted),
        "service": text(entry.service),
        "reference": dg.MetadataValue.url(f"{_REFERENCE}{entry.name.lower()}-table"),
        "columns": dg.MetadataValue.int(len(wanted)),
        "time column": text(spec.time_column or "none: one snapshot each day"),
        **({"where": code_block(spec.where, language="kusto")} if spec.where else {}),
    }


def schema_of(columns: Sequence[Column]) -> dg.TableSchemaMetadataValue:
    """Return a Dagster table schema: the columns with Arrow types, Kusto types and known meanings."""
    unit = unit_of(columns)
    return dg.MetadataValue.table_schema(
        dg.TableSchema(
            [
                dg.TableColumn(
                    column.name,
                    type=_arrow_type(column, unit),
                    description=column_description(column.name),
                    tags={"kusto": column.kusto_type},
                )
                for column in columns
            ]
        )
    )


def _arrow_type(column: Column, unit: TimestampUnit | None) -> str:
    if column.kusto_type == TICKS_TYPE:
        return str(pa.int64())
    kind = kind_of(column.kusto_type).arrow
    return str(pa.timestamp(unit, kind.tz) if pa.types.is_timestamp(kind) else kind)


def of_archived(inspection: Inspection, *, uri: str) -> Metadata:
    """Return the metadata of an archived partition.

    Args:
        inspection: the values that were read from the file and its manifest.
        uri: the location of the file.
    """
    value = dg.MetadataValue
    manifest = inspection.manifest
    window = manifest.partition.window
    picture = (
        bars(inspection.bins, first=iso_of(window.start), last=iso_of(window.end)) if inspection.bins else ""
    )
    return {
        PARTITION_ROW_COUNT: value.int(manifest.proof.rows),
        URI: value.path(uri),
        COLUMN_SCHEMA: schema_of(manifest.columns),
        "bytes": value.int(manifest.file_bytes),
        "JSON bytes": value.int(manifest.body_bytes),
        "slices": value.int(len(manifest.segments)),
        "columns": value.int(len(manifest.columns)),
        "checksum": value.text(str(manifest.proof.checksum)),
        "schema fingerprint": value.text(manifest.fingerprint),
        "rescued values": value.int(manifest.rescued),
        "covered spans": value.text(", ".join(map(str, manifest.covered))),
        "committed": value.timestamp(manifest.committed_at / 10_000_000),
        "preview": code_block(preview(inspection.head), above=picture),
    }


def of_computed(rows: pa.Table, size: int, *, uri: str) -> Metadata:
    """Return the metadata of a partition of a computed table. `size` is the size of the file in bytes."""
    value = dg.MetadataValue
    columns = [dg.TableColumn(field.name, type=str(field.type)) for field in rows.schema]
    return {
        PARTITION_ROW_COUNT: value.int(rows.num_rows),
        URI: value.path(uri),
        COLUMN_SCHEMA: value.table_schema(dg.TableSchema(columns)),
        "bytes": value.int(size),
        "preview": code_block(preview(rows.slice(0, 5))),
    }


def of_receipt(receipt: Receipt, *, added: str) -> Metadata:
    """Return metadata that is only known at the commit.

    Args:
        receipt: the receipt of the commit.
        added: the label for the number of added rows.
    """
    value = dg.MetadataValue
    metadata: dict[str, dg.MetadataValue] = {}
    if receipt.previous_rows is not None:
        metadata[added] = value.int(receipt.proof.rows - receipt.previous_rows)
    if receipt.time_range is not None:
        metadata["first row"], metadata["last row"] = (value.text(iso_of(t)) for t in receipt.time_range)
    return metadata


def of_spending(before: Report, after: Report) -> Metadata:
    """Return the quota that a run spent between two reports."""
    value = dg.MetadataValue
    return {
        CALLS: value.int(after.calls - before.calls),
        QUOTA_SECONDS: value.float(round(after.running_seconds - before.running_seconds, 3)),
        SECONDS_WAITED: value.float(round(after.waited_seconds - before.waited_seconds, 3)),
    }
