"""KQL: the queries that the pipeline sends, and the analysis of people's own queries. Pure, no I/O."""
