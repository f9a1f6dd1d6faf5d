"""Workload identity: a token of another issuer, such as Kubernetes or a CI system, instead of a secret."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

from pydantic import Field

from hunting_pipeline.auth.credential import Credential, read_file
from hunting_pipeline.redaction import hold

__all__ = ["CREDENTIAL", "FederatedToken"]


class FederatedToken(Credential):
    """A file with a token for this workload. Each sign-in reads the file, because the issuer replaces it."""

    title: ClassVar = "workload identity"
    advice: ClassVar[Mapping[int, str]] = MappingProxyType(
        {
            700213: "the app has no federated credential for this workload's subject: add one",
            70021: "the app has no federated credential for this workload's issuer and subject: add one",
        }
    )

    federated_token: Path = Field(
        description="file with a workload identity's token; each sign-in reads the file again"
    )

    def msal_form(self) -> object:
        self._assertion()
        return {"client_assertion": self._assertion}

    def _assertion(self) -> str:
        token = read_file(self.federated_token, name="federated_token").decode(errors="replace").strip()
        hold(token)
        return token


CREDENTIAL = FederatedToken
