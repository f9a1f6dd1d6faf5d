"""The clock of a ledger in tests."""

T0 = 1_800_000_000.0


class Clock:
    """A clock that only moves when the test sets it."""

    def __init__(self) -> None:
        self.now = T0

    def __call__(self) -> float:
        return self.now
