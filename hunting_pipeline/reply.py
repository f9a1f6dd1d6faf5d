"""A decoded reply of the service: `decode` builds it, `lake` stores its rows, `kql.queries` reads its counts.

This value is not in `model`, because it is the only one that needs Arrow.
"""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from hunting_pipeline.model import Column

__all__ = ["Reply"]


@dataclass(frozen=True, slots=True)
class Reply:
    """An accepted reply.

    Attributes:
        columns: the columns of the reply's Schema, in the same order, with Kusto's names of types.
        table: one Arrow column per Schema column, then `_rescued_data` if a value did not fit its type.
        stats: the reply's Stats, unchanged; empty if the API sends none.
        body_bytes: length of the decompressed JSON.
        rescued: number of values kept as text in `_rescued_data`.
    """

    columns: tuple[Column, ...]
    table: pa.Table
    stats: dict[str, Any]
    body_bytes: int
    rescued: int = 0
