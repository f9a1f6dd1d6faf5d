"""Object stores: every fault of a store or of the network is repaired, or it is an error with a remedy."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import obstore
import pytest
from lake_workshop import EVENTS, MIDNIGHT, Workshop, files_no_longer_than, text
from object_servers import Break, Bucket, Rule, answer, watch

from hunting_pipeline.errors import CommitRefused, HuntingError, Misconfigured, ServiceFailed
from hunting_pipeline.lake.archive import load_archive
from hunting_pipeline.lake.stores import ABSENT, ANY, Conflict, Expected, Store, open_store
from hunting_pipeline.lake.stores.objects import ObjectStore
from hunting_pipeline.lake.stores.s3 import S3
from hunting_pipeline.model import DAY, HOUR, Grain, Window
from hunting_pipeline.settings import Settings
from hunting_pipeline.window import partitions_in

BIG_CLOUDS = pytest.mark.parametrize("bucket", ["seaweedfs", "azurite"], indirect=True)
EVERY = pytest.mark.parametrize("bucket", ["seaweedfs", "azurite", "gcs"], indirect=True)
SECRETS = ("AWS_SECRET_ACCESS_KEY", "AZURE_STORAGE_ACCOUNT_KEY")


def store_in(bucket: Bucket) -> Store:
    settings = Settings(**bucket.settings)
    return open_store(settings.lake, settings.store_options)


def wrote(data: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(data)

    return write


# faults that are repaired


@EVERY
@pytest.mark.parametrize("fault", ["busy", Break.ANSWER, Break.UNSURE, Break.REQUEST])
@pytest.mark.parametrize("expected", ["absent", "version", "any"])
def test_a_put_that_fails_once_is_repeated_and_its_version_is_that_of_the_object(
    bucket: Bucket, fault: Any, expected: str
) -> None:
    """The answer to a put that succeeded may be lost. Its repetition is then refused by its own condition."""
    with watch(bucket) as (near, proxy):
        store = store_in(near)
        present: Expected = {"absent": ABSENT, "version": "", "any": ANY}[expected]
        if expected == "version":
            present = store.put("a/b", b"old")
        what = as_fault(near, fault)
        proxy.rules.append(Rule(lambda request: request.kind == "PUT", what))
        version = store.put_file("a/b", wrote(b"new"), expected=present)
        assert not proxy.rules[0].times
        assert bucket.read("a/b") == b"new"
        found = store.stat("a/b")
        assert found is not None
        assert found.version == version


@EVERY
@pytest.mark.parametrize("fault", ["busy", Break.ANSWER, Break.BODY])
def test_a_read_that_fails_once_is_repeated(bucket: Bucket, fault: Any) -> None:
    data = os.urandom(300_000)
    with watch(bucket) as (near, proxy):
        store = store_in(near)
        version = store.put("a/b", data)
        what = as_fault(near, fault)
        for read in (
            lambda: store.get("a/b"),
            lambda: read_local(store, version),
            lambda: store.filesystem.open_input_file("a/b").read(),
        ):
            proxy.rules[:] = [Rule(lambda request: request.kind == "GET", what)]
            assert read() == data
            assert not proxy.rules[0].times


@EVERY
@pytest.mark.parametrize("fault", ["busy", Break.ANSWER, Break.BODY])
def test_a_list_that_fails_once_is_repeated(bucket: Bucket, fault: Any) -> None:
    with watch(bucket) as (near, proxy):
        store = store_in(near)
        store.put("a/b", b"1")
        proxy.rules.append(Rule(lambda request: request.kind == "LIST", as_fault(near, fault), times=2))
        assert [one.path for one in store.list("a")] == ["a/b"]
        assert store.folders("") == ["a"]


def as_fault(bucket: Bucket, fault: Any) -> Any:
    return answer(bucket, fault) if isinstance(fault, str) else fault


def read_local(store: Store, version: str) -> bytes:
    with store.local_file("a/b", version=version) as path:
        return path.read_bytes()


# errors


@BIG_CLOUDS
@pytest.mark.parametrize(
    ("kind", "call", "rights"),
    [
        ("GET", lambda store: store.get("a/b"), ("s3:GetObject", "Storage Blob Data Reader")),
        ("LIST", lambda store: store.list("a"), ("s3:ListBucket", "Storage Blob Data Reader")),
        ("PUT", lambda store: store.put("a/c", b"1"), ("s3:PutObject", "Storage Blob Data Contributor")),
        ("PUT", lambda store: store.prove_writable(""), ("s3:PutObject", "Storage Blob Data Contributor")),
        ("", lambda store: store.prove_writable(""), ("s3:PutObject", "Storage Blob Data Contributor")),
        ("DELETE", lambda store: store.delete("a/b"), ("s3:DeleteObject", "Storage Blob Data Contributor")),
    ],
)
def test_a_missing_right_is_named(
    bucket: Bucket, kind: str, call: Callable[[Store], object], rights: tuple[str, str]
) -> None:
    with watch(bucket) as (near, proxy):
        store = store_in(near)
        store.put("a/b", b"1")
        proxy.rules.append(
            Rule(lambda request: kind in ("", request.kind), answer(near, "forbidden"), times=99)
        )
        with pytest.raises(Misconfigured, match=rights[bucket.kind == "azurite"]) as caught:
            call(store)
        assert no_secret_in(str(caught.value))


@BIG_CLOUDS
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("expired", ("credentials have expired.*Renew", "no valid credentials")),
        ("skewed", ("clock of this machine is wrong", "no valid credentials")),
    ],
)
def test_an_expired_credential_and_a_wrong_clock_are_named(
    bucket: Bucket, fault: str, words: tuple[str, str]
) -> None:
    """Azure has one answer for both, and its text says more."""
    with watch(bucket) as (near, proxy):
        store = store_in(near)
        proxy.rules.append(Rule(lambda request: True, answer(near, fault), times=99))
        for call in (
            lambda: store.get("a/b"),
            lambda: store.stat("a/b"),
            lambda: store.put("a/b", b"1"),
            lambda: store.list("a"),
        ):
            with pytest.raises(Misconfigured, match=words[bucket.kind == "azurite"]):
                call()


@pytest.mark.parametrize("bucket", ["seaweedfs", "azurite", "gcs"], indirect=True)
def test_a_bucket_that_does_not_exist_is_named(bucket: Bucket) -> None:
    store = store_in(replace(bucket, name="there-is-no-such"))
    for call in (lambda: store.get("a/b"), lambda: store.list("a"), lambda: store.prove_writable("")):
        with pytest.raises(Misconfigured, match=r"(bucket|container) does not exist.*Create the"):
            call()


@BIG_CLOUDS
def test_wrong_credentials_are_named_and_not_shown(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SECRETS:
        monkeypatch.setenv(name, "aHVzaC1odXNoLWh1c2gtaHVzaA==")
    store = store_in(bucket)
    for call in (lambda: store.get("a/b"), lambda: store.list("a"), lambda: store.put("a/b", b"")):
        with pytest.raises(Misconfigured, match="has no valid credentials") as caught:
            call()
        assert "aHVzaC1" not in str(caught.value)


def no_secret_in(text: str) -> bool:
    return not any(os.environ.get(name, "?") in text for name in SECRETS) and "sig=" not in text


def test_missing_credentials_are_named(s3: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(Misconfigured, match=r"no valid credentials \(none were found\).*lake_profile"):
        store_in(s3)
    with pytest.raises(Misconfigured, match=r"config profile \(prod\) could not be found"):
        store_in_with(s3, lake_profile="prod")


def store_in_with(bucket: Bucket, **changes: Any) -> Store:
    settings = Settings(**bucket.settings | changes)
    return open_store(settings.lake, settings.store_options)


def test_a_profile_of_the_aws_files_signs_in(
    s3: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lines = ["[hunter]"] + [f"{name.lower()} = {value}" for name, value in s3.env.items()]
    (tmp_path / "credentials").write_text("\n".join(lines))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    for name in s3.env:
        monkeypatch.delenv(name)
    store = store_in_with(s3, lake_profile="hunter")
    store.put("a/b", b"1")
    assert s3.read("a/b") == b"1"


@pytest.mark.slow
def test_a_store_that_does_not_answer_is_an_outage(s3: Bucket) -> None:
    """Dagster retries an outage, and a command ends with exit code 5."""
    store = store_in(replace(s3, endpoint="http://127.0.0.1:1"))
    with pytest.raises(ServiceFailed, match=r"S3 did not serve the lake .*Run again") as caught:
        store.get("a/b")
    assert caught.value.everything


@pytest.mark.parametrize(
    "changes",
    [
        {"lake_ca_bundle": Path("/nowhere.pem")},
        {"lake_ca_bundle": Path(__file__)},
        {"lake": "s3://bucket/a//b"},
    ],
)
def test_an_option_that_is_not_valid_is_an_error(s3: Bucket, changes: dict[str, Any]) -> None:
    with pytest.raises(Misconfigured, match="No request was sent and no data was written"):
        store_in_with(s3, **changes)


def test_a_store_that_ignores_conditions_is_refused_by_name_before_anything_else_is_written(
    rclone: Bucket,
) -> None:
    store = store_in(rclone)
    with pytest.raises(Misconfigured, match=r"s3://.* ignores the conditions If-Match") as caught:
        store.prove_writable("a/b")
    assert "Set lake to a store with conditional writes" in str(caught.value)
    assert rclone.objects() == []


@EVERY
def test_the_probe_of_a_store_leaves_nothing_behind_and_is_sent_once(bucket: Bucket) -> None:
    with watch(bucket) as (near, proxy):
        store = store_in(near)
        store.prove_writable("a/b")
        assert bucket.objects() == []
        before = proxy.count()
        store.prove_writable("a/c")
        assert proxy.count() == before


# versions


@EVERY
def test_a_file_that_is_replaced_while_it_is_read_is_an_error_and_never_a_mixture(bucket: Bucket) -> None:
    store = store_in(bucket)
    version = store.put("a/b", b"old" * 1000)
    with store.filesystem.open_input_file("a/b") as file:
        assert file.read(3) == b"old"
        store.put("a/b", b"new" * 1000)
        with pytest.raises(Conflict, match="another run replaced or removed a/b while this run read it"):
            file.read()
    with pytest.raises(Conflict), store.local_file("a/b", version=version):
        pass
    store.delete("a/b")
    with pytest.raises(Conflict), store.local_file("a/b", version=version):
        pass


@EVERY
def test_objects_of_a_known_version_are_fetched_once(bucket: Bucket) -> None:
    with watch(bucket) as (near, proxy):
        for key, data in (("m/1", b"one"), ("m/2", b"two"), ("n/3", b"three")):
            bucket.write(key, data)
        for gets in (2, 0):
            store, before = store_in(near), proxy.count("GET")
            assert store.get_all(store.list("m")) == {"m/1": b"one", "m/2": b"two"}
            assert proxy.count("GET") - before == gets
        bucket.write("m/2", b"2")
        store, before = store_in(near), proxy.count("GET")
        assert store.get_all(store.list("m")) == {"m/1": b"one", "m/2": b"2"}
        assert proxy.count("GET") - before == 1


def test_a_damaged_cache_is_replaced_and_only_its_user_can_read_it(
    s3: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    s3.write("m/1", b"one")
    store = store_in(s3)
    entries = store.list("m")
    assert store.get_all(entries) == {"m/1": b"one"}
    (cache,) = tmp_path.glob("hunting-pipeline/objects/*.sqlite")
    assert cache.stat().st_mode & 0o077 == 0
    cache.write_bytes(b"no database" * 1000)
    assert store_in(s3).get_all(entries) == {"m/1": b"one"}
    assert store_in(s3).get_all(entries) == {"m/1": b"one"}
    assert b"no database" not in cache.read_bytes()


@EVERY
def test_a_range_of_a_list_needs_one_page(bucket: Bucket) -> None:
    with watch(bucket) as (near, proxy):
        store = store_in(near)
        for number in range(40):
            store.put(f"T/date=2026-11-{number:02}/x", b"")
        store.put("T/date=2026-11-07/a", b"")
        before = proxy.count("LIST")
        found = store.list("T", start="T/date=2026-11-07", end="T/date=2026-11-09")
        assert [one.path for one in found] == [
            "T/date=2026-11-07/a",
            "T/date=2026-11-07/x",
            "T/date=2026-11-08/x",
        ]
        assert proxy.count("LIST") - before == 1
        assert store.folders("T") == [f"date=2026-11-{number:02}" for number in range(40)]
        assert proxy.count("LIST") - before == 2


# this machine


def test_a_full_disk_of_this_machine_is_named_and_the_old_object_stays(s3: Bucket) -> None:
    store = store_in(s3)
    store.put("a/b", b"old")
    with files_no_longer_than(1000), pytest.raises(Misconfigured, match=r"temporary files .*set TMPDIR"):
        store.put_file("a/b", wrote(b"x" * 5000))
    assert s3.read("a/b") == b"old"
    assert s3.objects() == ["a/b"]


def test_a_file_that_is_too_large_for_the_store_is_refused_and_a_large_one_is_a_warning(
    s3: Bucket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    opened = store_in(s3)
    assert isinstance(opened, ObjectStore)
    small = ObjectStore(opened._client, s3.url, replace(S3, largest=10))
    with pytest.raises(CommitRefused, match=r"takes at most .*The archive is unchanged.*grain: hour"):
        small.put_file("a/b", wrote(b"x" * 11))
    assert s3.objects() == []
    monkeypatch.setattr("hunting_pipeline.lake.stores.objects._LARGE", 10)
    opened.put_file("a/b", wrote(b"x" * 11))
    assert "grain: hour" in caplog.text


MEMORY = """
import sys
from pathlib import Path
from hunting_pipeline.lake.archive import load_archive
from hunting_pipeline.lake.stores import ABSENT, StoreOptions, open_store

def private():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))

def write(path):
    with path.open("wb") as file:
        for _ in range(200):
            file.write(bytes(1 << 20))

store = open_store(sys.argv[1], StoreOptions(endpoint=sys.argv[2], path_style=True))
store.put("small", b"1")
before = most = private()
import threading, time
def watch():
    global most
    while True:
        most = max(most, private())
        time.sleep(0.01)
threading.Thread(target=watch, daemon=True).start()
version = store.put_file("large", write, expected=ABSENT)
with store.local_file("large", version=version) as path:
    assert path.stat().st_size == 200 << 20
print((most - before) >> 10)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux only")
def test_a_large_file_does_not_need_its_size_in_memory(s3: Bucket) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, s3.url, s3.endpoint], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 100, "megabytes, for a file of 200"


def test_every_error_of_a_store_is_one_of_this_package(s3: Bucket) -> None:
    """An unknown error of the client is an outage, never a traceback."""
    errors = [value for value in vars(obstore.exceptions).values() if isinstance(value, type)]
    assert len(errors) > 5
    store = store_in(s3)
    assert isinstance(store, ObjectStore)
    for error in errors:
        with pytest.raises((HuntingError, *CONDITIONS)), store._explaining("get"):
            raise error("text")


CONDITIONS = (obstore.exceptions.AlreadyExistsError, obstore.exceptions.PreconditionError)


@BIG_CLOUDS
def test_what_is_asked_is_listed_and_fetched_once(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What other partitions the table has costs nothing, and without changes no object is fetched."""
    shop = Workshop(tmp_path, spec=replace(EVENTS, grain=Grain.HOUR))
    hours = partitions_in(shop.spec, Window(MIDNIGHT - 20 * HOUR, MIDNIGHT + 4 * HOUR))
    far = partitions_in(shop.spec, Window(MIDNIGHT + 90 * DAY, MIDNIGHT + 90 * DAY + 3 * HOUR))
    with watch(bucket) as (near, proxy):
        shop.store = store_in(near)
        for hour in (*hours, *far):
            shop.land([hour.window.start], hour.window, {"A": text("x")}, partition=hour)
        for gets in (0, len(hours) + 1, 0):  # this machine has the manifests that it wrote
            if gets:
                monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "of another machine"))
            proxy.clear()
            archive = load_archive(store_in(near), EVENTS.name, hours)
            assert list(archive.manifests) == list(hours)
            assert (proxy.count("GET"), proxy.count("LIST")) == (gets, 2)
        shop.land([hours[3].window.start] * 2, hours[3].window, {"A": text("x", "y")}, partition=hours[3])
        proxy.clear()
        archive = load_archive(store_in(near), EVENTS.name, hours)
        assert archive.manifests[hours[3]].proof.rows == 2
        assert proxy.count("GET") == 1
