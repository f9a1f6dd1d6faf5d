"""Table formats: what the lake holds, kept equal in another table. The seam after a pull's commits.

A new format is one file in this folder and one line in `PUBLISHERS`. The lake stays the source of truth: a
published table can always be rebuilt from the lake.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from hunting_pipeline.errors import Misconfigured
from hunting_pipeline.lake.stores import Store
from hunting_pipeline.model import Receipt, TableSpec

__all__ = ["PUBLISHERS", "Publisher", "open_publishers"]


class Publisher(Protocol):
    """Keeps one table format equal to the lake.

    A pull calls `publish` once, after its last commit, also if nothing was committed or a partition failed.
    So a run that died before publishing is healed by the next run.
    """

    def publish(self, store: Store, spec: TableSpec, receipts: Sequence[Receipt]) -> None:
        """Make the published table equal to the manifests of the lake.

        Compare the manifests with what the table holds, and commit the difference. The receipts say what this
        run has committed; an earlier run may have committed more. A second call must change nothing.

        Args:
            store: the lake.
            spec: the table, or the hunt.
            receipts: the partitions that this run committed, in the order of their commits; may be empty.

        Raises:
            HuntingError: the table is not equal to the lake. The commits to the lake stay.
        """


PUBLISHERS: dict[str, Callable[[], Publisher]] = {}
"""What opens a publisher, by the name of its format."""


def open_publishers(names: Iterable[str]) -> tuple[Publisher, ...]:
    """Open the publishers of some formats.

    Raises:
        Misconfigured: a format is unknown.
    """
    chosen = tuple(names)
    if unknown := sorted({*chosen} - {*PUBLISHERS}):
        raise Misconfigured(
            f"`publish` names {', '.join(unknown)}; the known formats are:"
            f" {', '.join(sorted(PUBLISHERS)) or 'none'}. Nothing was asked or written. Name a known format"
        )
    return tuple(PUBLISHERS[name]() for name in chosen)
