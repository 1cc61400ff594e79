"""Which hosts the key may be sent to."""

from __future__ import annotations

import ipaddress
import re

import httpx

_BASE_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::(?P<port>\d{1,5}))?"
    r"(?:/[!-~]*)?",
    re.ASCII | re.IGNORECASE,
)


def checked_base_url(base_url: str) -> str:
    """The URL without a trailing slash. Raises `ValueError` where the key would not be safe."""
    match = _BASE_URL.fullmatch(base_url)
    if (
        match is None
        or int(match["port"] or 443) > 65535
        or any(mark in base_url for mark in "?#@\\")
    ):
        # Not quoted: what makes it unfit may be a password in it.
        raise ValueError(
            "base_url must be an http(s) URL of a host with an optional port and path, without "
            "user, query or fragment"
        )
    if match["scheme"].lower() == "http" and not _is_loopback(match["host"].strip("[]")):
        raise ValueError(
            f"base_url {base_url!r} is plain http: the key would travel in clear. Use https; http "
            "is for loopback hosts only"
        )
    if not _can_exist(match["host"]):
        raise ValueError(f"base_url {base_url!r} names a host that cannot exist")
    return base_url.rstrip("/")


def _can_exist(host: str) -> bool:
    """Whether name servers could be asked for it; Python's codec for names raises UnicodeError."""
    if host.startswith("["):
        return True
    if "xn--" in host.lower():  # Else not decoded: the tables for that take milliseconds to import.
        try:
            _ = httpx.URL(f"https://{host}").host
        except (UnicodeError, httpx.InvalidURL):
            return False
    return all(0 < len(label) < 64 for label in host.removesuffix(".").split("."))


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
