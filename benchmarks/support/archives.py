"""Archives of any age, made from one real partition. Their manifests are right; their files hold no rows."""

import json
from collections.abc import Callable, Iterable

from hunting_pipeline.lake.layout import data_path, manifest_path
from hunting_pipeline.lake.manifest import Manifest
from hunting_pipeline.model import Partition

__all__ = ["extend"]

_FILE = b"not Parquet: this file is listed, and never read"


def extend(put: Callable[[str, bytes], str], template: Manifest, partitions: Iterable[Partition]) -> None:
    """Put a file and its manifest for each partition, in the likeness of a real one.

    Args:
        put: puts an object and returns its version, like `Store.put`.
        template: the manifest of a committed partition of the table.
        partitions: the new partitions.
    """
    body = json.loads(template.to_json())
    (segment,) = body["segments"]
    for partition in partitions:
        file = data_path(partition)
        body |= {
            "partition": partition.key,
            "file": file,
            "file_bytes": len(_FILE),
            "file_version": put(file, _FILE),
            "segments": [segment | {"span": [partition.window.start, partition.window.end]}],
        }
        put(manifest_path(partition), json.dumps(body).encode())
