"""Defender XDR: the older hunting API for all Defender tables.

Source: the API reference 'Advanced hunting API' of Defender XDR with its regional and government endpoints,
read 2026-11. Message MC1220762 announces the end.
"""

from datetime import date

from hunting_pipeline.apis.api import Api, Envelope, execution_time, query_body
from hunting_pipeline.apis.clouds import Cloud
from hunting_pipeline.limits import XDR

__all__ = ["API"]

_HOST = "api.security.microsoft.com"

API = Api(
    name="xdr",
    title="Defender XDR",
    hosts={
        Cloud.GLOBAL: _HOST,
        Cloud.US: f"us.{_HOST}",
        Cloud.EU: f"eu.{_HOST}",
        Cloud.UK: f"uk.{_HOST}",
        Cloud.AU: f"au.{_HOST}",
        Cloud.SWA: f"swa.{_HOST}",
        Cloud.INA: f"ina.{_HOST}",
        Cloud.AEA: f"aea.{_HOST}",
        Cloud.GCC: "api-gcc.security.microsoft.us",
        Cloud.GCC_HIGH: "api-gov.security.microsoft.us",
        Cloud.DOD: "api-gov.security.microsoft.us",
    },
    path="/api/advancedhunting/run",
    application_permission="AdvancedHunting.Read.All",
    delegated_permission="AdvancedHunting.Read",
    scope="https://{host}/.default",
    body=query_body,
    envelope=Envelope(schema="schema", results="results", stats="stats"),
    running_seconds=execution_time,
    limits=XDR,
    ends=date(2027, 2, 1),
)
