"""Keys and tokens: the one header they make, and the identity that quotas hang on."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Awaitable, Callable, Hashable

import attrs

SyncToken = str | Callable[[], str]
"""An OAuth access token, or a callable that returns the one to use now."""
AsyncToken = str | Callable[[], str | Awaitable[str]]
"""Like `SyncToken`; the callable may also be a coroutine function."""

ENVIRONMENT_VARIABLE = "KLAVIYO_API_KEY"
_SALT = os.urandom(16)


def clean_secret(secret: object, what: str) -> str:
    """Strip white space around a key or token and make sure that it can travel in a header.

    Raises `ValueError`, which never quotes the secret.
    """
    if not isinstance(secret, str):
        raise ValueError(f"{what} must be a string, not {type(secret).__name__}")
    stripped = secret.strip()
    if not stripped:
        raise ValueError(f"{what} is empty")
    # Checked before any HTTP library sees it, because those quote an illegal header value in the
    # text of their exception.
    for position, character in enumerate(stripped):
        if not "!" <= character <= "~":
            raise ValueError(
                f"{what} has a character that is not visible ASCII at position {position + 1} of "
                f"{len(stripped)}: was it copied with a line break, a space or an invisible mark?"
            )
    return stripped


@attrs.frozen(eq=False)
class Credential:
    """A private API key or an OAuth token, without a way to print it."""

    scheme: str
    """`Klaviyo-API-Key` or `Bearer`."""
    _source: AsyncToken = attrs.field(repr=False)

    @property
    def identity(self) -> Hashable:
        """What stands for the account: a digest of the key or token, or the callable itself."""
        if not isinstance(self._source, str):
            return (self.scheme, self._source)
        # Limiters are kept by it for the life of the process, where dumps would show a key.
        return (self.scheme, hashlib.blake2b(self._source.encode(), key=_SALT).digest())

    @property
    def supplier(self) -> Callable[[], str | Awaitable[str]] | None:
        """The callable to ask before each attempt; None for a fixed key or token."""
        return None if isinstance(self._source, str) else self._source

    @property
    def header(self) -> str | None:
        """The value of the Authorization header; None while a callable has to be asked."""
        return f"{self.scheme} {self._source}" if isinstance(self._source, str) else None

    def header_for(self, token: object) -> str:
        """The value of the Authorization header for what the callable returned.

        Raises `ValueError`, which never quotes the token.
        """
        return f"{self.scheme} {clean_secret(token, 'the access token')}"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a credential is not pickled: it would carry the secret along")


def credential_from(api_key: str | None, access_token: AsyncToken | None) -> Credential:
    """The credential that a client was given; `api_key` falls back to `KLAVIYO_API_KEY`.

    Raises `ValueError` when there is none, when there are both, or when one cannot be sent.
    """
    if access_token is not None:
        if api_key is not None:
            raise ValueError("give either api_key or access_token, not both")
        if callable(access_token):
            return Credential("Bearer", access_token)
        return Credential("Bearer", clean_secret(access_token, "access_token"))
    if api_key is not None:
        return Credential("Klaviyo-API-Key", clean_secret(api_key, "api_key"))
    found = os.environ.get(ENVIRONMENT_VARIABLE, "")
    if not found.strip():
        raise ValueError(
            f"no credential: pass api_key= or access_token=, or set {ENVIRONMENT_VARIABLE}"
        )
    return Credential("Klaviyo-API-Key", clean_secret(found, ENVIRONMENT_VARIABLE))
