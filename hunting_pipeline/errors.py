"""Every error the package raises, grouped by what the catcher does next.

    HuntingError
    ├── Misconfigured          a person must act; no request was sent, no data was written
    ├── Refused                the service refuses (bad query, no permission, table absent); never retried
    ├── BeyondRetention        the service no longer holds this span; the archive is unchanged
    ├── QuotaExhausted         run again at `until`; committed and staged work is kept
    ├── ServiceFailed          all attempts failed; safe to run again, staged work is kept
    ├── LakeBusy               another run writes the table; run again when that run has ended
    ├── SliceTooDense          the slice cannot be cut further; its partition is skipped
    ├── ResultTooLarge         a query's result does not fit one reply; nothing was returned, narrow the query
    ├── ReplyUnreadable        the reply is truncated or contradictory; its slice was not written
    └── CommitRefused          it would lose rows, or a file is damaged; the archive is unchanged

Each message says what happened, what the state is now, and what to do. A message never contains a token or a
secret.
"""

import re
from collections.abc import Callable
from datetime import datetime

__all__ = [
    "BeyondRetention",
    "CommitRefused",
    "HuntingError",
    "LakeBusy",
    "Misconfigured",
    "QuotaExhausted",
    "Refused",
    "ReplyUnreadable",
    "ResultTooLarge",
    "ServiceFailed",
    "SliceTooDense",
    "setting",
]

_MARK = re.compile(r"‹([a-z_]+)›")


def setting(name: str) -> str:
    """Return the mark that stands for a setting in a message, such as `‹client_secret›`.

    Code that raises an error about a setting uses this mark. Before a person reads the message,
    `HuntingError.name_settings` replaces the mark by the name of the variable.
    """
    return f"‹{name}›"


class HuntingError(Exception):
    """The base class of every error that this package raises on purpose."""

    def __str__(self) -> str:
        return _MARK.sub(r"\1", super().__str__())

    @property
    def marked(self) -> str:
        """The message before `name_settings`, for use in the message or note of another error."""
        return super().__str__()

    def name_settings(self, name_of: Callable[[str], str]) -> None:
        """Replace each setting's mark in the message and its notes by `name_of(setting)`."""

        def named(text: str) -> str:
            return _MARK.sub(lambda mark: name_of(mark[1]), text)

        self.args = tuple(named(one) if isinstance(one, str) else one for one in self.args)
        if hasattr(self, "__notes__"):
            self.__notes__ = [named(note) for note in self.__notes__]


class Misconfigured(HuntingError):
    """A setting, a date range or a file is wrong. No request was sent and no data was written.

    Attributes:
        everything: whether every other table would fail too; False for the wrong grain of one table.
    """

    def __init__(self, message: str, *, everything: bool = True) -> None:
        super().__init__(message)
        self.everything = everything


class Refused(HuntingError):
    """The service refused the request and would refuse it again. The message quotes the service.

    Attributes:
        everything: whether the service would refuse every other request too, for example because a permission
            is missing or the secret is wrong.
    """

    def __init__(self, message: str, *, everything: bool = True) -> None:
        super().__init__(message)
        self.everything = everything


class BeyondRetention(HuntingError):
    """The span is older than the service's retention. It was not requested. The archive is unchanged."""


class QuotaExhausted(HuntingError):
    """The tenant's quota is exhausted for longer than the max wait. Finished work is kept.

    Attributes:
        until: earliest time (UTC) at which another request can succeed.
    """

    def __init__(self, message: str, *, until: datetime) -> None:
        super().__init__(message)
        self.until = until


class ServiceFailed(HuntingError):
    """The service or the network failed in every attempt. Run again: staged work is kept.

    Attributes:
        everything: whether the service fails for all tables, so no other table is asked for.
    """

    def __init__(self, message: str, *, everything: bool = False) -> None:
        super().__init__(message)
        self.everything = everything


class LakeBusy(HuntingError):
    """Another run still writes the table after the max wait. Run again when that run has ended."""


class SliceTooDense(HuntingError):
    """A slice does not fit one reply and cannot be cut further. Its partition is skipped."""


class ResultTooLarge(HuntingError):
    """The result of a query does not fit one reply, and the query cannot be cut by time exactly.

    Nothing was returned. Narrow the query, or allow a truncated result.
    """


class ReplyUnreadable(HuntingError):
    """The reply is truncated or contradicts itself. The slice was not written."""


class CommitRefused(HuntingError):
    """The partition was not replaced: it would lose rows, or its file is damaged or another tenant's."""
