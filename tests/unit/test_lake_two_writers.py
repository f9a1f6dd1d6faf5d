"""Two runs write one partition at the same time, with separate locks or none. No row is lost or doubled."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
from lake_workshop import EVENTS, MIDNIGHT, NOON, SNAPSHOT, Workshop, day, reply, text
from started import go

from hunting_pipeline.errors import CommitRefused
from hunting_pipeline.lake import derived
from hunting_pipeline.lake.commit import owner
from hunting_pipeline.lake.layout import data_path, staging_folder
from hunting_pipeline.lake.manifest import Manifest, load
from hunting_pipeline.lake.replan import still_needed
from hunting_pipeline.lake.stores import ABSENT, ANY, Conflict, Entry, Expected, Store, open_store
from hunting_pipeline.lake.write import unstage
from hunting_pipeline.model import HOUR, Bucket, Staged, Window
from places import Place, open_place

WHOLE = day().window
MORNING, AFTERNOON = Window(MIDNIGHT, NOON), Window(NOON, WHOLE.end)
LATE = MIDNIGHT + HOUR


class Interrupted:
    """A store that calls `interrupt` before its n-th operation. Opening and writing a file count, too."""

    def __init__(self, store: Store, at: int, interrupt: Callable[[], object]) -> None:
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

    def filesystem_of(self, entries: Iterable[Entry]) -> pafs.FileSystem:
        self._step()
        return self._store.filesystem_of(entries)

    def uri(self, path: str = "") -> str:
        return self._store.uri(path)

    def get(self, path: str) -> bytes | None:
        self._step()
        return self._store.get(path)

    def stat(self, path: str) -> Entry | None:
        self._step()
        return self._store.stat(path)

    def get_all(self, entries: Iterable[Entry]) -> Mapping[str, bytes]:
        self._step()
        return self._store.get_all(entries)

    def list(self, folder: str, *, start: str = "", end: str = "") -> Sequence[Entry]:
        self._step()
        return self._store.list(folder, start=start, end=end)

    def folders(self, folder: str) -> Sequence[str]:
        self._step()
        return self._store.folders(folder)

    def local_file(self, path: str, *, version: str) -> AbstractContextManager[Path]:
        self._step()
        return self._store.local_file(path, version=version)

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


@pytest.fixture
def shops(place: Place, tmp_path: Path) -> Callable[[], Workshop]:
    """Return a function that makes a workshop with a new lake."""
    count = 0

    def new() -> Workshop:
        nonlocal count
        count += 1
        shop = Workshop(tmp_path / str(count))
        shop.store = open_place(place.at(str(count)))
        return shop

    return new


def letters(shop: Workshop) -> list[str]:
    with shop.store.filesystem.open_input_file(data_path(day(table=shop.spec.name))) as file:
        return sorted(pq.read_table(file)["A"].to_pylist())


def rows(shop: Workshop, window: Window | None, **at: int) -> Sequence[Staged]:
    """Stage one row for each letter."""
    ticks = list(at.values()) if window else None
    return shop.stage(reply(ticks, {"A": text(*at)}), window, partitions=[day(table=shop.spec.name)])


@dataclass(frozen=True)
class Case:
    """The lake before, the commits of the first and the second run, and the letters after both."""

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
    found = shop.staged()
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


@pytest.mark.stores
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
    shop.store = interrupted
    try:
        shop.commit(staged, day(table=shop.spec.name), archived=planned)
    finally:
        shop.store = plain
    return interrupted.happened


# what cannot be merged is refused loudly


@pytest.mark.stores("fast")
def test_a_span_that_a_newer_fetch_covers_in_part_is_refused(shops: Callable[[], Workshop]) -> None:
    shop = shops()
    staged = rows(shop, WHOLE, a=MIDNIGHT, c=NOON)
    shop.commit(rows(shop, MORNING, a=MIDNIGHT, late=LATE))
    with pytest.raises(CommitRefused, match=r"another run archived a part of .*Its rows stay\. Run again"):
        shop.commit(staged, archived=None)
    assert letters(shop) == ["a", "late"]
    assert shop.staged() == (), "the next run fetches the rest"


def test_rows_of_another_query_are_refused(shops: Callable[[], Workshop]) -> None:
    shop = shops()
    staged = rows(shop, AFTERNOON, c=NOON)
    other_query = replace(EVENTS, where="true")
    shop.commit(rows(shop, MORNING, a=MIDNIGHT), spec=other_query)
    with pytest.raises(CommitRefused, match="by another query in the meantime"):
        shop.commit(staged, archived=None)
    assert letters(shop) == ["a"]


@pytest.mark.stores("fast")
def test_segments_that_another_run_removes_are_missed(shops: Callable[[], Workshop]) -> None:
    shop = shops()
    staged = rows(shop, WHOLE, a=MIDNIGHT)
    unstage(shop.store, EVENTS.name, [day()])
    with pytest.raises(CommitRefused, match="is missing or damaged"):
        shop.commit(staged)
    assert load(shop.store, day()) is None


def test_segments_that_another_run_replaces_are_refused_and_kept(shops: Callable[[], Workshop]) -> None:
    """A bucket of a snapshot has no checksum, so the number of rows alone does not show the mixture."""
    shop = shops()
    shop.spec = SNAPSHOT
    partition = day(table=SNAPSHOT.name)
    mine = [shop.stage(reply(None, {"A": text(f"old{n}")}), bucket=Bucket(n, 2))[0] for n in range(2)]
    shop.stage(reply(None, {"A": text("new")}), bucket=Bucket(1, 2))
    with pytest.raises(CommitRefused, match=r"another run replaced or removed staged segments.*Run again"):
        shop.commit(mine)
    assert load(shop.store, partition) is None
    assert len(shop.store.list(staging_folder(partition))) == 2


@pytest.mark.stores("fast")
def test_a_commit_gives_up_if_other_runs_change_the_partition_again_and_again(
    shops: Callable[[], Workshop],
) -> None:
    shop = shops()
    staged = rows(shop, AFTERNOON, c=NOON)
    store = shop.store
    late = 0

    class Busy(Interrupted):
        def put_file(self, path: str, write: Callable[[Path], None], *, expected: Expected = ANY) -> str:
            nonlocal late
            late += 1
            shop.store = store
            shop.commit(rows(shop, MORNING, **{f"late{n}": MIDNIGHT + n for n in range(late)}))
            return super().put_file(path, write, expected=expected)

    shop.store = Busy(store, 0, lambda: None)
    with pytest.raises(CommitRefused, match=r"another run changed .* in the meantime"):
        shop.commit(staged)
    assert late == 5
    assert letters(shop) == [f"late{n}" for n in range(5)]
    assert shop.commit(staged).proof.rows == 6, "the staged segment is still there"


def test_buckets_of_one_tick_are_needed_or_dropped_together(shops: Callable[[], Workshop]) -> None:
    """One bucket is older and one is newer than the archived rows."""
    shop = shops()
    tick = Window(NOON, NOON + 1)

    def bucket(index: int) -> Staged:
        return shop.stage(reply([NOON], {"A": text(str(index))}), tick, bucket=Bucket(index, 2))[0]

    old = bucket(0)
    shop.commit(shop.stage(reply([NOON, NOON], {"A": text("0", "1")}), tick))
    present = load(shop.store, day())
    staged = [old, bucket(1)]
    assert still_needed(staged, EVENTS, planned=None, present=present) == ()
    newer = [bucket(0), bucket(1)]
    assert still_needed(newer, EVENTS, planned=None, present=present) == tuple(newer)
    assert still_needed(staged, EVENTS, planned=present, present=present) == tuple(staged)


def test_a_computed_partition_that_another_run_replaced_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    partition, table = day(table="computed"), pa.table({"A": ["x"]})
    derived.write(store, partition, table)
    interrupted = Interrupted(store, 2, lambda: derived.write(store, partition, pa.table({"A": ["other"]})))
    with pytest.raises(Conflict):
        derived.write(interrupted, partition, table)
    assert pq.read_table(tmp_path / data_path(partition))["A"].to_pylist() == ["other"]


# processes


CLAIM = """
import sys
from hunting_pipeline.errors import Misconfigured
from hunting_pipeline.lake.commit import claim
from hunting_pipeline.lake.stores import open_store
from hunting_pipeline.settings import Settings
settings, tenant = Settings(), sys.argv[1]
stores = [open_store(f"{settings.lake}/{n}", settings.store_options) for n in range(20)]
print("ready", flush=True)
sys.stdin.readline()
for store in stores:
    try:
        claim(store, tenant, write=True)
    except Misconfigured as error:
        print(error)
    else:
        print("mine")
"""

ADD = """
import sys
from hunting_pipeline.lake.stores import Conflict, open_store
from hunting_pipeline.settings import Settings
settings = Settings()
store = open_store(settings.lake, settings.store_options)
print("ready", flush=True)
sys.stdin.readline()
for number in range(25):
    while True:
        present = store.stat("words")
        words = bytes(store.get("words")) + f" {sys.argv[1]}{number}".encode()
        try:
            store.put("words", words, expected=present.version)
            break
        except Conflict:
            pass
"""


def at_once(program: str, place: Place, arguments: Sequence[str]) -> list[str]:
    """Start a process with each argument. When all are ready, let them go and return their output."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program, word],
            env={**os.environ, **place.variables},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for word in arguments
    ]
    go(started)
    output = [process.communicate()[0] for process in started]
    assert [process.returncode for process in started] == [0] * len(started)
    return output


@pytest.mark.stores("fast")
def test_one_of_several_tenants_that_claim_a_new_lake_at_once_gets_it(place: Place) -> None:
    tenants = [f"00000000-0000-0000-0000-{n:012}" for n in range(3)]
    said = [text.splitlines() for text in at_once(CLAIM, place, tenants)]
    for number, answers in enumerate(zip(*said, strict=True)):
        (winner,) = [tenant for tenant, answer in zip(tenants, answers, strict=True) if answer == "mine"]
        assert owner(open_place(place.at(f"lake/{number}"))) == winner
        assert sum(f"this lake holds tenant {winner}" in answer for answer in answers) == len(tenants) - 1


@pytest.mark.stores("fast")
def test_no_put_of_several_processes_is_lost(place: Place) -> None:
    """Each process adds 25 words to a text. It reads the version first, and puts only that version."""
    store = open_place(place)
    store.put("words", b"")
    at_once(ADD, place, ["a", "b", "c"])
    words = bytes(store.get("words") or b"").decode().split()
    assert sorted(words) == sorted(f"{name}{number}" for name in "abc" for number in range(25))


def test_no_version_of_a_path_occurs_twice(tmp_path: Path) -> None:
    """A clock that is set back, or a file system of whole seconds, gives a new file the old time."""
    store = open_store(str(tmp_path))
    versions = [store.put("a", b"x", expected=ABSENT)]
    ahead = time.time() + 3600
    os.utime(tmp_path / "a", (ahead, ahead))
    for _ in range(3):
        present = store.stat("a")
        assert present is not None
        versions.append(present.version)
        store.put("a", b"x", expected=present.version)
    assert len(set(versions)) == len(versions)
