"""The errors of object stores, mapped at one door to the errors of this package.

A message quotes only the code and the text of the service, never the address of a request, which may hold a
signature.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)

from hunting_pipeline.errors import HuntingError, Misconfigured, ServiceFailed, setting
from hunting_pipeline.redaction import redacted

__all__ = [
    "NOT_AS_EXPECTED",
    "Operation",
    "Service",
    "code_of",
    "explained",
    "said",
    "sign_in_failed",
    "sign_in_unanswered",
]

NOT_AS_EXPECTED = (AlreadyExistsError, PreconditionError)
"""The errors of a condition that does not hold: another writer was faster."""

Operation = Literal["get", "list", "put", "delete"]

_LONGEST = 300
"""Most characters that a message quotes from the service."""

_CODE = re.compile(r"<Code>\s*([\w.]+)\s*</Code>")
_TEXT = re.compile(r"<Message>\s*([^<\n]+)")
_DENIED = re.compile(r"status code: 40[13] ")
_ADDRESS = re.compile(r"https?://[^\s]+")

_NO_CONTAINER = {"NoSuchBucket", "ContainerNotFound", "FilesystemNotFound", "InvalidBucketName"}
_EXPIRED = {"ExpiredToken", "TokenRefreshRequired", "ExpiredAuthenticationToken"}
_CLOCK = {"RequestTimeTooSkewed"}
_SIGNED_WRONGLY = {
    *("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "AuthFailure"),
    *("AuthenticationFailed", "AuthorizationFailure", "InvalidAuthenticationInfo"),
}
_OTHER_REGION = {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}


@dataclass(frozen=True, slots=True)
class Service:
    """The facts about one kind of object store.

    Attributes:
        name: the product's name.
        container: the product's word for a bucket.
        rights: the permission that each operation needs, in the product's words.
        credentials: where the credentials come from, as a sentence for messages.
        largest: most bytes of an object that one PUT creates.
        generations: whether a condition needs the number of the generation and not the ETag.
    """

    name: str
    container: str
    rights: Mapping[Operation, str]
    credentials: str
    largest: int
    generations: bool = False


def code_of(text: str) -> str:
    """Return the code in an XML error of an object store; "" if there is none."""
    found = _CODE.search(text)
    return found[1] if found else ""


@contextmanager
def explained(uri: str, service: Service, operation: Operation) -> Iterator[None]:
    """Replace the errors of one operation on a store. Errors of conditions and of absent objects stay.

    Args:
        uri: the location of the lake, for messages.
        service: the kind of store.
        operation: the operation, which decides the permission that a message names.

    Raises:
        Misconfigured: a person must act.
        ServiceFailed: the store or the network failed in every attempt.
        FileNotFoundError: the object does not exist.
    """
    try:
        yield
    except NOT_AS_EXPECTED:
        raise
    except (BaseError, FileNotFoundError) as error:
        if isinstance(error, FileNotFoundError) and code_of(str(error)) not in _NO_CONTAINER:
            raise
        raise _judged(uri, service, operation, error) from None


def _judged(uri: str, service: Service, operation: Operation, error: Exception) -> HuntingError:
    code, quoted = code_of(str(error)), said(str(error))
    if code in _SIGNED_WRONGLY:
        return sign_in_failed(uri, service, quoted)
    problem = _problem(service, operation, code, denied=_is_denied(error))
    if problem is not None:
        what, remedy = problem
        return Misconfigured(
            f"the lake {uri} cannot be used: {what} ({quoted})."
            f" All committed partitions are unchanged. {remedy}"
        )
    return ServiceFailed(
        f"{service.name} did not serve the lake {uri} ({quoted}). All committed partitions are unchanged, and"
        " staged work is kept. Run again",
        everything=True,
    )


def _is_denied(error: Exception) -> bool:
    """Return whether the store refused a permission. Errors of lists have no class of their own."""
    classes = PermissionDeniedError | UnauthenticatedError
    return isinstance(error, classes) or bool(_DENIED.search(str(error)))


def _problem(service: Service, operation: Operation, code: str, *, denied: bool) -> tuple[str, str] | None:
    """Return a problem that a person must solve, and its remedy; None if the store or the network failed."""
    if code in _NO_CONTAINER:
        return (
            f"the {service.container} does not exist",
            f"Create the {service.container}, or change {setting('lake')}",
        )
    if code in _CLOCK:
        return "the clock of this machine is wrong", "Correct the clock"
    if code in _EXPIRED:
        return "the credentials have expired", f"Renew them and run again. {service.credentials}"
    if code in _OTHER_REGION:
        return f"the {service.container} is in another region", f"Set {setting('lake_region')}"
    if denied:
        return (
            f"{service.name} does not allow this identity to {operation} objects",
            f"Grant {service.rights[operation]}. {service.credentials}",
        )
    return None


def sign_in_failed(uri: str, service: Service, reason: str) -> Misconfigured:
    """Return the error of credentials that are missing or wrong."""
    return Misconfigured(
        f"the lake {uri} could not be opened: {service.name} has no valid credentials ({reason})."
        f" All committed partitions are unchanged. {service.credentials}"
    )


def sign_in_unanswered(uri: str, reason: str) -> ServiceFailed:
    """Return the error of a service that issues credentials and did not answer."""
    return ServiceFailed(
        f"the credentials for the lake {uri} could not be fetched ({reason})", everything=True
    )


def said(text: str) -> str:
    """Return the code and the text of the service, or the reason of the network, without any address."""
    message = _TEXT.search(text)
    if code := code_of(text):
        found = f"{code}: {message[1].strip()}" if message else code
    else:
        found = text.partition("\n\nDebug source")[0].rpartition(" - ")[2]
    return redacted(_ADDRESS.sub("…", found))[:_LONGEST].strip().rstrip(".")
