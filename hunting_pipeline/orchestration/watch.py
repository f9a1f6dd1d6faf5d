"""Is a table kept up, its schema steady, nothing about to be lost? Read from manifests; nobody is asked."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import dagster as dg

from hunting_pipeline.lake.manifest import Manifest
from hunting_pipeline.model import DAY, HOUR, SECOND, TableSpec, iso_of
from hunting_pipeline.orchestration.automation import watch_condition
from hunting_pipeline.orchestration.resources import HuntingResource
from hunting_pipeline.pipeline import Coverage
from hunting_pipeline.window import available, available_partitions

__all__ = [
    "DEADLINE",
    "DRIFT",
    "FRESH",
    "NEAR",
    "WATCHED",
    "deadline",
    "drift",
    "fresh",
    "watch_specs",
    "watched",
]

FRESH, DRIFT, DEADLINE = "fresh", "drift", "deadline"
"""Names of the checks."""

NEAR = "partitions near the edge"
"""Under this name the metadata of `deadline` lists their keys; the sensor reads them there."""

WATCHED = frozenset({FRESH, DRIFT, DEADLINE})

_NOTICE = 2 * DAY
"""Ticks before the retention edge in which a gap is a warning."""

_NAMED = 10
"""Partitions that a message names before it says how many more there are."""


def watch_specs(key: dg.AssetKey, *, fresh_hours: float) -> list[dg.AssetCheckSpec]:
    """The three checks of a table."""
    told = {
        FRESH: f"What is archived reaches to within {fresh_hours:g} hours of now.",
        DRIFT: "The archived partitions that the service still holds have one schema.",
        DEADLINE: "No gap of the archive comes within two days of being forgotten by the service.",
    }
    return [
        dg.AssetCheckSpec(name, asset=key, description=text, automation_condition=watch_condition())
        for name, text in told.items()
    ]


def watched(
    hunting: HuntingResource, spec: TableSpec, *, start: int, fresh_hours: float
) -> Iterator[dg.AssetCheckResult]:
    """Make all three.

    Args:
        hunting: where the lake and the limits are known.
        spec: the table.
        start: first instant (ticks) that is to be archived.
        fresh_hours: how old the end of what is archived may be.

    Raises:
        Misconfigured: a setting is wrong, or the table is archived in another grain.
    """
    now = round(time.time() * SECOND)
    still = available(now, hunting.limits().retention_days, spec)
    found = hunting.coverage(spec, available_partitions(spec, still, start=start), now=now)
    yield _result(FRESH, fresh(found.archived, now=now, hours=fresh_hours))
    yield _result(DRIFT, drift(found.archived))
    yield _result(DEADLINE, deadline(found, edge=still.start))


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check says: whether all is well, why, and what the UI shows beside it."""

    passed: bool
    said: str
    metadata: dict[str, dg.MetadataValue]


def _result(name: str, finding: Finding) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=finding.passed,
        check_name=name,
        severity=dg.AssetCheckSeverity.WARN,
        description=finding.said,
        metadata=finding.metadata,
    )


def fresh(archived: Sequence[Manifest], *, now: int, hours: float) -> Finding:
    """Does the newest archived span reach to within `hours` of `now` (ticks)?"""
    end = max((span.end for manifest in archived for span in manifest.covered), default=None)
    if end is None:
        return Finding(False, "nothing of what the service holds is archived", {})
    age = max(0, now - end) / HOUR
    return Finding(
        age <= hours,
        f"archived up to {iso_of(end)}, {age:.1f} hours ago",
        {"hours behind": dg.MetadataValue.float(round(age, 3))},
    )


def drift(archived: Iterable[Manifest]) -> Finding:
    """Did the schema change from one archived partition to the next?"""
    manifests = [manifest for manifest in archived if not manifest.partition.null_time]
    changes = [
        f"{new.partition.key}: {_difference(old, new)}"
        for old, new in pairwise(manifests)
        if old.fingerprint != new.fingerprint
    ]
    return Finding(
        not changes,
        f"{len(changes)} changes of schema: {_listed(changes)}" if changes else "one schema",
        {
            "schemas": dg.MetadataValue.int(len({manifest.fingerprint for manifest in manifests})),
            "partitions": dg.MetadataValue.int(len(manifests)),
        },
    )


def _difference(old: Manifest, new: Manifest) -> str:
    before, after = ({c.name: c.kusto_type for c in one.columns} for one in (old, new))
    said = [f"+{name}" for name in after if name not in before]
    said += [f"-{name}" for name in before if name not in after]
    said += [f"{n} {before[n]} → {after[n]}" for n in after if n in before and before[n] != after[n]]
    return ", ".join(said) or "order of columns"


def deadline(found: Coverage, *, edge: int) -> Finding:
    """Is a gap about to be forgotten? `edge` (ticks) is the oldest that the service can be asked for."""
    near = sorted({partition for partition, span in found.backlog.missing if span.start < edge + _NOTICE})
    keys = [partition.key for partition in near]
    return Finding(
        not near,
        f"about to be lost, pull them now: {_listed(keys)}" if near else "no gap near the edge",
        {
            NEAR: dg.MetadataValue.json(keys),
            "retention edge": dg.MetadataValue.text(iso_of(edge)),
        },
    )


def _listed(items: Sequence[str]) -> str:
    more = f" and {len(items) - _NAMED} more" if len(items) > _NAMED else ""
    return ", ".join(items[:_NAMED]) + more
