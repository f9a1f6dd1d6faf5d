"""Who is measured against whom, on which replies."""

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.support.rounds import Contestant

OURS = (
    Contestant("reply", "ours_reply", None),
    Contestant("durable", "ours_durable", None),
)
LIMITS = (
    Contestant("parse", "simdjson_parse", "simdjson"),
    Contestant("encode", "encode_limit", None),
)
PANDAS = Contestant("json+pandas", "json_pandas", "pandas")
PEERS = (
    PANDAS,
    Contestant("msticpy", "msticpy_driver", "msticpy"),
    Contestant("dlt rows", "dlt_rows", "dlt"),
    Contestant("dlt arrow", "dlt_arrow", "dlt"),
    Contestant("polars", "polars_frame", "polars"),
    Contestant("duckdb", "duckdb_copy", "duckdb"),
)
LOST = """\
json+pandas  times stay text, integers with nulls become floats
msticpy      integers with nulls become floats
dlt rows     times lose their last digit, LogonId and LogonID become one column
dlt arrow    times stay text
polars       times stay text; of Graph's replies Python's json reads the rows
duckdb       times lose their last digit, LogonID is dropped beside LogonId, whole columns of Graph stay JSON
Of Graph's replies each keeps the @odata.type sidecars as columns of data; all but duckdb get {} as None."""


@dataclass(frozen=True)
class Bout:
    """Contestants on one reply."""

    shape: str
    api: str
    megabytes: int
    contestants: tuple[Contestant, ...]


def quick() -> Iterator[Bout]:
    """A smoke run: everybody once on the smallest replies."""
    for api in ("xdr", "graph"):
        yield Bout("process", api, 1, (*OURS, *LIMITS, *PEERS))


def usual() -> Iterator[Bout]:
    """Everybody on full XDR replies of every shape; sizes by one shape, Graph by the quicker contestants."""
    for megabytes in (1, 10):
        yield Bout("process", "xdr", megabytes, (*OURS, *LIMITS, *PEERS))
    yield Bout("process", "graph", 10, (*OURS, *LIMITS, *PEERS))
    for shape in ("process", "email", "network"):
        yield Bout(shape, "xdr", 50, (*OURS, *LIMITS, *PEERS))
        yield Bout(shape, "graph", 50, (*OURS, *LIMITS, PANDAS))
    yield Bout("cloud", "xdr", 50, (*OURS, *LIMITS, PANDAS))


def full() -> Iterator[Bout]:
    """Everybody on everything."""
    for api in ("xdr", "graph"):
        for megabytes in (1, 10, 50):
            for shape in ("process", "email", "network"):
                yield Bout(shape, api, megabytes, (*OURS, *LIMITS, *PEERS))
