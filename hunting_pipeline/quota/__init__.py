"""One quota per tenant: what may be spent when, remembered for everybody who spends it."""

from hunting_pipeline.quota.ledger import Ledger, Reservation, Usage, open_ledger
from hunting_pipeline.quota.rules import Priority, WaitUntil
from hunting_pipeline.quota.windows import RateUse

__all__ = ["Ledger", "Priority", "RateUse", "Reservation", "Usage", "WaitUntil", "open_ledger"]
