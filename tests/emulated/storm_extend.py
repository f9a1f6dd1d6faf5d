"""A process that extends one day of a lake again and again, one of several that share only the store.

    python storm_extend.py JSON

Prints `ready`, waits for a line, extends the day, and prints the number of conflicts. With `careless`, every
file replaces the present one, whatever version that has.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

from lake_workshop import MIDNIGHT, Workshop, day, reply, text

from hunting_pipeline.errors import CommitRefused
from hunting_pipeline.lake.stores import ANY, Conflict, Expected, open_store
from hunting_pipeline.lake.stores.objects import ObjectStore
from hunting_pipeline.model import DAY, Window
from hunting_pipeline.settings import Settings


class Watched(ObjectStore):
    """A store that counts the files that it did not replace."""

    conflicts = 0

    def put_file(self, path: str, write: Callable[[Path], None], *, expected: Expected = ANY) -> str:
        try:
            return super().put_file(path, write, expected=expected)
        except Conflict:
            self.conflicts += 1
            raise


class Careless(Watched):
    """A store that replaces a file in any case."""

    def put_file(self, path: str, write: Callable[[Path], None], *, expected: Expected = ANY) -> str:
        return super().put_file(path, write)


def main(writer: int, writers: int, extends: int, *, careless: bool, settings: dict[str, str]) -> None:
    """Extend the day by one row at a time. The spans of the writers take turns."""
    read = Settings(**settings)
    opened = open_store(read.lake, read.store_options)
    assert isinstance(opened, ObjectStore)
    shop = Workshop(Path("unused"))
    shop.store = store = (Careless if careless else Watched)(opened._client, opened._uri, opened._service)
    length = DAY // (writers * extends)
    print("ready", flush=True)  # noqa: T201 - for the test
    sys.stdin.readline()
    for number in range(extends):
        start = MIDNIGHT + (number * writers + writer) * length
        row = reply([start], {"A": text(f"{writer}-{number}")})
        staged = shop.stage(row, Window(start, start + length), partitions=[day()])
        while not landed(shop, staged):
            pass
    print(store.conflicts)  # noqa: T201 - for the test


def landed(shop: Workshop, staged: object) -> bool:
    """Commit, and return whether the other writers let it. A commit gives up after five conflicts."""
    try:
        shop.commit(staged)  # type: ignore[arg-type]
    except CommitRefused as error:
        if "Run again" not in str(error):
            raise
        return False
    return True


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
