"""Defender for Endpoint: the hunting API for Device tables.

Source: the API reference 'Advanced hunting API' of Defender for Endpoint with its US Government and regional
endpoints, read 2026-11. Message MC1220762 announces the end.
"""

from datetime import date

from hunting_pipeline.apis.api import Api, Envelope, execution_time, query_body
from hunting_pipeline.apis.clouds import Cloud
from hunting_pipeline.limits import ENDPOINT

__all__ = ["API"]

API = Api(
    name="endpoint",
    title="Defender for Endpoint",
    hosts={
        Cloud.GLOBAL: "api.securitycenter.microsoft.com",
        Cloud.US: "api-us.securitycenter.microsoft.com",
        Cloud.EU: "api-eu.securitycenter.microsoft.com",
        Cloud.UK: "api-uk.securitycenter.microsoft.com",
        Cloud.GCC: "api-gcc.securitycenter.microsoft.us",
        Cloud.GCC_HIGH: "api-gov.securitycenter.microsoft.us",
        Cloud.DOD: "api-gov.securitycenter.microsoft.us",
    },
    path="/api/advancedqueries/run",
    application_permission="AdvancedQuery.Read.All",
    delegated_permission="AdvancedQuery.Read",
    scope="https://{host}/.default",
    body=query_body,
    envelope=Envelope(schema="schema", results="results", stats="stats"),
    running_seconds=execution_time,
    limits=ENDPOINT,
    ends=date(2027, 2, 1),
)
