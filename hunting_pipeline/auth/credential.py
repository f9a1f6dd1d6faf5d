"""The base class of the credentials. The fields of a credential are its settings."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict

from hunting_pipeline.errors import Misconfigured, setting

__all__ = ["Credential", "read_file"]


class Credential(BaseModel, ABC):
    """One way for the app to sign in.

    To add a credential, write a subclass in a new file and add the file's name to `auth/__init__.py`. Each
    field of the subclass becomes a setting with the field's name, type and description. Secrets must have the
    type `SecretStr`. A field with a default is optional. The credential is complete if all other fields are
    set.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    title: ClassVar[str]
    """The name of the credential in the documentation."""

    advice: ClassVar[Mapping[int, str]] = MappingProxyType({})
    """The cause and the solution of Entra errors that concern this credential, by their AADSTS numbers."""

    @classmethod
    def missing(cls, values: Mapping[str, object]) -> tuple[str, ...]:
        """Return the required settings that are not in `values`; none if the credential is complete."""
        required = (name for name, field in cls.model_fields.items() if field.is_required())
        return tuple(name for name in required if values.get(name) is None)

    @classmethod
    def of(cls, values: Mapping[str, object]) -> Self:
        """Create the credential from settings. Settings of other credentials are ignored."""
        return cls.model_validate({name: values[name] for name in cls.model_fields if name in values})

    @abstractmethod
    def msal_form(self) -> object:
        """Return the argument `client_credential` of MSAL. This method reads and checks files.

        Raises:
            Misconfigured: a value is empty, or a file cannot be used.
        """

    def acquire(self, application: Any, scope: str) -> dict[str, Any]:
        """Return MSAL's answer to a request for a token. MSAL uses its cache if possible."""
        answer: dict[str, Any] = application.acquire_token_for_client([scope])
        return answer

    def forget(self, application: Any) -> None:
        """Remove the tokens from MSAL's cache."""
        application.remove_tokens_for_client()


def read_file(path: Path, *, name: str) -> bytes:
    """Return the content of the file that the setting `name` points to.

    Raises:
        Misconfigured: the file cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise Misconfigured(f"{setting(name)} {path} cannot be read: {error.strerror}") from None
