# ruff: noqa: E501, ISC004 - SQL is easier to read unbroken, and a macro may be several joined lines
"""DuckDB macros for the column rules: word lists, and the forms of ids and of nested values."""

from collections.abc import Sequence

from hunting_emulator import ticks
from hunting_emulator.kql.typed import quote
from hunting_emulator.synthesis import words

DEVICES = 1500
USERS = 2000
PROGRAMS = len(words.PROGRAMS)
ACTIONS = words.ACTIONS
_LISTS: dict[str, Sequence[str]] = {
    "program_name": [program[0] for program in words.PROGRAMS],
    "program_folder": [program[1] for program in words.PROGRAMS],
    "program_company": [program[2] for program in words.PROGRAMS],
    "program_title": [program[3] for program in words.PROGRAMS],
    "arguments": words.ARGUMENTS,
    "first_name": words.FIRST,
    "last_name": words.LAST,
    "domain_name": words.DOMAINS,
    "host_name": words.HOSTS,
    "platform": words.PLATFORMS,
    "name_prefix": words.PREFIXES,
    "user_agent": words.AGENTS,
    "title": words.TITLES,
    "subject": words.SUBJECTS,
    "severity": words.SEVERITIES,
    "integrity": words.INTEGRITY,
    "elevation": words.ELEVATION,
    "country": words.COUNTRIES,
    "city": words.CITIES,
    "status": words.STATES,
    "protocol": words.PROTOCOLS,
    "any_action": words.ANY_ACTIONS,
    **{f"action_{table}": actions for table, actions in words.ACTIONS.items()},
}
_SHAPES = (
    "guid_of(m) AS concat(m[1:8], '-', m[9:12], '-4', m[14:16], '-8', m[18:20], '-', m[21:32])",
    "person(u) AS word_first_name(u) || '.' || word_last_name(u // 20)",
    "upn_of(u) AS concat(person(u), '@', word_domain_name(u))",
    f"device_of(h) AS (hash(h, 1) % {DEVICES})",
    "machine(d) AS concat(lower(word_name_prefix(hash(d, 3))), '-', lpad(d::VARCHAR, 4, '0'), '.', word_domain_name(hash(d, 4) % 2))",
    "address(p) AS concat(CASE WHEN p % 3 = 0 THEN 10 ELSE 20 + p % 180 END, '.', (p >> 8) % 256, '.', (p >> 16) % 256, '.', 1 + (p >> 24) % 254)",
    "port_of(p) AS (CASE p % 3 WHEN 0 THEN 443 WHEN 1 THEN 53 ELSE 1024 + p % 64000 END)::INTEGER",
    "folder_of(program, u) AS replace(word_program_folder(program), '%USER%', person(u))",
    f"filler(p, n) AS left(repeat({quote(words.TEXT)}, 1 + 2 * n // {len(words.TEXT)}), (p % (2 * n + 1))::BIGINT)",
    "fields_of(p, n) AS concat('{\"IsRemote\":', (p % 2 = 0)::VARCHAR, ',\"Session\":', p % 9, ',\"Details\":', to_json(filler(p, n)), '}')",
    'parameters_of(p) AS concat(\'[{"Name":"Parameter \', p % 9, \'","Value":\', p % 1000, \'},{"Name":"Scope","Value":null}]\')',
    "tags_of(p) AS concat('[\"Tag ', p % 12, '\",\"', word_status(p), '\"]')",
    'details_of(p, ts, n) AS concat(\'{"Count":\', p % 50, \',"Actor":{"Upn":"\', upn_of(p % 2000), \'","Roles":["Reader","Owner \', p % 7, \'"]},\''
    f', \'"LastSeen":"\', iso7(ts - (p % {ticks.DAY})::BIGINT), \'","Path":"C:\\\\Temp\\\\\', p % 97, \'.txt","Details":\', to_json(filler(p, n)),'
    " ',\"Flag\":', (p % 2 = 0)::VARCHAR, ',\"Nothing\":null}')",
)


def macros() -> Sequence[str]:
    """Return the text after CREATE MACRO of each macro. A macro uses only macros before it."""
    listed = [
        f"word_{name}(p) AS ([{', '.join(quote(word) for word in entries)}])[1 + (p % {len(entries)})::BIGINT]"
        for name, entries in _LISTS.items()
    ]
    return (*listed, *_SHAPES)
