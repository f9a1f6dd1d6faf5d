"""The base of every credential: its settings are its fields, and MSAL asks it for the rest."""

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

    To add a credential, subclass this class in an own file and name the file in `auth/__init__.py`. Each
    field of the subclass becomes a setting with the field's name, type and description. A secret has the
    type `SecretStr`. A field with a default is optional. The credential is complete when every other field
    is set.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    title: ClassVar[str]
    """What the credential is, for documents."""

    advice: ClassVar[Mapping[int, str]] = MappingProxyType({})
    """What a person must do about an error of Entra that concerns this credential, by its AADSTS number."""

    @classmethod
    def missing(cls, values: Mapping[str, object]) -> tuple[str, ...]:
        """Return the required settings that `values` lacks. The credential is complete if there are none."""
        required = (name for name, field in cls.model_fields.items() if field.is_required())
        return tuple(name for name in required if values.get(name) is None)

    @classmethod
    def of(cls, values: Mapping[str, object]) -> Self:
        """Create the credential from settings. Settings of other credentials are ignored."""
        return cls.model_validate({name: values[name] for name in cls.model_fields if name in values})

    @abstractmethod
    def msal_form(self) -> object:
        """Return the `client_credential` that MSAL takes. Files are read and checked here.

        Raises:
            Misconfigured: a value is empty, or a file cannot be used.
        """

    def acquire(self, application: Any, scope: str) -> dict[str, Any]:
        """Return MSAL's answer to a request for a token. MSAL answers from memory if it can."""
        answer: dict[str, Any] = application.acquire_token_for_client([scope])
        return answer

    def forget(self, application: Any) -> None:
        """Remove the tokens from MSAL's memory."""
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
