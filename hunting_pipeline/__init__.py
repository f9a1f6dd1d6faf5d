"""Microsoft Defender's hunting tables, complete and typed, as partitioned Parquet.

`connect` opens a tenant: query, pull and read from Python, see docs/python.md. This module also exports the
values and the errors. Importing this package loads no other library and changes no environment variable:
`connect` and the classes of its results are loaded at their first use.
"""

from typing import TYPE_CHECKING

from hunting_pipeline.errors import (
    BeyondRetention,
    CommitRefused,
    HuntingError,
    Misconfigured,
    QuotaExhausted,
    Refused,
    ReplyUnreadable,
    ResultTooLarge,
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
    "Hunting",
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
    "Result",
    "ResultTooLarge",
    "ServiceFailed",
    "Slice",
    "SliceTooDense",
    "TableSpec",
    "TimestampUnit",
    "Window",
    "connect",
]

if TYPE_CHECKING:
    from hunting_pipeline.api import Hunting, connect
    from hunting_pipeline.pipeline import Result

_LAZY = ("Hunting", "Result", "connect")
"""Names that are loaded at their first use, because they need Arrow and an HTTP client."""


def __getattr__(name: str) -> object:
    """Return a name of `_LAZY`."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from hunting_pipeline import api  # noqa: PLC0415

    return getattr(api, name)
