"""The credentials with which the app can sign in to Entra, and the rule that selects one of them.

To add a credential, write one file in this folder that defines `CREDENTIAL`, and add the file's name below.
This module does not load MSAL, so the settings can import it. `auth.tokens` signs in.
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
"""The files of the credentials. If several credentials are complete, the app uses the first one."""

CREDENTIALS: tuple[type[Credential], ...] = tuple(
    import_module(f"{__name__}.{name}").CREDENTIAL for name in _FILES
)
"""Every credential, in order of precedence."""


def choose(values: Mapping[str, object]) -> Credential:
    """Return the first credential whose required settings are all set.

    Raises:
        Misconfigured: no credential is complete. The message names the missing settings.
    """
    for credential in CREDENTIALS:
        if not credential.missing(values):
            return credential.of(values)
    raise Misconfigured(f"no credential is configured: set {missing(values)}")


def missing(values: Mapping[str, object]) -> str:
    """Return the missing settings as text, such as `a or b with c`; empty if a credential is complete.

    If a credential is partly set, the text names only the settings of partly set credentials.
    """
    needs = [(credential.missing(values), credential.model_fields) for credential in CREDENTIALS]
    if not all(need for need, _ in needs):
        return ""
    begun = [need for need, fields in needs if any(values.get(name) is not None for name in fields)]
    return " or ".join(" with ".join(map(setting, need)) for need in begun or [need for need, _ in needs])
