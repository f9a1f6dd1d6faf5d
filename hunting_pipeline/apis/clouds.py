"""Microsoft's clouds and the regions of the global cloud.

Source: 'National cloud deployments' of Microsoft Graph, and the regional and government endpoints in the API
references of Defender XDR and Defender for Endpoint, read 2026-11.
"""

from enum import StrEnum

__all__ = ["Cloud"]


class Cloud(StrEnum):
    """A cloud, or a region of the global cloud; the values of the setting `cloud`."""

    GLOBAL = "global"
    US = "us"
    EU = "eu"
    UK = "uk"
    AU = "au"
    SWA = "swa"
    INA = "ina"
    AEA = "aea"
    GCC = "gcc"
    GCC_HIGH = "gcc-high"
    DOD = "dod"
    CHINA = "china"

    @property
    def login_host(self) -> str:
        """The host where apps sign in."""
        return _LOGIN_HOSTS.get(self, "login.microsoftonline.com")

    @property
    def token_cloud(self) -> "Cloud":
        """The cloud whose API host is the audience of tokens. Regions use the audience of the global cloud.

        Microsoft does not document the audience of government hosts. The setting `scope` can replace it.
        """
        return Cloud.GLOBAL if self in _REGIONS else self


_LOGIN_HOSTS = {
    Cloud.GCC_HIGH: "login.microsoftonline.us",
    Cloud.DOD: "login.microsoftonline.us",
    Cloud.CHINA: "login.chinacloudapi.cn",
}

_REGIONS = frozenset({Cloud.US, Cloud.EU, Cloud.UK, Cloud.AU, Cloud.SWA, Cloud.INA, Cloud.AEA})
