"""Table formats: tables that are kept equal to the lake. A pull calls them after its last commit.

A new format is one file of this folder that defines `open_publisher()`, and the file's name in `FORMATS`. The
lake stays the source of truth: a published table can always be built again from the lake.
"""

from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Protocol

from hunting_pipeline.errors import Misconfigured
from hunting_pipeline.lake.stores import Store
from hunting_pipeline.model import Receipt, TableSpec

__all__ = ["FORMATS", "Publisher", "open_publishers"]


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


FORMATS: tuple[str, ...] = ()
"""The files of the formats. A format has the name of its file."""


def open_publishers(names: Iterable[str]) -> tuple[Publisher, ...]:
    """Open the publishers of some formats.

    Raises:
        Misconfigured: a format is unknown.
    """
    chosen = tuple(names)
    if unknown := sorted({*chosen} - {*FORMATS}):
        raise Misconfigured(
            f"`publish` names {', '.join(unknown)}; the known formats are:"
            f" {', '.join(FORMATS) or 'none'}. Nothing was asked or written. Name a known format"
        )
    return tuple(import_module(f"{__name__}.{name}").open_publisher() for name in chosen)
