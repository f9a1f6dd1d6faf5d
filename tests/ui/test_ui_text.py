"""Dagster's UI shows rows and column names as text, whatever the writer of an e-mail puts into them.

Every planted text asks the browser for an address of a server on this machine. No request may arrive there.
"""

import datetime
import os
import re
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dagster_process import Dagster, dagster

from hunting_emulator.process import running
from support import Emulated

pytestmark = pytest.mark.skipif(not os.environ.get("HUNTING_LONG"), reason="two minutes: set HUNTING_LONG")

TABLE = "AlertInfo"
YESTERDAY = datetime.datetime.now(datetime.UTC).date() - datetime.timedelta(days=1)
BEFORE = YESTERDAY - datetime.timedelta(days=1)

_FORMS = (
    "![x]({url})",
    "![x][r]\n\n[r]: {url}",
    "[x]({url})",
    "[x](javascript:fetch('{url}'))",
    "<{url}>",
    "{url}",
    "www.beacon.example",
    "a@beacon.example",
    "<img src={url}>",
    "<img src=x onerror=fetch('{url}')>",
    "<iframe src={url}></iframe>",
    "<svg><image href={url} /></svg>",
    "<svg onload=fetch('{url}')>",
    "<script src={url}></script>",
    "<style>*{{background:url({url})}}</style>",
    "<p style='background:url({url})'>",
    "<a href={url}>x</a>",
    "|\n|--|\n| ![x]({url})",
    "```\n![x]({url})",
    "```` ``` ![x]({url})",
    "~~~\n![x]({url})",
    "`![x]({url})",
    "\\![x]({url})",
    "&#33;[x]({url})",
    "-->![x]({url})",
)
"""Forms of Markdown and HTML that fetch an address or link to it."""

_ALIVE = """beacon => [...document.querySelectorAll('*')].flatMap(
    element => [...element.attributes].map(each => [element.localName, each.name, each.value])
).filter(([element, name, value]) => ['href', 'src', 'srcset', 'xlink:href', 'style', 'data'].includes(name)
    && /beacon|javascript:/.test(value.replaceAll(beacon, 'beacon')))"""
"""Finds the attributes of a page that refer to a planted address."""


class Beacon(ThreadingHTTPServer):
    """A server that records each request."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        super().__init__(("127.0.0.1", 0), _Recorder)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    def texts(self, where: str) -> list[str]:
        """Return every form, each with an address that names its place."""
        return [form.format(url=f"http://{self.address}/{where}{at}.png") for at, form in enumerate(_FORMS)]


class _Recorder(BaseHTTPRequestHandler):
    server: Beacon

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 # the name in the base class
        pass


@pytest.fixture(scope="module")
def beacon() -> Iterator[Beacon]:
    with Beacon() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def planted(beacon: Beacon, day: datetime.date, names: list[str], path: Path) -> Mapping[str, Path]:
    """Write a table of five rows of which all column names and all values are planted."""
    noon = datetime.datetime.combine(day, datetime.time(12), datetime.UTC)
    values = iter(beacon.texts("value") * 2)
    columns = {name: [next(values) for _ in range(5)] for name in names[:7]}
    rest = {name: ["x"] * 5 for name in names[7:]}
    pq.write_table(pa.table({"Timestamp": [noon] * 5, **columns, **rest}), path)
    return {TABLE: path}


@pytest.fixture(scope="module")
def location(beacon: Beacon, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dagster]:
    """Archive two days with different planted columns, and evaluate the check `drift`."""
    home = tmp_path_factory.mktemp("text")
    names = beacon.texts("name")
    load = planted(beacon, BEFORE, names[::2], home / "before.parquet")
    with running(profile="test", load=load) as endpoint:
        tenant = Emulated(endpoint, tenant=None, home=home)  # type: ignore[arg-type] # rows are not compared here
        with dagster(tenant.one_by_one()) as started:
            finish(started, started.materialize(TABLE, str(BEFORE), str(BEFORE)))
            changed = planted(beacon, YESTERDAY, names, home / "yesterday.parquet")
            tenant.post("config", load={table: str(path) for table, path in changed.items()})
            finish(started, started.materialize(TABLE, str(YESTERDAY), str(YESTERDAY)))
            finish(started, started.check(TABLE, "drift"))
            yield started


def finish(location: Dagster, run: str) -> None:
    assert location.until(lambda: location.ended(run), seconds=180) == "SUCCESS", location.failures()


def assert_text_only(page: Any, beacon: Beacon, place: str) -> None:
    page.wait_for_timeout(1500)  # a browser fetches an image as soon as it is in the page
    assert page.evaluate(_ALIVE, beacon.address) == [], place
    assert beacon.requests == [], place


def test_the_browser_fetches_an_image_from_the_beacon(page: Any, beacon: Beacon) -> None:
    """The beacon and the search of a page work: both find an image of another page."""
    page.set_content(f'<img src="http://{beacon.address}/proof.png">')
    page.wait_for_timeout(1500)
    assert beacon.requests == ["/proof.png"]
    assert page.evaluate(_ALIVE, beacon.address) == [["img", "src", f"http://{beacon.address}/proof.png"]]
    beacon.requests.clear()


def test_a_partition_shows_rows_and_columns_as_text(location: Dagster, page: Any, beacon: Beacon) -> None:
    page.goto(f"{location.url}/assets/defender/{TABLE}?view=partitions&partition={YESTERDAY}")
    page.get_by_text("dagster/partition_row_count").wait_for()
    for label, text in (("preview", "value0.png"), ("dagster/column_schema", "name24.png")):
        row = page.get_by_text(label, exact=True).locator("xpath=ancestor::tr")
        row.get_by_text(re.compile(r"^\[Show")).click()
        page.get_by_role("dialog").get_by_text(
            re.compile(re.escape(f"{beacon.address}/{text}"))
        ).first.wait_for()
        assert_text_only(page, beacon, label)
        page.keyboard.press("Escape")
        page.get_by_role("dialog").wait_for(state="hidden")
    assert_text_only(page, beacon, "partition")


@pytest.mark.parametrize(
    ("view", "sign"),
    [
        ("overview", "name24.png"),
        ("events", "dagster/uri"),
        ("checks&checkDetail=drift", "name1.png"),
        ("checks&checkDetail=complete", "1 partitions hold every row"),
    ],
)
def test_a_page_of_the_asset_shows_columns_as_text(
    location: Dagster, page: Any, beacon: Beacon, view: str, sign: str
) -> None:
    page.goto(f"{location.url}/assets/defender/{TABLE}?view={view}")
    page.get_by_text(re.compile(re.escape(sign))).first.wait_for()
    assert_text_only(page, beacon, view)


def test_the_pages_of_runs_show_rows_and_columns_as_text(
    location: Dagster, page: Any, beacon: Beacon
) -> None:
    for run in location.runs():
        page.goto(f"{location.url}/runs/{run}")
        page.get_by_text("RUN_SUCCESS").first.wait_for()
        assert_text_only(page, beacon, run)
        if (shown := page.get_by_text("[Show Markdown]")).count():
            shown.first.click()
            page.get_by_role("dialog").get_by_text(re.compile("value0.png")).first.wait_for()
            assert_text_only(page, beacon, f"{run}, preview")
