# ruff: noqa: E501 - texts are data, one on each line
"""The words of the synthetic rows. In lists of one family, the same index belongs to the same entity."""

PROGRAMS = (
    ("svchost.exe", "C:\\Windows\\System32", "Microsoft Corporation", "Host Process for Windows Services"),
    ("chrome.exe", "C:\\Program Files\\Google\\Chrome\\Application", "Google LLC", "Google Chrome"),
    (
        "msedge.exe",
        "C:\\Program Files (x86)\\Microsoft\\Edge\\Application",
        "Microsoft Corporation",
        "Microsoft Edge",
    ),
    (
        "powershell.exe",
        "C:\\Windows\\System32\\WindowsPowerShell\\v1.0",
        "Microsoft Corporation",
        "Windows PowerShell",
    ),
    ("cmd.exe", "C:\\Windows\\System32", "Microsoft Corporation", "Windows Command Processor"),
    (
        "outlook.exe",
        "C:\\Program Files\\Microsoft Office\\root\\Office16",
        "Microsoft Corporation",
        "Microsoft Outlook",
    ),
    (
        "winword.exe",
        "C:\\Program Files\\Microsoft Office\\root\\Office16",
        "Microsoft Corporation",
        "Microsoft Word",
    ),
    (
        "excel.exe",
        "C:\\Program Files\\Microsoft Office\\root\\Office16",
        "Microsoft Corporation",
        "Microsoft Excel",
    ),
    ("teams.exe", "C:\\Program Files\\WindowsApps\\MSTeams", "Microsoft Corporation", "Microsoft Teams"),
    (
        "MsMpEng.exe",
        "C:\\ProgramData\\Microsoft\\Windows Defender\\Platform",
        "Microsoft Corporation",
        "Antimalware Service",
    ),
    (
        "MsSense.exe",
        "C:\\Program Files\\Windows Defender Advanced Threat Protection",
        "Microsoft Corporation",
        "Sense",
    ),
    ("explorer.exe", "C:\\Windows", "Microsoft Corporation", "Windows Explorer"),
    ("services.exe", "C:\\Windows\\System32", "Microsoft Corporation", "Services and Controller app"),
    (
        "OneDrive.exe",
        "C:\\Users\\%USER%\\AppData\\Local\\Microsoft\\OneDrive",
        "Microsoft Corporation",
        "OneDrive",
    ),
    ("rundll32.exe", "C:\\Windows\\System32", "Microsoft Corporation", "Windows host process (Rundll32)"),
    ("wmiprvse.exe", "C:\\Windows\\System32\\wbem", "Microsoft Corporation", "WMI Provider Host"),
    ("zoom.exe", "C:\\Program Files\\Zoom\\bin", "Zoom Communications, Inc.", "Zoom Workplace"),
    ("slack.exe", "C:\\Program Files\\Slack", "Slack Technologies, LLC", "Slack"),
    ("python3.11", "/usr/bin", "", ""),
    ("sshd", "/usr/sbin", "", ""),
    ("java", "/opt/jdk-21/bin", "", ""),
    ("código.exe", "C:\\Archivos de programa\\Contoso", "Contoso S.A.", "Aplicación de código"),
)
ARGUMENTS = (
    "-k netsvcs -p -s Schedule",
    "--type=renderer --lang=en-US --device-scale-factor=1.25 --num-raster-threads=4 --enable-main-frame-before-activation",
    "-NoProfile -ExecutionPolicy Bypass -File \"C:\\Scripts\\inventory.ps1\" -Site 'München'",
    "/c echo %USERDOMAIN%\\%USERNAME% > C:\\Temp\\who.txt && type C:\\Temp\\who.txt",
    "/recycle /hide",
    "",
    "-Embedding",
    '--processStart "update" --a="{\\"channel\\":\\"stable\\"}"',
)
FIRST = (
    *("ada", "grace", "alan", "edsger", "barbara", "donald", "margaret", "john", "katherine", "linus"),
    *("jürgen", "zoë", "renée", "søren", "maría", "wei", "aiko", "olga", "ahmed", "priya"),
)
LAST = (
    *(
        "lovelace",
        "hopper",
        "turing",
        "dijkstra",
        "liskov",
        "knuth",
        "hamilton",
        "mccarthy",
        "johnson",
        "torvalds",
    ),
    *("schmidt", "garcía", "nguyen", "okafor", "ivanova", "tanaka", "haddad", "larsen", "rossi", "novak"),
)
DOMAINS = (
    "contoso.com",
    "fabrikam.com",
    "northwind.example",
    "tailspin.example",
    "adatum.com",
    "woodgrove.example",
)
HOSTS = (
    *(
        "login.microsoftonline.com",
        "outlook.office365.com",
        "graph.microsoft.com",
        "www.bing.com",
        "github.com",
    ),
    *(
        "cdn.contoso.com",
        "update.googleapis.com",
        "settings-win.data.microsoft.com",
        "example.org",
        "teams.microsoft.com",
    ),
)
PLATFORMS = (
    "Windows11",
    "Windows10",
    "WindowsServer2022",
    "WindowsServer2019",
    "macOS",
    "Linux",
    "iOS",
    "Android",
)
PREFIXES = ("LT", "DESKTOP", "SRV", "SQL", "VDI", "KIOSK")
AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15",
    "Microsoft Office/16.0 (Windows NT 10.0; Microsoft Outlook 16.0.17928; Pro)",
    "",
)
ACTIONS = {
    "DeviceProcessEvents": ("ProcessCreated", "OpenProcess"),
    "DeviceNetworkEvents": (
        "ConnectionSuccess",
        "ConnectionFailed",
        "ConnectionRequest",
        "InboundConnectionAccepted",
    ),
    "DeviceFileEvents": ("FileCreated", "FileModified", "FileRenamed", "FileDeleted"),
    "DeviceRegistryEvents": ("RegistryValueSet", "RegistryKeyCreated", "RegistryValueDeleted"),
    "DeviceLogonEvents": ("LogonSuccess", "LogonFailed", "LogonAttempted"),
    "DeviceImageLoadEvents": ("ImageLoaded",),
    "EmailPostDeliveryEvents": ("Phish ZAP", "Malware ZAP", "Manual remediation"),
    "IdentityLogonEvents": ("LogonSuccess", "LogonFailed"),
    "CloudAppEvents": (
        "FileAccessed",
        "MailItemsAccessed",
        "UserLoggedIn",
        "FileDownloaded",
        "Add member to role.",
    ),
    "UrlClickEvents": ("ClickAllowed", "ClickBlocked", "UrlScanInProgress"),
}
ANY_ACTIONS = ("Created", "Modified", "Deleted", "Read", "Blocked", "Allowed")
TITLES = (
    "Suspicious PowerShell command line",
    "Email reported by user as malware or phish",
    "Unusual volume of external file sharing",
    "Anonymous IP address involving one user",
    "Impossible travel activity",
    "'Emotet' malware was prevented",
)
SUBJECTS = (
    "Quarterly figures – draft 2",
    'RE: your invoice #"4711"',
    "Willkommen im Team 🎉",
    "会議の議事録",
    "Out of office",
    "Action required: password expires in 3 days",
)
SEVERITIES = ("Informational", "Low", "Medium", "High")
INTEGRITY = ("System", "High", "Medium", "Low", "AppContainer")
ELEVATION = ("TokenElevationTypeDefault", "TokenElevationTypeFull", "TokenElevationTypeLimited", "None")
COUNTRIES = ("US", "DE", "GB", "JP", "BR", "IN", "FR", "")
CITIES = ("Seattle", "München", "London", "東京", "São Paulo", "Bengaluru", "Paris", "")
STATES = ("Active", "Inactive", "Enabled", "Disabled", "Unknown", "Resolved")
PROTOCOLS = ("Tcp", "Udp", "Icmp", "Kerberos", "Ntlm")
TEXT = (
    "The operation was carried out by an administrator of the tenant and was recorded by the audit service. "
    "No further action is needed; the evidence is kept with the incident. C:\\ProgramData\\Contoso\\Agent\\cache.db "
)
