"""The random part of a chaos run: a tenant's rows, its faults, and the moment at which the run dies."""

from dataclasses import dataclass, replace
from random import Random
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from hunting_emulator.schema import tables
from hunting_pipeline import catalog
from hunting_pipeline.model import DAY, HOUR, SECOND, Grain, TableSpec, Window, ticks_of
from support import DOTNET_EPOCH, NOW

MIDNIGHT = ticks_of(NOW) // DAY * DAY
DAYS = 5
WHOLE_DAYS = Window(MIDNIGHT - DAYS * DAY, MIDNIGHT)
WITH_TODAY = Window(MIDNIGHT - DAYS * DAY, MIDNIGHT + DAY)

SYNTHETIC = {"DeviceLogonEvents": 3_000, "CloudAppEvents": 1_500}
"""Rows in 30 days of the tables that the emulator generates."""
BURST = {"DeviceLogonEvents": "2026-11-18T09:00:00Z/1h/700"}
LOADED = ("AlertInfo", "DeviceProcessEvents", "DeviceTvmSoftwareInventory")

NARROW = {
    "DeviceProcessEvents": (
        *("Timestamp", "DeviceId", "DeviceName", "FileSize", "ProcessCommandLine", "ProcessCreationTime"),
        *("LogonId", "IsProcessRemoteSession", "InitiatingProcessParentCreationTime", "LogonID"),
    )
}
"""The columns of a loaded table. All columns would only cost time."""

SPREAD, ALIKE, TICK, TWINS, TIMELESS, BORDER = "spread", "alike", "tick", "twins", "timeless", "border"

TRANSIENT = ("error", "unknown_error", "unavailable", "reset", "cut", "half", "token", "quota", "quota_after")
REFUSED = ("too_big", "preempted", "timeout", "gateway", "cpu", "teapot")
SLOW = ("hang", "slow")
FALSE = ("short", "miscount", "retyped")
STORES = ("folder", "seaweedfs", "azurite")
STORE_FAULTS = {
    "busy": (None, 3),
    "ANSWER": ("PUT", 2),
    "UNSURE": ("PUT", 2),
    "REQUEST": ("PUT", 2),
    "BODY": ("GET", 2),
    "expired": (None, 10**6),
    "skewed": (None, 10**6),
}
"""Faults of object stores, with the requests that they break and the largest number of them. A person must
end the last two."""
OUTAGES = ("gateway", "timeout", "unavailable", "error", "reset")


@dataclass(frozen=True)
class Rows:
    """A group of rows: their distribution in time, their number, and their day in the window."""

    kind: str
    number: int
    day: int


@dataclass(frozen=True)
class Death:
    """The early end of a run, at the n-th event of its kind.

    `receipt` closes the iterator, `observer` raises, `store` loses the disk before, inside or after a put.
    """

    how: str
    at: int
    moment: str = "before"


@dataclass(frozen=True)
class StoreFault:
    """A fault of an object store.

    Attributes:
        fault: a key of `STORE_FAULTS`.
        kind: the kind of the broken requests, such as `PUT`; None for all kinds.
        after: number of such requests before the first broken one.
        times: number of broken requests.
    """

    fault: str
    kind: str | None
    after: int
    times: int

    @property
    def lasts(self) -> bool:
        """Whether a person must end the fault."""
        return self.fault in ("expired", "skewed")


@dataclass(frozen=True)
class Case:
    """One random run.

    Attributes:
        garbled: whether one row is unreadable while the faults last.
        flipped: number of bits that change in staged segments before the faults end.
        skew: seconds by which the machine's clock is ahead of the service.
        rival: whether another run pulls the same partitions at `turn`, without the lake's lock or claim.
        store: the kind of the lake's store.
        store_faults: the faults of this store.
    """

    table: str
    api: str
    groups: tuple[Rows, ...]
    seed: int
    late: float
    today: bool
    hourly: bool
    some_columns: bool
    cap: int
    workers: int
    faults: dict[str, Any]
    manners: dict[str, Any]
    drift: dict[str, Any]
    turn: int
    death: Death | None
    garbled: bool = False
    flipped: int = 0
    rival: bool = False
    skew: int = 0
    store: str = "folder"
    store_faults: tuple[StoreFault, ...] = ()

    @property
    def asked(self) -> Window:
        if self.table == "DeviceTvmSoftwareInventory":
            return Window(ticks_of(NOW) - 1, ticks_of(NOW))
        if self.hourly:
            return Window(MIDNIGHT - DAY - 3 * HOUR, MIDNIGHT - DAY + 3 * HOUR)
        return WITH_TODAY if self.today else WHOLE_DAYS

    @property
    def retyped(self) -> bool:
        """Whether a reply may have another type. A part of the table is then archived before the faults."""
        return "retyped" in (*self.faults.get("kinds", ()), *self.faults["queue"])

    @property
    def spec(self) -> TableSpec:
        spec = catalog.spec(self.table)
        if self.hourly and spec.time_column:
            spec = replace(spec, grain=Grain.HOUR)
        names = tuple(name for name, _ in columns_of(self.table))
        return replace(spec, columns=names[:6]) if self.some_columns else spec

    @property
    def loaded(self) -> pa.Table | None:
        """The table's rows, if the emulator does not generate them."""
        return _rows(self) if self.table in LOADED else None


def columns_of(table: str) -> list[tuple[str, str]]:
    """Return names and Kusto types of a table of the random tenant."""
    kept = NARROW.get(table)
    return [(name, kind) for name, kind in tables()[table].columns if kept is None or name in kept]


@st.composite
def cases(draw: st.DrawFn, stores: tuple[str, ...] = STORES) -> Case:
    """Draw a case with one of these stores."""
    store = draw(st.sampled_from(stores))
    rare = draw(st.integers(0, 15)) == 7  # the emulator generates rows slowly
    table = draw(st.sampled_from(sorted(SYNTHETIC) if rare else [*LOADED, *LOADED[:2]]))
    apis = ["graph", "xdr"] + ["endpoint"] * table.startswith("Device")
    late = draw(st.sampled_from([0.0, 0.0, 0.05, 0.4])) if table != "DeviceTvmSoftwareInventory" else 0.0
    return Case(
        table=table,
        api=draw(st.sampled_from(apis)),
        groups=tuple(draw(st.lists(_group(), min_size=1, max_size=4))) if table in LOADED else (),
        seed=draw(st.integers(0, 2**31)),
        late=late,
        today=draw(st.booleans()),
        hourly=draw(st.integers(0, 9)) == 0,
        some_columns=draw(st.integers(0, 9)) == 0,
        cap=1_000 if rare else draw(st.sampled_from([150, 400, 1_000])),
        workers=draw(st.sampled_from([1, 2, 4])),
        faults=draw(_faults()),
        manners=draw(_manners()),
        drift=draw(_drift()) if table == "DeviceLogonEvents" else {},
        turn=draw(st.integers(1, 6)),
        death=draw(st.none() | _death()),
        garbled=draw(st.integers(0, 9)) == 0,
        flipped=draw(st.sampled_from([0, 0, 1, 3])),
        rival=draw(st.integers(0, 5)) == 0,
        skew=draw(st.sampled_from([0, 0, 0, -2400, -300, 300, 2400])),
        store=store,
        store_faults=() if store == "folder" else tuple(draw(st.lists(_store_fault(), max_size=3))),
    )


@st.composite
def _store_fault(draw: st.DrawFn) -> StoreFault:
    fault = draw(st.sampled_from([*STORE_FAULTS, *[name for name in STORE_FAULTS if name.isupper()]]))
    kind, most = STORE_FAULTS[fault]
    times = most if most > 10 else draw(st.integers(1, most))
    return StoreFault(fault, kind, draw(st.integers(0, 60 if kind is None else 20)), times)


def _group() -> st.SearchStrategy[Rows]:
    kinds = st.sampled_from([SPREAD, SPREAD, ALIKE, TICK, TWINS, TIMELESS, BORDER])
    return st.builds(Rows, kinds, st.sampled_from([1, 2, 30, 130, 400]), st.integers(0, DAYS - 1))


@st.composite
def _faults(draw: st.DrawFn) -> dict[str, Any]:
    every = st.sampled_from(TRANSIENT + TRANSIENT + REFUSED + SLOW + FALSE)
    outage = st.builds(lambda kind, calls: [kind] * calls, st.sampled_from(OUTAGES), st.integers(3, 30))
    return {
        "seed": draw(st.integers(0, 10_000)),
        "share": draw(st.sampled_from([0.0, 0.05, 0.2, 0.4])),
        "kinds": draw(st.lists(every, min_size=1, max_size=6)),
        "queue": draw(st.one_of(*[st.lists(every, max_size=6)] * 3, outage)),
        "on": draw(st.sampled_from(["any", "any", "any", "rows", "histogram"])),
    }


def _manners() -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {
            "null": st.sampled_from([None, "null", "{}"]),
            "sidecars": st.sampled_from([None, "all", "some", "none"]),
            "schema_last": st.booleans(),
            "swap_case": st.booleans(),
            "plain_bool": st.booleans(),
            "hang_seconds": st.just(1.5),
            "slow_seconds": st.sampled_from([0.3, 3.0]),
            "wait_seconds": st.sampled_from([1, 2, 30, 120]),
        }
    )


def _drift() -> st.SearchStrategy[dict[str, Any]]:
    """Draw columns that are added, removed or widened during the run."""
    return st.sampled_from(
        [
            {},
            {"add": {"Novelty": "string"}},
            {"add": {"Novelty": "dynamic", "Later": "long"}},
            {"remove": ["InitiatingProcessFileName", "RemotePort"]},
            {"retype": {"RemotePort": "long"}},
            {"retype": {"RemotePort": "string"}},
        ]
    )


def _death() -> st.SearchStrategy[Death]:
    return st.one_of(
        st.builds(Death, st.just("receipt"), st.integers(1, 4)),
        st.builds(Death, st.just("observer"), st.integers(1, 12)),
        st.builds(
            Death, st.just("store"), st.integers(1, 20), st.sampled_from(["before", "inside", "after"])
        ),
    )


def _rows(case: Case) -> pa.Table:
    """Return the groups as one table in the emulator's form: .NET ticks, and the arrival of each row."""
    chance = Random(case.seed)
    time_column, kinds = tables()[case.table].time_column, dict(columns_of(case.table))
    names = [name for name in kinds if name != time_column]
    columns: dict[str, list[Any]] = {name: [] for name in names}
    times: list[int | None] = []
    for group in case.groups:
        times += _times(group, chance)
        same = [_value(name, kinds[name], chance) for name in names]
        for _ in range(group.number):
            repeated = group.kind == ALIKE or (group.kind == TWINS and chance.random() < 0.5)
            row = same if repeated else [_value(name, kinds[name], chance) for name in names]
            for name, value in zip(names, row, strict=True):
                columns[name].append(value)
    arrays = {name: pa.array(values, _ARROW[kinds[name]]) for name, values in columns.items()}
    if time_column is None:
        return pa.table(arrays)
    arrays[time_column] = pa.array(
        [None if time is None else time + DOTNET_EPOCH for time in times], pa.int64()
    )
    arrival = [_arrival(time, case.late, chance) + DOTNET_EPOCH for time in times]
    return pa.table({name: arrays[name] for name in kinds} | {"_arrival": pa.array(arrival, pa.int64())})


def _times(group: Rows, chance: Random) -> list[int | None]:
    start = WHOLE_DAYS.start + group.day * DAY
    if group.kind == TIMELESS:
        return [None] * group.number
    if group.kind == SPREAD:
        return [start + chance.randrange(DAY) for _ in range(group.number)]
    if group.kind == BORDER:
        return [start + chance.choice([-1, 0, 1, HOUR - 1, HOUR, DAY - 1, DAY]) for _ in range(group.number)]
    tick = start + chance.randrange(DAY)
    return [tick] * group.number


def _arrival(time: int | None, late: float, chance: Random) -> int:
    """Return the arrival of a row. Late rows arrive during the run, or up to three days afterwards."""
    if time is None or chance.random() >= late:
        return 0
    return max(time, ticks_of(NOW) + chance.choice([1, 1800 * SECOND, 2 * HOUR, chance.randrange(3 * DAY)]))


_ARROW = {
    "string": pa.string(),
    "datetime": pa.int64(),
    "long": pa.int64(),
    "int": pa.int32(),
    "bool": pa.bool_(),
}

_WILD: dict[str, tuple[Any, ...]] = {
    "string": ("", None, "x", 'q"uo\\te', "new\nline", "naïve 🙂", "\u2028", "null", "{}", "]}", " x "),
    "datetime": (None, 0, 1, DOTNET_EPOCH, 3_155_378_975_999_999_999, 638_000_000_000_000_001),
    "long": (None, 0, -1, 2**53 + 1, -(2**63), 2**63 - 1),
    "int": (None, 0, -(2**31), 2**31 - 1),
    "bool": (None, True, False),
}


def _value(name: str, kind: str, chance: Random) -> Any:
    if name in {"DeviceId", "AlertId"}:
        return f"{chance.getrandbits(64):x}"
    return chance.choice(_WILD[kind])
