"""The only use of Dagster's private modules: the latest finished evaluation of a check.

The public `DagsterInstance.get_latest_asset_check_evaluation_record` also returns an evaluation that is only
planned, or whose run ended early. Such a record would hide the last real result.
"""

from typing import NamedTuple

import dagster as dg
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

__all__ = ["Evaluated", "latest_evaluation"]

_FINISHED = {AssetCheckExecutionRecordStatus.SUCCEEDED, AssetCheckExecutionRecordStatus.FAILED}


class Evaluated(NamedTuple):
    """A finished evaluation of a check.

    Attributes:
        id: the id of the evaluation's record. A later evaluation has a different id.
        evaluation: the result.
    """

    id: int
    evaluation: dg.AssetCheckEvaluation


def latest_evaluation(instance: dg.DagsterInstance, check: dg.AssetCheckKey) -> Evaluated | None:
    """Return the latest finished evaluation of a check, or None if there is none."""
    records = instance.event_log_storage.get_asset_check_execution_history(check, limit=1, status=_FINISHED)
    if not records or records[0].evaluation is None:
        return None
    return Evaluated(records[0].id, records[0].evaluation)
