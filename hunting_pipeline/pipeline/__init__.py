"""The order of the steps of a pull: window, plan, quota, fetch, decode, write, commit."""

from hunting_pipeline.pipeline.clock import Clock
from hunting_pipeline.pipeline.coverage import Coverage, coverage
from hunting_pipeline.pipeline.open import open_lake, open_pipeline, open_quota
from hunting_pipeline.pipeline.pull import Pull
from hunting_pipeline.pipeline.query import ask
from hunting_pipeline.pipeline.recount import Recount
from hunting_pipeline.pipeline.result import Result
from hunting_pipeline.pipeline.session import Pipeline, TablePlan

__all__ = [
    "Clock",
    "Coverage",
    "Pipeline",
    "Pull",
    "Recount",
    "Result",
    "TablePlan",
    "ask",
    "coverage",
    "open_lake",
    "open_pipeline",
    "open_quota",
]
