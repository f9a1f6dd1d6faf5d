"""Microsoft Defender's hunting tables, complete and typed, as partitioned Parquet.

The nouns and the errors. To pull from Python: `hunting_pipeline.pipeline.open_pipeline`; to read a lake:
`hunting_pipeline.lake.read`.
"""

import os

# Arrow asks once, when it is imported. Its own allocators keep for each thread what that thread once
# needed, which doubles the memory of a pull; the system's is told otherwise in `pipeline.memory`.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

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
    "Window",
]
