"""Asset checks: each module turns findings of the pipeline into results of Dagster."""
