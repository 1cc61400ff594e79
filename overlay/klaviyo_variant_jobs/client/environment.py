"""What the process's environment decides: proxies and certificates."""

from __future__ import annotations

import contextlib
import functools
import os
import ssl
import urllib.request
from collections.abc import Iterator

import httpx

_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@contextlib.contextmanager
def proxy_errors() -> Iterator[None]:
    """Turn what httpx thinks of the environment's proxies into `ValueError`."""
    try:
        yield
    except (httpx.InvalidURL, ValueError):
        named = [name for name, value in os.environ.items() if value and name.lower() in _PROXIES]
        # Not quoted: there may be a password in it.
        raise ValueError(
            f"a proxy that the environment names cannot be used; look at {', '.join(named)}, and "
            "write it like http://proxy.example.com:8080"
        ) from None
    except ImportError:
        raise ValueError(
            "the environment names a SOCKS proxy; get what it needs with: "
            "pip install 'httpx[socks]'"
        ) from None


def proxied() -> bool:
    """Whether the environment names a proxy, which httpx's clients know how to use."""
    return any(scheme in urllib.request.getproxies() for scheme in ("http", "https", "all"))


@functools.cache
def ssl_context() -> ssl.SSLContext:
    """The process's one: building it takes some 30 ms, as long as importing half of httpx.

    Raises `OSError` for certificates that the environment names and nobody can read.
    """
    return httpx.create_ssl_context()
