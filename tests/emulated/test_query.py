"""`Hunting.query`: a result arrives whole and typed, or it is refused. Every call is in the ledger."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import polars
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from hunting_pipeline import BeyondRetention, Hunting, Misconfigured, Refused, Result, ResultTooLarge
from hunting_pipeline.hunt_files import QueryText
from hunting_pipeline.model import DAY, RESCUED, SECOND, Progress, Step, Window, ticks_of
from hunting_pipeline.pipeline import ask, open_pipeline
from hunting_pipeline.window import available
from support import NOW, WEEK, Emulated, Shifted, days, differences, emulated, plain, window_of_tenant

TABLE = "DeviceLogonEvents"
HELD = available(ticks_of(NOW), 30)
KEPT = Window(ticks_of(NOW) - 30 * DAY, ticks_of(NOW))
LIMITS = {"rows": 1_000, "bytes": "off"}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulated]:
    home = tmp_path_factory.mktemp("query")
    with emulated(home, rows={TABLE: 2_500, "AlertInfo": 400}, limits=LIMITS) as tenant:
        made = home / f"{TABLE}.parquet"
        pq.write_table(tenant.tenant.rows(TABLE), made)
        tenant.post("config", load={TABLE: str(made)})
        yield tenant


@pytest.fixture
def tenant(running: Emulated, tmp_path: Path) -> Emulated:
    running.post("reset")
    return Emulated(running.endpoint, running.tenant, tmp_path)


@contextmanager
def connected(tenant: Emulated, **settings: Any) -> Iterator[Hunting]:
    with Hunting(tenant.settings(**{"limits": "test", **settings}), clock=Shifted()) as hunting:
        yield hunting


def charged(hunting: Hunting) -> int:
    """Return the number of calls in the ledger."""
    with hunting._pipeline() as pipeline:
        return sum(pipeline.ledger.usage().owners.values())


def rows_of(tenant: Emulated, window: Window, *columns: str) -> pa.Table:
    found = window_of_tenant(tenant, TABLE, window)
    return found.select(columns) if columns else found


def equal(result: Result, expected: pa.Table) -> bool:
    return result.rows == expected.num_rows and differences(result.arrow(), expected) == (0, 0)


TWO_DAYS = days("2026-11-17", "2026-11-19")
BETWEEN = f"{TABLE} | where Timestamp >= datetime(2026-11-17) and Timestamp < datetime(2026-11-19)"


@pytest.mark.parametrize("api", ["graph", "xdr", "endpoint"])
def test_one_liners_are_typed_equal_and_charged_call_by_call(tenant: Emulated, api: str) -> None:
    whole = rows_of(tenant, TWO_DAYS)
    assert 50 < whole.num_rows < 1_000
    with connected(tenant, api=api) as hunting:
        assert equal(hunting.query(BETWEEN), whole)
        narrow = hunting.query(f"{BETWEEN} | project Timestamp, DeviceId, LogonId")
        assert equal(narrow, rows_of(tenant, TWO_DAYS, "Timestamp", "DeviceId", "LogonId"))
        assert [str(field.type) for field in narrow.schema] == ["timestamp[ns, tz=UTC]", "string", "int64"]
        counted = hunting.query(f"{TABLE} | summarize Rows = count()")
        assert [*counted] == [{"Rows": rows_of(tenant, KEPT).num_rows}]
        by_type = {row["ActionType"]: row["Rows"] for row in
                   hunting.query(f"{BETWEEN} | summarize Rows = count() by ActionType")}  # fmt: skip
        assert by_type == {one["values"]: one["counts"] for one in
                           pc.value_counts(whole["ActionType"]).to_pylist()}  # fmt: skip
        assert hunting.query(f"{BETWEEN} | take 0").schema.names == whole.column_names
        assert charged(hunting) == 5
    log = tenant.stats()["log"]
    assert [call["api"] for call in log] == [api] * 5
    assert log[0]["query"] == BETWEEN, "the first call sends the query unchanged"


def test_a_result_that_one_reply_cuts_arrives_whole_and_once(tenant: Emulated) -> None:
    with connected(tenant) as hunting:
        result = hunting.query(f"{TABLE} | where ActionType != '' // all")
        assert equal(result, rows_of(tenant, HELD))
        assert result.rows > 2 * 1_000
        assert (result.truncated, result.window) == (False, HELD)
        assert result.rows + result.outside == rows_of(tenant, KEPT).num_rows
        assert result.calls == charged(hunting) == tenant.stats()["calls"] > 4
        assert RESCUED not in result.schema.names
        assert sum(1 for _ in result) == sum(1 for _ in result) == result.rows, "read twice"


@pytest.mark.slow
def test_a_quarter_of_a_million_rows_arrive_whole_at_the_real_limits(tmp_path: Path) -> None:
    with emulated(tmp_path, rows={TABLE: 250_000}, profile="graph") as tenant:
        with connected(tenant, limits="graph") as hunting:
            result = hunting.query(f"{TABLE} | project Timestamp, DeviceId, ActionType, ReportId")
            assert charged(hunting) == tenant.stats()["calls"] == result.calls
        expected = rows_of(tenant, HELD, "Timestamp", "DeviceId", "ActionType", "ReportId")
        assert result.rows >= 249_000
        assert equal(result, expected)


def test_the_time_column_is_found_in_the_result_or_in_the_header_of_a_file(
    tenant: Emulated, tmp_path: Path
) -> None:
    text = f"{TABLE}\n| project Seen = Timestamp, Also = Timestamp, DeviceId"
    file = tmp_path / "seen.kql"
    file.write_text(f"// time: Also\n{text}")
    with connected(tenant) as hunting:
        found = hunting.query(text)
        assert "Seen >=" in tenant.stats()["log"][-2]["query"]
        stated = hunting.query(file)
        assert "Also >=" in tenant.stats()["log"][-2]["query"]
        assert plain(found.arrow()).sort_by("Seen") == plain(stated.arrow()).sort_by("Seen")
        file.write_text(f"// time: none\n{text}")
        with pytest.raises(ResultTooLarge, match="the header has `time: none`"):
            hunting.query(file)


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        (f"{TABLE}\n| where Timestamp > ago(20d)", r"line 2: ago\(\)"),
        (f"{TABLE} | take 1500", "`take`"),
        (f"{TABLE} | sort by Timestamp asc", "`sort`: rows that come in slices have no order"),
        (f"{TABLE} | project DeviceId", "Timestamp"),
    ],
)
def test_a_query_that_cannot_be_cut_is_refused_unless_missing_rows_are_accepted(
    tenant: Emulated, query: str, reason: str
) -> None:
    with connected(tenant) as hunting:
        with pytest.raises(ResultTooLarge, match=reason) as refused:
            hunting.query(query)
        assert "--allow-truncated" in str(refused.value)
        assert charged(hunting) == tenant.stats()["calls"] == 1
        result = hunting.query(query, allow_truncated=True)
        assert (result.truncated, result.rows, result.window) == (True, 1_000, None)


def test_a_result_of_one_row_less_than_the_limit_is_whole(tenant: Emulated) -> None:
    with connected(tenant) as hunting:
        result = hunting.query(f"{TABLE} | take 999")
    assert (result.rows, result.truncated, result.calls) == (999, False, 1)


def test_a_query_that_the_service_finds_too_large_is_cut(tmp_path: Path) -> None:
    with emulated(tmp_path, rows={"AlertInfo": 900}, limits={"rows": 1_000, "bytes": 150_000}) as tenant:
        with connected(tenant) as hunting:
            assert equal(hunting.query("AlertInfo"), window_of_tenant(tenant, "AlertInfo", HELD))
            with pytest.raises(ResultTooLarge, match="too large"):
                hunting.query("AlertInfo | sort by Timestamp asc", allow_truncated=True)
        assert tenant.stats()["too_big"] >= 2


def test_an_error_of_the_query_quotes_the_service(tenant: Emulated) -> None:
    with (
        connected(tenant) as hunting,
        pytest.raises(Refused, match="Syntax error: 'wher' is not an operator"),
    ):
        hunting.query(f"{TABLE} | wher 1")


def test_rows_without_a_time_arrive_too(tmp_path: Path) -> None:
    times = [WEEK.start * 100 + n for n in range(1_200)] + [None] * 7
    rows = pa.table({
        "Timestamp": pa.array(times, pa.timestamp("ns", "UTC")),
        "AlertId": [str(n) for n in range(1_207)],
    })  # fmt: skip
    pq.write_table(rows, tmp_path / "rows.parquet")
    load = {"AlertInfo": tmp_path / "rows.parquet"}
    with emulated(tmp_path, limits=LIMITS, load=load) as tenant, connected(tenant) as hunting:
        result = hunting.query("AlertInfo | project Timestamp, AlertId")
    assert sorted(result.arrow()["AlertId"].to_pylist(), key=int) == rows["AlertId"].to_pylist()


def test_a_result_is_a_table_of_every_library(tenant: Emulated, monkeypatch: pytest.MonkeyPatch) -> None:
    with connected(tenant) as hunting:
        result = hunting.query(f"{BETWEEN} | project Timestamp, DeviceId")
    assert isinstance(result.pandas(), pd.DataFrame)
    assert result.pandas()["Timestamp"].dtype == pd.ArrowDtype(pa.timestamp("ns", "UTC"))
    assert isinstance(result.polars(), polars.DataFrame)
    assert result.polars().to_arrow()["Timestamp"].equals(result.arrow()["Timestamp"])
    assert [row["DeviceId"] for row in result] == result.arrow()["DeviceId"].to_pylist()
    monkeypatch.setitem(__import__("sys").modules, "polars", None)
    with pytest.raises(Misconfigured, match="the package polars is not installed"):
        result.polars()


def test_a_pull_by_texts_dates_or_datetimes_is_read_and_counted(tenant: Emulated) -> None:
    ranges = [
        ("2026-11-10", "2026-11-11"),
        (date(2026, 11, 11), date(2026, 11, 12)),
        (datetime(2026, 11, 12), datetime.fromisoformat("2026-11-13T02:00+02:00")),  # noqa: DTZ001 # UTC
    ]
    with connected(tenant) as hunting:
        for start, end in ranges:
            (receipt,) = hunting.pull(TABLE, start, end).receipts
            assert receipt.covered[0].ticks == DAY
        archived = [manifest.partition.key for manifest in hunting.status(TABLE)[TABLE].archived]
        assert archived == ["2026-11-10", "2026-11-11", "2026-11-12"]
        half = Window(
            days("2026-11-10", "2026-11-11").start + 43_200 * SECOND, days("2026-11-11", "2026-11-12").end
        )
        rows = hunting.read(TABLE, "2026-11-10T12:00", "2026-11-12").to_table().drop_columns(["date"])
        assert differences(rows, rows_of(tenant, half)) == (0, 0)
        assert rows.num_rows > 50
        assert hunting.read(TABLE).count_rows() == rows_of(tenant, days("2026-11-10", "2026-11-13")).num_rows
        assert hunting.read(TABLE, end="2026-11-11").count_rows() == (
            rows_of(tenant, days("2026-11-10", "2026-11-11")).num_rows
        )
        assert hunting.read(TABLE, "36500d").count_rows() == hunting.read(TABLE).count_rows()
        for start, end in [("2026-11-11", "2026-11-10"), ("tomorrow", None)]:
            with pytest.raises(Misconfigured, match=r"the range is empty|not a date or a time"):
                hunting.read(TABLE, start, end)


class _Jumping(Shifted):
    """A clock that jumps when a test sets `jump`."""

    jump = 0.0

    def now(self) -> float:
        return super().now() + self.jump


def test_a_query_whose_oldest_rows_are_deleted_meanwhile_is_refused(tmp_path: Path) -> None:
    clock = _Jumping()
    with emulated(tmp_path, rows={"AlertInfo": 4_000}, limits=LIMITS) as tenant:

        def jump(progress: Progress) -> None:
            if progress.step is Step.PLANNED:
                clock.jump = 12 * 3600
                tenant.post("config", now="2026-11-21T03:00:00Z")

        text = "AlertInfo"
        with (
            open_pipeline(tenant.settings(limits="test"), max_wait=1, clock=clock) as pipeline,
            pytest.raises(BeyondRetention, match="deleted rows during the query"),
        ):
            ask(pipeline, text, QueryText(text).sliced, observe=jump)
