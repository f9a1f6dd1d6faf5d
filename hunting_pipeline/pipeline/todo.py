"""The bookkeeping of a pull: the spans to fetch and the segments that have arrived, by partition."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from hunting_pipeline.model import Partition, Slice, Staged, Window, subtract

__all__ = ["Todo"]


@dataclass(slots=True)
class Todo:
    """The spans to fetch and the staged segments of each partition. Used by the main thread only.

    Attributes:
        wanted: the spans to fetch, by partition. A partition is removed when it is taken, lost or given up.
        segments: the staged segments, by partition.
        size: number of partitions at the beginning.
        outstanding: slices that were begun and are not staged yet. The buckets of a slice are complete only
            together.
        lost: partitions that the service deleted before they could be fetched.
    """

    wanted: dict[Partition, list[Window]]
    segments: dict[Partition, list[Staged]]
    size: int
    outstanding: set[Slice] = field(default_factory=set)
    lost: list[Partition] = field(default_factory=list)

    @classmethod
    def of(cls, missing: Iterable[tuple[Partition, Window]]) -> "Todo":
        """Return the bookkeeping for missing spans before the first fetch."""
        wanted: dict[Partition, list[Window]] = {}
        for partition, span in missing:
            wanted.setdefault(partition, []).append(span)
        return cls(wanted, {partition: [] for partition in wanted}, len(wanted))

    @property
    def partitions(self) -> tuple[Partition, ...]:
        """The partitions that are still wanted."""
        return tuple(self.wanted)

    def wants(self, segment: Staged) -> bool:
        """Return whether a staged segment lies within a wanted span."""
        return segment.span is not None and self._within(segment.partition, segment.span)

    def _within(self, partition: Partition, whole: Window) -> bool:
        return any(span.contains(whole) for span in self.wanted.get(partition, ()))

    def add(self, segment: Staged) -> None:
        """Add a segment that has arrived."""
        self.segments[segment.partition].append(segment)

    def missing(self) -> list[Window]:
        """Return the wanted spans that no segment covers yet."""
        return [
            gap
            for partition, spans in self.wanted.items()
            for span in spans
            for gap in subtract(span, _spans(self.segments[partition]))
        ]

    def touched(self, slice_: Slice) -> tuple[Partition, ...]:
        """Return the wanted partitions that overlap a slice; none if the slice is no longer needed.

        A bucket is not needed if the service has deleted a part of its span. The rest of the span is fetched
        again, in other buckets.
        """
        window = slice_.window
        if window is None:
            return tuple(self.wanted)
        touched = (p for p in self.wanted if p.window.intersection(window))
        if slice_.bucket is None:
            return tuple(touched)
        return tuple(p for p in touched if self._within(p, window))

    def whole(self) -> Iterator[Partition]:
        """Iterate over the complete partitions, oldest first: nothing of them is missing."""
        for partition in sorted(self.wanted):
            if not self._open(partition):
                yield partition

    def _open(self, partition: Partition) -> bool:
        spans = _spans(self.segments[partition])
        return any(subtract(span, spans) for span in self.wanted[partition]) or any(
            slice_.window is None or slice_.window.intersection(partition.window)
            for slice_ in self.outstanding
        )

    def take(self, partition: Partition) -> list[Staged]:
        """Remove a complete partition and return its segments."""
        del self.wanted[partition]
        return self.segments.pop(partition)

    def want_again(self, segments: Iterable[Staged], refused: Collection[Window | None]) -> None:
        """Put a partition back after its commit was refused: fetch the `refused` spans of `segments` again.

        All buckets of a refused span are fetched again, because they are complete only together.
        """
        for segment in segments:
            partition = segment.partition
            spans = self.wanted.setdefault(partition, [])
            kept = self.segments.setdefault(partition, [])
            if segment.span not in refused:
                kept.append(segment)
            elif (span := segment.span or partition.window) not in spans:
                spans.append(span)

    def forget(self, gone: Window) -> None:
        """Remove a window that the service no longer holds. Partitions with nothing left become `lost`.

        Buckets whose span overlaps the window are removed too: they are useless without the other buckets.
        """
        for partition, spans in list(self.wanted.items()):
            self.wanted[partition] = [rest for span in spans for rest in subtract(span, [gone])]
            self.segments[partition] = [
                segment
                for segment in self.segments[partition]
                if not (segment.bucket and segment.span and segment.span.intersection(gone))
            ]
            if not self.wanted[partition] and not self.segments[partition]:
                del self.wanted[partition]
                self.lost.append(partition)

    def give_up(self, slice_: Slice) -> None:
        """Remove the partitions of a slice that cannot be fetched. The lake keeps their archived rows."""
        for partition in self.touched(slice_):
            del self.wanted[partition]


def _spans(segments: Iterable[Staged]) -> list[Window]:
    """Return the spans of segments. A segment of a snapshot covers its whole day."""
    return [segment.span or segment.partition.window for segment in segments]
