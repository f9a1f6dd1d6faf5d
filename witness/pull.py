"""Rows of a table from msticpy, one JSON object on each line.

Run this program with the interpreter of `.venv-witness`. `HUNTING_*` variables set the service, as for the
pipeline. `SSL_CERT_FILE` is the file of the authorities to trust (msticpy uses httpx). `MSTICPYCONFIG` is the
file of msticpy's settings.

`apiRoot` and the credentials are arguments of `connect`. msticpy has no argument for the login host, so this
program sets the driver's public attribute `oauth_url`. For its provider M365D, msticpy 3.0.2 calls the
Endpoint API. This program therefore sets the public attribute `api_suffix` to the route of Defender XDR.
"""

import argparse
import json
import os
import sys

import pandas as pd
from msticpy.data import QueryProvider
from msticpy.data.core.query_defns import DataEnvironment
from msticpy.data.drivers.mdatp_driver import MDATPDriver

PROVIDERS = {"graph": "M365DGraph", "xdr": "M365D", "endpoint": "MDE"}


def main() -> None:
    """Print the rows of a query, or of msticpy's `list_alerts` for a table and two times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("api", choices=PROVIDERS)
    parser.add_argument("--query", help="KQL, sent unchanged")
    parser.add_argument("--list-alerts", nargs=3, metavar=("TABLE", "START", "END"))
    options = parser.parse_args()
    provider = connected(options.api)
    if options.query:
        frame = provider.exec_query(options.query)
    else:
        table, start, end = options.list_alerts
        frame = provider.M365D.list_alerts(table=table, start=pd.Timestamp(start), end=pd.Timestamp(end))
    for row in frame.to_dict("records"):
        sys.stdout.write(json.dumps({name: plain(value) for name, value in row.items()}) + "\n")


def connected(api: str) -> QueryProvider:
    """Connect msticpy's provider for this API, with the client secret."""
    name = PROVIDERS[api]
    driver = MDATPDriver(data_environment=DataEnvironment[name])
    driver.oauth_url = os.environ["HUNTING_LOGIN_URL"].rstrip("/") + "/{tenantId}/oauth2/v2.0/token"
    if api == "xdr":
        driver.api_suffix = "/advancedhunting/run"
    provider = QueryProvider(name, driver=driver)
    provider.connect(
        tenant_id=os.environ["HUNTING_TENANT_ID"],
        client_id=os.environ["HUNTING_CLIENT_ID"],
        client_secret=os.environ["HUNTING_CLIENT_SECRET"],
        apiRoot=os.environ["HUNTING_API_URL"],
    )
    return provider


def plain(value: object) -> object:
    """Convert a value for JSON. Times keep every digit that msticpy kept; a missing value is null."""
    if not isinstance(value, list | dict) and pd.isna(value):
        return None
    if isinstance(value, pd.Timestamp):
        return value.isoformat()
    return value.item() if hasattr(value, "item") else value


if __name__ == "__main__":
    main()
