"""The places of a test's lake: a folder, or a bucket of a test server.

A test with the mark `stores` and the fixture `place` runs once in each place:

@pytest.mark.stores  # in a folder; the option `--stores` runs the same test in S3 and Azure
@pytest.mark.stores("fast")  # without the option, too, in all three
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import pytest
from object_servers.buckets import Bucket

from hunting_pipeline.lake.stores import Store, open_store
from hunting_pipeline.settings import Settings

OBJECT_STORES: Final = ["seaweedfs", "azurite"]
"""The servers for S3 and Azure."""


class Place(Protocol):
    """The lake of a test, with a view of its files that needs no code of the pipeline."""

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of this lake, for `Settings(**place.settings)`."""

    @property
    def variables(self) -> dict[str, str]:
        """The settings and the credentials as environment variables, for other processes."""

    def at(self, name: str) -> "Place":
        """Return another lake beside this one."""

    def objects(self, prefix: str | None = None) -> list[str]:
        """List the keys of the lake, relative to it and sorted."""

    def read(self, key: str) -> bytes: ...

    def write(self, key: str, data: bytes) -> None: ...

    def remove(self, key: str) -> None: ...

    def contents(self, suffix: str = "") -> dict[str, bytes]:
        """Return the content of each key that ends with `suffix`."""


@dataclass(frozen=True)
class Folder:
    """A lake in a folder of this machine."""

    root: Path

    @property
    def settings(self) -> dict[str, Any]:
        return {"lake": self.root}

    @property
    def variables(self) -> dict[str, str]:
        return {"HUNTING_LAKE": str(self.root)}

    def at(self, name: str) -> "Folder":
        return Folder(self.root.parent / name)

    def objects(self, prefix: str | None = None) -> list[str]:
        files = (path for path in (self.root / (prefix or "")).rglob("*") if path.is_file())
        return sorted(path.relative_to(self.root).as_posix() for path in files)

    def read(self, key: str) -> bytes:
        return (self.root / key).read_bytes()

    def write(self, key: str, data: bytes) -> None:
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def remove(self, key: str) -> None:
        (self.root / key).unlink()

    def contents(self, suffix: str = "") -> dict[str, bytes]:
        return {key: self.read(key) for key in self.objects() if key.endswith(suffix)}


def open_place(place: Place) -> Store:
    """Open the lake of a place."""
    settings = Settings(**place.settings)
    return open_store(settings.lake, settings.store_options)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--stores", action="store_true", help="run only the tests of stores, in S3 and Azure")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Choose the places of a test with the mark `stores`."""
    mark = metafunc.definition.get_closest_marker("stores")
    if mark is None or "place" not in metafunc.fixturenames:
        return
    if metafunc.config.getoption("--stores"):
        kinds = OBJECT_STORES
    else:
        kinds = ["folder", *OBJECT_STORES] if "fast" in mark.args else ["folder"]
    metafunc.parametrize("place", kinds, indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep only tests in object stores if the option `--stores` is set."""
    if not config.getoption("--stores"):
        return
    kept = [item for item in items if isinstance(item, pytest.Function) and _place(item) in OBJECT_STORES]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


def _place(item: pytest.Function) -> object:
    return item.callspec.params.get("place") if hasattr(item, "callspec") else None


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path, open_bucket: Callable[[str], Bucket]) -> Place:
    """Return a new lake in the place that the test's parameter names."""
    kind = getattr(request, "param", "folder")
    return Folder(tmp_path / "lake") if kind == "folder" else open_bucket(kind)
