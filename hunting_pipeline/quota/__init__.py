"""The quota of a tenant: one record of all calls, shared by every process that calls for that tenant."""

from hunting_pipeline.quota.ledger import Ledger, Reservation, Usage, open_ledger
from hunting_pipeline.quota.rules import Priority, WaitUntil
from hunting_pipeline.quota.windows import RateUse

__all__ = ["Ledger", "Priority", "RateUse", "Reservation", "Usage", "WaitUntil", "open_ledger"]
