"""A comparison of decoding with its slow reference: the same table, or both refuse."""

from collections.abc import Iterator
from decimal import localcontext
from typing import Any
from unittest import mock

import pyarrow as pa
from decode_reference import Wrong, reference

from hunting_pipeline.decode import decode, fast
from hunting_pipeline.errors import ReplyUnreadable

LIMIT = 1 << 22


def chunks(body: bytes, step: int) -> Iterator[bytes]:
    return (body[i : i + step] for i in range(0, len(body), step))


def plain(column: pa.ChunkedArray) -> list[Any]:
    """Return the column's values in the reference's form."""
    if pa.types.is_temporal(column.type):
        return column.cast(pa.int64()).to_pylist()
    values = column.to_pylist()
    if pa.types.is_decimal(column.type):
        with localcontext(prec=60):
            return [None if v is None else int(v * 10**18) for v in values]
    return values


def decoded(body: bytes, *, block: int, step: int) -> Any:
    """Decode a body and return the result in the form of `reference`."""
    with mock.patch.object(fast, "_BLOCK", block):
        found = decode(chunks(body, step), max_bytes=LIMIT)
    named = [(c.name, c.kusto_type) for c in found.columns]
    table = found.table
    table.validate(full=True)
    lost = [None] * table.num_rows
    if "_rescued_data" in table.column_names:
        lost = table.column("_rescued_data").to_pylist()
        table = table.drop_columns(["_rescued_data"])
        assert any(lost)
    assert table.column_names == [n for n, _ in named]
    assert found.body_bytes == len(body)
    columns = [plain(c) for c in table.columns]
    return named, [list(row) for row in zip(*columns, strict=True)], lost


def same(body: bytes, *, block: int, step: int) -> bool:
    """Assert that both refuse the body or give the same result. Returns whether they accept it."""
    try:
        wanted = reference(body)
    except Wrong:
        try:
            found = decoded(body, block=block, step=step)
        except ReplyUnreadable:
            return False
        raise AssertionError(f"a body that is no reply was read as {found!r}") from None
    given = decoded(body, block=block, step=step)
    assert repr(given) == repr(wanted), f"\n{given!r}\nis not\n{wanted!r}"
    return True
