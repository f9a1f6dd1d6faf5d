"""The description of one hunting API: all differences between the APIs are attributes of `Api`."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple

from hunting_pipeline.apis.clouds import Cloud
from hunting_pipeline.limits import Limits

__all__ = ["Api", "Envelope", "execution_time", "query_body"]


class Envelope(NamedTuple):
    """The keys of a reply's outermost JSON object, in lower case. Replies are read case-insensitively."""

    schema: str
    results: str
    stats: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """One hunting API.

    Attributes:
        name: value of the setting `api`; also the name of the API's file in this folder.
        title: the product's name, for the documentation.
        hosts: host name in each cloud or region where Microsoft offers the API.
        path: path of the hunting request.
        application_permission: permission of an app that signs in as itself.
        delegated_permission: permission of an app that acts for a signed-in user.
        scope: OAuth scope; `{host}` stands for the API's host in the cloud that issues its tokens.
        body: a function that builds the body of a request from a query.
        envelope: keys of a reply.
        running_seconds: a function that reads a query's running time in seconds from the statistics of a
            reply. It returns None if the time is absent.
        limits: limits profile that applies unless the setting `limits` names another profile.
        ends: the first day on which Microsoft no longer serves the API; None if no day is announced.
    """

    name: str
    title: str
    hosts: Mapping[Cloud, str]
    path: str
    application_permission: str
    delegated_permission: str
    scope: str
    body: Callable[[str], bytes]
    envelope: Envelope
    running_seconds: Callable[[Mapping[str, Any]], float | None]
    limits: Limits
    ends: date | None = None

    @property
    def permission(self) -> str:
        """Both permissions, as a phrase for messages."""
        if self.application_permission == self.delegated_permission:
            return self.application_permission
        return f"{self.application_permission} (application) or {self.delegated_permission} (delegated)"

    def scope_in(self, cloud: Cloud) -> str:
        """Return the scope of a token for `cloud`, which must be one of `hosts`."""
        return self.scope.format(host=self.hosts[cloud.token_cloud])


def query_body(query: str) -> bytes:
    """Return the JSON body with the query under the key `Query`."""
    return json.dumps({"Query": query}).encode()


def execution_time(stats: Mapping[str, Any]) -> float | None:
    """Return the seconds under `ExecutionTime`, or None if the key is absent or not a duration."""
    figure = stats.get("ExecutionTime")
    return float(figure) if isinstance(figure, int | float) and figure >= 0 else None
