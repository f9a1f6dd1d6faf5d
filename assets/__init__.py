"""The default assets: one folder for each Defender service, with a `defs.yaml`, and examples of hunts."""
