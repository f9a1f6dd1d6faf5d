"""Microsoft Defender's hunting tables, complete and typed, as partitioned Parquet.

This module exports the values and the errors. To pull from Python, use
`hunting_pipeline.pipeline.open_pipeline`. To read a lake, use `hunting_pipeline.lake.read`. Importing this
package loads no other library and changes no environment variable.
"""

from hunting_pipeline.errors import (
    BeyondRetention,
    CommitRefused,
    HuntingError,
    Misconfigured,
    QuotaExhausted,
    Refused,
    ReplyUnreadable,
    ServiceFailed,
    SliceTooDense,
)
from hunting_pipeline.model import (
    Column,
    Grain,
    Partition,
    Progress,
    Proof,
    Receipt,
    Report,
    Slice,
    TableSpec,
    TimestampUnit,
    Window,
)

__all__ = [
    "BeyondRetention",
    "Column",
    "CommitRefused",
    "Grain",
    "HuntingError",
    "Misconfigured",
    "Partition",
    "Progress",
    "Proof",
    "QuotaExhausted",
    "Receipt",
    "Refused",
    "ReplyUnreadable",
    "Report",
    "ServiceFailed",
    "Slice",
    "SliceTooDense",
    "TableSpec",
    "TimestampUnit",
    "Window",
]
