"""The exception family, and what it reads out of error responses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from .checkpoint import Checkpoint


class KlaviyoError(Exception):
    """Root of everything this package raises for what went wrong outside the caller's code.

    Wrong arguments raise `ValueError` or `TypeError` instead, before anything is sent.
    """

    checkpoint: Checkpoint | None = None
    """Where to resume; set on every error that an iterator raises, else None."""


class CheckpointError(KlaviyoError, ValueError):
    """A checkpoint that cannot be read, or that belongs to another revision, filter or fields."""


class TokenError(KlaviyoError):
    """The `access_token` callable raised, or returned something that is no token."""


class PaginationError(KlaviyoError):
    """A cursor that came before, or a next link without exactly one cursor."""


@attrs.frozen(kw_only=True)
class ErrorDetail:
    """One entry of a JSON:API error document. Whatever the API left out is None."""

    id: str | None = None
    """The API's name for this occurrence; the first one repeats the request id."""
    code: str | None = None
    """The kind of error, for programs, such as `throttled`."""
    title: str | None = None
    """The kind of error, for people."""
    detail: str | None = None
    """What is wrong in this case."""
    source: Mapping[str, Any] | None = None
    """Where in the request: `{"parameter": "filter"}` or `{"pointer": "/data"}`."""
    meta: Mapping[str, Any] | None = None
    """Whatever else the API tells of it."""

    def __str__(self) -> str:
        where = self.source and (self.source.get("parameter") or self.source.get("pointer"))
        said = self.detail or self.title or self.code or "no detail given"
        return f"{said} (at {where})" if where else said


class AttemptedError(KlaviyoError):
    """An error of one request, however many attempts it took."""

    attempts: int = 1
    """How many times the request was sent."""
    retry_after: float | None = None
    """Seconds the server or the quota asks to wait; None when nothing was said."""
    request_id: str | None = None
    """The API's name for this request, which support asks for; None without an answer."""
    body: bytes = b""
    """The start of the body that came, at most 64 KiB."""
    is_lasting: bool = False
    """Whether another attempt cannot help, as with an unknown host; raised at once then."""

    def __init__(self, message: str, **facts: Any) -> None:
        super().__init__(message)
        vars(self).update(facts)


class TransportError(AttemptedError):
    """The connection failed, timed out, broke off inside the body or could not be decompressed."""


class DeadlineError(AttemptedError):
    """Time ran out before any response came."""


class QuotaDeadlineError(DeadlineError):
    """The next permit would come after the deadline, in `retry_after` seconds."""


class InvalidResponseError(AttemptedError):
    """A 200 that is not the document we asked for, or beyond the limits of a page."""


class APIError(AttemptedError):
    """The API answered with a status other than 200."""

    status_code: int = 0
    """The HTTP status."""
    errors: tuple[ErrorDetail, ...] = ()
    """What the error document says; empty when the body was none."""
    headers: Mapping[str, str] = MappingProxyType({})
    """The response headers, names in lower case."""


class BadRequestError(APIError):
    """400: a filter, field or cursor that the API does not accept."""


class CursorError(BadRequestError):
    """400: the API no longer accepts the cursor, so its checkpoint is of no more use."""


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


_BY_STATUS: dict[int, tuple[type[APIError], str]] = {
    400: (BadRequestError, "check status, fields and cursor against the pinned revision"),
    401: (AuthenticationError, "check the API key or access token"),
    403: (PermissionDeniedError, "check that the credential has the scope catalogs:read"),
    404: (NotFoundError, "check base_url, and that the pinned revision is released"),
    407: (APIError, "the proxy refuses us: check the user and password in HTTPS_PROXY"),
    410: (RevisionRetiredError, "move to a newer revision: the API retired the pinned one"),
    429: (RateLimitError, "wait before the next request"),
}
_SERVER = (ServerError, "try again later")
_OTHER = (APIError, "not an answer of this endpoint: check base_url and proxies")

BODY_KEPT = 64 * 1024
"""Bytes of a body that an error keeps."""


def api_error(
    *,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    revision: str,
    cursor: str | None,
    retry_after: float | None,
) -> APIError:
    """The error for a response that is not a 200; `headers` have lower-case names."""
    details = parse_error_document(body)
    kind, advice = _BY_STATUS.get(status) or (_SERVER if 500 <= status <= 599 else _OTHER)
    if status == 400 and cursor is not None and any("cursor" in str(d).lower() for d in details):
        kind, advice = CursorError, "list from the start: the API no longer accepts the cursor"
    if status == 403 and not details:
        advice = "the API did not write this: check the proxies in front of it"
    request_id = headers.get("x-klaviyo-req-id") or (details[0].id if details else None)
    said = "; ".join(map(str, details[:5])) or _glimpse(headers, body)
    where = [f"revision {revision}"]
    where += [f"cursor {one_line(cursor, 60)}"] if cursor else []
    where += [f"request {one_line(request_id, 80)}"] if request_id else []
    where += [f"retry after {retry_after:g} s"] if retry_after is not None else []
    return kind(
        f"HTTP {status}: {one_line(said, 1000)} [{', '.join(where)}]; {advice}",
        status_code=status,
        errors=details,
        request_id=request_id,
        retry_after=retry_after,
        # The cookie of the API's front proxy is a kind of credential; errors get logged, pickled.
        headers={n: v for n, v in headers.items() if n not in ("set-cookie", "set-cookie2")},
        body=body[:BODY_KEPT],
    )


def _glimpse(headers: Mapping[str, str], body: bytes) -> str:
    kind = headers.get("content-type", "no content type").partition(";")[0]
    if not body:
        return "no body"
    start = one_line(body[:200].decode("utf-8", "replace"), 80)
    return f"{len(body)} bytes of {kind} that are no error document: {start!r}"


def one_line(text: str, longest: int) -> str:
    """Foreign text made fit for a log: printable, on one line, at most `longest` characters."""
    # JSON can contain lone surrogates, which cannot be encoded when the message is written.
    line = " ".join(text[: 4 * longest].split())
    line = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def parse_error_document(body: bytes) -> tuple[ErrorDetail, ...]:
    """The entries of a JSON:API error document; empty for a body that is none.

    Retired legacy endpoints answer `{"message": "…"}`; that becomes one entry. Members of an
    unexpected type are left out.
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
    kinds = {"id": str, "code": str, "title": str, "detail": str, "source": dict, "meta": dict}
    return ErrorDetail(**{n: entry[n] for n, k in kinds.items() if isinstance(entry.get(n), k)})
