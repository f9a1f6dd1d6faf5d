"""The values of a column: SQL over `i` (row id), `h` (row hash) and `ts` (ticks), chosen by name and type.

Columns of one entity are consistent. `InitiatingProcessSHA1` and `InitiatingProcessFileName` describe one
file, because both derive the same number from the row's hash, with the salt of their common prefix.
"""

import re
import zlib

from hunting_emulator import ticks
from hunting_emulator.schema import TableSchema
from hunting_emulator.synthesis.macros import ACTIONS, PROGRAMS, USERS
from hunting_emulator.synthesis.rules import STRINGS

_PREFIXES = (
    *("InitiatingProcessParent", "InitiatingProcess", "Process", "Previous", "Request", "Remote", "Local"),
    *("Sender", "Recipient", "Target", "Source", "Destination", "Manager"),
)
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z][a-z]+|\d+|[a-z]+")
_WIDE_OBJECTS = ("AdditionalFields", "RawEventData", "NodeProperties", "EdgeProperties", "RawAgentInfo")


def column_sql(table: TableSchema, name: str, kind: str) -> str:
    """Return SQL of one column of a table."""
    p = f"hash(h, {_salt(name)})"
    if kind == "string":
        return _string(table, name)
    if kind == "dynamic":
        return _sparse(name, 10, _dynamic(name, p, table.filler))
    if kind == "long":
        return _long(name, p)
    plain = {
        "datetime": f"(ts - ({p} % {30 * ticks.DAY})::BIGINT)",
        "bool": f"({p} % 3 = 0)",
        "real": f"(({p} % 1000) / 8.0)",
        "guid": f"guid_of(md5(concat({_salt(name)}, h)))",
        "int": f"port_of({p})" if name.endswith("Port") else f"({p} % 100)::INTEGER",
    }
    return _sparse(name, 20, plain[kind])


def _salt(text: str) -> int:
    return zlib.crc32(text.encode()) % 100_000 + 10


def _sparse(name: str, one_in: int, sql: str) -> str:
    """Return SQL in which one row in `one_in` is null."""
    return f"CASE WHEN hash(h, {_salt(name)}, 9) % {one_in} = 0 THEN NULL ELSE {sql} END"


def _long(name: str, p: str) -> str:
    if name == "ReportId":  # a repeating counter, like the ReportId of Device tables
        return "(abs(i) % 30011)"
    if name.endswith(("ClusterId", "AccountTenantId")):  # beyond 2^53, where a float would lose digits
        return _sparse(name, 15, f"(9007199254740993 + {p} % 200000000000000)::BIGINT")
    most = (
        9_000_000_000 if name.lower().endswith("logonid") else 40_000_000 if name.endswith("Size") else 30_000
    )
    return _sparse(name, 15, f"({p} % {most})::BIGINT")


def _dynamic(name: str, p: str, filler: int) -> str:
    """Return SQL of objects with nested values, arrays of objects, or arrays of strings."""
    shape = 2 if name in _WIDE_OBJECTS else _salt(name) % 3
    if shape == 0:
        return f"parameters_of({p})"
    return f"tags_of({p})" if shape == 1 else f"details_of({p}, ts, {filler})"


def _string(table: TableSchema, name: str) -> str:
    prefix = next((known for known in _PREFIXES if name.startswith(known) and name != known), "")
    salt = _salt(prefix)
    values = {
        "p": f"hash(h, {_salt(name)})",
        "user": f"(hash(h, {salt}, 2) % {USERS})",
        "program": f"(hash(h, {salt}, 3) % {PROGRAMS})",
        "file": f"concat({salt}, hash(h, {salt}, 3) % {PROGRAMS}, '-', hash(h, {salt}, 4) % 40)",
        "filler": str(table.filler),
        "actions": f"action_{table.name}" if table.name in ACTIONS else "any_action",
    }
    base = name[len(prefix) :]
    for pattern, sql, one_in in STRINGS:
        if re.search(pattern, base):
            made = sql.format(**values)
            return made if one_in == 0 else _optional(name, max(100 // one_in, table.empty), made)
    word = " ".join(_WORDS.findall(name))
    return _optional(name, max(60, table.empty), f"concat('{word} ', {values['p']} % 40)")


def _optional(name: str, percent: int, sql: str) -> str:
    """Return SQL of a text that is empty in `percent` of the rows."""
    return f"CASE WHEN hash(h, {_salt(name)}, 9) % 100 < {percent} THEN '' ELSE {sql} END"
