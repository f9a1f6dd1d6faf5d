"""The JSON schema of the components: `dg` shows their documentation, and `dg check yaml` refuses mistakes."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml
from dagster_dg_cli.utils.yaml_template_generator import generate_defs_yaml_schema
from jsonschema import Draft202012Validator
from test_assets_config import PROJECT, ROOM, WRONG, located, messages_of

from hunting_pipeline.orchestration import HuntingQueries, HuntingTables

ROOT = Path(__file__).parents[2]
COMPONENTS = {kind.__name__: kind.model().model_json_schema() for kind in (HuntingTables, HuntingQueries)}

UNKNOWN = ("Titel", "where", "{'a b': c}", "- name: AlertInfo\n- name: AlertInfo", "contoso")
"""Parts of the attributes whose mistakes only the load finds: a JSON schema cannot describe them."""


def fields(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield from schema.get("properties", {}).items()
    for part in schema.get("$defs", {}).values():
        yield from part.get("properties", {}).items()


@pytest.mark.parametrize("component", COMPONENTS)
def test_every_attribute_has_a_description_and_a_valid_example(component: str) -> None:
    schema = COMPONENTS[component]
    found = dict(fields(schema))
    assert len(found) > 7
    for name, field in found.items():
        text = str(field.get("description"))
        examples = re.findall(r" Example: (?:`(.+)`|(\d+)\.?)\.?$", text)
        assert len(examples) == 1, f"{name}: {text}"
        example = yaml.safe_load("".join(examples[0]))
        written = str(example) if name == "start" else example
        Draft202012Validator({**field, "$defs": schema.get("$defs", {})}).validate(written)


def test_dg_prints_the_description_of_every_attribute() -> None:
    schema = COMPONENTS["HuntingTables"]
    shown = generate_defs_yaml_schema(f"{ROOM}.HuntingTables", schema)
    for name, field in fields(schema):
        assert f"{name}:" in shown
        assert field["description"] in shown


@pytest.mark.parametrize("attributes", WRONG)
def test_the_schema_refuses_what_the_load_refuses_at_the_same_line(attributes: str) -> None:
    validator = Draft202012Validator(COMPONENTS["HuntingTables"])
    found = list(validator.iter_errors(yaml.load(attributes, yaml.BaseLoader)))
    assert len(found) == (0 if any(part in attributes for part in UNKNOWN) else 1)


WITH_TEMPLATES = """\
group: "{{ env.TEAM }}"
owners: ["{{ env.OWNER }}"]
start: "{{ env.START }}"
tags: {tier: "{{ env.TAG }}"}
tables:
- name: "{{ env.TABLE }}"
  grain: "{{ env.GRAIN }}"
  columns: ["{{ env.COLUMN }}"]
  where: "{{ env.FILTER }}"
  policy: "{{ env.POLICY }}"
  timestamp_unit: "{{ env.UNIT }}"
  description: "{{ env.TEXT }}"
"""


def test_a_template_gives_every_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not list(
        Draft202012Validator(COMPONENTS["HuntingTables"]).iter_errors(yaml.safe_load(WITH_TEMPLATES))
    )
    values = {
        "TEAM": "soc", "OWNER": "team:soc", "START": "2026-10-01", "TAG": "gold", "TABLE": "EmailEvents",
        "GRAIN": "hour", "COLUMN": "Subject", "FILTER": "Subject != ''", "POLICY": "freeze", "UNIT": "us",
        "TEXT": "Mail.",
    }  # fmt: skip
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    (spec,) = located(tmp_path, monkeypatch, WITH_TEMPLATES).resolve_all_asset_specs()
    assert (spec.key.path[-1], spec.group_name, list(spec.owners)) == ("EmailEvents", "soc", ["team:soc"])
    assert (spec.description, spec.tags["tier"]) == ("Mail.", "gold")
    assert spec.partitions_def is not None
    assert spec.partitions_def.get_first_partition_key() == "2026-10-01T00"
    assert "Subject != ''" in str(spec.metadata["where"].value)
    monkeypatch.setenv("GRAIN", "week")
    (tmp_path / "again").mkdir()
    with pytest.raises(Exception) as caught:  # noqa: PT011 # Dagster wraps it
        located(tmp_path / "again", monkeypatch, WITH_TEMPLATES)
    assert "defs.yaml:9" in "\n".join(messages_of(caught.value))


@pytest.mark.slow
def test_dg_check_yaml_names_the_line(tmp_path: Path) -> None:
    module = f"team_{uuid4().hex}"
    folder = tmp_path / module / "defs" / "security"
    folder.mkdir(parents=True)
    (tmp_path / module / "__init__.py").touch()
    (tmp_path / "pyproject.toml").write_text(PROJECT.format(module=module))
    (tmp_path / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    head = f"type: {ROOM}.HuntingTables\nattributes:\n  tables:\n"
    (folder / "defs.yaml").write_text(f"{head}  - name: AlertInfo\n  - name: AlertInf0\n")
    done = subprocess.run(
        [Path(sys.executable).parent / "dg", "check", "yaml"],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT))),
            "VIRTUAL_ENV": sys.prefix,
            "DAGSTER_HOME": str(tmp_path),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(
        r"defs\.yaml:5 .*'AlertInf0' is not one of", re.sub(r"\x1b\[\d*m", "", done.stdout + done.stderr)
    )
