"""The quota of a tenant: one ledger of all calls, shared by all processes that query the tenant."""

from hunting_pipeline.quota.ledger import open_ledger
from hunting_pipeline.quota.protocol import HourOfCalls, Ledger, Reservation, Usage
from hunting_pipeline.quota.rules import Priority, WaitUntil
from hunting_pipeline.quota.windows import RateUse

__all__ = ["HourOfCalls", "Ledger", "Priority", "RateUse", "Reservation", "Usage", "WaitUntil", "open_ledger"]
