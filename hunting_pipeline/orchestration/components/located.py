"""A base class for attributes of a `defs.yaml`. It reports wrong values with file and line."""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from functools import cache
from typing import Any, Self, TypeVar

import dagster as dg
from pydantic import BaseModel, PrivateAttr, ValidationError, create_model

from hunting_pipeline.errors import Misconfigured
from hunting_pipeline.orchestration.source import code_references

__all__ = ["TEMPLATE", "ItemRefused", "Located", "check_all", "checked", "matching", "one_of"]

Value = TypeVar("Value")


class Located(dg.Model, dg.Resolvable):
    """A part of a `defs.yaml`. A wrong value is reported with file and line."""

    _source: dict[str, dg.CodeReferencesMetadataValue] = PrivateAttr(default_factory=dict)

    @classmethod
    def model(cls) -> type[BaseModel]:
        """Return the model of this part of a `defs.yaml`, with the descriptions and rules of its fields."""
        return _documented(cls, super().model())

    @classmethod
    def resolve_from_model(cls, context: dg.ResolutionContext, model: BaseModel) -> Self:
        """Read one part of a `defs.yaml`.

        Raises:
            ResolutionException: a value is wrong. The message shows the line and the reason.
        """
        try:
            resolved: Self = super().resolve_from_model(context, model)
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            cause = problem.get("ctx", {}).get("error")
            at = [*problem["loc"], *([cause.item] if isinstance(cause, ItemRefused) else [])]
            for part in at:
                context = context.at_path(part)
            message = problem["msg"].removeprefix("Value error, ")
            field = ".".join(map(str, at)) or cls.__name__
            raise context.build_resolve_fn_exc([message], field_name=field, model=model) from None
        if context.source_position_tree:
            written, _ = context.source_position_tree.lookup_closest_and_path(context.path, None)
            resolved._source = code_references(written.filename, written.start.line)
        return resolved

    @property
    def source(self) -> Mapping[str, dg.CodeReferencesMetadataValue]:
        """Metadata that link to the file and line; empty if the value does not come from a file."""
        return self._source


@cache
def _documented(described: type[BaseModel], derived: type[BaseModel]) -> type[BaseModel]:
    """Return the derived model with descriptions. Dagster drops those of fields that have a default."""
    fields: dict[str, Any] = {}
    for name, field in derived.model_fields.items():
        kept, original = copy(field), described.model_fields[name]
        kept.description, kept.json_schema_extra = original.description, original.json_schema_extra
        fields[name] = (field.annotation, kept)
    return create_model(derived.__name__, __base__=derived, **fields)


def one_of(values: Sequence[str | None]) -> dict[str, Any]:
    """Return the JSON schema of a value that is one of `values`, or a template. `dg check yaml` reads it."""
    return {"if": TEMPLATE, "else": {"enum": list(values)}}


def matching(pattern: str) -> dict[str, Any]:
    """Return the JSON schema of a text that matches a pattern, or a template. `dg check yaml` reads it."""
    return {"if": TEMPLATE, "else": {"pattern": f"^({pattern})$"}}


TEMPLATE = {"type": "string", "pattern": r"\{\{"}
"""The JSON schema of a template, such as `{{ env.NAME }}`."""


class ItemRefused(ValueError):
    """An item of a list is wrong. `Located` then reports the line of the item.

    Attributes:
        item: the index of the item.
    """

    def __init__(self, item: int, why: str) -> None:
        super().__init__(why)
        self.item = item


def check_all(values: list[Value], check: Callable[[Value], object]) -> list[Value]:
    """Return `values` if `check` accepts all of them.

    Raises:
        ItemRefused: `check` refuses a value.
    """
    for item, value in enumerate(values):
        try:
            checked(value, check)
        except ValueError as error:
            raise ItemRefused(item, str(error)) from None
    return values


def checked(value: Value, check: Callable[[Value], object]) -> Value:
    """Return `value` if `check` accepts it.

    Raises:
        ValueError: `check` refuses the value. Pydantic adds the field, from which `Located` finds the line.
    """
    try:
        check(value)
    except (Misconfigured, dg.DagsterInvalidDefinitionError) as error:
        raise ValueError(str(error)) from None
    return value
