"""A base class for attributes of a `defs.yaml`. It reports wrong values with file and line."""

from collections.abc import Callable, Mapping
from typing import Self, TypeVar

import dagster as dg
from pydantic import BaseModel, PrivateAttr, ValidationError

from hunting_pipeline.errors import Misconfigured
from hunting_pipeline.orchestration.source import code_references

__all__ = ["ItemRefused", "Located", "check_all", "checked"]

Value = TypeVar("Value")


class Located(dg.Model, dg.Resolvable):
    """A part of a `defs.yaml`. A wrong value is reported with file and line."""

    _source: dict[str, dg.CodeReferencesMetadataValue] = PrivateAttr(default_factory=dict)

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
