"""One tenant and one lake: plan, pull, coverage, probe."""

import os
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

from hunting_pipeline import plan, window
from hunting_pipeline.auth.tokens import Tokens
from hunting_pipeline.errors import CommitRefused, Misconfigured
from hunting_pipeline.http.client import Client
from hunting_pipeline.kql import queries
from hunting_pipeline.lake.commit import Writer
from hunting_pipeline.lake.layout import lock_path
from hunting_pipeline.lake.manifest import Manifest, load_all
from hunting_pipeline.lake.stores import Store
from hunting_pipeline.limits import Limits
from hunting_pipeline.model import DAY, SECOND, Column, Partition, Progress, TableSpec, Window
from hunting_pipeline.pipeline.calls import Calls, Clock
from hunting_pipeline.pipeline.pull import Lake, Pull
from hunting_pipeline.pipeline.recount import Recount, recount
from hunting_pipeline.quota.ledger import Ledger
from hunting_pipeline.quota.rules import Priority

__all__ = ["Coverage", "Observer", "Pipeline", "TablePlan", "coverage"]

_FRESH = 2 * DAY
"""Ticks: partitions younger than this go before a backfill."""

_SECONDS_A_CALL = 4.0
"""Running time assumed for a call of a table that was never asked: near the figure of the original document's
example reply (4.6 s)."""

_TEACHERS = 5
"""Partitions whose width says what the next replies will be like."""

_NO_BACKLOG = window.Backlog((), (), (), ())

Observer = Callable[[Progress], None]
"""Told about every step of a pull."""


@dataclass(frozen=True, slots=True)
class TablePlan:
    """What a pull of one table would do.

    Attributes:
        spec, debt: the table, and what is owed of it.
        slices: calls that fetch rows.
        planning_calls: calls that counting took.
        cost: in all, planning included.
        dues: what each owed partition costs, and until when it can be had.
    """

    spec: TableSpec
    backlog: window.Backlog
    slices: int
    planning_calls: int
    cost: plan.Cost
    dues: tuple[plan.Due, ...]


@dataclass(frozen=True, slots=True)
class Coverage:
    """What the lake holds of one table, against what was asked.

    Attributes:
        spec: the table.
        partitions: asked for.
        archived: the manifests among them, oldest first.
        debt: what a pull would fetch.
    """

    spec: TableSpec
    partitions: tuple[Partition, ...]
    archived: tuple[Manifest, ...]
    backlog: window.Backlog


def coverage(
    store: Store, spec: TableSpec, partitions: Sequence[Partition], *, now: int, retention_days: int
) -> Coverage:
    """What the lake holds of a table; asks nothing of the service.

    Raises:
        Misconfigured: the table is archived in another grain than `spec` wants.
    """
    archive = _archive(store, spec)
    backlog = _backlog(spec, partitions, archive, now=now, retention_days=retention_days)
    return Coverage(spec, tuple(partitions), tuple(archive[p] for p in partitions if p in archive), backlog)


def _archive(store: Store, spec: TableSpec) -> dict[Partition, Manifest]:
    archive = {manifest.partition: manifest for manifest in load_all(store, spec.name)}
    for partition in archive:
        if not partition.null_time and window.partition_of(spec, partition.window.start) != partition:
            raise Misconfigured(
                f"{spec.name} is archived by another grain than {spec.grain.value!r} (see {partition.key});"
                " changing it would orphan that history. Change `grain` back, or choose another lake"
            )
    return archive


def _backlog(
    spec: TableSpec,
    partitions: Sequence[Partition],
    archive: dict[Partition, Manifest],
    *,
    now: int,
    retention_days: int,
    renew: bool = False,
) -> window.Backlog:
    """What is owed; with `renew`, also what another query has archived and can still be had whole."""
    if spec.time_column is None:
        return window.snapshot_backlog(partitions, archive, now=now)
    available = window.available(now, retention_days, spec)
    covered = {partition: manifest.covered for partition, manifest in archive.items()}
    for partition in _by_other_query(spec, partitions, archive) if renew else ():
        whole = all(available.contains(span) for span in covered[partition])
        covered[partition] = () if whole else (partition.window,)
    return window.backlog_of(partitions, covered, available=available)


def _by_other_query(
    spec: TableSpec, partitions: Iterable[Partition], archive: Mapping[Partition, Manifest]
) -> list[Partition]:
    """Those that were archived by another query: other columns, another filter, another text of a hunt."""
    return [p for p in sorted(partitions) if p in archive and archive[p].query_hash != spec.query_hash]


@dataclass(frozen=True)
class Pipeline:
    """Plans and pulls tables of one tenant into one lake. Open it with `open_pipeline`."""

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

    def now(self) -> int:
        """Ticks."""
        return round(self.clock.now() * SECOND)

    def probe(self, spec: TableSpec) -> tuple[Column, ...]:
        """The table's columns as the service has them now: one call that fetches no rows.

        Raises:
            Refused: the table is absent or not licensed, or a permission is missing.
        """
        return self._calls(spec, Priority.FRESH, _unobserved).ask_whole(queries.schema_query(spec)).columns

    def coverage(self, spec: TableSpec, partitions: Sequence[Partition]) -> Coverage:
        """See `coverage`."""
        return coverage(
            self.store, spec, partitions, now=self.now(), retention_days=self.limits.retention_days
        )

    def plan(self, spec: TableSpec, partitions: Sequence[Partition], *, renew: bool = False) -> TablePlan:
        """Count what a pull of `partitions` would fetch, and price it: one call a table, seldom two.

        Raises:
            HuntingError: as in a pull; nothing is written.
        """
        pull = self._prepare(spec, partitions, renew=renew)
        slices = pull.dry_run()
        calls = pull.report.calls
        cost = plan.cost(
            calls=len(slices) + calls,
            rows=sum(slice_.expected.rows for slice_ in slices),
            width=pull.width,
            limits=self.limits,
            share=self.share,
            seconds_a_call=_SECONDS_A_CALL,
        )
        dues = plan.dues(
            slices,
            list(dict.fromkeys(partition for partition, _ in pull.backlog.missing)),
            seconds_a_call=_SECONDS_A_CALL,
            retention_days=self.limits.retention_days,
        )
        return TablePlan(spec, pull.backlog, len(slices), calls, cost, tuple(dues))

    def at_risk(self, plans: Iterable[TablePlan]) -> tuple[Partition, ...]:
        """Partitions, whole today, that the service will begin to forget before the quota lets them be asked
        for, if `plans` are all that the tenant is asked."""
        edge = self._forgotten_before()
        owed = [due for planned in plans for due in planned.dues]
        turns = plan.by_deadline(owed, self.limits, share=self.share, now=self.now())
        return tuple(turn.partition for turn in turns if turn.lost and turn.partition.window.start >= edge)

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
        """Bring what is owed of `partitions` into the lake. Iterate the `Pull` to make it happen.

        Another pull of the same table into the same lake is waited for.

        Args:
            spec: the table.
            partitions: of that table; what is covered already is not asked for again.
            force: allow a partition to be replaced by fewer rows.
            renew: fetch again, whole, what another query has archived.
            observe: told about every step.

        Raises:
            CommitRefused: without `renew`, another query has archived some of `partitions`, or the newest.
            Misconfigured: the table is archived in another grain, the lake cannot be written, or a hunt is
                written for another surface.
        """
        self._suits(spec)
        with self.store.lock(lock_path(spec.name)):
            yield self._prepare(spec, partitions, force=force, renew=renew, observe=observe)

    @contextmanager
    def reconcile(
        self,
        spec: TableSpec,
        partitions: Sequence[Partition],
        *,
        force: bool = False,
        observe: Observer | None = None,
    ) -> Iterator[tuple[Recount, Pull]]:
        """Count archived partitions anew and fetch what differs. Iterate the `Pull` to make it happen.

        What is not archived, or archived by another query, is not looked at; a pull brings that. Of a hunt
        whose rows can change unseen by any count, all that the service still holds is fetched again.

        Args:
            spec: the table.
            partitions: of that table.
            force: fetch bins again that now hold fewer rows than are archived, and replace them.
            observe: told about every step.

        Raises:
            HuntingError: the service could not count, or the lake cannot be written.
        """
        self._suits(spec)
        with self.store.lock(lock_path(spec.name)):
            archive = _archive(self.store, spec)
            other_query = _by_other_query(spec, partitions, archive)
            chosen = [archive[p] for p in sorted({*partitions} - {*other_query}) if p in archive]
            pull = self._new_pull(spec, _NO_BACKLOG, archive, force=force, observe=observe)
            available = window.available(self.now(), self.limits.retention_days, spec)
            found = replace(
                recount(pull.splitter, self.store, chosen, available=available),
                other_query=tuple(other_query),
            )
            stale = (
                found.stale(
                    [manifest.partition for manifest in chosen],
                    force=force,
                    worth_a_call=pull.splitter.target() // 2,
                )
                if spec.recountable
                else _everything(chosen, available)
            )
            pull.owe(window.Backlog(tuple(stale), (), (), ()), afresh=True)
            yield found, pull

    def _prepare(
        self,
        spec: TableSpec,
        partitions: Sequence[Partition],
        *,
        force: bool = False,
        renew: bool = False,
        observe: Observer | None = None,
    ) -> Pull:
        archive = _archive(self.store, spec)
        if not renew:
            _refuse_mixture(spec, partitions, archive)
        backlog = _backlog(
            spec,
            partitions,
            archive,
            now=self.now(),
            retention_days=self.limits.retention_days,
            renew=renew,
        )
        return self._new_pull(spec, backlog, archive, force=force, observe=observe)

    def _new_pull(
        self,
        spec: TableSpec,
        backlog: window.Backlog,
        archive: dict[Partition, Manifest],
        *,
        force: bool,
        observe: Observer | None,
    ) -> Pull:
        fresh = all(partition.window.end > self.now() - _FRESH for partition, _ in backlog.missing)
        return Pull(
            spec,
            backlog=backlog,
            archive=archive,
            calls=partial(self._calls, spec, Priority.FRESH if fresh else Priority.BACKFILL),
            width=_width(spec, archive),
            lake=Lake(self.store, self.writer, self.now, self._forgotten_before),
            workers=self.workers,
            force=force,
            observe=observe or _unobserved,
        )

    def _suits(self, spec: TableSpec) -> None:
        wanted = spec.hunt and spec.hunt.api
        if wanted and wanted != self.writer.api:
            raise Misconfigured(
                f"{spec.name} is written for the surface {wanted!r} and HUNTING_API is"
                f" {self.writer.api!r}: change one of them. Nothing was asked, nothing written"
            )

    def _forgotten_before(self) -> int:
        return window.forgotten_before(self.now(), self.limits.retention_days)

    def _calls(self, spec: TableSpec, priority: Priority, on_wait: Callable[[str], None]) -> Calls:
        return Calls(
            client=self.client,
            tokens=self.tokens,
            ledger=self.ledger,
            limits=self.limits,
            clock=self.clock,
            table=spec.name,
            priority=priority,
            owner=f"{socket.gethostname()}:{os.getpid()}",
            max_wait=self.max_wait,
            on_wait=on_wait,
        )


def _refuse_mixture(
    spec: TableSpec, partitions: Iterable[Partition], archive: Mapping[Partition, Manifest]
) -> None:
    """A table is not to be archived by two queries in turn."""
    newest = sorted(p for p in archive if not p.null_time)[-1:]
    if other_query := _by_other_query(spec, {*partitions, *newest}, archive):
        raise CommitRefused(
            f"{spec.name}: {other_query[-1].key} was archived by another query: by other `columns`, another"
            " `where` or another text of a hunt. Nothing was asked, the archive is untouched. Pull it where"
            " that query stands, in Dagster, or use --force to replace it by this one"
        )


def _everything(archived: Sequence[Manifest], available: Window) -> list[tuple[Partition, Window]]:
    """What is archived and can still be asked for."""
    return [
        (manifest.partition, part)
        for manifest in archived
        for span in manifest.covered
        if (part := span.intersection(available))
    ]


def _unobserved(told: object) -> None:
    del told


def _width(spec: TableSpec, archive: Mapping[Partition, Manifest]) -> plan.Width:
    """What the archive's newest replies teach of the table's width; else the catalogue's guess."""
    width = plan.Width(spec.bytes_per_row)
    for manifest in sorted(archive.values(), key=lambda manifest: manifest.committed_at)[-_TEACHERS:]:
        width = width.after(manifest.proof.rows, manifest.body_bytes)
    return width
