"""Stores: objects are complete or absent, and a put replaces only the expected version."""

import errno
import fcntl
import getpass
import logging
import os
import shutil
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow.parquet as pq
import pytest
from lake_workshop import EVENTS, MIDNIGHT, NOON, Workshop, day, files_no_longer_than, reply, text
from memory_store import MemoryStore
from object_servers import Bucket

from hunting_pipeline.errors import CommitRefused, LakeBusy, Misconfigured
from hunting_pipeline.lake import read
from hunting_pipeline.lake.archive import load_all
from hunting_pipeline.lake.layout import LAKE_FILE, data_path, lock_path, manifest_path
from hunting_pipeline.lake.manifest import load
from hunting_pipeline.lake.stores import (
    ABSENT,
    STORES,
    Conflict,
    Entry,
    LockingStore,
    Store,
    mounts,
    open_store,
)
from hunting_pipeline.lake.stores.mounts import object_store_at
from hunting_pipeline.model import HOUR, Window
from places import Folder, open_place

TEMPORARY = "_hunting/temporary"
LOCK = lock_path(EVENTS.name)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "lake"))


@pytest.fixture(params=["folder", "memory", "seaweedfs", "moto", "azurite", "gcs"])
def any_store(request: pytest.FixtureRequest, tmp_path: Path, open_bucket: Callable[[str], Bucket]) -> Store:
    if request.param == "memory":
        return MemoryStore()
    return open_place(Folder(tmp_path / "lake") if request.param == "folder" else open_bucket(request.param))


def everything(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


# opening


def test_a_store_is_opened_by_its_scheme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for location in (str(tmp_path / "a lake"), "a lake", (tmp_path / "a lake").as_uri()):
        opened = open_store(location)
        assert opened.uri() == str(tmp_path / "a lake")
        assert opened.uri("T/x.parquet") == str(tmp_path / "a lake" / "T" / "x.parquet")
    assert everything(tmp_path) == {}


def test_an_unknown_scheme_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        Misconfigured, match=r"lake is a URL, and no store has its scheme.*Set lake to a path, or.*file://"
    ) as caught:
        open_store("gopher://x/y")
    assert all(f"{scheme}://" in str(caught.value) for scheme in STORES if scheme)


# the protocol, in every store


def test_an_object_can_be_put_got_listed_and_deleted(any_store: Store) -> None:
    store = any_store
    assert (store.get("a/b"), store.stat("a/b"), list(store.list("a"))) == (None, None, [])
    store.delete("a/b")
    first = store.put("a/b", b"1")
    second = store.put("a/b", b"22")
    third = store.put("a/c/d.b", b"")
    store.put("ab/c", b"of another folder")
    assert first != second
    assert (store.get("a/b"), store.get("a/c/d.b")) == (b"22", b"")
    assert store.stat("a/b") == Entry("a/b", 2, second)
    assert list(store.list("a")) == [Entry("a/b", 2, second), Entry("a/c/d.b", 0, third)]
    with store.filesystem.open_input_file("a/b") as file:
        assert file.read() == b"22"
    store.delete("a/b")
    assert [entry.path for entry in store.list("a")] == ["a/c/d.b"]
    assert store.get("a/b") is None


def test_a_put_replaces_only_the_version_that_it_expects(any_store: Store) -> None:
    store = any_store
    with pytest.raises(Conflict, match=r"another run changed a/b in the meantime.*Run again"):
        store.put("a/b", b"x", expected="1-1")
    first = store.put("a/b", b"1", expected=ABSENT)
    for stale in (ABSENT, "1-1"):
        with pytest.raises(CommitRefused, match="another run changed"):
            store.put("a/b", b"x", expected=stale)
    second = store.put("a/b", b"22", expected=first)
    with pytest.raises(Conflict):
        store.put_file("a/b", lambda path: None, expected=first)
    assert store.get("a/b") == b"22"
    third = store.put_file("a/b", lambda path: shutil.copyfile(__file__, path) and None, expected=second)
    assert store.stat("a/b") == Entry("a/b", Path(__file__).stat().st_size, third)
    store.put("a/b", b"any")
    assert store.get("a/b") == b"any"


def test_a_writer_that_fails_leaves_the_old_object_and_nothing_else(any_store: Store, tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        path.write_bytes(b"half of the n")
        raise ZeroDivisionError

    any_store.put("a/b", b"old")
    before = everything(tmp_path)
    with suppress(ZeroDivisionError):
        any_store.put_file("a/b", fail)
    assert any_store.get("a/b") == b"old"
    assert everything(tmp_path) == before


def test_two_writers_at_once_end_with_one_whole_object(any_store: Store) -> None:
    def first(path: Path) -> None:
        path.write_bytes(b"first")
        any_store.put("a/b", b"second")

    any_store.put_file("a/b", first)
    assert any_store.get("a/b") == b"first"


def test_a_put_does_not_replace_an_object_that_changed_during_its_write(any_store: Store) -> None:
    def slow(path: Path) -> None:
        any_store.put("a/b", b"of another run")
        path.write_bytes(b"mine")

    present = any_store.put("a/b", b"old")
    with pytest.raises(Conflict):
        any_store.put_file("a/b", slow, expected=present)
    assert any_store.get("a/b") == b"of another run"


def test_one_holder_at_a_time_has_a_lock(store: LockingStore) -> None:
    inside = most = 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(5):
            with store.lock(LOCK, max_wait=60):
                inside += 1
                most = max(most, inside)
                time.sleep(0.002)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    with store.lock(LOCK, max_wait=60), store.lock(lock_path("Other"), max_wait=60):
        pass


def test_the_whole_lake_works_in_a_store_of_memory(tmp_path: Path) -> None:
    """Stage, commit, extend, replace, read, and repair a manifest need only the protocol."""
    shop = Workshop(tmp_path / "lake")
    shop.store = MemoryStore()
    morning, afternoon = Window(MIDNIGHT, NOON), Window(NOON, day().window.end)
    shop.land([MIDNIGHT, NOON - 1], morning, {"A": text("x", "y")})
    receipt = shop.land([NOON], afternoon, {"A": text("z")})
    shop.land([day(1).window.start + HOUR], columns={"A": text("next")}, partition=day(1))
    entry = shop.store.stat(data_path(day()))
    manifest = load(shop.store, day())
    assert entry is not None
    assert manifest is not None
    assert (manifest.file_version, manifest.file_bytes) == (entry.version, entry.size)
    assert (receipt.previous_rows, receipt.proof.rows) == (2, 3)
    with pytest.raises(CommitRefused, match="holds 1 rows, and 3 are archived"):
        shop.land([NOON], columns={"A": text("z")})
    shop.store.delete(manifest_path(day()))
    assert [found.proof.rows for found in load_all(shop.store, EVENTS.name)] == [3, 1]
    assert load(shop.store, day()) == manifest
    rows = read.dataset(shop.store, EVENTS.name).to_table().sort_by("Timestamp")
    assert rows["A"].to_pylist() == ["x", "y", "z", "next"]
    assert [str(date) for date in rows["date"].to_pylist()] == ["2026-11-20"] * 3 + ["2026-11-21"]
    assert not shop.root.exists()


# the local folder


def test_a_full_disk_is_reported_and_leaves_the_old_object_and_nothing_else(
    store: Store, tmp_path: Path
) -> None:
    store.put("a/b", b"old")
    with (
        files_no_longer_than(1000),
        pytest.raises(
            Misconfigured, match=r"disk of the lake .* is full.*committed partitions are unchanged"
        ),
    ):
        store.put("a/b", b"x" * 5000)
    assert everything(tmp_path / "lake") == {"a/b": b"old"}


@pytest.mark.parametrize("place", ["lake", "lake/a", "lake/a/b"])
def test_a_path_that_cannot_be_written_is_named(tmp_path: Path, place: str) -> None:
    """The root, a folder inside it, or the object itself has the wrong kind."""
    wrong = tmp_path / place
    wrong.parent.mkdir(parents=True, exist_ok=True)
    wrong.mkdir() if place == "lake/a/b" else wrong.write_text("in the way")
    (wrong / "inside").mkdir() if wrong.is_dir() else None
    store = open_store(str(tmp_path / "lake"))
    with pytest.raises(Misconfigured, match=f"{tmp_path / 'lake'} cannot be used"):
        store.put("a/b", b"data")
    assert not [p for p in tmp_path.rglob("*") if p.suffix == ".tmp"]


@pytest.mark.parametrize("place", ["lake", "lake/a"])
def test_the_write_probe_reports_a_path_that_cannot_be_written(tmp_path: Path, place: str) -> None:
    """The path is a file, or a link to nothing or to itself."""
    wrong = tmp_path / place
    wrong.parent.mkdir(exist_ok=True)
    store = open_store(str(tmp_path / "lake"))
    for make in (wrong.touch, lambda: wrong.symlink_to("nowhere"), lambda: wrong.symlink_to(wrong.name)):
        make()
        with pytest.raises(Misconfigured, match=f"{tmp_path / 'lake'} cannot be used"):
            store.prove_writable("a/b")
        wrong.unlink()


def test_a_folder_of_temporary_files_that_cannot_be_written_is_found_out_before(tmp_path: Path) -> None:
    """Every put writes there first, so a reply that was paid for would be lost."""
    (tmp_path / TEMPORARY).parent.mkdir()
    (tmp_path / TEMPORARY).touch()
    with pytest.raises(Misconfigured, match="cannot be used"):
        open_store(str(tmp_path)).prove_writable("a/b")


def test_a_folder_of_another_file_system_is_found_out_before(tmp_path: Path) -> None:
    """A finished file is renamed into its folder, which works within one file system only."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("this machine has one file system only")
    with TemporaryDirectory(dir=memory) as elsewhere:
        (tmp_path / "a").symlink_to(elsewhere)
        store = open_store(str(tmp_path))
        store.prove_writable("other/b")
        with pytest.raises(Misconfigured, match=r"cannot be used \(Invalid cross-device link\)"):
            store.prove_writable("a/b")
        assert everything(tmp_path) == {}


@pytest.mark.parametrize("content", [[], [LAKE_FILE], [LAKE_FILE, "a/b"]])
def test_the_write_probe_leaves_no_trace(tmp_path: Path, content: list[str]) -> None:
    store = open_store(str(tmp_path / "new" / "lake"))
    for path in content:
        store.put(path, b"old")
    before = sorted(tmp_path.rglob("*"))
    store.prove_writable("a/b")
    assert sorted(tmp_path.rglob("*")) == before
    assert list(everything(tmp_path).values()) == [b"old"] * len(content)


def test_the_write_probe_reports_a_full_disk(store: Store) -> None:
    with files_no_longer_than(0), pytest.raises(Misconfigured, match="full"):
        store.prove_writable("a/b")


@pytest.mark.parametrize("call", ["get", "stat", "list", "delete", "prove_writable"])
def test_every_call_names_a_lake_that_is_a_file(tmp_path: Path, call: str) -> None:
    (tmp_path / "lake").write_text("in the way")
    store = open_store(str(tmp_path / "lake"))
    with pytest.raises(Misconfigured, match="cannot be used"):
        getattr(store, call)("a/b")
    with pytest.raises(Misconfigured, match="cannot be used"), store.lock(LOCK, max_wait=60):
        pass


def test_leftovers_of_a_killed_writer_are_removed_and_files_of_a_live_writer_are_kept(tmp_path: Path) -> None:
    """A live writer holds the lock beside its file. A lock without a file is removed, too."""
    folder = tmp_path / TEMPORARY
    folder.mkdir(parents=True)
    for name in ("dead.tmp", "dead.lock", "killed_before_its_lock.tmp", "killed_after_its_rename.lock"):
        (folder / name).write_bytes(b"half" if name.endswith("tmp") else b"")
    (folder / "live.tmp").write_bytes(b"half")
    with (folder / "live.lock").open("wb") as live:
        fcntl.flock(live, fcntl.LOCK_EX)
        open_store(str(tmp_path)).put("a/b", b"whole")
        assert sorted(everything(tmp_path)) == [f"{TEMPORARY}/live.lock", f"{TEMPORARY}/live.tmp", "a/b"]


def test_an_unfinished_file_never_lies_in_a_tables_folder(store: Store, tmp_path: Path) -> None:
    seen = []

    def write(path: Path) -> None:
        path.write_bytes(b"half")
        seen.extend(everything(tmp_path / "lake"))

    store.put_file("T/date=2026-11-20/T-2026-11-20.parquet", write)
    assert [name.startswith(f"{TEMPORARY}/") for name in seen] == [True, True]
    assert not [name for name in seen if name.endswith(".parquet")]


def test_a_lock_in_a_new_lake_leaves_no_trace_if_nothing_was_written(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "new" / "lake"))
    with store.lock(LOCK, max_wait=60):
        assert (tmp_path / "new" / "lake" / LOCK).exists()
    assert list(tmp_path.iterdir()) == []
    with store.lock(LOCK, max_wait=60):
        store.put(LAKE_FILE, b"{}")
    assert sorted(everything(tmp_path / "new" / "lake")) == [LAKE_FILE, LOCK]
    with store.lock(LOCK, max_wait=60):
        pass
    assert sorted(everything(tmp_path / "new" / "lake")) == [LAKE_FILE, LOCK]


def test_a_lock_is_acquired_while_other_runs_remove_the_folders_of_a_new_lake(
    store: Store, tmp_path: Path
) -> None:
    """The folders can go at any step: while they are created, or before the lock's file is opened."""
    ended = threading.Event()

    def remove() -> None:
        while not ended.is_set():
            for folder in ("lake/_hunting/locks", "lake/_hunting", "lake"):
                with suppress(OSError):
                    (tmp_path / folder).rmdir()
            time.sleep(0.001)  # still far more often than runs start

    thread = threading.Thread(target=remove)
    thread.start()
    try:
        for _ in range(300):
            with store.lock(LOCK, max_wait=60):
                assert (tmp_path / "lake" / LOCK).exists()
    finally:
        ended.set()
        thread.join()


HOLD = """
import sys
from hunting_pipeline.lake.stores import open_store
with open_store(sys.argv[1]).lock(sys.argv[2], max_wait=60):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_a_lock_is_shared_by_processes_and_waiting_for_it_is_reported(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The other process has written nothing. So it removes the lock's file while this process waits."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "lake"), LOCK]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdin is not None
    assert other.stdout.readline() == "held\n"
    leaves = threading.Timer(0.3, lambda: other.communicate("go\n"))
    leaves.start()
    begun = time.monotonic()
    with caplog.at_level(logging.WARNING), store.lock(LOCK, max_wait=60):
        assert time.monotonic() - begun > 0.2
        leaves.join()
        assert (tmp_path / "lake" / LOCK).exists()
    assert f"another run writes DeviceEvents into the lake {tmp_path / 'lake'}; waiting" in caplog.text
    assert other.returncode == 0


def test_a_wait_for_a_lock_ends_and_names_its_holder(store: Store, tmp_path: Path) -> None:
    other = open_store(str(tmp_path / "lake"))
    with other.lock(LOCK, max_wait=60):
        words = (
            rf"another run still writes DeviceEvents into the lake {tmp_path / 'lake'} after 0 seconds"
            rf" \(process {os.getpid()} of {getpass.getuser()} on {socket.gethostname()}, since 20\d\d-.*\)"
            r"\. No file was replaced\. Run again when that run has ended"
        )
        with pytest.raises(LakeBusy, match=words), store.lock(LOCK, max_wait=0.2):
            pass
    with store.lock(LOCK, max_wait=0):
        pass


def test_a_link_in_the_place_of_a_lock_is_named_and_not_followed(store: Store, tmp_path: Path) -> None:
    store.put(LAKE_FILE, b"{}", expected=ABSENT)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    link = tmp_path / "lake" / LOCK
    link.symlink_to(victim)
    with (
        pytest.raises(
            Misconfigured, match=rf"{link}: it is a symbolic link.*Change lake, or the permissions"
        ),
        store.lock(LOCK, max_wait=60),
    ):
        pass
    assert victim.read_text() == "precious"


@pytest.mark.parametrize(
    ("lake", "lock"), [(0o755, 0o600), (0o700, 0o600), (0o2770, 0o660), (0o2775, 0o660), (0o777, 0o666)]
)
def test_only_those_who_may_write_a_lake_may_hold_its_locks(tmp_path: Path, lake: int, lock: int) -> None:
    root = tmp_path / "lake"
    root.mkdir()
    root.chmod(lake)
    store = open_store(str(root))
    with store.lock(LOCK, max_wait=60):
        assert stat.S_IMODE((root / LOCK).stat().st_mode) == lock


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become two other users")
def test_two_users_of_one_group_share_a_lake_and_a_third_user_is_refused_by_name() -> None:
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parent / "lake_users.py")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("mount", "program"),
    [
        ("s3fs {} fuse.s3fs rw,nosuid,nodev 0 0", "s3fs"),
        ("mountpoint-s3 {} fuse rw,nosuid,nodev 0 0", "mountpoint-s3"),
        ("bucket {} fuse.gcsfuse rw 0 0", "gcsfuse"),
        ("blobfuse2 {} fuse rw 0 0", "blobfuse2"),
        ("remote:bucket {} fuse.rclone rw 0 0", "rclone"),
        ("goofys#bucket {} fuse rw 0 0", "goofys"),
        ("user@host: {} fuse.sshfs rw 0 0", None),
        ("server:/export {} nfs4 rw 0 0", None),
        ("s3fs {}/elsewhere fuse.s3fs rw 0 0", None),
        ("s3fs {} fuse.s3fs rw 0 0\n/dev/sdb1 {}/lake ext4 rw 0 0", None),
        ("/dev/sdb1 {} ext4 rw 0 0\ns3fs {} fuse.s3fs rw 0 0", "s3fs"),
    ],
)
def test_the_program_of_a_mounted_object_store_is_found(mount: str, program: str | None) -> None:
    text = "/dev/sda1 / ext4 rw 0 0\n" + mount.replace("{}", "/mnt/a\\040bucket") + "\n"
    assert object_store_at(Path("/mnt/a bucket/lake"), text) == program


def test_a_mounted_object_store_is_refused_by_name_for_writes_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_store(str(tmp_path)).put("a/b", b"old")
    listed = tmp_path / "mounts"
    listed.write_text(f"s3fs {tmp_path} fuse.s3fs rw 0 0\n")
    monkeypatch.setattr(mounts, "MOUNTS", listed)
    store = open_store(str(tmp_path))
    words = rf"{tmp_path} is an object store that s3fs mounts.*No data was written.* Set lake to a folder"
    for write in (
        lambda: store.put("a/b", b"new"),
        lambda: store.prove_writable("a/b"),
        lambda: store.lock(LOCK, max_wait=1).__enter__(),
    ):
        with pytest.raises(Misconfigured, match=words):
            write()
    assert store.get("a/b") == b"old"


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_folder_without_locks_is_named_and_nothing_is_written(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """As on a network share without locks; `flock` is the system's answer there."""

    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with (
        pytest.raises(Misconfigured, match=rf"{tmp_path / 'lake'} cannot be used \({os.strerror(code)}\)"),
        store.lock(LOCK, max_wait=60),
    ):
        store.put("a/b", b"x")
    assert store.get("a/b") is None


WITHOUT_FCNTL = """
import sys
sys.modules["fcntl"] = None
sys.path[:0] = sys.argv[2:]
from pathlib import Path
import hunting_pipeline
from hunting_pipeline.lake import read
from hunting_pipeline.lake.layout import lock_path
from lake_workshop import EVENTS, NOON, Workshop, day, load_all, text
shop = Workshop(Path(sys.argv[1]))
with shop.store.lock(lock_path(EVENTS.name), max_wait=60):
    shop.land([NOON], columns={"A": text("x")})
    shop.land([NOON, NOON + 1], columns={"A": text("x", "y")})
rows = read.frame(shop.store, EVENTS.name)
print([m.proof.rows for m in load_all(shop.store, EVENTS.name)], rows["A"].tolist())
"""


def test_a_lake_is_written_and_read_where_fcntl_does_not_exist(tmp_path: Path) -> None:
    """Windows has no `fcntl`."""
    here = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_FCNTL, str(tmp_path), str(here), str(here.parent)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "[2] ['x', 'y']\n"), done.stderr
    assert not [name for name in everything(tmp_path) if name.startswith(TEMPORARY)]


def test_a_lake_is_written_where_folders_cannot_be_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows cannot open a folder."""
    os_open = os.open

    def open_file(path: str | Path, *arguments: int, **more: int) -> int:
        if Path(path).is_dir():
            raise PermissionError(errno.EACCES, "a folder", str(path))
        return os_open(path, *arguments, **more)

    monkeypatch.delattr(os, "O_DIRECTORY")
    monkeypatch.setattr(os, "open", open_file)
    shop = Workshop(tmp_path)
    shop.commit(shop.stage(reply([NOON]), day().window))
    assert pq.read_metadata(shop.file()).num_rows == 1
