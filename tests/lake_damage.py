"""Kinds of damage that people and other programs do to a partition of a lake."""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hunting_pipeline.lake.layout import FOOTER_KEY, data_path, manifest_path
from hunting_pipeline.model import Partition

NESTED = "[" * 200_000
"""JSON that is nested deeper than Python's parser allows."""

_SEGMENT = {"span": None, "bucket": None, "rows": 0, "checksum": 0, "query": "", "fetched_at": 0}

HOSTILE: Mapping[str, object] = MappingProxyType(
    {
        "rows": "NaN",
        "checksum": 10**30,
        "file_bytes": True,
        "committed_at": 1e999,
        "tenant": None,
        "table": [],
        "partition": "2026-13-45",
        "columns": 5,
        "segments": [_SEGMENT | {"span": [5, 1]}],
        "segments ": [_SEGMENT | {"span": [10**30, 1]}],
        "segments  ": [_SEGMENT | {"span": [0, 1]}],
        "segments   ": [_SEGMENT | {"bucket": [0, 1.5]}],
        "surplus": {},
    }
)
"""Values that do not belong into a manifest, by key; blanks make a key occur more than once."""


def rewrite(file: Path, change: Callable[[pa.Table], pa.Table], manifest: str | None = None) -> None:
    """Write a Parquet file again, with its footer's manifest or another one."""
    footer = pq.read_metadata(file).metadata
    table = change(pq.ParquetFile(file).read())
    text = footer[FOOTER_KEY] if manifest is None else manifest.encode()
    pq.write_table(table.replace_schema_metadata({FOOTER_KEY: text}), file)


def hostile(text: str | bytes, key: str) -> str:
    """Return a manifest with one hostile value."""
    return json.dumps(json.loads(text) | {key.strip(): HOSTILE[key]})


def _footer(file: Path, _: Path) -> None:
    text = pq.read_metadata(file).metadata[FOOTER_KEY]
    rewrite(file, lambda table: table, hostile(text, "segments"))


def _folder(file: Path, _: Path) -> None:
    file.unlink()
    file.mkdir()


def _full_folder(file: Path, _: Path) -> None:
    _folder(file, _)
    pq.write_table(pa.table({"A": [1]}), file / "part-0.parquet")


def _file_as_folder(file: Path, _: Path) -> None:
    shutil.rmtree(file.parent)
    file.parent.write_text("a file")


def _other_partition(file: Path, _: Path) -> None:
    key = file.stem.removeprefix(file.parent.parent.name + "-")
    text = pq.read_metadata(file).metadata[FOOTER_KEY].decode()
    rewrite(file, lambda table: table, text.replace(f'"partition": "{key}"', '"partition": "2026-01-01"'))


def _cut(file: Path, _: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


DAMAGE: Mapping[str, Callable[[Path, Path], object]] = MappingProxyType(
    {
        "empty file": lambda file, _: file.write_bytes(b""),
        "text": lambda file, _: file.write_text("not Parquet"),
        "cut": _cut,
        "no manifest in the footer": lambda file, _: pq.write_table(pa.table({"A": [1]}), file),
        "hostile footer": _footer,
        "nested footer": lambda file, _: rewrite(file, lambda table: table, NESTED),
        "manifest of another partition": _other_partition,
        "a folder": _folder,
        "a folder with files": _full_folder,
        "a file as the folder": _file_as_folder,
        "file and manifest": lambda file, manifest: (file.write_bytes(b""), manifest.write_text(NESTED)),
    }
)
"""Kinds of damage by which a partition is lost, by name. Each takes the paths of file and manifest."""


def _same_time(file: Path, data: bytes) -> None:
    before = file.stat()
    file.write_bytes(data)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


HIDDEN: Mapping[str, Callable[[Path, Path], object]] = MappingProxyType(
    {
        "decayed bytes": lambda file, _: _same_time(file, bytes(file.stat().st_size)),
        "no time column": lambda file, _: rewrite(file, lambda table: table.drop_columns(["Timestamp"])),
        "texts as times": lambda file, _: rewrite(
            file,
            lambda table: table.set_column(
                table.schema.get_field_index("Timestamp"), "Timestamp", pa.array(["x"] * table.num_rows)
            ),
        ),
    }
)
"""Kinds of damage that only a reader of the rows finds: file and manifest still fit together."""


def _manifest_folder(_: Path, manifest: Path) -> None:
    manifest.unlink()
    manifest.mkdir()


HEALED: Mapping[str, Callable[[Path, Path], object]] = MappingProxyType(
    {
        "manifest nested": lambda _, manifest: manifest.write_text(NESTED),
        "manifest of bytes": lambda _, manifest: manifest.write_bytes(b"\xff\xfe\x00"),
        "manifest of a number": lambda _, manifest: manifest.write_text("1" * 5000),
        "manifest empty": lambda _, manifest: manifest.write_text(""),
        "manifest a list": lambda _, manifest: manifest.write_text("[]"),
        "manifest a folder": _manifest_folder,
        **{
            f"manifest with hostile {key.strip()} {number}": lambda _, manifest, key=key: manifest.write_text(
                hostile(manifest.read_text(), key)
            )
            for number, key in enumerate(HOSTILE)
        },
    }
)
"""Kinds of damage to a manifest, by name: the file's footer holds the same facts."""


def damage(root: Path, partition: Partition, kind: Mapping[str, Callable[..., Any]], name: str) -> None:
    """Damage one partition of the lake at `root`."""
    kind[name](root / data_path(partition), root / manifest_path(partition))
