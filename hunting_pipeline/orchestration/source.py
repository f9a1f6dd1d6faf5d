"""Code references: the UI links an asset to the file and line that define it.

Code references are a beta feature of Dagster. This module silences the warning about it.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path

import dagster as dg

from hunting_pipeline.orchestration.keys import CODE_REFERENCES

__all__ = ["code_references", "place_of", "with_source"]


def code_references(file: str | Path, line: int) -> dict[str, dg.CodeReferencesMetadataValue]:
    """Return metadata that link an asset to a line of a file. The first line is 1."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        place = dg.LocalFileCodeReference(file_path=str(file), line_number=line, label=Path(file).name)
        return {CODE_REFERENCES: dg.CodeReferencesMetadataValue(code_references=[place])}


def with_source(assets: Sequence[dg.AssetsDefinition]) -> list[dg.AssetsDefinition]:
    """Return the assets, each with a link to its Python function."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        found = dg.with_source_code_references(assets)
    return [asset for asset in found if isinstance(asset, dg.AssetsDefinition)]


def place_of(spec: dg.AssetSpec) -> str:
    """Return the file and line of an asset, if they are known."""
    found = spec.metadata.get(CODE_REFERENCES)
    references = found.code_references if isinstance(found, dg.CodeReferencesMetadataValue) else []
    return references[0].source if references else "an unknown place"
