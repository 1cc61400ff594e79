"""Keys and tokens: the one header they make, the identity that limits hang on, redaction."""

import functools
import hashlib
import os
import re
from collections.abc import Awaitable, Callable, Hashable
from typing import Any

import attrs

SyncToken = str | Callable[[], str]
"""An OAuth access token, or a callable that returns the one to use now."""
AsyncToken = str | Callable[[], str | Awaitable[str]]
"""Like `SyncToken`; the callable may also be a coroutine function."""

ENVIRONMENT_VARIABLE = "KLAVIYO_API_KEY"
_SALT = os.urandom(16)

# The `=` signs that end a base64 token have nothing behind them.
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=[^=]", re.ASCII)


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
    # `docker --env-file` and some shells pass the quotes on; the API would answer 401.
    if stripped[0] in "\"'`" or stripped[-1] in "\"'`":
        raise UnfitSecret(f"{what} is wrapped in quotes: remove them where it is set")
    if _ASSIGNMENT.match(stripped):
        raise UnfitSecret(f"{what} is a whole NAME=value line: give only what follows the `=`")
    return stripped


# Redaction looks for this many characters of the secret. Shorter keys, as tests use, would match
# ordinary words; real ones have 37 characters.
_SOUGHT = 12


@attrs.frozen(eq=False, slots=False)
class Authorization:
    """The header that a request carried, and how to take its secret out of what came back.

    Debug pages of servers and proxies echo it, and errors get logged.
    """

    header: str = attrs.field(repr=False)
    """The value of the Authorization header."""

    @functools.cached_property
    def _secret(self) -> re.Pattern[str]:
        """Where the secret begins: plain, or escaped for JSON, HTML or a URL; then to its end."""
        start = self.header.partition(" ")[2][:_SOUGHT]
        spelled = (
            rf"(?:{re.escape(c)}|\\u00{ord(c):02x}|%{ord(c):02x}|&#(?:{ord(c)}|x{ord(c):x});)"
            for c in start
        )
        pattern = "".join(spelled) + r"[\w.~+/=%\\&#;-]*"
        return re.compile(pattern if len(start) == _SOUGHT else "(?!)", re.IGNORECASE)

    def redact(self, text: str) -> str:
        """The text without the secret, also where it breaks off."""
        return self._secret.sub("[redacted]", text)

    def redact_any(self, value: Any) -> Any:
        """`redact` for a text or bytes; anything else as it is."""
        if isinstance(value, bytes):
            return self.redact(value.decode("latin-1")).encode("latin-1")
        return self.redact(value) if isinstance(value, str) else value


@attrs.frozen(eq=False)
class Credential:
    """A private API key or an OAuth token, without a way to print it."""

    scheme: str
    """`Klaviyo-API-Key` or `Bearer`."""
    fixed: Authorization | None = attrs.field(default=None, repr=False)
    """The header to send; None while a callable has to be asked."""
    supplier: Callable[[], str | Awaitable[str]] | None = attrs.field(default=None, repr=False)
    """The callable to ask before each attempt; None for a fixed key or token."""

    @property
    def identity(self) -> Hashable:
        """What identifies the account: a digest of the key or token, or the callable itself."""
        if self.fixed is None:
            # A dataclass with `__call__` cannot be hashed.
            is_hashable = getattr(type(self.supplier), "__hash__", None) is not None
            return self.supplier if is_hashable else id(self.supplier)
        # It becomes a key of a mapping that lives as long as the process; dumps show such keys.
        return hashlib.blake2b(self.fixed.header.encode(), key=_SALT).digest()

    def authorization_for(self, token: object) -> Authorization:
        """The header to send for what the callable returned.

        Raises `ValueError`, which never quotes the token.
        """
        return Authorization(f"{self.scheme} {clean_secret(token, 'the access token')}")

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a credential is not pickled: it would carry the secret along")


def credential_from(api_key: str | None, access_token: AsyncToken | None) -> Credential:
    """The credential that a client was given; `api_key` falls back to `KLAVIYO_API_KEY`.

    Raises `ValueError` when there is none, when there are both, or when one cannot be sent.
    """
    if access_token is not None and api_key is not None:
        raise ValueError("give either api_key or access_token, not both")
    if callable(access_token):
        return Credential("Bearer", supplier=access_token)
    scheme, name, secret = "Klaviyo-API-Key", "api_key", api_key
    if access_token is not None:
        scheme, name, secret = "Bearer", "access_token", access_token
    elif api_key is None:
        name, secret = ENVIRONMENT_VARIABLE, os.environ.get(ENVIRONMENT_VARIABLE, "")
        if not secret.strip():
            raise ValueError(f"no credential: pass api_key= or access_token=, or set {name}")
    return Credential(scheme, Authorization(f"{scheme} {clean_secret(secret, name)}"))
