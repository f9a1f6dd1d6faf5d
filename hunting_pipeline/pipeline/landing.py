"""The writes of a pull: segments in staging, then complete partitions in the lake."""

from collections.abc import Callable, Iterable, Sequence

import pyarrow as pa

from hunting_pipeline import telemetry
from hunting_pipeline.catalog import catalog
from hunting_pipeline.errors import CommitRefused
from hunting_pipeline.lake.archive import Archive
from hunting_pipeline.lake.commit import Writer, claim, commit, prove_writable
from hunting_pipeline.lake.schema import merged
from hunting_pipeline.lake.stores import Store
from hunting_pipeline.lake.write import Origin, segment_columns, stage, staged_segments, unstage
from hunting_pipeline.model import SECOND, Partition, Receipt, Staged, TableSpec
from hunting_pipeline.pipeline.memory import release
from hunting_pipeline.pipeline.splitter import Fetched

__all__ = ["Landing"]


class Landing:
    """Stages and commits the rows of one table during one pull.

    Workers stage in parallel. Only the main thread commits.

    Attributes:
        store: the lake.
        receipts: the partitions committed so far, in order.
    """

    def __init__(
        self,
        store: Store,
        writer: Writer,
        archive: Archive,
        *,
        now: Callable[[], int],
        force: bool,
        stated_schema: Callable[[], pa.Schema],
    ) -> None:
        self.store = store
        self._writer = writer
        self._archive = archive
        self.receipts: list[Receipt] = []
        self._now = now
        self._force = force
        self._stated_schema = stated_schema

    def archived_rows(self, partition: Partition) -> int:
        """Return the number of rows of a partition that were archived before this pull."""
        archived = self._archive.manifests.get(partition)
        return archived.proof.rows if archived else 0

    def damage(self, partition: Partition) -> CommitRefused | None:
        """Return the error of a partition whose file was damaged before this pull; None if it was not."""
        return self._archive.damaged.get(partition)

    def prove_writable(self, partition: Partition) -> None:
        """Check that a partition can be written, before calls use quota."""
        prove_writable(self.store, partition)

    def claim(self) -> None:
        """Mark the lake as this tenant's before the first segment is staged."""
        claim(self.store, self._writer.tenant, write=True)

    def staged(self, spec: TableSpec, *, edge: int) -> tuple[Staged, ...]:
        """Return the segments of the table that earlier runs staged, and remove what no run can use.

        `edge` is the retention edge (ticks).
        """
        return staged_segments(self.store, spec.name, spec.query_hash, self._archive.manifests, edge=edge)

    def discard(self, table: str, partitions: Iterable[Partition]) -> None:
        """Remove the staged segments of some partitions of a table."""
        unstage(self.store, table, partitions)

    def stage(self, fetched: Fetched, spec: TableSpec, partitions: Sequence[Partition]) -> tuple[Staged, ...]:
        """Stage the rows of a fetched slice, one segment for each of `partitions`."""
        return stage(
            self.store,
            fetched.reply,
            slice_=fetched.slice_,
            spec=spec,
            partitions=partitions,
            origin=Origin(fetched.query, self._now()),
        )

    def commit(self, partition: Partition, spec: TableSpec, segments: Sequence[Staged]) -> Receipt:
        """Commit one partition from its staged segments and its archived rows.

        Raises:
            CommitRefused: the commit would lose or duplicate rows. The old file stays.
            StagedRefused: staged segments are damaged or do not fit; they were removed. The old file stays.
            Misconfigured: the lake belongs to another tenant or cannot be written. The old file stays.
        """
        receipt = commit(
            self.store,
            partition,
            staged=segments,
            archived=self._archive.manifests.get(partition),
            spec=spec,
            writer=self._writer,
            now=self._now(),
            force=self._force,
            first_schema=None if self._has_schema() else self._first_schema(spec, segments),
        )
        self.receipts.append(receipt)
        if not partition.null_time:
            telemetry.committed(spec.name, lag=(self._now() - receipt.covered[-1].end) / SECOND)
        release()
        return receipt

    def _has_schema(self) -> bool:
        return self._archive.schema is not None or bool(self.receipts)

    def _first_schema(self, spec: TableSpec, segments: Sequence[Staged]) -> pa.Schema | None:
        """Return the schema for the first commit of a table; None if the segments have the documented types.

        The first file fixes the types of the table. So one odd reply must not decide: if a type is not the
        documented type, or if none is documented, the service states its types once more.
        """
        entry = catalog().get(spec.name)
        documented = {column.name: column.kusto_type for column in entry.columns} if entry else {}
        found = [column for segment in segments for column in segment_columns(self.store, segment)]
        if documented and all(documented.get(one.name, one.kusto_type) == one.kusto_type for one in found):
            return None
        return merged(spec, None, [self._stated_schema()])
