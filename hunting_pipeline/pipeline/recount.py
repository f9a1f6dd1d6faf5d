"""The recount: count the rows of the service and of the archive by bin, and find the bins that differ."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, pairwise

import numpy as np

from hunting_pipeline import plan
from hunting_pipeline.errors import CommitRefused
from hunting_pipeline.lake.manifest import Manifest
from hunting_pipeline.lake.read import archived_ticks
from hunting_pipeline.lake.stores import Store
from hunting_pipeline.lake.write import Ticks, proof_of
from hunting_pipeline.model import Bin, Partition, Proof, TableSpec, Window, merge_windows
from hunting_pipeline.pipeline.splitter import Splitter

__all__ = ["Recount", "archived_bins", "recount"]

_NOTHING = Proof(0, 0)


@dataclass(frozen=True, slots=True)
class Recount:
    """The comparison of the service's counts with the archive's counts of the same spans.

    Attributes:
        table: the table's name.
        windows: the compared spans; spans before the retention edge are left out.
        bins: the service's count over the windows.
        grown: bins that differ, in which the service holds at least as many rows: mostly late rows.
        shrunk: bins in which the service holds fewer rows. They are replaced only with `force`.
        other_query: partitions that another query archived: with other columns, another filter or another
            hunt text. They cannot be compared.
        damaged: partitions that cannot be compared because a file is damaged, each with the error.
        calls: requests that counted rows.
        null_time: the service's number of rows whose time is null; 0 if nothing was compared.
    """

    table: str
    windows: tuple[Window, ...]
    bins: tuple[Bin, ...]
    grown: tuple[Window, ...]
    shrunk: tuple[Window, ...]
    other_query: tuple[Partition, ...] = ()
    damaged: Mapping[Partition, CommitRefused] = field(default_factory=dict)
    calls: int = 0
    null_time: int = 0

    @property
    def rows(self) -> int:
        """The service's row count over the windows."""
        return sum(b.proof.rows for b in self.bins)

    @property
    def equal(self) -> bool:
        """Whether every bin has the same row count and the same checksum."""
        return not self.grown and not self.shrunk

    def stale(
        self, partitions: Iterable[Partition], *, force: bool, max_gap_rows: int
    ) -> list[tuple[Partition, Window]]:
        """Return the spans to fetch again, each with its partition. Shrunk bins are included with `force`.

        Two spans are fetched as one if at most `max_gap_rows` rows lie between them.
        """
        spans = self._bridged([*self.grown, *(self.shrunk if force else ())], max_gap_rows)
        return [
            (partition, part)
            for partition in sorted(partitions)
            for span in spans
            if (part := span.intersection(partition.window))
        ]

    def _bridged(self, spans: Iterable[Window], max_gap_rows: int) -> tuple[Window, ...]:
        """Merge spans that are near to each other, but never across shrunk bins or spans not compared."""
        starts = [b.window.start for b in self.bins]
        sums = [0, *accumulate(b.proof.rows for b in self.bins)]
        bridges, merged = [], merge_windows(spans)
        for left, right in pairwise(merged):
            gap = Window(left.end, right.start)
            rows = sums[bisect_left(starts, gap.end)] - sums[bisect_left(starts, gap.start)]
            compared = any(window.contains(gap) for window in self.windows)
            if compared and rows <= max_gap_rows and not any(gap.intersection(one) for one in self.shrunk):
                bridges.append(gap)
        return merge_windows([*merged, *bridges])


def recount(splitter: Splitter, store: Store, archived: Sequence[Manifest], *, available: Window) -> Recount:
    """Compare the counts bin by bin. Reads the time columns of the archived files and sends one call.

    A partition whose file cannot be read is left out and listed as damaged.

    Args:
        splitter: sends the query.
        store: the lake.
        archived: the manifests of the partitions to compare.
        available: the available window.

    Raises:
        HuntingError: as `Calls.fetch`.
    """
    spec = splitter.spec
    spans = [
        part for manifest in archived for span in manifest.covered if (part := span.intersection(available))
    ]
    windows = merge_windows(spans)
    if not windows or spec.time_column is None:
        return Recount(spec.name, (), (), (), ())
    step = plan.step_for(sum(window.ticks for window in windows))
    here, damaged = _here(store, spec, archived, windows, step)
    if damaged:
        rest = [manifest for manifest in archived if manifest.partition not in damaged]
        found = recount(splitter, store, rest, available=available)
        return replace(found, damaged={**damaged, **found.damaged})
    there: dict[Window, Proof] = {}
    histograms = splitter.counted(windows, step, null_time=True)
    for histogram in histograms:
        there |= {b.window: b.proof for b in histogram.bins}
    different = sorted(b for b in here.keys() | there.keys() if here.get(b) != there.get(b))
    return Recount(
        table=spec.name,
        windows=windows,
        bins=tuple(Bin(b, there[b]) for b in sorted(there)),
        grown=tuple(b for b in different if _rows(there, b) >= _rows(here, b)),
        shrunk=tuple(b for b in different if _rows(there, b) < _rows(here, b)),
        null_time=sum(histogram.null_time for histogram in histograms),
    )


def _rows(proofs: Mapping[Window, Proof], window: Window) -> int:
    return proofs.get(window, _NOTHING).rows


def _here(
    store: Store, spec: TableSpec, archived: Sequence[Manifest], windows: Sequence[Window], step: int
) -> tuple[dict[Window, Proof], dict[Partition, CommitRefused]]:
    """Count the archived rows by bin. Return the counts, and the partitions whose file cannot be read."""
    found: dict[Window, Proof] = {}
    damaged: dict[Partition, CommitRefused] = {}
    for manifest in archived:
        try:
            ticks = archived_ticks(store, manifest.partition, str(spec.time_column))
        except CommitRefused as error:
            damaged[manifest.partition] = error
            continue
        for window in windows:
            for b in archived_bins(ticks, window, step):
                found[b.window] = found.get(b.window, _NOTHING) + b.proof
    return found, damaged


def archived_bins(ticks: Ticks, window: Window, step: int) -> list[Bin]:
    """Count ascending ticks like the service's histogram: in bins of `step`, cut at the window's edges."""
    low, high = np.searchsorted(ticks, [window.start, window.end])
    inside = ticks[low:high]
    numbers, starts = np.unique(inside // step, return_index=True)
    edges = [*starts.tolist(), len(inside)]
    bins = []
    for position, number in enumerate(numbers.tolist()):
        cut = Window(number * step, (number + 1) * step).intersection(window)
        if cut is not None:
            bins.append(Bin(cut, proof_of(inside[edges[position] : edges[position + 1]])))
    return bins
