"""Where an asset is written, as the UI links it. Dagster warns at each use that this is in beta; here not."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import dagster as dg

__all__ = ["code_references", "place_of", "with_source"]


def code_references(file: str | Path, line: int) -> dict[str, dg.CodeReferencesMetadataValue]:
    """Metadata that lead from an asset to a line, the first being 1, of a file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        place = dg.LocalFileCodeReference(file_path=str(file), line_number=line, label=Path(file).name)
        return {"dagster/code_references": dg.CodeReferencesMetadataValue(code_references=[place])}


def with_source(assets: Sequence[dg.AssetsDefinition]) -> list[dg.AssetsDefinition]:
    """Assets that lead to the Python function of each."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        found = dg.with_source_code_references(assets)
    return [asset for asset in found if isinstance(asset, dg.AssetsDefinition)]


def place_of(spec: dg.AssetSpec) -> str:
    """File and line of an asset, as far as it has them."""
    found = spec.metadata.get("dagster/code_references")
    references = found.code_references if isinstance(found, dg.CodeReferencesMetadataValue) else []
    return references[0].source if references else "a place unknown"
