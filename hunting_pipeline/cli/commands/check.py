"""`hunting check`: run the probes and print their findings."""

from typing import Any

import typer

from hunting_pipeline.cli.log import inform
from hunting_pipeline.cli.probes import Finding, Probe, Subject, examine
from hunting_pipeline.cli.problems import complain, exit_code
from hunting_pipeline.cli.selection import Tables, Tenant, selected_tables
from hunting_pipeline.cli.text import Json, print_json
from hunting_pipeline.cli.work import opened
from hunting_pipeline.settings import load_settings, name_settings

__all__ = ["check"]


def check(tables: Tables = None, tenant: Tenant = "", as_json: Json = False) -> None:
    settings = load_settings(tenant)
    findings: list[tuple[Probe, Finding]] = []
    with opened(settings) as pipeline:
        for probe, finding in examine(
            Subject(settings, pipeline, selected_tables(tables or [], settings, pipeline.store))
        ):
            if finding.error:
                name_settings(finding.error, settings)
            findings.append((probe, finding))
            if not as_json:
                table = finding.name if probe.name == "table" else ""
                inform(f"{finding.name}: {finding.error or finding.success or probe.success}", table=table)
            elif finding.error:
                complain(finding.error)
    if as_json:
        print_json([_as_json(probe, finding) for probe, finding in findings])
    if codes := [exit_code(finding.error) for _, finding in findings if finding.error]:
        raise typer.Exit(max(codes))


def _as_json(probe: Probe, finding: Finding) -> dict[str, Any]:
    problem = str(finding.error) if finding.error else ""
    return {"probe": probe.name, "name": finding.name, "problem": problem, **finding.facts}
