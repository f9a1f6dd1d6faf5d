"""Microsoft Graph: the hunting API for Defender tables and the tables of an onboarded Sentinel workspace.

Source: the API reference 'security: runHuntingQuery', read 2026-11.
"""

from hunting_pipeline.apis.api import Api, Envelope, execution_time, query_body
from hunting_pipeline.apis.clouds import Cloud
from hunting_pipeline.limits import GRAPH

__all__ = ["API"]

API = Api(
    name="graph",
    title="Microsoft Graph",
    hosts={
        Cloud.GLOBAL: "graph.microsoft.com",
        Cloud.GCC: "graph.microsoft.com",
        Cloud.GCC_HIGH: "graph.microsoft.us",
        Cloud.DOD: "dod-graph.microsoft.us",
    },
    path="/v1.0/security/runHuntingQuery",
    application_permission="ThreatHunting.Read.All",
    delegated_permission="ThreatHunting.Read.All",
    scope="https://{host}/.default",
    body=query_body,
    envelope=Envelope(schema="schema", results="results", stats="stats"),
    running_seconds=execution_time,  # replies of Graph currently contain no statistics
    limits=GRAPH,
)
