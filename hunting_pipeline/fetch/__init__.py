"""One question to the service, one answer: connection, tokens, KQL text, HTTP, and what a reply means.

The only room that speaks HTTP. It never retries, never sleeps and never decodes rows: a reply becomes bytes
or a verdict, and the caller acts on it.
"""
