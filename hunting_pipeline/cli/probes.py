"""The probes that `hunting check` runs, in order.

To add a probe, write a function and add one entry to `PROBES`. A probe yields one finding for each object
that it examined. If the function raises an error, the error becomes a finding. Later probes then do not run.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from hunting_pipeline.apis import APIS
from hunting_pipeline.errors import HuntingError, Misconfigured, Refused
from hunting_pipeline.lake.layout import LAKE_FILE
from hunting_pipeline.model import TableSpec
from hunting_pipeline.pipeline import Pipeline
from hunting_pipeline.settings import Settings

__all__ = ["PROBES", "Finding", "Probe", "Subject", "examine"]


@dataclass(frozen=True, slots=True)
class Subject:
    """The installation that probes examine: its settings, an open pipeline, and the selected tables."""

    settings: Settings
    pipeline: Pipeline
    tables: Sequence[TableSpec]


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a probe for one object.

    Attributes:
        name: the object that was examined, such as a table.
        error: the problem and its solution; None if there is no problem.
        facts: more values, shown by `--json`.
        success: the text that the command prints without a problem; the probe's text if empty.
    """

    name: str
    error: HuntingError | None = None
    facts: Mapping[str, object] = field(default_factory=dict)
    success: str = ""


@dataclass(frozen=True, slots=True)
class Probe:
    """An entry of the list.

    Attributes:
        name: the probe's name in `--json`.
        success: the text that the command prints for an object without a problem, such as `writable`.
        run: examines a subject. It raises an error if no later probe can succeed.
    """

    name: str
    success: str
    run: Callable[[Subject], Iterator[Finding]]


def _lake(subject: Subject) -> Iterator[Finding]:
    subject.pipeline.store.prove_writable(LAKE_FILE)
    yield Finding("lake")


def _sign_in(subject: Subject) -> Iterator[Finding]:
    subject.pipeline.tokens.token()
    yield Finding("sign-in")


def _tables(subject: Subject) -> Iterator[Finding]:
    for spec in subject.tables:
        try:
            yield Finding(spec.name, facts={"columns": len(subject.pipeline.probe(spec))})
        except (Misconfigured, Refused) as error:
            if error.everything:
                raise
            yield Finding(spec.name, error)


def _clock(subject: Subject) -> Iterator[Finding]:
    """Compare the clocks. Only the reply of a table that could be read shows the service's time."""
    clock = subject.pipeline.client.clock
    if clock.difference is not None:
        facts = {"seconds_ahead": round(clock.difference)}
        yield Finding("clock", facts=facts, success=f"this machine's clock is {clock.summary}")


def _api(subject: Subject) -> Iterator[Finding]:
    if warning := subject.settings.retirement:
        ends = APIS[subject.settings.api].ends
        yield Finding(f"API {subject.settings.api}", facts={"ends": ends}, success=warning)


PROBES = (
    Probe("api", "", _api),
    Probe("lake", "writable", _lake),
    Probe("sign-in", "a token was issued", _sign_in),
    Probe("table", "readable", _tables),
    Probe("clock", "", _clock),
)


def examine(subject: Subject) -> Iterator[tuple[Probe, Finding]]:
    """Run the probes and yield their findings. Stop at the first probe that raises an error."""
    for probe in PROBES:
        try:
            for finding in probe.run(subject):
                yield probe, finding
        except HuntingError as error:
            yield probe, Finding(probe.name, error)
            return
