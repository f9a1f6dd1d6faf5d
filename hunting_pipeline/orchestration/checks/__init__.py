"""Asset checks. Each module converts findings of the pipeline into check results of Dagster."""
