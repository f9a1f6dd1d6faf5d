"""One run of a dlt pipeline into Parquet files below a folder."""

from pathlib import Path

import dlt


def load(data: object, out: Path, naming: str = "snake_case") -> int:
    """Load the data and return dlt's count of rows. `snake_case` is dlt's default."""
    dlt.config["schema.naming"] = naming
    pipeline = dlt.pipeline(
        "bench",
        destination=dlt.destinations.filesystem(bucket_url=out.as_uri()),
        dataset_name="bench",
        pipelines_dir=str(out.with_suffix(".dlt")),
    )
    pipeline.run(dlt.resource(data, name="events"), loader_file_format="parquet")
    return pipeline.last_trace.last_normalize_info.row_counts["events"]
