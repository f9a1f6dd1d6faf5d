"""What a column holds: SQL of (`i` row id, `h` row hash, `ts` ticks), chosen by the column's name and type.

Columns of one thing agree: `InitiatingProcessSHA1` and `InitiatingProcessFileName` speak of one file, because
both draw the same number from the row's hash, under the salt of their common prefix.
"""

import re
import zlib
from collections.abc import Sequence

from hunting_emulator import ticks
from hunting_emulator.kql.typed import quote
from hunting_emulator.synthesis import words

DEVICES = 1500
USERS = 2000
_PREFIXES = (
    *("InitiatingProcessParent", "InitiatingProcess", "Process", "Previous", "Request", "Remote", "Local"),
    *("Sender", "Recipient", "Target", "Source", "Destination", "Manager"),
)
_LISTS = {
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
    "country": words.COUNTRIES,
    "city": words.CITIES,
    "status": words.STATES,
    "protocol": words.PROTOCOLS,
    "any_action": words.ANY_ACTIONS,
    **{f"action_{table}": actions for table, actions in words.ACTIONS.items()},
}
_TOKEN = re.compile(r"[A-Z]+(?![a-z])|[A-Z][a-z]+|\d+|[a-z]+")


def macros() -> Sequence[str]:
    """DuckDB macros: one per word list, and the shapes of ids."""
    listed = [
        f"word_{name}(p) AS ([{', '.join(quote(word) for word in entries)}])[1 + (p % {len(entries)})::BIGINT]"
        for name, entries in _LISTS.items()
    ]
    return (
        *listed,
        "guid_of(m) AS concat(m[1:8], '-', m[9:12], '-4', m[14:16], '-8', m[18:20], '-', m[21:32])",
        "hex_of(p, n) AS lower(to_hex(p))",
        "person(u) AS word_first_name(u) || '.' || word_last_name(u // 20)",
        f"user_of(h, s) AS (hash(h, s, 2) % {USERS})",
        f"device_of(h) AS (hash(h, 1) % {DEVICES})",
        "machine(d) AS lower(word_name_prefix(hash(d, 3))) || '-' || lpad(d::VARCHAR, 4, '0') || '.' || word_domain_name(hash(d, 4) % 2)",
        "address(p) AS concat(CASE WHEN p % 3 = 0 THEN '10' ELSE (20 + p % 180)::VARCHAR END, '.', (p >> 8) % 256, '.',"
        " (p >> 16) % 256, '.', 1 + (p >> 24) % 254)",
        f"filler(p, n) AS left(repeat({quote(words.TEXT)}, 1 + n // {len(words.TEXT)}), (p % (2 * n + 1))::BIGINT)",
    )


def column_sql(table: str, name: str, kind: str, filler: int) -> str:
    """SQL of one column of a table; `filler` is the mean length of the free text that gives rows their width."""
    makers = {
        "string": lambda: _string(table, name, filler),
        "dynamic": lambda: _dynamic(name, filler),
        "datetime": lambda: _sparse(name, 20, f"(ts - (hash(h, {_salt(name)}) % {30 * ticks.DAY})::BIGINT)"),
        "long": lambda: _long(name),
        "int": lambda: _int(name),
        "bool": lambda: _sparse(name, 15, f"(hash(h, {_salt(name)}) % 3 = 0)"),
        "real": lambda: _sparse(name, 20, f"((hash(h, {_salt(name)}) % 1000) / 8.0)"),
        "guid": lambda: f"guid_of(md5(concat({_salt(name)}, h)))",
    }
    return makers[kind]()


def _salt(text: str) -> int:
    return zlib.crc32(text.encode()) % 100_000 + 10


def _sparse(name: str, one_in: int, sql: str, missing: str = "NULL") -> str:
    return f"CASE WHEN hash(h, {_salt(name)}, 9) % {one_in} = 0 THEN {missing} ELSE {sql} END"


def _long(name: str) -> str:
    if name == "ReportId":
        return "(abs(i) % 30011)"
    if name.lower().endswith("logonid"):
        return _sparse(name, 12, f"(hash(h, {_salt(name)}) % 9000000000)::BIGINT")
    if name.endswith("Size"):
        return _sparse(name, 15, f"(hash(h, {_salt(name)}) % 40000000)::BIGINT")
    if name.endswith(("ClusterId", "AccountTenantId")):  # beyond 2^53, where a float would lose digits
        return _sparse(name, 15, f"(9007199254740993 + hash(h, {_salt(name)}) % 200000000000000)::BIGINT")
    return _sparse(name, 25, f"(hash(h, {_salt(name)}) % 30000)::BIGINT")


def _int(name: str) -> str:
    if name.endswith("Port"):
        port = f"hash(h, {_salt(name)})"
        sql = f"(CASE WHEN {port} % 3 = 0 THEN 443 WHEN {port} % 3 = 1 THEN 53 ELSE 1024 + {port} % 64000 END)::INTEGER"
        return _sparse(name, 20, sql)
    return _sparse(name, 20, f"(hash(h, {_salt(name)}) % 100)::INTEGER")


def _dynamic(name: str, filler: int) -> str:
    """Objects with nested objects and arrays, arrays of objects, arrays of strings, and nulls."""
    p = f"hash(h, {_salt(name)})"
    seen = f"iso7(ts - ({p} % {ticks.DAY})::BIGINT)"
    deep = (
        f'concat(\'{{"Count":\', {p} % 50, \',"Actor":{{"Upn":"\', person({p} % {USERS}), \'@contoso.com","Roles":["Reader","Owner \','
        f' {p} % 7, \'"]}},"LastSeen":"\', {seen}, \'","Path":"C:\\\\\\\\Temp\\\\\\\\\', {p} % 97, \'.txt",\','
        f" '\"Details\":', to_json(filler({p}, {filler})), ',\"Flag\":', ({p} % 2 = 0)::VARCHAR, ',\"Nothing\":null}}')"
    )
    listed = f'concat(\'[{{"Name":"Parameter \', {p} % 9, \'","Value":\', {p} % 1000, \'}},{{"Name":"Scope","Value":null}}]\')'
    names = f"concat('[\"Tag ', {p} % 12, '\",\"', word_status({p}), '\"]')"
    shapes = {0: listed, 1: names, 2: deep}
    if name in ("AdditionalFields", "RawEventData", "NodeProperties", "EdgeProperties"):
        shape = deep
    else:
        shape = shapes[_salt(name) % 3]
    return _sparse(name, 10, shape)


def _string(table: str, name: str, filler: int) -> str:
    prefix = next((known for known in _PREFIXES if name.startswith(known) and name != known), "")
    base = name[len(prefix) :]
    salt = _salt(prefix)
    for pattern, sql, one_in in _STRING_RULES:
        if re.search(pattern, base if base else name):
            made = sql.format(s=salt, n=_salt(name), f=filler, action=_action(table))
            return made if one_in == 0 else _sparse(name, one_in, made, "''")
    word = " ".join(_TOKEN.findall(name))
    return f"CASE WHEN hash(h, {_salt(name)}) % 5 < 3 THEN '' ELSE concat('{word} ', hash(h, {_salt(name)}) % 40) END"


def _action(table: str) -> str:
    return f"action_{table}" if table in words.ACTIONS else "any_action"


_USER = "user_of(h, {s})"
_PROGRAM = "hash(h, {s}, 3)"
_HASHED = "concat({s}, " + _PROGRAM + " % 22, '-', " + _PROGRAM + " // 22 % 40)"
_FOLDER = "replace(word_program_folder(" + _PROGRAM + "), '%USER%', person(" + _USER + "))"
_COMMAND = (
    "concat('\"', "
    + _FOLDER
    + ", '\\', word_program_name("
    + _PROGRAM
    + "), '\" ', word_arguments(hash(h, {n})),"
    " ' ', hash(h, {n}) % 10000)"
)
_FIELDS = (
    "concat('{{\"IsRemote\":', (hash(h, {n}) % 2 = 0)::VARCHAR, ',\"Session\":', hash(h, {n}) % 9,"
    " ',\"Details\":', to_json(filler(hash(h, {n}), {f})), '}}')"
)

# (pattern of the name after its prefix, SQL, one row in so many is empty; 0 is never)
_STRING_RULES: tuple[tuple[str, str, int], ...] = (
    (
        r"RemoteSession|AppGuard|Container|^Sensitivity|Kubernetes|Aws|Gcp|Alternate",
        "concat('v', hash(h, {n}) % 99)",
        2,
    ),
    (r"^DeviceId$|UniqueId$|HostDeviceId$", "sha1(concat('device', device_of(h)))", 0),
    (r"(Device|Host|Computer)Name$", "machine(device_of(h))", 30),
    (r"SHA1$|Thumbprint|SignerHash|IssuerHash", "sha1(" + _HASHED + ")", 12),
    (r"SHA256$|Digest|Sha256", "sha256(" + _HASHED + ")", 12),
    (r"MD5$|Md5", "md5(" + _HASHED + ")", 12),
    (r"FileName$|ProcessName$|ImageName$|OriginalFileName", "word_program_name(" + _PROGRAM + ")", 40),
    (r"FolderPath$|Directory$|^Path$", _FOLDER, 30),
    (r"CommandLine$|^ProcessCommandLine", _COMMAND, 25),
    (
        r"CompanyName$|Vendor$|Manufacturer$|Publisher|Signer$|Issuer$",
        "word_program_company(" + _PROGRAM + ")",
        15,
    ),
    (
        r"ProductName$|Description$|SoftwareName$|^Application$|AppName$",
        "word_program_title(" + _PROGRAM + ")",
        15,
    ),
    (
        r"Version$|Build|ProductVersion$",
        "concat(1 + hash(h, {n}) % 20, '.', hash(h, {n}) % 97, '.', hash(h, {n}) % 9999, '.0')",
        10,
    ),
    (r"Sid$", "concat('S-1-5-21-1004336348-1177238915-682003330-', 1000 + " + _USER + ")", 10),
    (
        r"Upn$|EmailAddress$|FromAddress$|^Email|Cc$|^To$",
        "concat(person(" + _USER + "), '@', word_domain_name(" + _USER + "))",
        15,
    ),
    (r"AccountName$|UserName$", "person(" + _USER + ")", 15),
    (
        r"AccountDomain$|DomainName$|^Domain$",
        "upper(split_part(word_domain_name(" + _USER + " % 2), '.', 1))",
        10,
    ),
    (r"Domain$", "word_domain_name(" + _USER + ")", 15),
    (
        r"DisplayName$|^Manager$|OwnerName",
        "concat(upper(word_first_name(" + _USER + ")), ' ', word_last_name(" + _USER + " // 20))",
        10,
    ),
    (r"ObjectId$|AccountId$", "guid_of(md5(concat('user', " + _USER + ")))", 12),
    (
        r"IPv6",
        "concat('2001:db8::', lower(to_hex(hash(h, {n}) % 65536)), ':', lower(to_hex(hash(h, {n}) % 4096)))",
        2,
    ),
    (r"IP$|IPAddress$|IpAddress$|IPv4|IPTags$", "address(hash(h, {n}))", 10),
    (
        r"Ur[il]$|Uri$|UrlChain",
        "concat('https://', word_host_name(hash(h, {n})), '/', lower(to_hex(hash(h, {n}))), '?q=%22a%20b%22&x=1')",
        6,
    ),
    (r"AdditionalFields|RawEventData|Context$|Details$|Info$|Fields$", _FIELDS, 12),
    (r"ActionType$|Operation|OperationName", "word_{action}(hash(h, {n}))", 0),
    (r"Subject$", "concat(word_subject(hash(h, {n})), ' ', hash(h, {n}) % 500)", 20),
    (r"Title$|Reason$", "word_title(hash(h, {n}))", 15),
    (r"Severity|Level$|Risk", "word_severity(hash(h, {n}))", 10),
    (r"OSPlatform|Platform$", "word_platform(hash(device_of(h), 6))", 0),
    (r"UserAgent", "word_user_agent(hash(h, {n}))", 10),
    (r"Country|CountryCode", "word_country(hash(h, {n}))", 0),
    (r"City|State$|Location", "word_city(hash(h, {n}))", 0),
    (r"Protocol$", "word_protocol(hash(h, {n}))", 0),
    (r"Status|Action|Health|Result", "word_status(hash(h, {n}))", 10),
    (
        r"^RegistryKey|RegistryKey$",
        "concat('HKEY_LOCAL_MACHINE\\SOFTWARE\\Contoso\\', hash(h, {n}) % 700, '\\Run')",
        10,
    ),
    (
        r"ReportId$|MessageId$|RequestId$|CorrelationId$|AlertId$|Id$|Guid$",
        "guid_of(md5(concat({n}, h)))",
        25,
    ),
)
