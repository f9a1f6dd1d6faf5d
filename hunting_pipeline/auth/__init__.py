"""The credentials: the ways in which the app signs in to Entra, and the one rule that chooses among them.

A new credential is one file of this folder that defines `CREDENTIAL`, and the file's name below. This module
loads no MSAL, so the settings can import it; `auth.tokens` signs in.
"""

from collections.abc import Mapping
from importlib import import_module

from hunting_pipeline.auth.credential import Credential
from hunting_pipeline.errors import Misconfigured, setting

__all__ = ["CREDENTIALS", "choose", "missing"]

_FILES = (
    "certificate",
    "federated",
    "secret",
)
"""The files of the credentials. Of several complete credentials, the first one signs in."""

CREDENTIALS: tuple[type[Credential], ...] = tuple(
    import_module(f"{__name__}.{name}").CREDENTIAL for name in _FILES
)
"""Every credential, in order of precedence."""


def choose(values: Mapping[str, object]) -> Credential:
    """Return the first credential that the settings complete.

    Raises:
        Misconfigured: no credential is complete; the message names the settings to choose from.
    """
    for credential in CREDENTIALS:
        if not credential.missing(values):
            return credential.of(values)
    raise Misconfigured(f"no credential is configured: set {missing(values)}")


def missing(values: Mapping[str, object]) -> str:
    """Return the settings that complete a credential, such as `a or b with c`; empty if one is complete.

    If some settings of a credential are set, only such credentials are named.
    """
    needs = [(credential.missing(values), credential.model_fields) for credential in CREDENTIALS]
    if not all(need for need, _ in needs):
        return ""
    begun = [need for need, fields in needs if any(values.get(name) is not None for name in fields)]
    return " or ".join(" with ".join(map(setting, need)) for need in begun or [need for need, _ in needs])
