"""Names that code reads back from Dagster: each has a writer and is written in one place only."""

import ast
from pathlib import Path

import dagster as dg
import pytest

from hunting_pipeline.catalog import spec
from hunting_pipeline.model import DAY, Bin, Proof, Window, partition_from_key
from hunting_pipeline.orchestration import keys
from hunting_pipeline.orchestration.automation.sensors import LAST_CALL, RECONCILE_STALE, Trigger, sensor_for
from hunting_pipeline.orchestration.checks.health import deadline_result, health_specs
from hunting_pipeline.orchestration.checks.reconciled import reconciled_result, reconciled_spec
from hunting_pipeline.orchestration.resources import hunting_of
from hunting_pipeline.pipeline import Recount
from hunting_pipeline.pipeline.health import deadline
from hunting_pipeline.window import backlog_of

ROOT = Path(__file__).parents[2]
ROOM = ROOT / "hunting_pipeline" / "orchestration"
KEY = dg.AssetKey(["defender", "AlertInfo"])
FIRST, SECOND = (partition_from_key("AlertInfo", f"2026-11-0{day}") for day in (3, 4))
SPAN = Window(FIRST.window.start, SECOND.window.end)


def late_rows() -> dg.AssetCheckResult:
    """Return the check result of a recount that found late rows on the first day."""
    bins = tuple(Bin(each.window, Proof(5, 0)) for each in (FIRST, SECOND))
    found = Recount("AlertInfo", (SPAN,), bins, (FIRST.window,), ())
    return reconciled_result(found, [FIRST, SECOND], spec("AlertInfo"))


def gap_near_the_edge() -> dg.AssetCheckResult:
    """Return the check result of an empty archive whose first day is near the edge."""
    edge = FIRST.window.start - DAY
    return deadline_result(deadline(backlog_of([FIRST], {}, available=SPAN), edge=edge), edge=edge)


@pytest.mark.parametrize(("trigger", "check"), [(RECONCILE_STALE, late_rows), (LAST_CALL, gap_near_the_edge)])
def test_a_sensor_reads_what_its_check_writes(trigger: Trigger, check: object) -> None:
    assert callable(check)
    result = check()
    assert result.check_name == trigger.check
    assert not result.passed
    assert result.metadata[trigger.metadata_key].value == [FIRST.key]
    defined = [reconciled_spec(KEY), *health_specs(KEY, fresh_hours=6)]
    assert trigger.check in {each.name for each in defined}


@pytest.mark.parametrize("trigger", [RECONCILE_STALE, LAST_CALL])
def test_an_evaluation_without_the_key_does_not_stop_the_sensor(trigger: Trigger) -> None:
    """The instance keeps evaluations of earlier versions, whose metadata had other keys."""
    check = dg.AssetCheckKey(KEY, trigger.check)
    old = dg.AssetCheckEvaluation(
        asset_key=KEY, check_name=trigger.check, passed=False, metadata={"another key": [FIRST.key]}
    )
    with dg.DagsterInstance.ephemeral() as instance:
        instance.report_runless_asset_event(old)
        stopped = dg.DefaultSensorStatus.STOPPED
        sensor = sensor_for(trigger, [check], hunting_of(), suffix="", status=stopped)
        assert not sensor.evaluate_tick(dg.build_sensor_context(instance)).run_requests


def test_each_key_is_written_in_one_place_only() -> None:
    """A copy of the text would differ from the key after a change of one of them."""
    ours = {getattr(keys, name) for name in keys.__all__}
    spelt = [
        f"{path.relative_to(ROOM)}:{node.lineno} {node.value!r}"
        for path in sorted(ROOM.rglob("*.py"))
        if path.name != "keys.py"
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and node.value in ours
    ]
    assert not spelt


def test_private_modules_of_dagster_are_imported_in_one_file() -> None:
    private = ("dagster._", "dagster_shared")
    importing = {
        path.name
        for folder in ("hunting_pipeline", "assets")
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom | ast.Import)
        for name in ([str(node.module)] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names])
        if name.startswith(private)
    }
    assert importing == {"dagster_internals.py"}
