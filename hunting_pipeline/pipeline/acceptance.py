"""The record that the tenant accepts the settings: the automation starts only after it."""

import threading
from contextlib import suppress
from dataclasses import dataclass, field

from hunting_pipeline.errors import HuntingError
from hunting_pipeline.quota.protocol import Ledger

__all__ = ["Acceptance"]


@dataclass
class Acceptance:
    """Records once in the ledger that the tenant accepts an identity. Threads may share it."""

    ledger: Ledger
    identity: str
    _recorded: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def record(self) -> None:
        """Record the acceptance if it is not recorded yet. If the ledger fails, the next reply records it."""
        with self._lock:
            if not self._recorded:
                with suppress(HuntingError):
                    self.ledger.record_access(self.identity)
                    self._recorded = True
