"""How a query is read before it is cut into slices, and the settings and times of the Python interface."""

import io
import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta, timezone
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa
import pytest
from rich.console import Console

from hunting_pipeline import Misconfigured, ReplyUnreadable, Result, connect
from hunting_pipeline.hunt_files import QueryText, query_file
from hunting_pipeline.kql.queries import outside_query
from hunting_pipeline.kql.reading import Unsliceable
from hunting_pipeline.model import HOUR, RESCUED, Column, Window, ticks_of
from hunting_pipeline.moments import Moment, ticks_at
from hunting_pipeline.pipeline.result import Spool
from hunting_pipeline.progress import bars
from hunting_pipeline.reply import Reply


@pytest.fixture(autouse=True)
def no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("text", "times", "column", "step"),
    [
        ("DeviceInfo", (), "Timestamp", 1),
        ("DeviceInfo", ("Seen", "Timestamp"), "Timestamp", 1),
        ("BehaviorEntities | project-rename T = Timestamp", ("T",), "T", 1),
        ("SigninLogs | where x", ("TimeGenerated",), "TimeGenerated", 1),
        ("DeviceInfo | summarize count() by Hour = bin(Timestamp, 1h)", ("Hour",), "Hour", HOUR),
        ("DeviceInfo | extend T = now()\n| project T, Timestamp", ("T", "Timestamp"), None, 1),
        ("DeviceInfo | summarize max(Timestamp) by DeviceId", ("max_Timestamp",), None, 1),
        ("DeviceInfo | sort by Timestamp", ("Timestamp",), None, 1),
        ("let n = 5;\nDeviceInfo | top n by Timestamp", ("Timestamp",), None, 1),
    ],
)
def test_a_query_is_cut_by_the_first_column_that_can_cut_it(
    text: str, times: tuple[str, ...], column: str | None, step: int
) -> None:
    if column is None:
        with pytest.raises(Unsliceable):
            QueryText(text).sliced(times)
        return
    spec = QueryText(text).sliced(times)
    assert spec.hunt
    assert (spec.time_column, spec.hunt.step) == (column, step)


def test_a_sort_inside_a_let_does_not_order_the_result() -> None:
    assert QueryText("let T = DeviceInfo | sort by Timestamp;\nT | where x").sliced(())


def test_a_file_has_a_header_and_a_text_has_none(tmp_path: Path) -> None:
    file = tmp_path / "hunt.kql"
    file.write_text("// time: Seen\n// settle: 6h\nDeviceInfo")
    assert query_file(file) == QueryText("// time: Seen\n// settle: 6h\nDeviceInfo", "Seen", settled=True)
    file.write_text("// tme: Seen\nDeviceInfo")
    with pytest.raises(Misconfigured, match=r"hunt\.kql:1: there is no key 'tme'; did you mean time"):
        query_file(file)
    with pytest.raises(Misconfigured, match="the file cannot be read"):
        query_file(tmp_path / "absent.kql")


def test_rows_outside_a_window_are_counted_by_one_query() -> None:
    spec = QueryText("DeviceInfo // all").sliced(())
    window = Window(ticks_of(date(2026, 11, 1)), ticks_of(date(2026, 11, 2)))
    assert outside_query(spec, window) == (
        "DeviceInfo\n| where Timestamp < datetime(2026-11-01T00:00:00Z)"
        " or Timestamp >= datetime(2026-11-02T00:00:00Z)\n| summarize Rows = count()"
    )


@pytest.mark.parametrize(
    "moment",
    [
        "2026-11-01",
        "2026-11-01T00:00Z",
        date(2026, 11, 1),
        datetime(2026, 11, 1),  # noqa: DTZ001 # without a time zone it is UTC
        datetime(2026, 11, 1, 5, tzinfo=timezone(timedelta(hours=5))),
    ],
)
def test_a_moment_is_a_text_a_date_or_a_datetime(moment: Moment) -> None:
    assert ticks_at(moment, 0) == ticks_of(datetime(2026, 11, 1, tzinfo=UTC))


def test_arguments_override_variables_which_override_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hunting.toml").write_text('lake = "of-the-file"\nworkers = 2\nshare = 0.5')
    monkeypatch.setenv("HUNTING_WORKERS", "3")
    settings = connect(share=0.1)._settings
    assert (settings.share, settings.workers, settings.lake) == (0.1, 3, "of-the-file")
    with pytest.raises(Misconfigured, match=r"^share: "):
        connect(share=7)
    with pytest.raises(Misconfigured, match=r"^shore: no such setting"):
        connect(shore=1)


def test_arguments_override_the_section_of_a_tenant(tmp_path: Path) -> None:
    (tmp_path / "hunting.toml").write_text('[tenants.contoso]\ntenant_id = "a"\nshare = 0.5')
    settings = connect("contoso", share=0.1)._settings
    assert (settings.tenant_id, settings.share, settings.lake) == ("a", 0.1, "lake/contoso")


def test_a_query_without_a_tenant_names_the_variables() -> None:
    with connect() as hunting, pytest.raises(Misconfigured, match="HUNTING_TENANT_ID"):
        hunting.query("DeviceInfo")


@pytest.mark.parametrize(
    ("options", "drawn"),
    [
        ({"force_terminal": True}, True),
        ({"force_jupyter": True}, find_spec("ipywidgets") is not None),
        ({}, False),
    ],
)
def test_bars_are_drawn_in_terminals_and_notebooks_only(options: dict[str, bool], drawn: bool) -> None:
    with bars(Console(file=io.StringIO(), **options)) as observe:  # type: ignore[arg-type]
        assert (observe is not None) == drawn


def reply_of(rescued: int = 0, **values: list[object]) -> Reply:
    columns = tuple(Column(name, "string") for name in values if name != RESCUED)
    return Reply(columns, pa.table(values), {}, 100, rescued)


def spooled(*replies: Reply) -> Result:
    spool = Spool(replies[0].columns, pa.schema([("a", pa.string())]))
    for reply in replies:
        spool.add(reply)
    return spool.result(window=Window(0, 1), outside=0, calls=3)


def test_replies_of_slices_are_one_result_that_is_read_again_and_again() -> None:
    result = spooled(reply_of(a=["1", "2"]), reply_of(a=["3"]))
    assert result.arrow().to_pydict() == {"a": ["1", "2", "3"]}
    for one, other in zip(result, result, strict=True):
        assert one == other
    assert (result.rows, result.calls, result.schema.names) == (3, 3, ["a"])


def test_one_rescued_value_adds_the_column_to_all_rows() -> None:
    result = spooled(reply_of(a=["1"]), reply_of(1, a=["x"], **{RESCUED: ['{"a":2}']}))
    assert result.arrow().to_pydict() == {"a": ["1", "x"], RESCUED: [None, '{"a":2}']}


def test_columns_that_change_between_two_calls_are_refused() -> None:
    with pytest.raises(ReplyUnreadable, match="the columns of the query changed between two calls"):
        spooled(reply_of(a=["1"]), reply_of(b=["1"]))


def test_a_full_folder_for_temporary_files_is_named() -> None:
    code = (
        "import os, resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000));"
        "from hunting_pipeline.pipeline.result import Spool; from test_query_read import reply_of;"
        "reply = reply_of(a=[os.urandom(9000).hex()]); Spool(reply.columns, reply.table.schema).add(reply)"
    )
    program = [sys.executable, "-c", code]
    here = os.environ | {"PYTHONPATH": os.pathsep.join([*sys.path, str(Path(__file__).parent)])}
    done = subprocess.run(program, capture_output=True, text=True, check=False, env=here)
    assert "Misconfigured: " in done.stderr
    assert "the folder for temporary files cannot be written: File too large" in done.stderr
