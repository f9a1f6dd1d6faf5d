"""The sources of a partition's new file: staged segments, and the archived rows outside their spans."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc
import pyarrow.parquet as pq

from hunting_pipeline.errors import CommitRefused
from hunting_pipeline.lake.layout import data_path
from hunting_pipeline.lake.manifest import Manifest, Segment
from hunting_pipeline.lake.micros import exact_column, instant
from hunting_pipeline.lake.parquet import opened_copy
from hunting_pipeline.lake.read import ticks_in_file
from hunting_pipeline.lake.schema import merged
from hunting_pipeline.lake.stores import Store
from hunting_pipeline.lake.write import open_segment, proof_of
from hunting_pipeline.model import Bucket, Proof, Staged, TableSpec, Window, subtract

__all__ = ["Source", "StagedRefused", "merged_schema", "overlapping", "sources"]


class StagedRefused(CommitRefused):
    """Staged segments are damaged or do not fit the table. They were removed; the archive is unchanged.

    Attributes:
        spans: the spans of the removed segments. Fetch the spans again.
    """

    def __init__(self, message: str, spans: Iterable[Window | None]) -> None:
        super().__init__(message)
        self.spans = frozenset(spans)


@dataclass(frozen=True, slots=True)
class Source:
    """Rows of one file that go into the new file: a staged segment, or a span of the archived file.

    Attributes:
        path: path of the file in the lake.
        copy: a local copy of an archived file; None for a staged segment.
        span: the span to take from an archived file; None for all rows.
        segments: the segments of these rows.
        body_bytes: size of the JSON from which the rows were decoded.
    """

    path: str
    copy: Path | None
    span: Window | None
    segments: tuple[Segment, ...]
    body_bytes: int

    @property
    def first_span(self) -> Window | None:
        """The span of the first segment. A staged file has only one segment."""
        return self.segments[0].span

    @property
    def start(self) -> int:
        """The start of the first segment, by which sources are sorted."""
        return self.first_span.start if self.first_span else 0

    @property
    def proof(self) -> Proof:
        """The row count and checksum of all segments."""
        return sum((segment.proof for segment in self.segments), Proof(0, 0))

    def schema(self, store: Store) -> pa.Schema:
        """Read the schema of the file, without the file's metadata.

        Raises:
            CommitRefused: the file cannot be read.
            StagedRefused: the segment is damaged.
        """
        if self.copy is None:
            return self._segment(store).schema.remove_metadata()
        with opened_copy(self.copy, self.path) as file:
            return pq.read_schema(file).remove_metadata()

    def tables(self, store: Store, time_column: str | None) -> Iterator[pa.Table]:
        """Yield the rows, one table at a time.

        Raises:
            CommitRefused: the file cannot be read.
            StagedRefused: the segment is damaged.
        """
        if self.copy is None:
            yield self._segment(store).read_all()
            return
        with opened_copy(self.copy, self.path) as file:
            for batch in pq.ParquetFile(file, page_checksum_verification=True).iter_batches():
                table = pa.Table.from_batches([batch])
                yield table if self.span is None else _within(table, str(time_column), self.span)

    @property
    def archived(self) -> bool:
        """Whether the rows come from the archive; False for a staged segment."""
        return self.copy is not None

    def _segment(self, store: Store) -> pa.ipc.RecordBatchFileReader:
        found = open_segment(store, self.path)
        if found is None:
            store.delete(self.path)
            raise StagedRefused(
                f"{self.path} is missing or damaged. The staged segment was removed, and the archive is"
                " unchanged. Run again",
                [self.first_span],
            )
        return found


def sources(
    staged: Sequence[Staged], archived: Manifest | None, *, copy: Path | None, time_column: str | None
) -> list[Source]:
    """Return the staged segments, and the spans of the archive outside of them, in order of time.

    Args:
        staged: the staged segments.
        archived: the manifest of the archived file; None if no archived row is kept.
        copy: a local copy of the archived file; None if there is none.
        time_column: the time column of the table.
    """
    found = [Source(segment.path, None, None, (_proof(segment),), segment.body_bytes) for segment in staged]
    if archived is not None and copy is not None:
        for run in _runs(_kept(copy, archived, [segment.span for segment in staged], time_column)):
            first, last = run[0].span, run[-1].span
            span = Window(first.start, last.end) if first and last else None
            share = sum(segment.proof.rows for segment in run) / max(1, archived.proof.rows)
            found.append(
                Source(
                    data_path(archived.partition), copy, span, tuple(run), round(archived.body_bytes * share)
                )
            )
    return sorted(found, key=lambda source: source.start)


def merged_schema(
    store: Store, parts: Sequence[Source], spec: TableSpec, known: pa.Schema | None
) -> pa.Schema:
    """Merge the schemas of all sources, see `schema.merged`.

    Raises:
        CommitRefused: a file of the archive does not fit the table.
        StagedRefused: a staged segment does not fit the archive, or two of them contradict each other.
    """
    schemas = {source: source.schema(store) for source in parts}
    archive = [schema for source, schema in schemas.items() if source.archived]
    merged(spec, known, archive)
    try:
        return merged(spec, known, schemas.values())
    except CommitRefused as error:
        staged = {source: schema for source, schema in schemas.items() if not source.archived}
        alone = _contradicting(spec, known, archive, staged)
        spans = {source.first_span for source in alone or staged}
        for source in staged:
            if source.first_span in spans:
                store.delete(source.path)
        raise StagedRefused(error.marked, spans) from error


def _contradicting(
    spec: TableSpec, known: pa.Schema | None, archive: list[pa.Schema], staged: Mapping[Source, pa.Schema]
) -> list[Source]:
    """Return the staged segments that do not fit the archive."""
    found = []
    for source, schema in staged.items():
        try:
            merged(spec, known, [*archive, schema])
        except CommitRefused:
            found.append(source)
    return found


def overlapping(staged: Iterable[Staged]) -> bool:
    """Return whether two segments may hold the same rows: their spans and their hash buckets overlap."""
    by_span = sorted(staged, key=lambda segment: (segment.span is not None, segment.span))
    groups = [(span, [segment.bucket for segment in segments]) for span, segments in groupby(by_span, _span)]
    return any(
        one is None or other is None or one.intersection(other) for (one, _), (other, _) in pairwise(groups)
    ) or any(_share_rows(buckets) for _, buckets in groups)


def _span(segment: Staged) -> Window | None:
    return segment.span


def _share_rows(buckets: Sequence[Bucket | None]) -> bool:
    """Return whether two buckets have rows in common. A finer bucket is a part of a coarser one."""
    seen: dict[int, set[int]] = {}
    for bucket in sorted((bucket or Bucket(0, 1) for bucket in buckets), key=lambda bucket: bucket.of):
        if any(bucket.index % of in indexes for of, indexes in seen.items()):
            return True
        seen.setdefault(bucket.of, set()).add(bucket.index)
    return False


def _proof(segment: Staged) -> Segment:
    bucket = (segment.bucket.index, segment.bucket.of) if segment.bucket else None
    return Segment(segment.span, bucket, segment.proof, segment.query, segment.fetched_at)


def _kept(
    copy: Path, archived: Manifest, replaced: Sequence[Window | None], time_column: str | None
) -> list[Segment]:
    """Return the segments of an archived file that are not replaced.

    If a part of a segment is replaced, the rows of the rest are counted in the archived file.
    """
    whole = [segment for segment in archived.segments if not _touched(segment.span, replaced)]
    cut = [segment for segment in archived.segments if _touched(segment.span, replaced)]
    spans = [span for span in replaced if span is not None]
    if time_column is None or len(spans) < len(replaced):
        return whole
    rests = [
        (rest, segment)
        for span, segment in {segment.span: segment for segment in cut}.items()
        if span is not None
        for rest in subtract(span, spans)
    ]
    if rests:
        with opened_copy(copy, data_path(archived.partition)) as file:
            ticks = ticks_in_file(file, time_column)
        for rest, segment in rests:
            low, high = np.searchsorted(ticks, [rest.start, rest.end])
            whole.append(Segment(rest, None, proof_of(ticks[low:high]), segment.query, segment.fetched_at))
    return sorted(whole, key=lambda segment: segment.span.start if segment.span else 0)


def _touched(span: Window | None, others: Sequence[Window | None]) -> bool:
    return any(span is None or other is None or span.intersection(other) for other in others)


def _runs(segments: Sequence[Segment]) -> Iterator[list[Segment]]:
    """Group segments without a gap between them, so each span of the archived file is read once."""
    run: list[Segment] = []
    for segment in segments:
        last = run[-1].span if run else None
        if run and last and segment.span and segment.span.start > last.end:
            yield run
            run = []
        run.append(segment)
    if run:
        yield run


def _within(table: pa.Table, time_column: str, span: Window) -> pa.Table:
    times = table[exact_column(table.schema, time_column)]
    low, high = (instant(ticks, times.type) for ticks in (span.start, span.end))
    return table.filter(pc.and_(pc.greater_equal(times, low), pc.less(times, high)))
