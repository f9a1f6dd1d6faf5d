"""Table formats: after its commits, a pull publishes the lake's table in other table formats.

A new format is one file of this folder that defines `open_publisher()`, and the file's name in `FORMATS`. The
lake stays the source of truth: a published table can always be rebuilt from the lake.
"""

from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Protocol

from hunting_pipeline.errors import Misconfigured
from hunting_pipeline.lake.stores import Store
from hunting_pipeline.model import Receipt, TableSpec

__all__ = ["FORMATS", "Publisher", "open_publishers"]


class Publisher(Protocol):
    """A publisher keeps the tables of one format equal to the lake.

    A pull calls `publish` once, after its last commit, even if nothing was committed or a partition failed.
    So if a run dies before it publishes, the next run publishes its commits.
    """

    def publish(self, store: Store, spec: TableSpec, receipts: Sequence[Receipt]) -> None:
        """Make the published table equal to the manifests of the lake.

        Compare the manifests with the published table, and commit the difference. The receipts are not
        enough: an earlier run may have committed partitions without publishing them. A second call must
        change nothing. `load_archive` takes the partitions that can differ: read all manifests only to
        rebuild the published table.

        Args:
            store: the lake.
            spec: the table, or the hunt.
            receipts: the receipts of this run, in the order of their commits; may be empty.

        Raises:
            HuntingError: publishing failed. The commits to the lake stay.
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
            f"`publish` names unknown formats: {', '.join(unknown)}. No request was sent and no data was"
            f" written. Known formats: {', '.join(FORMATS) or 'none'}"
        )
    return tuple(import_module(f"{__name__}.{name}").open_publisher() for name in chosen)
