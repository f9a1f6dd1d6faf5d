"""One chaos case is run and judged: the lake equals the tenant, or a documented error says why not."""

import io
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from chaos_case import MIDNIGHT, Case
from chaos_store import Folder, Ground, Killed, Prefix, dying, hits, lockless, rules
from object_servers import Bucket, Proxy

from hunting_emulator.schema import drifts
from hunting_pipeline.errors import CommitRefused, HuntingError, Misconfigured
from hunting_pipeline.lake import read
from hunting_pipeline.lake.archive import load_all
from hunting_pipeline.lake.layout import lake_names
from hunting_pipeline.lake.manifest import Manifest
from hunting_pipeline.limits import TEST, Limits
from hunting_pipeline.model import (
    DAY,
    HOUR,
    RESCUED,
    SECOND,
    Column,
    Partition,
    Progress,
    Window,
    datetime_of,
    ticks_of,
)
from hunting_pipeline.pipeline import Pipeline, open_lake, open_pipeline
from hunting_pipeline.settings import Settings
from hunting_pipeline.window import partitions_in
from support import DOTNET_EPOCH, NOW, Emulated, Leaping, plain

MAX_WAIT = 60.0
LATER = 4 * DAY
"""Ticks after `NOW` when every late row has arrived."""


class Tiny(Settings):
    """Settings with the limits of this case."""

    tiny: Limits = TEST

    @property
    def limits_profile(self) -> Limits:
        return self.tiny


@dataclass
class Tale:
    """Counts over all cases, for the report."""

    cases: int = 0
    stores: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    store_faults: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    deaths: Counter[str] = field(default_factory=Counter)
    commits: int = 0
    calls: int = 0
    rows: int = 0
    late: int = 0  # bins in which a reconcile found late rows
    flipped: int = 0  # bits that changed in staged segments
    rivals: int = 0  # partitions that a second writer committed meanwhile

    def figures(self) -> dict[str, Any]:
        """Return the counts as plain values."""
        return {
            name: dict(value) if isinstance(value, Counter) else value for name, value in vars(self).items()
        }


class Chaos:
    """One emulator that runs one case after another."""

    def __init__(self, emulated: Emulated, home: Path) -> None:
        self.emulated = emulated
        self.home = home
        self.tale = Tale()
        self.buckets: Mapping[str, tuple[Bucket, Proxy]] = {}
        self._ground: Ground
        self._lakes = 0

    def play(self, case: Case) -> None:
        """Run the case and judge the lake, then run it without faults and judge the lake again."""
        self._prepare(case)
        clock = Leaping(skew=case.skew)
        before = self._tenant(case)
        if case.retyped:
            self._pull_first(case, clock)
        self._disturb(case)
        outcome = self._run(case, clock)
        self._count(outcome)
        self._assert_a_person_was_asked(case, outcome)
        self._judge(case, before, self._tenant(case))
        self._flip(case)
        self._calm(case, clock)
        stopped = self._finish(case, clock)
        after = self._tenant(case)
        self._judge(case, before if stopped else after, after)  # a changed type stops late rows, too
        if not stopped:
            self._whole(case)
        self.tale.cases += 1
        self.tale.stores[case.store] += 1

    def _prepare(self, case: Case) -> None:
        shutil.rmtree(self.home / "quota", ignore_errors=True)
        (self.home / "quota").mkdir()
        self._lakes += 1
        if case.store == "folder":
            self._ground = Folder(self.home / "lake")
        else:
            self._ground = Prefix(self.buckets[case.store][0], self._lakes)
        rows = case.loaded
        if rows is not None:
            path = self.home / "tenant.parquet"
            pq.write_table(rows, path)
            self.emulated.post("config", load={case.table: str(path)})
            self.emulated.tenant.load(case.table, rows)
        self._both(now=ticks_of(NOW), late_share=0.0 if rows is not None else case.late)
        self.emulated.post("config", limits={"rows": case.cap, "bytes": TEST.reply_bytes}, drift={})
        self.emulated.tenant.configure(drift={})
        self.emulated.post("config", faults={"share": 0.0, "clear": True})
        self.emulated.post("reset")

    def _both(self, *, now: int, late_share: float | None = None) -> None:
        """Set the clock of the emulator and of its twin in this process."""
        changes: dict[str, Any] = {"late_seconds": 3 * 86_400.0}
        if late_share is not None:
            changes["late_share"] = late_share
        self.emulated.post("config", now=_text(now), **changes)
        self.emulated.tenant.configure(now=now + DOTNET_EPOCH, **changes)

    def _pull_first(self, case: Case, clock: Leaping) -> None:
        """Archive the first partition, so the table has a schema."""
        with (
            self._open(case, clock, request_seconds=30.0) as pipeline,
            pipeline.pull(case.spec, _partitions(case)[:1]) as pull,
        ):
            list(pull)

    def _disturb(self, case: Case) -> None:
        garbled = self._name_in_a_row(case) if case.garbled else None
        self.emulated.post("config", manners=case.manners | {"garbled": garbled}, faults=case.faults)
        if case.store_faults:
            bucket, proxy = self.buckets[case.store]
            proxy.rules[:] = rules(bucket, case.store_faults)

    def _name_in_a_row(self, case: Case) -> str | None:
        """Return a text that only one row has."""
        rows = self._tenant(case)
        column = next((name for name in ("DeviceId", "AlertId") if name in rows.column_names), None)
        return next(iter(rows[column].to_pylist()), None) if column else None

    def _flip(self, case: Case) -> None:
        """Flip bits in the segments that the run left in staging."""
        chance = Random(case.seed)
        segments = [key for key in self._ground.paths() if key.endswith(".arrow")]
        for _ in range(case.flipped if segments else 0):
            key = chance.choice(segments)
            content = bytearray(self._ground.read(key))
            at = chance.randrange(8 * len(content))
            content[at // 8] ^= 1 << at % 8
            self._ground.write(key, bytes(content))
            self.tale.flipped += 1

    def _calm(self, case: Case, clock: Leaping) -> None:
        stats = self.emulated.stats()
        self.tale.faults.update({k: n for k, n in stats["by_outcome"].items() if k != "ok"})
        self.tale.calls += stats["calls"]
        calm = {"share": 0.0, "clear": True, "on": "any"}
        self.emulated.post("config", faults=calm, manners={"garbled": None})
        if case.store_faults:
            proxy = self.buckets[case.store][1]
            self.tale.store_faults.update(hits(proxy, case.store_faults))
            proxy.rules.clear()
        clock.sleep(3600)  # every block by a 429 has ended
        if case.late:
            clock.sleep(LATER / SECOND)
        self._both(now=round(clock.now() * SECOND))

    def _run(self, case: Case, clock: Leaping) -> BaseException | None:
        """Run the case with its faults and return the error that ended it, if any."""
        death = case.death
        seen = 0

        def observe(progress: Progress) -> None:
            nonlocal seen
            seen += 1
            if seen == case.turn:
                self._turn(case, clock)
            if death and death.how == "observer" and seen == death.at:
                raise Killed(str(progress.step))

        try:
            with self._open(case, clock, request_seconds=0.5) as pipeline:
                store = dying(pipeline.store, death) if death and death.how == "store" else pipeline.store
                with replace(pipeline, store=store).pull(
                    case.spec, _partitions(case), observe=observe
                ) as pull:
                    iterator = iter(pull)
                    for number, _ in enumerate(iterator, 1):
                        if death and death.how == "receipt" and number == death.at:
                            iterator.close()
                            return Killed("receipt")
        except (HuntingError, Killed) as error:
            return error
        return None

    def _turn(self, case: Case, clock: Leaping) -> None:
        """Change the tenant during the run: an hour passes, late rows arrive, a schema drifts."""
        if case.late:
            clock.sleep(3600)
            self._both(now=ticks_of(NOW) + HOUR)
        if case.rival:
            self._rival(case, clock)
        if case.drift:
            changed = {case.table: case.drift}
            self.emulated.post("config", drift=changed)
            self.emulated.tenant.configure(drift=drifts(changed))

    def _rival(self, case: Case, clock: Leaping) -> None:
        """Pull the same partitions as another machine does that shares neither the lock nor the claim."""
        with (
            suppress(HuntingError),
            self._open(case, clock, request_seconds=0.5, ledger="rival") as pipeline,
            replace(pipeline, store=lockless(pipeline.store)).pull(case.spec, _partitions(case)) as pull,
        ):
            self.tale.rivals += sum(1 for _ in pull)

    def _assert_a_person_was_asked(self, case: Case, outcome: BaseException | None) -> None:
        """Assert that expired credentials and a wrong clock end the run, and never look like an outage."""
        proxy = self.buckets[case.store][1] if case.store_faults else None
        lasting = [fault.fault for fault in case.store_faults if fault.lasts]
        if proxy and set(hits(proxy, case.store_faults)) & set(lasting):
            assert isinstance(outcome, Misconfigured | Killed), repr(outcome)

    def _count(self, outcome: BaseException | None) -> None:
        if isinstance(outcome, Killed):
            self.tale.deaths[str(outcome).split()[0]] += 1
        elif outcome is not None:
            self.tale.errors[type(outcome).__name__] += 1

    def _finish(self, case: Case, clock: Leaping) -> bool:
        """Pull again without faults, and reconcile.

        Returns whether a column stopped the pull because no type holds its old and its new type.
        """
        try:
            self._mend(case, clock)
        except CommitRefused as error:
            self.tale.errors["CommitRefused"] += 1
            if "changed its type" not in str(error) or "retype" not in case.drift:
                raise
            return True
        return False

    def _mend(self, case: Case, clock: Leaping) -> None:
        with self._open(case, clock, request_seconds=30.0) as pipeline:
            with pipeline.pull(case.spec, _partitions(case)) as pull:
                list(pull)
            with pipeline.reconcile(case.spec, _partitions(case)) as (found, pull):
                list(pull)
                self.tale.late += len(found.grown)
                assert not found.shrunk

    @contextmanager
    def _open(
        self, case: Case, clock: Leaping, *, request_seconds: float, ledger: str = "quota"
    ) -> Iterator[Pipeline]:
        limits = replace(TEST, rows=case.cap, request_seconds=request_seconds)
        known = self.emulated.settings().model_dump() | {
            **self._ground.settings,
            "ledger": str(self.home / "quota" / f"{ledger}.sqlite"),
            "api": case.api,
            "workers": case.workers,
        }
        settings = Tiny(**known, tiny=limits)
        with open_pipeline(settings, max_wait=MAX_WAIT, clock=clock) as pipeline:
            yield pipeline

    def _tenant(self, case: Case) -> pa.Table:
        """Return every row that the tenant shows now."""
        return self.emulated.tenant.rows(case.table)

    def _archived(self, case: Case) -> list[Manifest]:
        return list(load_all(open_lake(Tiny(**self._ground.direct)), case.table))

    def _judge(self, case: Case, before: pa.Table, after: pa.Table) -> None:
        """Assert that committed partitions have every row of `before`, and no row that is not in `after`."""
        for key in self._ground.paths():
            if key.endswith(".parquet"):  # raises if the file is damaged
                pq.ParquetFile(io.BytesIO(self._ground.read(key))).read()
        archived = self._archived(case)
        self.tale.commits += len(archived)
        if not archived:
            return
        lake = read.dataset(open_lake(Tiny(**self._ground.direct)), case.table).to_table()
        assert lake.num_rows == sum(manifest.proof.rows for manifest in archived)
        self.tale.rows += lake.num_rows
        _assert_rows_lie_in_their_day(lake, case)
        rows = restored(lake.drop_columns([n for n in ("date", "hour") if n in lake.column_names]))
        windows = [w for m in archived if not m.partition.null_time for w in m.covered]
        timeless = any(m.partition.null_time for m in archived)
        here = _counted(_comparable(rows, after, case)[0])
        now = _counted(_comparable(rows, _within(after, case, windows, timeless=timeless), case)[1])
        assert not here - now, f"{(here - now).total()} rows too many"
        if before is not after:
            now = _counted(_comparable(rows, _within(before, case, windows, timeless=timeless), case)[1])
        assert not now - here, f"{(now - here).total()} rows missing"

    def _whole(self, case: Case) -> None:
        """Assert that nothing is missing and that nothing temporary is left."""
        archived = {manifest.partition: manifest for manifest in self._archived(case)}
        for partition in _partitions(case):
            if partition.window.end <= MIDNIGHT or case.spec.time_column is None:
                assert archived[partition].covered == (partition.window,)
        if case.spec.time_column is not None:
            column = self._tenant(case)[case.spec.time_column]
            available = [m.proof.rows for p, m in archived.items() if p.null_time]
            assert sum(available) == column.null_count, "rows without a time"
        left = [key for key in self._ground.paths() if key.endswith((".tmp", ".arrow"))]
        assert not left, left


def _partitions(case: Case) -> tuple[Partition, ...]:
    return partitions_in(case.spec, case.asked)


def _within(tenant: pa.Table, case: Case, windows: list[Window], *, timeless: bool) -> pa.Table:
    """Return the tenant's rows in the archived spans."""
    column = case.spec.time_column
    if column is None:
        return tenant
    times = pc.subtract(tenant[column], DOTNET_EPOCH)
    mask = pc.is_null(times) if timeless else pc.and_(pc.is_null(times), pa.scalar(False))
    for window in windows:
        inside = pc.and_(pc.greater_equal(times, window.start), pc.less(times, window.end))
        mask = pc.or_(mask, pc.fill_null(inside, False))
    return tenant.filter(mask)


def _comparable(lake: pa.Table, tenant: pa.Table, case: Case) -> tuple[pa.Table, pa.Table]:
    """Return both tables with the columns that did not drift, each under its own names."""
    drifting = {
        *case.drift.get("add", {}),
        *case.drift.get("remove", ()),
        *case.drift.get("retype", {}),
    }
    wanted = case.spec.columns or list(tenant.column_names)
    names = [name for name in wanted if name not in drifting]
    there = tenant.select(names)
    here = lake.select(list(lake_names([Column(name, "") for name in names])))
    return here, there


def _counted(table: pa.Table) -> Counter[tuple[Any, ...]]:
    """Return the rows as a multiset."""
    return Counter(zip(*(column.to_pylist() for column in plain(table).columns), strict=True))


def restored(table: pa.Table) -> pa.Table:
    """Return the table with times as .NET ticks, including rescued times that Arrow could not hold."""
    rescued = table[RESCUED].to_pylist()
    columns = {}
    for name in table.column_names:
        if name == RESCUED:
            continue
        column = table[name]
        if pa.types.is_timestamp(column.type):
            ticks = pc.add(pc.divide(column.cast(pa.int64()), 100), DOTNET_EPOCH).to_pylist()
            for row, text in enumerate(rescued):
                if text and (value := _rescued(text, name)) is not None:
                    ticks[row] = value
            column = pa.array(ticks, pa.int64())
        columns[name] = column
    return pa.table(columns)


def _rescued(text: str, name: str) -> int | None:
    value = json.loads(text).get(name)
    if value is None:
        return None
    moment = json.loads(value) if value.startswith('"') else value
    day_, _, clock = moment.removesuffix("Z").partition("T")
    hours, minutes, seconds = clock.split(":")
    whole, _, fraction = seconds.partition(".")
    days = date.fromisoformat(day_).toordinal() - 1
    passed = (int(hours) * 60 + int(minutes)) * 60 + int(whole)
    return days * DAY + passed * SECOND + int(fraction.ljust(7, "0") or 0)


def _assert_rows_lie_in_their_day(lake: pa.Table, case: Case) -> None:
    if case.spec.time_column is None:
        return
    days = pc.cast(pc.floor_temporal(lake[case.spec.time_column], unit="day"), pa.date32())
    same = pc.fill_null(pc.equal(days, lake["date"]), True)
    assert pc.all(same).as_py() in (True, None)


def _text(ticks: int) -> str:
    return datetime_of(ticks).strftime("%Y-%m-%dT%H:%M:%SZ")
