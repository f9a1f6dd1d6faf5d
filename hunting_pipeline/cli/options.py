"""Options of several commands: a range of days, and a tenant."""

from typing import Annotated

import typer

from hunting_pipeline.errors import Misconfigured
from hunting_pipeline.moments import FORMS, ticks_at
from hunting_pipeline.settings import TENANT_VARIABLE

__all__ = ["From", "Tenant", "To"]


def _checked(text: str | None) -> str | None:
    """Check the form of a date, before any setting is read.

    Raises:
        typer.BadParameter: the text is not a date.
    """
    if text:
        try:
            ticks_at(text, 0)
        except Misconfigured as error:
            raise typer.BadParameter(str(error)) from None
    return text


From = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="DATE",
        help=f"start (UTC), included: {FORMS}; default: start of the retention",
        callback=_checked,
    ),
]
To = Annotated[
    str | None,
    typer.Option(
        "--to", metavar="DATE", help="end (UTC), excluded: as --from; default: now", callback=_checked
    ),
]
Tenant = Annotated[
    str,
    typer.Option(
        "--tenant",
        envvar=TENANT_VARIABLE,
        metavar="NAME",
        help="name of the tenant, if several tenants are configured",
    ),
]
