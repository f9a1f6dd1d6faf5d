"""Components: what a `defs.yaml` may name, and what it may say."""
