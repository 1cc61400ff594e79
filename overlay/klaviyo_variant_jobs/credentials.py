"""Keys and tokens: the one header they make, and the identity that quotas hang on."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Awaitable, Callable, Hashable, Mapping
from types import MethodType
from urllib.parse import quote, unquote

import attrs

SyncToken = str | Callable[[], str]
"""An OAuth access token, or a callable that returns the one to use now."""
AsyncToken = str | Callable[[], str | Awaitable[str]]
"""Like `SyncToken`; the callable may also be a coroutine function."""

ENVIRONMENT_VARIABLE = "KLAVIYO_API_KEY"
_SALT = os.urandom(16)


class UnfitSecret(ValueError):
    """A key or token that cannot be sent; the message never quotes it."""


def clean_secret(secret: object, what: str) -> str:
    """Strip white space around a key or token and make sure that it can travel in a header.

    Raises `ValueError`, which never quotes the secret.
    """
    if not isinstance(secret, str):
        raise UnfitSecret(f"{what} must be a string, not {type(secret).__name__}")
    stripped = secret.strip()
    if not stripped:
        raise UnfitSecret(f"{what} is empty")
    # Checked before any HTTP library sees it, because those quote an illegal header value in the
    # text of their exception.
    for position, character in enumerate(stripped):
        if not "!" <= character <= "~":
            raise UnfitSecret(
                f"{what} has a character that is not visible ASCII at position {position + 1} of "
                f"{len(stripped)}: was it copied with a line break, a space or an invisible mark?"
            )
    return stripped


# Anything shorter, as tests use, is found in ordinary words; real keys have 37 characters.
_SHORTEST_SECRET = 12
_REDACTED = "[redacted]"


@attrs.frozen(eq=False)
class Authorization:
    """The header that a request carried, and how to take its secret out of what came back.

    Debug pages of servers and proxies echo it, and errors get logged.
    """

    header: str = attrs.field(default="", repr=False)
    _forms: tuple[str, ...] = attrs.field(init=False, repr=False)

    @_forms.default
    def _of_the_secret(self) -> tuple[str, ...]:
        # Once for a fixed key: every page's headers are looked through for them.
        secret = self.header.partition(" ")[2]
        return () if len(secret) < _SHORTEST_SECRET else (secret, quote(secret, safe=""))

    def redact(self, text: str) -> str:
        """The text without the secret, however it is written there; itself if it has none."""
        import html  # For errors only, and its table of names takes a millisecond.

        for readable in (str, _without_json_escapes, html.unescape, unquote):
            plain = readable(text)
            redacted = self._redacted(plain)
            if redacted != plain:
                text = redacted
        return text

    def redact_headers(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        """The headers without the secret; themselves if they have none."""
        together = "\n".join(headers.values())
        if not any(form in together for form in self._forms):
            return headers
        return {name: self._redacted(value) for name, value in headers.items()}

    def redact_bytes(self, body: bytes) -> bytes:
        """`redact` for the start of a body."""
        text = body.decode("latin-1")
        redacted = self.redact(text)
        return body if redacted == text else redacted.encode("latin-1", "replace")

    def redact_value(self, value: object) -> object:
        """`redact` for a text or bytes; anything else as it is."""
        if isinstance(value, str):
            return self.redact(value)
        return self.redact_bytes(value) if isinstance(value, bytes) else value

    def _redacted(self, text: str) -> str:
        for form in self._forms:
            text = text.replace(form, _REDACTED)
        return self._without_a_start_of_it(text)

    def _without_a_start_of_it(self, text: str) -> str:
        """The text, less the secret that it breaks off in."""
        for form in self._forms:
            for length in range(len(form) - 1, _SHORTEST_SECRET - 1, -1):
                if text.endswith(form[:length]):
                    return text[:-length] + _REDACTED
        return text


_JSON_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|/)")


def _without_json_escapes(text: str) -> str:
    # By hand, since what echoes a request may well be broken JSON.
    return _JSON_ESCAPE.sub(lambda found: chr(int(found[1] or "2f", 16)), text)


@attrs.frozen(eq=False)
class Credential:
    """A private API key or an OAuth token, without a way to print it."""

    scheme: str
    """`Klaviyo-API-Key` or `Bearer`."""
    _source: AsyncToken = attrs.field(repr=False)
    _fixed: Authorization | None = attrs.field(init=False, repr=False)

    @_fixed.default
    def _of_a_fixed_one(self) -> Authorization | None:
        source = self._source
        return Authorization(f"{self.scheme} {source}") if isinstance(source, str) else None

    @property
    def identity(self) -> Hashable:
        """What stands for the account: a digest of the key or token, or the callable itself."""
        if not isinstance(self._source, str):
            return (self.scheme, _Itself(self._source))
        # Limiters are kept by it for the life of the process, where dumps would show a key.
        return (self.scheme, hashlib.blake2b(self._source.encode(), key=_SALT).digest())

    @property
    def supplier(self) -> Callable[[], str | Awaitable[str]] | None:
        """The callable to ask before each attempt; None for a fixed key or token."""
        return None if isinstance(self._source, str) else self._source

    @property
    def authorization(self) -> Authorization | None:
        """The header to send; None while a callable has to be asked."""
        return self._fixed

    def authorization_for(self, token: object) -> Authorization:
        """The header to send for what the callable returned.

        Raises `ValueError`, which never quotes the token.
        """
        return Authorization(f"{self.scheme} {clean_secret(token, 'the access token')}")

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a credential is not pickled: it would carry the secret along")


class _Itself:
    """A callable as a key of a mapping: what equals it is it, whether or not it can be hashed."""

    def __init__(self, source: object) -> None:
        # Each look at an object's method makes another one of it.
        self._parts = (
            (source.__self__, source.__func__) if isinstance(source, MethodType) else (source, None)
        )

    def __hash__(self) -> int:
        return hash(tuple(map(id, self._parts)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Itself):
            return NotImplemented
        return all(ours is theirs for ours, theirs in zip(self._parts, other._parts, strict=True))


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
