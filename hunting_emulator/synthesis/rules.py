# ruff: noqa: E501 - one rule a line
"""The values of string columns, by the name of the column without its prefix. The first matching rule decides.

A rule is a pattern, SQL, and n: one row in n is empty (0: none). In the SQL, {p} is a random number of the
column. {user}, {program} and {file} are random numbers of the prefix, so all columns about one user or file are
consistent.
"""

_FOLDER = "folder_of({program}, {user})"

# fmt: off
STRINGS: tuple[tuple[str, str, int], ...] = (
    (r"RemoteSession|AppGuard|Container|^Sensitivity|Kubernetes|Aws|Gcp|Alternate", "concat('v', {p} % 99)", 2),
    (r"DeviceId$|UniqueId$", "sha1(concat('device', device_of(h)))", 0),
    (r"(Device|Host|Computer)Name$", "machine(device_of(h))", 30),
    (r"SHA1$|Thumbprint|SignerHash|IssuerHash", "sha1({file})", 12),
    (r"SHA256$|Digest", "sha256({file})", 12),
    (r"MD5$", "md5({file})", 12),
    (r"FileName$|ProcessName$|ImageName$", "word_program_name({program})", 40),
    (r"FolderPath$|^Path$", _FOLDER, 30),
    (r"CommandLine$", f"concat('\"', {_FOLDER}, '\\', word_program_name({{program}}), '\" ', word_arguments({{p}}), ' ', {{p}} % 10000)", 25),
    (r"CompanyName$|Vendor$|Manufacturer$|Signer$|Issuer$", "word_program_company({program})", 15),
    (r"ProductName$|Description$|SoftwareName$|^Application$|AppName$", "word_program_title({program})", 15),
    (r"Version$|Build", "concat(1 + {p} % 20, '.', {p} % 97, '.', {p} % 9999, '.0')", 10),
    (r"Sid$", "concat('S-1-5-21-1004336348-1177238915-682003330-', 1000 + {user})", 10),
    (r"Upn$|EmailAddress$|FromAddress$|^AccountEmail|^Cc$|^To$", "upn_of({user})", 15),
    (r"AccountName$|UserName$", "person({user})", 15),
    (r"AccountDomain$|DomainName$", "upper(split_part(word_domain_name({user} % 2), '.', 1))", 10),
    (r"Domain$", "word_domain_name({user})", 15),
    (r"DisplayName$|^Manager$", "concat(upper(word_first_name({user})), ' ', word_last_name({user} // 20))", 10),
    (r"ObjectId$|AccountId$", "guid_of(md5(concat('user', {user})))", 12),
    (r"IPv6", "concat('2001:db8::', lower(to_hex({p} % 65536)), ':', lower(to_hex({p} % 4096)))", 2),
    (r"IPType$", "CASE WHEN {p} % 4 = 0 THEN 'Public' ELSE 'Private' END", 20),
    (r"IP$|IPAddress$|IpAddress$|IPv4", "address({p})", 10),
    (r"Ur[il]$|UrlChain", "concat('https://', word_host_name({p}), '/', lower(to_hex({p})), '?q=%22a%20b%22&x=1')", 6),
    (r"IntegrityLevel$", "word_integrity({p})", 20),
    (r"TokenElevation$", "word_elevation({p})", 20),
    (r"AdditionalFields|RawEventData|Context$|Details$|Info$|Fields$", "fields_of({p}, {filler})", 12),
    (r"ActionType$|^Operation", "word_{actions}({p})", 0),
    (r"Subject$", "concat(word_subject({p}), ' ', {p} % 500)", 20),
    (r"Title$|Reason$", "word_title({p})", 15),
    (r"Severity|Level$|Risk", "word_severity({p})", 10),
    (r"Platform$", "word_platform(hash(device_of(h), 6))", 0),
    (r"UserAgent", "word_user_agent({p})", 10),
    (r"Country", "word_country({p})", 0),
    (r"City|State$|Location", "word_city({p})", 0),
    (r"Protocol$", "word_protocol({p})", 0),
    (r"Status|Action|Health|Result", "word_status({p})", 10),
    (r"RegistryKey$", "concat('HKEY_LOCAL_MACHINE\\SOFTWARE\\Contoso\\', {p} % 700, '\\Run')", 10),
    (r"Id$|ID$|Guid$", "guid_of(md5(concat({p}, i)))", 25),
)
# fmt: on
