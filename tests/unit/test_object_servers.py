"""The test servers keep the promises that tests of the lake rely on, and end with the test run."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from threading import Barrier
from typing import Any
from urllib.parse import urlsplit

import httpx
import obstore
import pytest
from object_servers import Break, Bucket, Proxy, Rule, answer, watch
from obstore.exceptions import AlreadyExistsError, BaseError, GenericError, PreconditionError
from obstore.store import GCSStore

pytestmark = pytest.mark.skipif(
    not os.environ.get("HUNTING_LONG"), reason="tests of the test servers themselves: set HUNTING_LONG"
)

SAFE = ("seaweedfs", "moto", "azurite", "gcs")
"""Servers that keep conditional puts."""
WATCHED = ("seaweedfs", "azurite", "gcs")
RACERS = 12


def _mode(store: Any, key: str) -> dict[str, str]:
    """Return the condition of a put that replaces the present object."""
    present = obstore.head(store, key)
    if isinstance(store, GCSStore):
        return {"version": str(present["version"])}
    return {"e_tag": str(present["e_tag"])}


def _race(contend: Callable[[int], bool]) -> list[bool]:
    """Run all racers at the same time. Return who won."""
    barrier = Barrier(RACERS)

    def run(number: int) -> bool:
        barrier.wait()
        return contend(number)

    with ThreadPoolExecutor(RACERS) as pool:
        return list(pool.map(run, range(RACERS)))


def _create_won(store: Any, number: int) -> bool:
    try:
        obstore.put(store, "key", str(number).encode(), mode="create")
    except AlreadyExistsError:
        return False
    return True


def _append(store: Any, number: int) -> bool:
    """Append a line to an object by compare-and-swap. Try again until it works."""
    while True:
        mode = _mode(store, "lines")
        condition = {"version": mode["version"]} if "version" in mode else {"if_match": mode["e_tag"]}
        try:
            data = bytes(obstore.get(store, "lines", options=condition).bytes())  # type: ignore[arg-type]
            obstore.put(store, "lines", data + f"{number}\n".encode(), mode=mode)  # type: ignore[arg-type]
        except (PreconditionError, FileNotFoundError):
            continue
        return True


@pytest.mark.parametrize("bucket", SAFE, indirect=True)
def test_of_many_creators_one_wins(bucket: Bucket) -> None:
    store = bucket.store
    won = _race(lambda number: _create_won(store, number))
    assert won.count(True) == 1
    assert bucket.read("key") == str(won.index(True)).encode()


@pytest.mark.parametrize("bucket", SAFE, indirect=True)
def test_no_conditional_update_is_lost(bucket: Bucket) -> None:
    store = bucket.store
    bucket.write("lines", b"")
    _race(lambda number: _append(store, number))
    assert sorted(bucket.read("lines").split()) == sorted(str(n).encode() for n in range(RACERS))


def test_rclone_ignores_conditions(rclone: Bucket) -> None:
    store = rclone.store
    assert _create_won(store, 1)
    assert _create_won(store, 2), "rclone keeps conditions now: it is no longer a store to be refused"
    obstore.put(store, "key", b"3", mode={"e_tag": '"another version"'})
    assert rclone.read("key") == b"3"


@pytest.mark.parametrize("bucket", [*SAFE, "rclone"], indirect=True)
def test_a_bucket_is_new_and_its_helpers_work(bucket: Bucket) -> None:
    assert bucket.objects() == []
    bucket.write("a/b c+d.txt", b"1")
    bucket.write("a/e", b"2")
    assert bucket.objects() == bucket.objects("a") == ["a/b c+d.txt", "a/e"]
    bucket.remove("a/e")
    assert [(key, bucket.read(key)) for key in bucket.objects()] == [("a/b c+d.txt", b"1")]
    assert bucket.env.items() <= os.environ.items()


@pytest.mark.parametrize("bucket", ["seaweedfs", "azurite", "moto"], indirect=True)
def test_a_missing_bucket_is_not_created(bucket: Bucket) -> None:
    with pytest.raises(FileNotFoundError):
        replace(bucket, name="missing").write("key", b"1")


# The stand-in for GCS


def _gcs_store(bucket: Bucket, **options: Any) -> GCSStore:
    """Return a store that signs in with the service account of the environment."""
    return GCSStore(bucket.name, base_url=bucket.endpoint, client_options={"allow_http": True}, **options)


def test_gcs_keeps_generations(gcs: Bucket) -> None:
    store = _gcs_store(gcs)
    first = obstore.put(store, "key", b"1", mode="create")
    with pytest.raises(AlreadyExistsError):
        obstore.put(store, "key", b"2", mode="create")
    second = obstore.put(store, "key", b"2", mode={"version": first["version"]})
    with pytest.raises(PreconditionError):
        obstore.put(store, "key", b"3", mode={"version": first["version"]})
    with pytest.raises(PreconditionError):
        obstore.put(store, "missing", b"3", mode={"version": first["version"]})
    assert first["e_tag"] != second["e_tag"]
    assert obstore.head(store, "key")["version"] == second["version"]
    with pytest.raises(PreconditionError):
        obstore.get(store, "key", options={"if_match": first["e_tag"]})
    assert obstore.get(store, "key", options={"if_match": second["e_tag"]}).bytes() == b"2"


def test_gcs_reads_ranges_and_refuses_a_request_without_credential(gcs: Bucket) -> None:
    gcs.write("key", b"0123456789")
    assert obstore.get_range(gcs.store, "key", start=2, end=5) == b"234"
    assert obstore.get(gcs.store, "key", options={"range": {"suffix": 3}}).bytes() == b"789"
    assert obstore.get(gcs.store, "key", options={"range": {"offset": 8}}).bytes() == b"89"
    assert httpx.get(f"{gcs.endpoint}/{gcs.name}/lake/key").status_code == 403


def test_gcs_lists_in_pages(gcs: Bucket) -> None:
    keys = sorted([f"a/{n:04}" for n in range(1500)] + [f"b{n:04}/x" for n in range(1500)] + ["c&d"])
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda key: gcs.write(key, b"1"), keys))
    assert gcs.objects() == keys
    page = obstore.list(gcs.store, offset="b1498/x").collect()
    assert [entry["path"] for entry in page] == ["b1499/x", "c&d"]
    top = obstore.list_with_delimiter(gcs.store)
    assert list(top["common_prefixes"]) == ["a", *(f"b{n:04}" for n in range(1500))]
    assert [entry["path"] for entry in top["objects"]] == ["c&d"]


def test_gcs_takes_a_signed_put_without_precondition_only(gcs: Bucket) -> None:
    url = obstore.sign(_gcs_store(gcs, prefix="lake"), "PUT", "signed", timedelta(minutes=1))
    assert httpx.put(url, content=b"1").status_code == 200
    assert gcs.read("signed") == b"1"
    assert httpx.put(url, content=b"2", headers={"x-goog-if-generation-match": "0"}).status_code == 400
    with pytest.raises(FileNotFoundError):
        obstore.head(gcs.store, "missing")


# The proxy


@pytest.fixture
def watched(bucket: Bucket) -> Iterator[tuple[Bucket, Any, Proxy]]:
    """Yield a bucket, its store behind a proxy, and the proxy."""
    with watch(bucket) as (behind, proxy):
        yield bucket, replace(behind, server=behind.endpoint).store, proxy


@pytest.mark.parametrize("bucket", WATCHED, indirect=True)
def test_the_proxy_counts(watched: tuple[Bucket, Any, Proxy]) -> None:
    _, store, proxy = watched
    obstore.put(store, "key", b"x" * 1000, use_multipart=False)
    obstore.head(store, "key")
    assert len(obstore.get(store, "key").bytes()) == 1000
    assert len(obstore.list(store).collect()) == 1
    obstore.delete(store, "key")
    assert proxy.counts() == {"PUT": 1, "HEAD": 1, "GET": 1, "LIST": 1, "DELETE": 1}
    assert proxy.count("GET", "LIST") == 2
    assert [(one.kind, one.sent, one.received) for one in proxy.seen[:3]] == [
        *(("PUT", 1000, 0), ("HEAD", 0, 0), ("GET", 0, 1000)),
    ]
    assert all(one.path.endswith("/lake/key") for one in proxy.seen[:3])
    proxy.clear()
    assert proxy.count() == 0


@pytest.mark.parametrize("bucket", WATCHED, indirect=True)
@pytest.mark.parametrize(
    ("fault", "written"), [(Break.REQUEST, False), (Break.ANSWER, True), (Break.UNSURE, True)]
)
def test_a_broken_put(watched: tuple[Bucket, Any, Proxy], fault: Break, written: bool) -> None:
    bucket, store, proxy = watched
    proxy.rules.append(Rule(lambda request: request.kind == "PUT", fault))
    with pytest.raises(AlreadyExistsError if fault is Break.UNSURE else GenericError):
        obstore.put(store, "key", b"x" * 1_000_000, mode="create")
    assert bucket.objects() == ["key"] * written
    assert not written or bucket.read("key") == b"x" * 1_000_000
    obstore.put(store, "key", b"2", use_multipart=False)
    assert bucket.read("key") == b"2", "the rule was used up"


@pytest.mark.parametrize("bucket", WATCHED, indirect=True)
def test_a_get_that_is_cut_short(watched: tuple[Bucket, Any, Proxy]) -> None:
    bucket, store, proxy = watched
    bucket.write("key", b"x" * 1_000_000)
    proxy.rules.append(Rule(lambda request: request.kind == "GET", Break.BODY, times=2))
    assert len(obstore.get(store, "key").bytes()) == 1_000_000
    assert proxy.count("GET") == 3, "obstore asks for the rest"
    proxy.rules.append(Rule(lambda request: request.kind == "LIST", Break.BODY))
    with pytest.raises(GenericError):
        obstore.list(store).collect()


@pytest.mark.parametrize("bucket", WATCHED, indirect=True)
@pytest.mark.parametrize("fault", ["expired", "skewed", "forbidden", "busy"])
def test_answers_of_the_proxy(watched: tuple[Bucket, Any, Proxy], fault: str) -> None:
    bucket, store, proxy = watched
    refusal = answer(bucket, fault)
    proxy.rules.append(Rule(lambda request: request.path.endswith("/key"), refusal, times=2))
    if fault == "busy":
        obstore.put(store, "key", b"1", mode="create")
        assert [one.status // 100 for one in proxy.seen] == [5, 5, 2], "obstore tries again"
        return
    for _ in range(2):
        with pytest.raises(BaseError, match=refusal.code):
            obstore.put(store, "key", b"1", mode="create")
    assert bucket.objects() == []
    obstore.put(store, "key", b"1", mode="create")


# The life of the servers

INNER = """
import time
from pathlib import Path

import pytest


@pytest.mark.parametrize("number", range(2))
def test_one(s3, moto, number):
    Path("endpoint-{}-{}".format(FILE, number)).write_text(s3.server + " " + moto.server)
    while {waits} and not Path("never").exists():
        time.sleep(0.1)
"""


def _inner_run(folder: Path, *arguments: str, waits: bool) -> "subprocess.Popen[bytes]":
    """Start a separate test run with two files of two tests."""
    for name in ("first", "second"):
        text = INNER.replace("{waits}", str(waits)).replace("FILE", repr(name))
        (folder / f"test_{name}.py").write_text(text)
    tests = str(Path(__file__).parents[1])
    command = [*(sys.executable, "-m", "pytest", "-p", "object_servers.fixtures"), *arguments]
    return subprocess.Popen(
        [*command, f"--basetemp={folder}/base", str(folder)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": tests, "TMPDIR": str(folder)},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )


def _endpoints(folder: Path) -> list[str]:
    return [file.read_text() for file in folder.glob("endpoint-*") if file.stat().st_size]


def _wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _ended(folder: Path) -> bool:
    """Check that no server answers and that nothing of them is left on disk."""
    for endpoint in " ".join(_endpoints(folder)).split():
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", int(urlsplit(endpoint).port or 0))) == 0:
                return False
    return not list(folder.glob("object-servers-*"))


def test_workers_share_servers_that_end_with_the_run(tmp_path: Path) -> None:
    run = _inner_run(tmp_path, "-n", "2", "--dist", "loadfile", waits=False)
    assert run.wait(120) == 0
    assert len(_endpoints(tmp_path)) == 4
    assert len(set(_endpoints(tmp_path))) == 1
    _wait_until(lambda: _ended(tmp_path))


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_servers_end_with_an_interrupted_run(tmp_path: Path, how: signal.Signals) -> None:
    run = _inner_run(tmp_path, waits=True)
    try:
        _wait_until(lambda: run.poll() is not None or bool(_endpoints(tmp_path)))
        assert _endpoints(tmp_path)
        assert not _ended(tmp_path)
    finally:
        run.send_signal(how)
    run.wait(60)
    _wait_until(lambda: _ended(tmp_path))
