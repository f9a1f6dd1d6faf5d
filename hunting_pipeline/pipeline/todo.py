"""What a pull still owes, and what has come: the bookkeeping of its main thread."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from hunting_pipeline.model import Partition, Slice, Staged, Window, subtract
from hunting_pipeline.window import Backlog

__all__ = ["Todo"]


@dataclass(slots=True)
class Todo:
    """What is owed of each partition, and the pieces that have come; kept by the main thread.

    `outstanding` are the slices begun and not landed: a bucketed slice is only whole with its last bucket.
    `lost` are the partitions that the service forgot before they could be asked for.
    """

    owed: dict[Partition, list[Window]]
    segments: dict[Partition, list[Staged]]
    size: int
    outstanding: set[Slice] = field(default_factory=set)
    lost: list[Partition] = field(default_factory=list)

    @classmethod
    def of(cls, backlog: Backlog) -> "Todo":
        owed: dict[Partition, list[Window]] = {}
        for partition, span in backlog.missing:
            owed.setdefault(partition, []).append(span)
        return cls(owed, {partition: [] for partition in owed}, len(owed))

    @property
    def partitions(self) -> tuple[Partition, ...]:
        return tuple(self.owed)

    def wants(self, segment: Staged) -> bool:
        """Whether a staged piece lies within what is owed."""
        return segment.span is not None and self._owes(segment.partition, segment.span)

    def _owes(self, partition: Partition, whole: Window) -> bool:
        return any(span.contains(whole) for span in self.owed[partition])

    def add(self, segment: Staged) -> None:
        self.segments[segment.partition].append(segment)

    def missing(self) -> list[Window]:
        """The spans that no piece covers yet."""
        return [
            gap
            for partition, spans in self.owed.items()
            for span in spans
            for gap in subtract(span, _spans(self.segments[partition]))
        ]

    def touched(self, slice_: Slice) -> tuple[Partition, ...]:
        """The partitions a slice has rows for; none where they are given up.

        Nor where a bucket's span is partly forgotten: what is left of it is asked for anew, in other buckets.
        """
        window = slice_.window
        if window is None:
            return tuple(self.owed)
        touched = (p for p in self.owed if p.window.intersection(window))
        if slice_.bucket is None:
            return tuple(touched)
        return tuple(p for p in touched if self._owes(p, window))

    def whole(self) -> Iterator[Partition]:
        """Partitions of which nothing is missing any more, oldest first."""
        for partition in sorted(self.owed):
            if not self._open(partition):
                yield partition

    def _open(self, partition: Partition) -> bool:
        spans = _spans(self.segments[partition])
        return any(subtract(span, spans) for span in self.owed[partition]) or any(
            slice_.window is None or slice_.window.intersection(partition.window)
            for slice_ in self.outstanding
        )

    def take(self, partition: Partition) -> list[Staged]:
        """The pieces of a whole partition, which is then done with."""
        del self.owed[partition]
        return self.segments.pop(partition)

    def forget(self, gone: Window) -> None:
        """The service no longer holds `gone`; partitions that are left with nothing are `lost`.

        Buckets that have come of a span of which a part is gone are of no use without the others.
        """
        for partition, spans in list(self.owed.items()):
            self.owed[partition] = [rest for span in spans for rest in subtract(span, [gone])]
            self.segments[partition] = [
                segment
                for segment in self.segments[partition]
                if not (segment.bucket and segment.span and segment.span.intersection(gone))
            ]
            if not self.owed[partition] and not self.segments[partition]:
                del self.owed[partition]
                self.lost.append(partition)

    def give_up(self, slice_: Slice) -> None:
        """A slice cannot be had: its partitions stay as they are."""
        for partition in self.touched(slice_):
            del self.owed[partition]


def _spans(segments: Iterable[Staged]) -> list[Window]:
    """The spans of pieces; a snapshot piece stands for its whole day."""
    return [segment.span or segment.partition.window for segment in segments]
