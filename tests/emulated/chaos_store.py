"""The stores of chaos runs: a folder or a bucket, its faults, and stores that die or share no lock."""

import copy
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from chaos_case import Death, StoreFault
from object_servers import Break, Bucket, Proxy, Request, Rule, answer

from hunting_pipeline.lake.layout import OWN_FOLDER
from hunting_pipeline.lake.stores import ANY, Expected, Store
from hunting_pipeline.lake.stores.local import LocalStore

if TYPE_CHECKING:
    Base = LocalStore
else:
    Base = object


class Killed(Exception):
    """The run ends at this step."""


class Dying(Base):
    """A store that fails from the n-th put on: before the put, in its middle, or right after it."""

    left: int
    moment: str

    def put(self, path: str, data: bytes, *, expected: Expected = ANY) -> str:
        return self.put_file(path, lambda file: void(file.write_bytes(data)), expected=expected)

    def put_file(self, path: str, write: Callable[[Path], None], *, expected: Expected = ANY) -> str:
        self.left -= 1
        if self.left < 0 or (self.left == 0 and self.moment == "before"):
            raise Killed(f"before {path}")

        def write_and_die(temporary: Path) -> None:
            write(temporary)
            if self.left == 0 and self.moment == "inside":
                raise Killed(f"inside {path}")

        version = super().put_file(path, write_and_die, expected=expected)
        if self.left == 0 and self.moment == "after":
            raise Killed(f"after {path}")
        return version

    def delete(self, path: str) -> None:
        if self.left <= 0:
            raise Killed(f"before {path} is deleted")
        super().delete(path)


class Lockless(Base):
    """A folder whose table locks are not shared with any other store. Object stores have no locks."""

    @contextmanager
    def lock(self, path: str, *, max_wait: float) -> Iterator[None]:
        if path.startswith(f"{OWN_FOLDER}/locks/files"):
            with super().lock(path, max_wait=max_wait):
                yield
        else:
            yield


def void(_: object) -> None:
    """Drop a result."""


def dying(store: Store, death: Death) -> Store:
    """Return a copy of a store that dies."""
    changed = _changed(store, Dying)
    changed.left, changed.moment = death.at, death.moment
    return changed


def lockless(store: Store) -> Store:
    """Return a copy of a store whose locks nobody shares."""
    return _changed(store, Lockless) if isinstance(store, LocalStore) else store


def _changed(store: Store, kind: type) -> Any:
    changed = copy.copy(store)
    changed.__class__ = type(kind.__name__, (kind, type(store)), {})
    return changed


class Ground(Protocol):
    """The place of a lake, as the judge sees it.

    Attributes:
        settings: the settings of the lake for runs, which meet the faults of the store.
        direct: the settings of the lake without faults.
    """

    settings: dict[str, Any]
    direct: dict[str, Any]

    def paths(self) -> Sequence[str]:
        """Return the paths of all objects, sorted."""

    def read(self, key: str) -> bytes:
        """Return the content of an object."""

    def write(self, key: str, data: bytes) -> None:
        """Replace an object."""


class Folder:
    """A lake in an empty folder."""

    def __init__(self, path: Path) -> None:
        shutil.rmtree(path, ignore_errors=True)
        self._path = path
        self.settings = self.direct = {"lake": path}

    def paths(self) -> Sequence[str]:
        return sorted(
            path.relative_to(self._path).as_posix() for path in self._path.rglob("*") if path.is_file()
        )

    def read(self, key: str) -> bytes:
        return (self._path / key).read_bytes()

    def write(self, key: str, data: bytes) -> None:
        (self._path / key).write_bytes(data)


class Prefix:
    """A lake in an empty folder of a bucket. Runs reach it through a proxy."""

    def __init__(self, near: Bucket, number: int) -> None:
        self._bucket = near
        self._prefix = str(number)
        lake = {"lake": f"{near.url}/{number}"}
        self.settings = near.settings | lake
        self.direct = near.settings | lake | {"lake_endpoint": near.server}

    def paths(self) -> Sequence[str]:
        return [key.removeprefix(f"{self._prefix}/") for key in self._bucket.objects(self._prefix)]

    def read(self, key: str) -> bytes:
        return self._bucket.read(f"{self._prefix}/{key}")

    def write(self, key: str, data: bytes) -> None:
        self._bucket.write(f"{self._prefix}/{key}", data)


def rules(bucket: Bucket, faults: Sequence[StoreFault]) -> list[Rule]:
    """Return the proxy's rules for the faults of a case."""
    return [_rule(bucket, fault) for fault in faults]


def _rule(bucket: Bucket, fault: StoreFault) -> Rule:
    left = fault.after

    def matches(request: Request) -> bool:
        nonlocal left
        if fault.kind and request.kind != fault.kind:
            return False
        left -= 1
        return left < 0

    what = Break[fault.fault] if fault.fault.isupper() else answer(bucket, fault.fault)
    return Rule(matches, what, times=fault.times)


def hits(proxy: Proxy, faults: Sequence[StoreFault]) -> list[str]:
    """Return the names of the faults that requests have met."""
    pairs = zip(proxy.rules, faults, strict=True)
    return [fault.fault for rule, fault in pairs if rule.times < fault.times]
