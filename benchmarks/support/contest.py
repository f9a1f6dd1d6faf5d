"""The contestants of each comparison, and the replies."""

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
class Comparison:
    """The contestants on one reply."""

    kind: str
    api: str
    megabytes: int
    contestants: tuple[Contestant, ...]


def quick() -> Iterator[Comparison]:
    """List the comparisons of a smoke run: all contestants on the smallest replies."""
    for api in ("xdr", "graph"):
        yield Comparison("process", api, 1, (*OURS, *LIMITS, *PEERS))


def usual() -> Iterator[Comparison]:
    """List the usual comparisons: all contestants on full XDR replies, fewer on other sizes and on Graph."""
    for megabytes in (1, 10):
        yield Comparison("process", "xdr", megabytes, (*OURS, *LIMITS, *PEERS))
    yield Comparison("process", "graph", 10, (*OURS, *LIMITS, *PEERS))
    for kind in ("process", "email", "network"):
        yield Comparison(kind, "xdr", 50, (*OURS, *LIMITS, *PEERS))
        yield Comparison(kind, "graph", 50, (*OURS, *LIMITS, PANDAS))
    yield Comparison("cloud", "xdr", 50, (*OURS, *LIMITS, PANDAS))


def full() -> Iterator[Comparison]:
    """List all comparisons."""
    for api in ("xdr", "graph"):
        for megabytes in (1, 10, 50):
            for kind in ("process", "email", "network"):
                yield Comparison(kind, api, megabytes, (*OURS, *LIMITS, *PEERS))
