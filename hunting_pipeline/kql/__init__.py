"""KQL: the queries that the pipeline sends, and the reading of people's own queries. Pure, no I/O."""
