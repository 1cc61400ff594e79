"""The exception family, and what it reads out of error responses."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

import attrs

from .checkpoint import CheckpointError, KlaviyoError

__all__ = [
    "APIError",
    "AuthenticationError",
    "BadRequestError",
    "CheckpointError",
    "DeadlineError",
    "ErrorDetail",
    "InvalidResponseError",
    "KlaviyoError",
    "NotFoundError",
    "PaginationError",
    "PermissionDeniedError",
    "RateLimitError",
    "RevisionRetiredError",
    "ServerError",
    "TokenError",
    "TransportError",
    "api_error",
    "parse_error_document",
]


@attrs.frozen(kw_only=True)
class ErrorDetail:
    """One entry of a JSON:API error document. Whatever the API left out is None."""

    id: str | None = None
    code: str | None = None
    title: str | None = None
    detail: str | None = None
    source: Mapping[str, Any] | None = None
    """Where in the request: `{"parameter": "filter"}` or `{"pointer": "/data"}`."""
    meta: Mapping[str, Any] | None = None

    def __str__(self) -> str:
        where = self.source and (self.source.get("parameter") or self.source.get("pointer"))
        said = self.detail or self.title or self.code or "no detail given"
        return f"{said} (at {where})" if where else said


class AttemptedError(KlaviyoError):
    """An error of one request, however many attempts it took."""

    def __init__(
        self, message: str, *, attempts: int = 1, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.attempts = attempts
        """How many times the request was sent."""
        self.retry_after = retry_after
        """Seconds the server or the quota asks to wait; None when nothing was said."""


class TransportError(AttemptedError):
    """The connection failed, timed out, broke off inside the body or could not be decompressed."""


class DeadlineError(AttemptedError):
    """Time ran out before anything was answered."""


class TokenError(KlaviyoError):
    """The `access_token` callable raised, or returned something that is no token."""


class InvalidResponseError(KlaviyoError):
    """A 200 that is not the document we asked for, or more than 64 MiB of it."""

    def __init__(self, message: str, *, body: bytes = b"", request_id: str | None = None) -> None:
        super().__init__(message)
        self.body = body
        """The start of the body, at most 64 KiB."""
        self.request_id = request_id
        """The API's name for this request; support asks for it."""
        self.ends_early = False
        """Whether the body is the start of a JSON document without its end."""


class PaginationError(KlaviyoError):
    """A cursor that came before, or a next link that does not lead to a page of this endpoint."""


class APIError(AttemptedError):
    """The API answered with a status other than 200."""

    def __init__(
        self,
        message: str,
        *,
        status_code: int,
        errors: tuple[ErrorDetail, ...] = (),
        request_id: str | None = None,
        retry_after: float | None = None,
        attempts: int = 1,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> None:
        super().__init__(message, attempts=attempts, retry_after=retry_after)
        self.status_code = status_code
        """The HTTP status."""
        self.errors = errors
        """What the error document says; empty when the body was none."""
        self.request_id = request_id
        """The API's name for this request; support asks for it."""
        self.headers: Mapping[str, str] = headers or {}
        """The response headers, names in lower case."""
        self.body = body
        """The body, at most its first 64 KiB."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions are rebuilt from their message alone; the status is required besides.
        rebuild = functools.partial(type(self), status_code=self.status_code)
        return (rebuild, self.args, self.__dict__)


class BadRequestError(APIError):
    """400: a filter, field or cursor that the API does not accept."""


class AuthenticationError(APIError):
    """401: the key or token is missing, wrong or expired."""


class PermissionDeniedError(APIError):
    """403: the credential lacks the scope, or a proxy in front of the API refused the request."""


class NotFoundError(APIError):
    """404: this revision does not have the endpoint, or the revision does not exist."""


class RevisionRetiredError(APIError):
    """410: the API has retired this revision."""


class RateLimitError(APIError):
    """429: the account's quota was used up, and waiting longer would have passed the deadline."""


class ServerError(APIError):
    """5xx: the API, or a proxy in front of it, failed."""


@attrs.frozen
class _Kind:
    error: type[APIError]
    advice: str


_KINDS: dict[int, _Kind] = {
    400: _Kind(BadRequestError, "check status, fields and cursor against the pinned revision"),
    401: _Kind(AuthenticationError, "check the API key or access token"),
    403: _Kind(
        PermissionDeniedError,
        "check that the credential has the scope catalogs:read; an HTML body means that a proxy "
        "in front of the API refused the request",
    ),
    404: _Kind(NotFoundError, "check that the pinned revision exists and is released"),
    410: _Kind(RevisionRetiredError, "move to a newer revision: the API retired the pinned one"),
    429: _Kind(RateLimitError, "wait for retry_after seconds, then resume from the checkpoint"),
}
_SERVER = _Kind(ServerError, "try again later from the checkpoint")
_OTHER = _Kind(APIError, "not an answer of this endpoint: check base_url and proxies")

_BODY_KEPT = 64 * 1024


def api_error(
    *,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    revision: str,
    retry_after: float | None,
) -> APIError:
    """The error for a response that is not a 200; `headers` have lower-case names."""
    kind = _KINDS.get(status) or (_SERVER if 500 <= status <= 599 else _OTHER)
    details = parse_error_document(body)
    request_id = headers.get("x-klaviyo-req-id") or (details[0].id if details else None)
    said = "; ".join(str(detail) for detail in details[:5]) or _glimpse(headers, body)
    where = [f"revision {revision}"]
    if request_id:
        where.append(f"request {one_line(request_id, 80)}")
    if retry_after is not None:
        where.append(f"retry after {retry_after:g} s")
    return kind.error(
        f"HTTP {status}: {one_line(said, 1000)} [{', '.join(where)}]; {kind.advice}",
        status_code=status,
        errors=details,
        request_id=request_id,
        retry_after=retry_after,
        headers={name: value for name, value in headers.items() if name not in _PRIVATE},
        body=body[:_BODY_KEPT],
    )


# A cookie of the API's front proxy is a credential of a kind; errors get logged and pickled.
_PRIVATE: frozenset[str] = frozenset({"set-cookie", "set-cookie2"})


def _glimpse(headers: Mapping[str, str], body: bytes) -> str:
    kind = headers.get("content-type", "no content type").partition(";")[0]
    if not body:
        return "no body"
    start = one_line(body[:200].decode("utf-8", "replace"), 80)
    return f"{len(body)} bytes of {kind} that are no error document: {start!r}"


def one_line(text: str, longest: int) -> str:
    """Foreign text as a log can take it: printable, on one line, of `longest` characters."""
    # Lone surrogates, which JSON can smuggle in, would break whoever writes the message down.
    line = " ".join(text[: 4 * longest].split())
    line = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def parse_error_document(body: bytes) -> tuple[ErrorDetail, ...]:
    """The entries of a JSON:API error document; empty for a body that is none.

    Retired legacy endpoints answer `{"message": "…"}`; that becomes one entry. Members of a type
    nobody expects are left out, never raised on.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return ()
    if not isinstance(document, dict):
        return ()
    entries = document.get("errors")
    if isinstance(entries, list):
        return tuple(_detail(entry) for entry in entries if isinstance(entry, dict))
    message = document.get("message")
    return (ErrorDetail(detail=message),) if isinstance(message, str) else ()


def _detail(entry: dict[str, Any]) -> ErrorDetail:
    def text(name: str) -> str | None:
        return entry[name] if isinstance(entry.get(name), str) else None

    def members(name: str) -> dict[str, Any] | None:
        return entry[name] if isinstance(entry.get(name), dict) else None

    return ErrorDetail(
        id=text("id"),
        code=text("code"),
        title=text("title"),
        detail=text("detail"),
        source=members("source"),
        meta=members("meta"),
    )
