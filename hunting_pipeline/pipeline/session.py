"""The operations on one tenant and one lake: probe, coverage, plan, pull, recount, reconcile."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial

from hunting_pipeline import plan, telemetry, window
from hunting_pipeline.auth.tokens import Tokens
from hunting_pipeline.errors import CommitRefused, Misconfigured, setting
from hunting_pipeline.http.client import Client
from hunting_pipeline.kql import queries
from hunting_pipeline.lake.archive import Archive
from hunting_pipeline.lake.commit import Writer
from hunting_pipeline.lake.manifest import Manifest
from hunting_pipeline.lake.stores import Store
from hunting_pipeline.limits import Limits
from hunting_pipeline.model import DAY, SECOND, Column, Partition, TableSpec, Window
from hunting_pipeline.pipeline.calls import Calls
from hunting_pipeline.pipeline.clock import Clock
from hunting_pipeline.pipeline.coverage import (
    Coverage,
    archive_of,
    archived_by_other_query,
    backlog_of,
    coverage,
    everything_available,
    refuse_other_query,
    width_of,
)
from hunting_pipeline.pipeline.landing import Landing
from hunting_pipeline.pipeline.pull import Pull
from hunting_pipeline.pipeline.recount import Recount, recount
from hunting_pipeline.pipeline.splitter import Splitter
from hunting_pipeline.pipeline.tracker import Observer, Tracker, new_tracker
from hunting_pipeline.pipeline.turn import owner_name, turn
from hunting_pipeline.publish import Publisher
from hunting_pipeline.quota.protocol import Ledger
from hunting_pipeline.quota.rules import Priority

__all__ = ["Pipeline", "TablePlan"]

_FRESH = 2 * DAY
"""Ticks: a pull in the background of partitions younger than this does not give way to people."""

_SECONDS_PER_CALL = 4.0
"""Running time that a plan assumes for each call: near the 4.6 s of the example reply in the original API
document."""


@dataclass(frozen=True, slots=True)
class TablePlan:
    """The plan of a pull of one table.

    Attributes:
        spec: the table.
        backlog: the missing spans.
        refused: the errors of requested partitions that a damaged file blocks.
        slices: number of calls that fetch rows.
        planning_calls: number of calls that counted rows for this plan.
        cost: the whole cost, planning included.
        partition_costs: the cost and the deadline of each missing partition.
    """

    spec: TableSpec
    backlog: window.Backlog
    refused: tuple[CommitRefused, ...]
    slices: int
    planning_calls: int
    cost: plan.Cost
    partition_costs: tuple[plan.PartitionCost, ...]


@dataclass(frozen=True)
class Pipeline:
    """Plans and pulls tables of one tenant into one lake. Open it with `open_pipeline`.

    With `background`, no person waits for the calls, so those of people go first.

    Only `pull` and `reconcile` wait for their turn to write the table. All other methods write nothing and do
    not wait.
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
    accepted: Callable[[], None]
    publishers: Sequence[Publisher] = ()
    background: bool = False

    def now(self) -> int:
        """Return the service's time in ticks, or this machine's time before the first reply."""
        return round(self.client.clock.now() * SECOND)

    def probe(self, spec: TableSpec) -> tuple[Column, ...]:
        """Return the table's current columns in the service. Sends one call that fetches no rows.

        Raises:
            Refused: the table is absent or not licensed, or a permission is missing.
            Misconfigured: a hunt is written for another API.
        """
        self._refuse_other_api(spec)
        calls = self.calls(new_tracker(spec.name, None), self._priority())
        return calls.count_or_fail(queries.schema_query(spec), lambda reply: reply.columns)

    def coverage(self, spec: TableSpec, partitions: Sequence[Partition]) -> Coverage:
        """Return the archived partitions of a table and its backlog, see `coverage.coverage`."""
        return coverage(
            self.store, spec, partitions, now=self.now(), retention_days=self.limits.retention_days
        )

    def plan(self, spec: TableSpec, partitions: Sequence[Partition], *, renew: bool = False) -> TablePlan:
        """Count the rows that a pull of `partitions` would fetch, and calculate its cost.

        Sends one call, rarely two.

        Raises:
            HuntingError: as in a pull. Nothing was written.
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
        return TablePlan(spec, pull.backlog, tuple(pull.refused), len(slices), calls, cost, tuple(costs))

    def at_risk(self, plans: Iterable[TablePlan]) -> tuple[Partition, ...]:
        """Return the partitions that the service begins to delete before the quota allows their calls.

        The service still holds all their rows now. `plans` must contain every table that is pulled from the
        tenant.
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
        """Fetch and commit the missing spans of `partitions`. The work is done while you iterate the `Pull`.

        Waits until another pull of the same table into the same lake ends. A read-only lake is no error if
        nothing is missing.

        Args:
            spec: the table.
            partitions: partitions of the table; archived spans are not fetched again.
            force: allow fewer rows to replace a partition.
            renew: fetch whole partitions again if another query archived them.
            observe: called after every step.

        Raises:
            LakeBusy: another pull of the table lasts longer than the max wait.
            CommitRefused: without `renew`, another query archived some of `partitions`, or the newest one.
            Misconfigured: the table is archived with another grain, the lake cannot be written, or a hunt is
                written for another API.
        """
        self._refuse_other_api(spec)
        with ExitStack() as held:
            held.enter_context(telemetry.traced_pull(spec.name))
            try:
                held.enter_context(self._turn(spec))
            except Misconfigured:  # a read-only lake, which a pull of nothing does not change
                archive = archive_of(self.store, spec, partitions)
                if self._backlog(spec, partitions, archive, renew=renew).missing:
                    raise
            yield self._prepare(spec, partitions, force=force, renew=renew, observe=observe)

    def recount(
        self, spec: TableSpec, partitions: Sequence[Partition], *, observe: Observer | None = None
    ) -> Recount:
        """Count archived partitions again, and compare the counts. Takes no lock: a pull may run meanwhile.

        If a partition is committed meanwhile, the comparison may use its old spans or its old rows. The next
        recount then finds it equal.

        Args:
            spec: the table.
            partitions: partitions of the table. A partition is left out if it is not archived, or if another
                query archived it.
            observe: called before every wait.

        Raises:
            HuntingError: the service could not count.
        """
        self._refuse_other_api(spec)
        archive = archive_of(self.store, spec, partitions)
        splitter = self._splitter(spec, archive, new_tracker(spec.name, observe), self._priority())
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
        """Count archived partitions again, and fetch the bins that differ while you iterate the `Pull`.

        A partition is left out if it is not archived, or if another query archived it. Rows of some hunts can
        change although their number stays the same. For such a hunt, all available spans are fetched again.

        Args:
            spec: the table.
            partitions: partitions of the table.
            force: also fetch and replace the bins in which the service now holds fewer rows than the archive.
            observe: called after every step.

        Raises:
            LakeBusy: another run writes the table for longer than the max wait.
            HuntingError: the service could not count, or the lake cannot be written.
        """
        self._refuse_other_api(spec)
        with telemetry.traced_pull(spec.name), self._turn(spec):
            archive = archive_of(self.store, spec, partitions)
            tracker = new_tracker(spec.name, observe)
            splitter = self._splitter(spec, archive, tracker, self._priority())
            found, compared = self._recount(splitter, partitions, archive)
            if spec.recountable:
                stale = found.stale(
                    [manifest.partition for manifest in compared],
                    force=force,
                    max_gap_rows=splitter.target() // 2,
                )
            else:
                stale = everything_available(compared, self._available(spec))
            backlog = window.Backlog(tuple(stale), (), (), ())
            pull = self._pull(
                splitter,
                lambda: backlog,
                archive,
                tracker,
                refused=list(found.damaged.values()),
                force=force,
                discard_staged=True,
            )
            pull.set_null_time(found.null_time)
            yield found, pull

    def _recount(
        self, splitter: Splitter, partitions: Sequence[Partition], archive: Archive
    ) -> tuple[Recount, list[Manifest]]:
        """Count `partitions` again. Return the comparison, and the manifests that were compared."""
        spec, manifests = splitter.spec, archive.manifests
        blocked = archive.blocked(partitions)
        other_query = archived_by_other_query(spec, partitions, manifests)
        wanted = sorted({*partitions} - {*other_query} - blocked.keys())
        compared = [manifests[partition] for partition in wanted if partition in manifests]
        time_known = self.client.clock.difference is not None
        found = recount(splitter, self.store, compared, available=self._available(spec))
        if not time_known and self.client.clock.machine_wrong:  # count again by the service's time
            found = recount(splitter, self.store, compared, available=self._available(spec))
        damaged = {**blocked, **found.damaged}
        compared = [manifest for manifest in compared if manifest.partition not in damaged]
        calls = splitter.calls.spent.calls
        return replace(found, other_query=tuple(other_query), damaged=damaged, calls=calls), compared

    def _prepare(
        self,
        spec: TableSpec,
        partitions: Sequence[Partition],
        *,
        force: bool = False,
        renew: bool = False,
        observe: Observer | None = None,
    ) -> Pull:
        archive = archive_of(self.store, spec, partitions)
        if not renew:
            refuse_other_query(self.store, spec, partitions, archive, now=self.now())
        decide = partial(self._backlog, spec, partitions, archive, renew=renew)
        fresh = all(partition.window.end > self.now() - _FRESH for partition, _ in decide().missing)
        tracker = new_tracker(spec.name, observe)
        splitter = self._splitter(spec, archive, tracker, self._priority(fresh=fresh))
        refused = list(archive.blocked(partitions).values())
        return self._pull(splitter, decide, archive, tracker, refused=refused, force=force)

    def _backlog(
        self, spec: TableSpec, partitions: Sequence[Partition], archive: Archive, *, renew: bool
    ) -> window.Backlog:
        days = self.limits.retention_days
        return backlog_of(spec, partitions, archive, now=self.now(), retention_days=days, renew=renew)

    def _pull(
        self,
        splitter: Splitter,
        decide: Callable[[], window.Backlog],
        archive: Archive,
        tracker: Tracker,
        *,
        refused: Sequence[CommitRefused],
        force: bool,
        discard_staged: bool = False,
    ) -> Pull:
        """Return a pull. With `discard_staged`, it does not use segments of an earlier run."""
        return Pull(
            splitter,
            decide,
            clock=self.client.clock,
            landing=Landing(
                self.store,
                self.writer,
                archive,
                now=self.now,
                force=force,
                stated_schema=splitter.stated_schema,
            ),
            tracker=tracker,
            workers=self.workers,
            publishers=self.publishers,
            discard_staged=discard_staged,
            refused=refused,
        )

    def _splitter(self, spec: TableSpec, archive: Archive, tracker: Tracker, priority: Priority) -> Splitter:
        return Splitter(
            spec, self.calls(tracker, priority), width_of(spec, archive.manifests), self._retention_edge
        )

    def _priority(self, *, fresh: bool = False) -> Priority:
        """Return the priority of calls. `fresh` is whether they fetch only the newest rows."""
        return Priority.BACKFILL if self.background and not fresh else Priority.FRESH

    def calls(self, tracker: Tracker, priority: Priority) -> Calls:
        """Return the sender of the queries about one table. The ledger and the tracker count its calls."""
        return Calls(
            client=self.client,
            tokens=self.tokens,
            ledger=self.ledger,
            limits=self.limits,
            clock=self.clock,
            table=tracker.table,
            priority=priority,
            owner=owner_name(),
            max_wait=self.max_wait,
            on_wait=tracker.waiting,
            accepted=self.accepted,
            spent=tracker.spent,
        )

    def _turn(self, spec: TableSpec) -> AbstractContextManager[None]:
        run_id = self.writer.run_id
        return turn(self.store, self.ledger, table=spec.name, run_id=run_id, max_wait=self.max_wait)

    def _available(self, spec: TableSpec) -> Window:
        return window.available(self.now(), self.limits.retention_days, spec)

    def _retention_edge(self) -> int:
        return window.retention_edge(self.now(), self.limits.retention_days)

    def _refuse_other_api(self, spec: TableSpec) -> None:
        wanted = spec.hunt and spec.hunt.api
        if wanted and wanted != self.writer.api:
            raise Misconfigured(
                f"the hunt {spec.name} is written for the API {wanted!r}, and {setting('api')} is"
                f" {self.writer.api!r}. No request was sent and no data was written. Change {setting('api')},"
                " or the API in the hunt",
                everything=False,
            )
