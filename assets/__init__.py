"""The defs folder: one folder a Defender service, each with the `defs.yaml` that a team edits."""
