"""The defs folder: one folder for each Defender service, with the `defs.yaml` that a team edits."""
