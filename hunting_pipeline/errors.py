"""Every error the package raises, grouped by what the catcher does next.

    HuntingError
    ├── Misconfigured          a person must act; nothing asked, nothing written
    ├── Refused                the service says no (bad query, no permission, table absent); never retried
    ├── BeyondRetention        the API has forgotten this span; the archive is untouched
    ├── QuotaExhausted         come back at `until`; committed and staged work stays
    ├── ServiceFailed          retries spent; safe to run again, staged work stays
    ├── SliceTooDense          cannot be cut further; the gap stays visible in coverage
    ├── ReplyUnreadable        truncated or contradictory; nothing of the slice was written
    └── CommitRefused          fewer rows than archived, or a foreign writer; the archive is untouched

Each message says what is the case, and what to change where a person can change it. Messages never hold a
token or a secret.
"""

import re
from collections.abc import Callable
from datetime import datetime

__all__ = [
    "BeyondRetention",
    "CommitRefused",
    "HuntingError",
    "Misconfigured",
    "QuotaExhausted",
    "Refused",
    "ReplyUnreadable",
    "ServiceFailed",
    "SliceTooDense",
    "setting",
]

_MARK = re.compile(r"‹([a-z_]+)›")


def setting(name: str) -> str:
    """Return the mark that stands for a setting in a message, such as `‹client_secret›`.

    A room raises about a setting and does not know where it is set. The edge names the variable or the
    line of the file in its place, see `HuntingError.name_settings`.
    """
    return f"‹{name}›"


class HuntingError(Exception):
    """The root: catch it to catch everything this package raises on purpose."""

    def __str__(self) -> str:
        return _MARK.sub(r"\1", super().__str__())

    def name_settings(self, name_of: Callable[[str], str]) -> None:
        """Replace the marks of settings in the message and its notes by what `name_of` calls each."""

        def named(text: str) -> str:
            return _MARK.sub(lambda mark: name_of(mark[1]), text)

        self.args = tuple(named(one) if isinstance(one, str) else one for one in self.args)
        if hasattr(self, "__notes__"):
            self.__notes__ = [named(note) for note in self.__notes__]


class Misconfigured(HuntingError):
    """A setting, a date range or a file is wrong. Nothing was asked of the service, nothing written."""


class Refused(HuntingError):
    """The service refused the request and would refuse it again. The message carries its own text.

    Attributes:
        everything: every other question would be refused too (a permission is missing, the secret is wrong).
    """

    def __init__(self, message: str, *, everything: bool = True) -> None:
        super().__init__(message)
        self.everything = everything


class BeyondRetention(HuntingError):
    """The span lies behind what the API still holds. It was not asked for; its archive is untouched."""


class QuotaExhausted(HuntingError):
    """The tenant's quota is spent for longer than this process may wait. All finished work stays.

    Attributes:
        until: first instant (UTC) at which asking again is useful.
    """

    def __init__(self, message: str, *, until: datetime) -> None:
        super().__init__(message)
        self.until = until


class ServiceFailed(HuntingError):
    """The service or the network failed more often than a call is retried. Run again: staged work stays."""


class SliceTooDense(HuntingError):
    """A slice holds more than one reply can carry and cannot be cut further. Its partition stays a gap."""


class ReplyUnreadable(HuntingError):
    """The body was cut short or contradicts itself. Nothing of the slice was written."""


class CommitRefused(HuntingError):
    """The partition was not replaced: it would lose rows, or another tenant owns the lake."""
