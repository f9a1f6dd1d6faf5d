"""Two runs write one partition at the same time, with separate locks or none. No row is lost or doubled."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
from lake_workshop import EVENTS, MIDNIGHT, NOON, SNAPSHOT, Workshop, day, reply, text
from memory_store import MemoryStore

from hunting_pipeline.errors import CommitRefused
from hunting_pipeline.lake import derived
from hunting_pipeline.lake.commit import known_schema
from hunting_pipeline.lake.layout import data_path, staging_folder
from hunting_pipeline.lake.manifest import Manifest, load
from hunting_pipeline.lake.replan import still_needed
from hunting_pipeline.lake.stores import ANY, Conflict, Entry, Expected, Store, open_store
from hunting_pipeline.lake.write import staged_segments, unstage
from hunting_pipeline.model import HOUR, Bucket, Staged, Window

WHOLE = day().window
MORNING, AFTERNOON = Window(MIDNIGHT, NOON), Window(NOON, WHOLE.end)
LATE = MIDNIGHT + HOUR


class Interrupted:
    """A store that calls `interrupt` before its n-th operation. Opening, reading and writing a file count, too."""

    def __init__(self, store: Store, at: int, interrupt: Callable[[], None]) -> None:
        self._store = store
        self._left = at
        self._interrupt = interrupt

    def _step(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._interrupt()

    @property
    def happened(self) -> bool:
        return self._left <= 0

    @property
    def filesystem(self) -> pafs.FileSystem:
        self._step()
        return self._store.filesystem

    def uri(self, path: str = "") -> str:
        return self._store.uri(path)

    def get(self, path: str) -> bytes | None:
        self._step()
        return self._store.get(path)

    def stat(self, path: str) -> Entry | None:
        self._step()
        return self._store.stat(path)

    def list(self, folder: str) -> Sequence[Entry]:
        self._step()
        return self._store.list(folder)

    def put(self, path: str, data: bytes, *, expected: Expected = ANY) -> str:
        self._step()
        return self._store.put(path, data, expected=expected)

    def put_file(self, path: str, write: Callable[[Path], None], *, expected: Expected = ANY) -> str:
        def write_and_step(file: Path) -> None:
            write(file)
            self._step()

        self._step()
        return self._store.put_file(path, write_and_step, expected=expected)

    def delete(self, path: str) -> None:
        self._step()
        self._store.delete(path)

    def prove_writable(self, path: str) -> None:
        self._store.prove_writable(path)

    def lock(self, path: str, *, max_wait: float) -> AbstractContextManager[None]:
        return self._store.lock(path, max_wait=max_wait)


@pytest.fixture(params=["folder", "memory"])
def shops(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Workshop]]:
    """Return a function that makes a workshop with a new lake."""
    count = 0

    def new() -> Workshop:
        nonlocal count
        count += 1
        shop = Workshop(tmp_path / str(count))
        if request.param == "memory":
            shop.store = MemoryStore()
        return shop

    yield new


def letters(shop: Workshop) -> list[str]:
    with shop.store.filesystem.open_input_file(data_path(day(table=shop.spec.name))) as file:
        return sorted(pq.read_table(file)["A"].to_pylist())


def rows(shop: Workshop, window: Window | None, **at: int) -> Sequence[Staged]:
    """Stage one row for each letter."""
    ticks = list(at.values()) if window else None
    return shop.stage(
        reply(ticks, {"A": text(*at)}), window, partitions=[day(table=shop.spec.name)]
    )


@dataclass(frozen=True)
class Case:
    """The lake before, the commit of the first run, the commit of the second run, and the letters after both."""

    before: Callable[[Workshop], object]
    first: Callable[[Workshop], Sequence[Staged]]
    second: Callable[[Workshop], object]
    after: str
    snapshot: bool = False


def nothing(shop: Workshop) -> None:
    pass


def archived(window: Window, **at: int) -> Callable[[Workshop], object]:
    return lambda shop: shop.commit(rows(shop, window, **at))


def resumed(shop: Workshop) -> None:
    """Commit what the first run has staged, and a morning with late rows, as a second pull does."""
    found = staged_segments(shop.store, day(), EVENTS.query_hash)
    shop.commit([*found, *rows(shop, MORNING, a=MIDNIGHT, late=LATE)])


MORNING_BEFORE = archived(MORNING, a=MIDNIGHT, b=MIDNIGHT + 1)

CASES = {
    "late rows of another span": Case(
        MORNING_BEFORE,
        lambda shop: rows(shop, AFTERNOON, c=NOON, d=NOON + 1),
        archived(MORNING, a=MIDNIGHT, b=MIDNIGHT + 1, late=LATE),
        "a b c d late",
    ),
    "late rows of a part of an archived slice": Case(
        MORNING_BEFORE,
        lambda shop: rows(shop, AFTERNOON, c=NOON),
        archived(Window(LATE, LATE + 1), late=LATE),
        "a b c late",
    ),
    "a new span while an old one is reconciled": Case(
        MORNING_BEFORE,
        lambda shop: rows(shop, MORNING, a=MIDNIGHT, b=MIDNIGHT + 1, late=LATE),
        archived(AFTERNOON, c=NOON),
        "a b c late",
    ),
    "the first commits of both": Case(
        nothing, lambda shop: rows(shop, AFTERNOON, c=NOON), archived(MORNING, a=MIDNIGHT), "a c"
    ),
    "a newer fetch of the same span": Case(
        nothing,
        lambda shop: rows(shop, WHOLE, a=MIDNIGHT, c=NOON),
        archived(WHOLE, a=MIDNIGHT, late=LATE, c=NOON),
        "a c late",
    ),
    "a newer fetch of one of two spans": Case(
        nothing,
        lambda shop: [*rows(shop, MORNING, a=MIDNIGHT), *rows(shop, AFTERNOON, c=NOON)],
        archived(MORNING, a=MIDNIGHT, late=LATE),
        "a c late",
    ),
    "segments that the other run commits": Case(
        nothing, lambda shop: rows(shop, AFTERNOON, c=NOON, d=NOON), resumed, "a c d late"
    ),
    "a snapshot": Case(
        nothing,
        lambda shop: rows(shop, None, a=0),
        lambda shop: shop.commit(rows(shop, None, a=0, b=0)),
        "a b",
        snapshot=True,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_two_commits_at_once_keep_the_rows_of_both(shops: Callable[[], Workshop], name: str) -> None:
    """The second run commits before every step of the first one, in one lake for each step."""
    case = CASES[name]
    for step in range(1, 100):
        shop = shops()
        shop.spec = SNAPSHOT if case.snapshot else EVENTS
        partition = day(table=shop.spec.name)
        case.before(shop)
        planned = load(shop.store, partition)
        staged = case.first(shop)
        if not commit_interrupted(shop, staged, planned, at=step, second=case.second):
            assert step > 10
            return
        assert letters(shop) == case.after.split(), step
        manifest, entry = load(shop.store, partition), shop.store.stat(data_path(partition))
        assert manifest is not None
        assert entry is not None
        assert (manifest.proof.rows, manifest.file_version) == (len(case.after.split()), entry.version)
        assert manifest == load(shop.store, partition)
        assert not shop.store.list(staging_folder(partition)), step
    raise AssertionError("the first run did not end")


def commit_interrupted(
    shop: Workshop,
    staged: Sequence[Staged],
    planned: Manifest | None,
    *,
    at: int,
    second: Callable[[Workshop], object],
) -> bool:
    """Commit, and call `second` before one of the steps. Return whether there were so many steps."""
    plain = shop.store

    def interrupt() -> None:
        shop.store = plain
        second(shop)

    interrupted = Interrupted(plain, at, interrupt)
    newest = planned.partition if planned else None
    known = known_schema(plain, newest)
    shop.store = interrupted
    try:
        shop.commit(staged, day(table=shop.spec.name), archived=planned, known=known)
    finally:
        shop.store = plain
    return interrupted.happened
