"""The file of a hunt is read without Dagster, and every error names the file."""

import subprocess
import sys
from pathlib import Path

import pytest

from hunting_pipeline.cli.selection import selected_tables
from hunting_pipeline.errors import Misconfigured
from hunting_pipeline.hunt_files import hunt_file
from hunting_pipeline.lake.stores.local import LocalStore
from hunting_pipeline.model import HOUR, Grain
from hunting_pipeline.settings import Settings

EXAMPLES = sorted((Path(__file__).parents[2] / "assets" / "hunts").glob("*.kql"))


def test_a_hunt_loads_without_dagster() -> None:
    code = (
        "import sys; from pathlib import Path; from hunting_pipeline.hunt_files import hunt_file;"
        "print(hunt_file(Path(sys.argv[1])).spec.name, [name for name in sys.modules if 'dagster' in name])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(EXAMPLES[0])], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"hunt-{EXAMPLES[0].stem} []\n"


def test_a_schedule_is_kept_with_its_line_for_dagster_to_check(tmp_path: Path) -> None:
    path = tmp_path / "h.kql"
    path.write_text("// grain: hour\n// schedule: every day\nDeviceInfo")
    hunt = hunt_file(path)
    assert (hunt.schedule, hunt.lines) == ("every day", {"grain": 1, "schedule": 2})
    assert str(hunt.error("schedule", "wrong")) == f"{path}:2: wrong"
    assert str(hunt.error("name", "wrong")) == f"{path}:1: wrong", "a key that the header does not have"


def test_a_settle_in_the_header_accepts_a_time_that_is_computed(tmp_path: Path) -> None:
    path = tmp_path / "h.kql"
    path.write_text("// name: h\nDeviceInfo\n| extend Timestamp = Timestamp - 5h")
    with pytest.raises(Misconfigured, match=r"h\.kql:3: `extend` computes Timestamp") as caught:
        hunt_file(path)
    assert "set `settle` to the longest time" in str(caught.value)
    path.write_text("// settle: 6h\nDeviceInfo\n| extend Timestamp = Timestamp - 5h")
    assert hunt_file(path).hunt.settle == 6 * HOUR


def test_blanks_without_a_width_hide_no_key(tmp_path: Path) -> None:
    path = tmp_path / "h.kql"
    path.write_text("\u200b// name: clean\n//\u200bgrain\u200b:\ufeffhour\u200b\n\u200bDeviceInfo", "utf-8")
    spec = hunt_file(path).spec
    assert (spec.name, spec.grain, spec.hunt and spec.hunt.text) == ("hunt-clean", Grain.HOUR, "DeviceInfo")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.kql", tmp_path):
        with pytest.raises(Misconfigured, match="the file cannot be read: ") as caught:
            hunt_file(path)
        assert str(caught.value).startswith(f"{path}: ")


def test_the_command_line_takes_paths_of_hunts_beside_tables(tmp_path: Path) -> None:
    path = tmp_path / "hourly.kql"
    path.write_text("// grain: hour\nDeviceInfo | where DeviceName != ''")
    found = selected_tables(["AlertInfo", str(path), str(path)], Settings(), LocalStore(tmp_path / "lake"))
    assert [(spec.name, spec.grain) for spec in found] == [
        ("AlertInfo", Grain.DAY),
        ("hunt-hourly", Grain.HOUR),
    ]
    with pytest.raises(Misconfigured, match=r"absent\.kql: the file cannot be read"):
        selected_tables(["absent.kql"], Settings(), LocalStore(tmp_path / "lake"))
