"""The schema of a whole table: one small file, so no command must read all manifests to know it.

The schema holds every column of every file, because a commit registers new columns before it puts its file.
It is replaced by compare-and-swap. So if two machines add the same column at once, the second machine takes
the name and the type that the first one registered.

A missing or damaged schema is rebuilt from all manifests and from the files.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hunting_pipeline.errors import CommitRefused, Misconfigured
from hunting_pipeline.lake.layout import KUSTO_TYPE_KEY, SOURCE_NAME_KEY, data_path, schema_path
from hunting_pipeline.lake.listing import list_files, list_manifests
from hunting_pipeline.lake.manifest import Manifest, load_listed
from hunting_pipeline.lake.parquet import opened
from hunting_pipeline.lake.schema import columns_of, fingerprint, merged
from hunting_pipeline.lake.stores import ABSENT, Conflict, Store, read_current
from hunting_pipeline.model import HOUR, RESCUED, Column, Grain, Partition, TableSpec

__all__ = ["TableSchema", "load_schema", "register_schema"]

_VERSION = 1

_ARROW_TYPES: Mapping[str, pa.DataType] = MappingProxyType(
    {
        str(arrow): arrow
        for arrow in (
            *(pa.string(), pa.bool_(), pa.int32(), pa.int64(), pa.float64()),
            *(pa.timestamp(unit, "UTC") for unit in ("ns", "us")),
            *(pa.duration(unit) for unit in ("ns", "us")),
            pa.decimal128(38, 18),
        )
    }
)
"""All types of columns, by their text."""


@dataclass(frozen=True, slots=True)
class TableSchema:
    """The schema of a table.

    Attributes:
        grain: the length of its partitions.
        schema: the columns of all its files, with their lake names, and `_rescued_data`.
    """

    grain: Grain
    schema: pa.Schema

    @property
    def columns(self) -> tuple[Column, ...]:
        """The lake names and Kusto types of the columns, as in a manifest."""
        return columns_of(self.schema)

    def to_json(self) -> str:
        """Return the text that `from_json` reads."""
        columns = [
            [field.name, *(found.decode() for found in _names(field)), _text(field)]
            for field in self.schema
            if field.name != RESCUED
        ]
        return json.dumps({"version": _VERSION, "grain": self.grain.value, "columns": columns}, indent=1)

    @classmethod
    def from_json(cls, text: str | bytes) -> "TableSchema":
        """Read the text that `to_json` returns.

        Raises:
            ValueError: the text is not a schema of this version.
        """
        try:
            return cls._from_body(json.loads(text))
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError("it is not a schema of this version") from error

    @classmethod
    def _from_body(cls, body: dict[str, Any]) -> "TableSchema":
        if body["version"] != _VERSION:
            raise ValueError("a schema of another version")
        fields = [_field(*column) for column in body["columns"]]
        if len({field.name for field in fields}) != len(fields):
            raise ValueError("two columns of one name")
        return cls(Grain(body["grain"]), pa.schema([*fields, pa.field(RESCUED, pa.string())]))


def _names(field: pa.Field) -> tuple[bytes, bytes]:
    """Return the service's name of a column and its Kusto type."""
    metadata = field.metadata or {}
    return metadata.get(SOURCE_NAME_KEY, field.name.encode()), metadata.get(KUSTO_TYPE_KEY, b"")


def _text(field: pa.Field) -> str:
    text = str(field.type)
    if text not in _ARROW_TYPES:
        raise CommitRefused(f"no table can have a column of type {text} ({field.name}). Nothing was written")
    return text


def _field(name: str, source: str, kusto_type: str, arrow: str) -> pa.Field:
    metadata: dict[bytes, Any] = {KUSTO_TYPE_KEY: kusto_type.encode()}
    if source != name:
        metadata[SOURCE_NAME_KEY] = source.encode()
    return pa.field(name, _ARROW_TYPES[arrow], metadata=metadata)


def load_schema(store: Store, table: str) -> TableSchema | None:
    """Load the schema of a table; None if no file of the table can be read.

    A schema that is rebuilt is written again. If the lake is read-only, it is not written.
    """
    version, found = _read(store, table)
    if found is None and (found := _rebuilt(store, table)) is not None:
        with suppress(Misconfigured, Conflict):
            _put(store, table, found, expected=version)
    return found


def register_schema(
    store: Store,
    partition: Partition,
    spec: TableSpec,
    *,
    first: pa.Schema | None,
    merge: Callable[[pa.Schema | None], pa.Schema],
) -> pa.Schema:
    """Return the schema for a new file, after the table's schema was extended by the file's columns.

    Args:
        store: the lake's store.
        partition: the partition of the file.
        spec: the table.
        first: the schema of the table before its first file; None for the schema of the rows.
        merge: merges the table's schema and the schemas of the rows. It is called again if another run has
            changed the table's schema in the meantime.

    Raises:
        CommitRefused: as `merge`.
    """
    while True:
        version, recorded = _read(store, spec.name)
        known = recorded or _rebuilt(store, spec.name)
        schema = merge(known.schema if known else first)
        if recorded and fingerprint(schema) == fingerprint(recorded.schema):
            return schema
        table_schema = TableSchema(known.grain if known else _grain(partition, spec), schema)
        with suppress(Conflict):
            _put(store, spec.name, table_schema, expected=version)
            return schema


def _grain(partition: Partition, spec: TableSpec) -> Grain:
    if partition.null_time:
        return spec.grain
    return Grain.HOUR if partition.window.ticks == HOUR else Grain.DAY


def _put(store: Store, table: str, schema: TableSchema, *, expected: str | None) -> None:
    store.put(schema_path(table), schema.to_json().encode(), expected=expected or ABSENT)


def _read(store: Store, table: str) -> tuple[str | None, TableSchema | None]:
    """Return the version of the file and the schema in it. A schema that cannot be read is None."""
    with suppress(Misconfigured, OSError):
        entry, data = read_current(store, schema_path(table))
        if entry is not None:
            with suppress(ValueError):
                return entry.version, TableSchema.from_json(data or b"")
            return entry.version, None
    return None, None


def _rebuilt(store: Store, table: str) -> TableSchema | None:
    """Merge the schemas of all files. The newest file decides if two files contradict each other."""
    files = list_files(store, table, None).files
    if not files:
        return None
    found, damaged = load_listed(store, files, list_manifests(store, table, None))
    grain = _usual_grain([*found, *damaged])
    schema: pa.Schema | None = None
    seen: set[str] = set()
    for manifest in sorted(found.values(), key=lambda manifest: -manifest.committed_at):
        if manifest.fingerprint in seen or (of_file := _schema_of(store, manifest)) is None:
            continue
        seen.add(manifest.fingerprint)
        with suppress(CommitRefused):  # a type that does not fit the newer files
            schema = merged(TableSpec(table, None), schema, [of_file])
    return None if grain is None or schema is None else TableSchema(grain, schema)


def _usual_grain(partitions: Iterable[Partition]) -> Grain | None:
    """Return the grain that most partitions have; None if there are no partitions."""
    lengths = Counter(partition.window.ticks for partition in partitions if not partition.null_time)
    usual = max(lengths, key=lambda length: lengths[length], default=None)
    return next((grain for grain in Grain if grain.ticks == usual), None)


def _schema_of(store: Store, manifest: Manifest) -> pa.Schema | None:
    """Return the schema of a file; None if the file cannot be read or has another schema than it says."""
    with suppress(CommitRefused), opened(store, data_path(manifest.partition)) as file:
        schema: pa.Schema = pq.read_schema(file).remove_metadata()
        if fingerprint(schema) == manifest.fingerprint:
            return schema
    return None
