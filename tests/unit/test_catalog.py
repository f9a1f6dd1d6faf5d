"""The catalogue of tables: every table has what slicing and pricing need."""

import json
from importlib.resources import files

import pytest

from hunting_pipeline.catalog import catalog, column_description, entry, spec
from hunting_pipeline.errors import Misconfigured
from hunting_pipeline.kql.literals import name as kql_name
from hunting_pipeline.lake.layout import lake_names
from hunting_pipeline.model import Grain


@pytest.mark.parametrize("name", list(catalog()))
def test_every_table_can_be_queried(name: str) -> None:
    known = entry(name)
    columns = [column.name for column in known.columns]
    assert kql_name(name) == name
    assert all(map(kql_name, columns))
    assert known.service
    assert known.time_column is None or (known.time_column in columns)
    assert len(columns) == len(set(columns)) > 0
    assert known.bytes_per_row >= sum(len(column) for column in columns)
    assert len({lake_name.lower() for lake_name in lake_names(known.columns)}) == len(columns)
    kinds = {column.kusto_type for column in known.columns}
    assert kinds <= {"string", "datetime", "bool", "int", "long", "real", "guid", "dynamic"}


def test_every_table_and_no_other_has_a_description() -> None:
    described = json.loads(files("hunting_pipeline").joinpath("descriptions.json").read_text("utf-8"))
    assert described["tables"].keys() == catalog().keys()
    assert {*described["columns"]} <= {
        column.name for known in catalog().values() for column in known.columns
    }
    for text in (*described["tables"].values(), *described["columns"].values()):
        assert "http" not in text
        assert len(text.split()) <= 25
    assert all(known.description.endswith(".") for known in catalog().values())


def test_the_columns_that_many_tables_share_are_described() -> None:
    tables = catalog().values()
    names = [column.name for known in tables for column in known.columns]
    assert not [name for name in {*names} if names.count(name) > 6 and not column_description(name)]
    assert column_description("NoSuchColumn") is None


def test_the_time_column_is_a_datetime() -> None:
    for known in catalog().values():
        types = {column.name: column.kusto_type for column in known.columns}
        assert known.time_column is None or types[known.time_column] == "datetime", known.name


def test_fifteen_tables_and_more_are_snapshots() -> None:
    snapshots = {known.name for known in catalog().values() if known.time_column is None}
    assert len(snapshots) >= 15
    assert "DeviceTvmSoftwareInventory" in snapshots


def test_the_catalogue_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        catalog()["Mine"] = entry("DeviceEvents")  # type: ignore[index]


@pytest.mark.parametrize(
    ("wrong", "hint"), [("DeviceEvent", "did you mean DeviceEvents"), ("Zyx", "hunting tables")]
)
def test_an_unknown_table_is_refused_with_a_hint(wrong: str, hint: str) -> None:
    with pytest.raises(Misconfigured, match=hint):
        entry(wrong)


def test_the_time_column_is_always_queried() -> None:
    assert spec("DeviceEvents", columns=("DeviceId",)).columns == ("Timestamp", "DeviceId")
    assert spec("DeviceEvents", columns=("DeviceId", "Timestamp")).columns == ("DeviceId", "Timestamp")
    assert spec("DeviceEvents").columns == ()
    assert spec("DeviceTvmSoftwareInventory", columns=("DeviceId",)).columns == ("DeviceId",)


def test_a_spec_takes_its_values_from_the_catalogue() -> None:
    found = spec("DeviceEvents", grain=Grain.HOUR, where="DeviceId != ''", evolve=False)
    known = entry("DeviceEvents")
    assert (found.name, found.time_column, found.bytes_per_row, found.service) == (
        "DeviceEvents",
        "Timestamp",
        known.bytes_per_row,
        known.service,
    )
    assert (found.grain, found.where, found.evolve) == (Grain.HOUR, "DeviceId != ''", False)


def test_a_snapshot_cannot_be_hourly() -> None:
    with pytest.raises(Misconfigured, match="snapshot a day"):
        spec("DeviceTvmSoftwareInventory", grain=Grain.HOUR)
