"""One tenant and one lake: probe, coverage, plan, pull, recount, reconcile."""

import os
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from hunting_pipeline import plan, window
from hunting_pipeline.auth.tokens import Tokens
from hunting_pipeline.errors import Misconfigured, setting
from hunting_pipeline.http.client import Client
from hunting_pipeline.kql import queries
from hunting_pipeline.lake.commit import Writer
from hunting_pipeline.lake.layout import lock_path
from hunting_pipeline.lake.manifest import Manifest
from hunting_pipeline.lake.stores import Store
from hunting_pipeline.limits import Limits
from hunting_pipeline.model import DAY, SECOND, Column, Partition, TableSpec
from hunting_pipeline.pipeline.calls import Calls, Clock, Spent
from hunting_pipeline.pipeline.coverage import (
    Coverage,
    archive_of,
    archived_by_other_query,
    backlog_of,
    coverage,
    everything_available,
    refuse_other_query,
)
from hunting_pipeline.pipeline.landing import Landing
from hunting_pipeline.pipeline.pull import Pull
from hunting_pipeline.pipeline.recount import Recount, recount
from hunting_pipeline.pipeline.splitter import Splitter
from hunting_pipeline.pipeline.tracker import Observer, Tracker
from hunting_pipeline.publish import Publisher
from hunting_pipeline.quota.ledger import Ledger
from hunting_pipeline.quota.rules import Priority

__all__ = ["Pipeline", "TablePlan"]

_FRESH = 2 * DAY
"""Ticks: partitions younger than this go before a backfill."""

_SECONDS_PER_CALL = 4.0
"""Running time assumed for a call of a table that was never asked: near the figure of the original document's
example reply (4.6 s)."""

_TEACHERS = 5
"""Newest partitions from whose width the width of the next replies is estimated."""


@dataclass(frozen=True, slots=True)
class TablePlan:
    """What a pull of one table would do.

    Attributes:
        spec: the table.
        backlog: what is missing.
        slices: calls that fetch rows.
        planning_calls: calls that counting took.
        cost: the whole cost, planning included.
        partition_costs: the cost and the deadline of each missing partition.
    """

    spec: TableSpec
    backlog: window.Backlog
    slices: int
    planning_calls: int
    cost: plan.Cost
    partition_costs: tuple[plan.PartitionCost, ...]


@dataclass(frozen=True)
class Pipeline:
    """Plans and pulls tables of one tenant into one lake. Open it with `open_pipeline`.

    Only `pull` and `reconcile` take the table's lock. All other methods write nothing and never wait for it.
    """

    store: Store
    ledger: Ledger
    limits: Limits
    share: float
    writer: Writer
    workers: int
    max_wait: float
    clock: Clock
    client: Client
    tokens: Tokens
    publishers: Sequence[Publisher] = ()

    def now(self) -> int:
        """Return the present instant in ticks."""
        return round(self.clock.now() * SECOND)

    def probe(self, spec: TableSpec) -> tuple[Column, ...]:
        """Return the table's columns as the service has them now: one call that fetches no rows.

        Raises:
            Refused: the table is absent or not licensed, or a permission is missing.
            Misconfigured: a hunt is written for another API.
        """
        self._refuse_other_api(spec)
        calls = self._calls(_tracker(spec, None), Priority.FRESH)
        return calls.ask_whole(queries.schema_query(spec)).columns

    def coverage(self, spec: TableSpec, partitions: Sequence[Partition]) -> Coverage:
        """Return what the lake holds of a table, see `coverage.coverage`."""
        return coverage(
            self.store, spec, partitions, now=self.now(), retention_days=self.limits.retention_days
        )

    def plan(self, spec: TableSpec, partitions: Sequence[Partition], *, renew: bool = False) -> TablePlan:
        """Count what a pull of `partitions` would fetch, and calculate its cost: one call, seldom two.

        Raises:
            HuntingError: as in a pull; nothing is written.
        """
        self._refuse_other_api(spec)
        pull = self._prepare(spec, partitions, renew=renew)
        slices = pull.dry_run()
        calls = pull.report.calls
        cost = plan.cost(
            calls=len(slices) + calls,
            rows=sum(slice_.expected.rows for slice_ in slices),
            width=pull.width,
            limits=self.limits,
            share=self.share,
            seconds_per_call=_SECONDS_PER_CALL,
        )
        costs = plan.partition_costs(
            slices,
            list(dict.fromkeys(partition for partition, _ in pull.backlog.missing)),
            seconds_per_call=_SECONDS_PER_CALL,
            retention_days=self.limits.retention_days,
        )
        return TablePlan(spec, pull.backlog, len(slices), calls, cost, tuple(costs))

    def at_risk(self, plans: Iterable[TablePlan]) -> tuple[Partition, ...]:
        """Return the partitions that the service will begin to forget before the quota allows their calls.

        They are whole today. `plans` must be everything that the tenant is asked for.
        """
        edge = self._retention_edge()
        costs = [one for planned in plans for one in planned.partition_costs]
        schedule = plan.by_deadline(costs, self.limits, share=self.share, now=self.now())
        return tuple(one.partition for one in schedule if one.lost and one.partition.window.start >= edge)

    @contextmanager
    def pull(
        self,
        spec: TableSpec,
        partitions: Sequence[Partition],
        *,
        force: bool = False,
        renew: bool = False,
        observe: Observer | None = None,
    ) -> Iterator[Pull]:
        """Fetch what is missing of `partitions` and commit it. Iterate the `Pull` to make it happen.

        Another pull of the same table into the same lake is waited for.

        Args:
            spec: the table.
            partitions: of that table; covered spans are not asked for again.
            force: allow a partition to be replaced by fewer rows.
            renew: fetch whole partitions again that another query has archived.
            observe: called after every step.

        Raises:
            CommitRefused: without `renew`, another query has archived some of `partitions`, or the newest.
            Misconfigured: the table is archived by another grain, the lake cannot be written, or a hunt is
                written for another API.
        """
        self._refuse_other_api(spec)
        with self.store.lock(lock_path(spec.name)):
            yield self._prepare(spec, partitions, force=force, renew=renew, observe=observe)

    def recount(
        self, spec: TableSpec, partitions: Sequence[Partition], *, observe: Observer | None = None
    ) -> Recount:
        """Count archived partitions again and compare, without the table's lock: a pull may be going on.

        A partition that is committed meanwhile may be compared by its old spans or its old rows. The next
        recount then finds it equal.

        Args:
            spec: the table.
            partitions: of that table. Those that are not archived, or archived by another query, are left
                out.
            observe: called before every wait.

        Raises:
            HuntingError: the service could not count.
        """
        self._refuse_other_api(spec)
        archive = archive_of(self.store, spec)
        splitter = self._splitter(spec, archive, _tracker(spec, observe), Priority.FRESH)
        found, _ = self._recount(splitter, partitions, archive)
        return found

    @contextmanager
    def reconcile(
        self,
        spec: TableSpec,
        partitions: Sequence[Partition],
        *,
        force: bool = False,
        observe: Observer | None = None,
    ) -> Iterator[tuple[Recount, Pull]]:
        """Count archived partitions again and fetch what differs. Iterate the `Pull` to make it happen.

        Partitions that are not archived, or archived by another query, are left out; a pull brings them. The
        rows of some hunts can change without any change of their number: of such a hunt, everything that is
        still available is fetched again.

        Args:
            spec: the table.
            partitions: of that table.
            force: fetch again also the bins that now hold fewer rows than are archived, and replace them.
            observe: called after every step.

        Raises:
            HuntingError: the service could not count, or the lake cannot be written.
        """
        self._refuse_other_api(spec)
        with self.store.lock(lock_path(spec.name)):
            archive = archive_of(self.store, spec)
            tracker = _tracker(spec, observe)
            splitter = self._splitter(spec, archive, tracker, Priority.FRESH)
            found, compared = self._recount(splitter, partitions, archive)
            if spec.recountable:
                stale = found.stale(
                    [manifest.partition for manifest in compared],
                    force=force,
                    worth_a_call=splitter.target() // 2,
                )
            else:
                available = window.available(self.now(), self.limits.retention_days, spec)
                stale = everything_available(compared, available)
            backlog = window.Backlog(tuple(stale), (), (), ())
            yield found, self._pull(splitter, backlog, archive, tracker, force=force, discard_staged=True)

    def _recount(
        self, splitter: Splitter, partitions: Sequence[Partition], archive: Mapping[Partition, Manifest]
    ) -> tuple[Recount, list[Manifest]]:
        """Compare what can be compared of `partitions`; return the manifests that were compared, too."""
        spec = splitter.spec
        other_query = archived_by_other_query(spec, partitions, archive)
        compared = [archive[p] for p in sorted({*partitions} - {*other_query}) if p in archive]
        available = window.available(self.now(), self.limits.retention_days, spec)
        found = recount(splitter, self.store, compared, available=available)
        calls = splitter.calls.spent.calls
        return replace(found, other_query=tuple(other_query), calls=calls), compared

    def _prepare(
        self,
        spec: TableSpec,
        partitions: Sequence[Partition],
        *,
        force: bool = False,
        renew: bool = False,
        observe: Observer | None = None,
    ) -> Pull:
        archive = archive_of(self.store, spec)
        if not renew:
            refuse_other_query(spec, partitions, archive)
        backlog = backlog_of(
            spec,
            partitions,
            archive,
            now=self.now(),
            retention_days=self.limits.retention_days,
            renew=renew,
        )
        fresh = all(partition.window.end > self.now() - _FRESH for partition, _ in backlog.missing)
        tracker = _tracker(spec, observe)
        splitter = self._splitter(spec, archive, tracker, Priority.FRESH if fresh else Priority.BACKFILL)
        return self._pull(splitter, backlog, archive, tracker, force=force)

    def _pull(
        self,
        splitter: Splitter,
        backlog: window.Backlog,
        archive: Mapping[Partition, Manifest],
        tracker: Tracker,
        *,
        force: bool,
        discard_staged: bool = False,
    ) -> Pull:
        """Return a pull of a backlog; with `discard_staged`, an earlier run's segments are not used."""
        return Pull(
            splitter,
            backlog,
            landing=Landing(self.store, self.writer, archive, now=self.now, force=force),
            tracker=tracker,
            workers=self.workers,
            publishers=self.publishers,
            discard=[partition for partition, _ in backlog.missing] if discard_staged else (),
        )

    def _splitter(
        self,
        spec: TableSpec,
        archive: Mapping[Partition, Manifest],
        tracker: Tracker,
        priority: Priority,
    ) -> Splitter:
        return Splitter(spec, self._calls(tracker, priority), _width(spec, archive), self._retention_edge)

    def _calls(self, tracker: Tracker, priority: Priority) -> Calls:
        return Calls(
            client=self.client,
            tokens=self.tokens,
            ledger=self.ledger,
            limits=self.limits,
            clock=self.clock,
            table=tracker.table,
            priority=priority,
            owner=f"{socket.gethostname()}:{os.getpid()}",
            max_wait=self.max_wait,
            on_wait=tracker.waiting,
            spent=tracker.spent,
        )

    def _retention_edge(self) -> int:
        return window.retention_edge(self.now(), self.limits.retention_days)

    def _refuse_other_api(self, spec: TableSpec) -> None:
        wanted = spec.hunt and spec.hunt.api
        if wanted and wanted != self.writer.api:
            raise Misconfigured(
                f"{spec.name} is written for the API {wanted!r}, and {setting('api')} is"
                f" {self.writer.api!r}. Nothing was asked or written. Change one of them"
            )


def _tracker(spec: TableSpec, observe: Observer | None) -> Tracker:
    return Tracker(spec.name, observe or _ignore, Spent())


def _ignore(progress: object) -> None:
    del progress


def _width(spec: TableSpec, archive: Mapping[Partition, Manifest]) -> plan.Width:
    """Estimate the table's width from the newest archived partitions, or else from the catalogue."""
    width = plan.Width(spec.bytes_per_row)
    for manifest in sorted(archive.values(), key=lambda manifest: manifest.committed_at)[-_TEACHERS:]:
        width = width.after(manifest.proof.rows, manifest.body_bytes)
    return width
