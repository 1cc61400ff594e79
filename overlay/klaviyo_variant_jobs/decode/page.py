"""A body as it comes in, the page of jobs that is made of it, the cursor in its next link."""

from __future__ import annotations

import urllib.parse
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Generic

import attrs

from klaviyo_variant_jobs.checkpoint import can_be_sent
from klaviyo_variant_jobs.errors import InvalidResponseError, PaginationError, TransportError
from klaviyo_variant_jobs.rate_limits import RateLimit
from klaviyo_variant_jobs_api.registry import JobT_co

if TYPE_CHECKING:
    from klaviyo_variant_jobs_api.fitting import Anomaly


@attrs.frozen(kw_only=True)
class Page(Generic[JobT_co]):
    """One page of jobs."""

    jobs: Sequence[JobT_co] = attrs.field(repr=lambda jobs: f"<{len(jobs)} jobs>")
    """The jobs, in the order of the API: newest first, as observed."""
    cursor: str | None
    """The cursor this page was asked for with; None for the first."""
    rate_limit: RateLimit | None
    """What the response said of the quota; None when it said nothing."""
    request_id: str | None
    """The API's name for this request."""
    revision_served: str | None
    """The revision that answered, as the API tells it."""
    anomalies: tuple[Anomaly, ...]
    """Values that did not fit the schema: where they were, and what came."""
    included: object = attrs.field(default=None, repr=False)
    """Resources that came along, as models, where the revision has them; else None."""
    _next: object = attrs.field(default=None, repr=False)

    @property
    def next_cursor(self) -> str | None:
        """The cursor of the next page; None on the last.

        Raises `PaginationError` when the page has a next link without exactly one cursor: reading
        it as the last page would hide jobs.
        """
        return cursor_in(self._next)


def cursors_in(link: str) -> list[str]:
    """Every cursor in a link, decoded."""
    query = link.partition("#")[0].partition("?")[2]
    return [
        urllib.parse.unquote_plus(value, errors="surrogateescape")
        for name, _, value in (item.partition("=") for item in query.split("&"))
        # As the API writes it, first: that spares taking it apart.
        if name == "page%5Bcursor%5D" or urllib.parse.unquote_plus(name) == "page[cursor]"
    ]


def cursor_in(link: object) -> str | None:
    """The cursor in a next link, whatever host, path or form it has; None for no link.

    Gateways rewrite links, and only the cursor is ever taken from one: no request goes to it.
    Raises `PaginationError` for a link without exactly one cursor that can be sent.
    """
    if isinstance(link, dict):  # JSON:API allows an object with the URL in it.
        link = link.get("href", link)
    if link is None:
        return None
    if not isinstance(link, str):
        raise _unusable(f"is no string but {type(link).__name__}")
    cursors = cursors_in(link)
    if len(cursors) != 1 or not cursors[0]:
        # It is not quoted: a key that was echoed may be in it.
        raise _unusable("has several cursors" if any(cursors) else "has no cursor")
    if not can_be_sent(cursors[0]):
        raise _unusable(f"has a cursor that cannot be sent, of {len(cursors[0])} characters")
    return cursors[0]


def _unusable(why: str) -> PaginationError:
    advice = "The jobs of its page were given out; list again later, or ask the API's owner"
    return PaginationError(f"the next link {why}. {advice}")


PAGE_LIMIT = 16 * 1024 * 1024
"""Bytes of a decoded page; one of 100 jobs with 100 variants each is under one million."""

ERROR_LIMIT = 1024 * 1024
"""Bytes read of the body of an error. Parsed, a document may take twenty times its size."""

# Bytes decompressed at once. A buffer for all of a large page would come fresh from the system each
# time, which took three times as long as decompressing it (949 KB: 1.3 ms, in pieces 0.5 ms).
_PIECE = 32 * 1024


class BodyReader:
    """Puts a body together from its raw chunks, decompressed and bounded.

    Only gzip is asked for. `feed` raises `TransportError` when the body cannot be decompressed and
    `InvalidResponseError` when it grows past the limit, before the excess is held in memory.
    """

    def __init__(self, encoding: str = "", *, is_page: bool = True) -> None:
        self.so_far = bytearray()
        """What has come, whole or not."""
        self._limit = PAGE_LIMIT if is_page else ERROR_LIMIT
        self._encoding = encoding.strip().lower()
        self._member: zlib._Decompress | None = None

    def feed(self, chunk: bytes) -> None:
        """Take the next raw chunk."""
        if self._encoding in ("", "identity"):
            return self.keep(chunk)
        if self._encoding not in ("gzip", "x-gzip"):
            raise TransportError(f"came as {self._encoding[:40]!r}, but gzip was asked for")
        while chunk:
            member = self._member
            if member is None or member.eof:  # A body may consist of several members.
                member = self._member = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
            try:
                self.keep(member.decompress(chunk, _PIECE))
            except zlib.error as error:
                raise TransportError(f"the body cannot be decompressed: {error}") from None
            chunk = member.unused_data if member.eof else member.unconsumed_tail
        return None

    def keep(self, chunk: bytes) -> None:
        """Take what needs no decompression."""
        self.so_far += chunk
        if len(self.so_far) > self._limit:
            raise InvalidResponseError(
                f"the body is over {self._limit // 2**20} MiB decoded, which no page of this "
                "endpoint is; check base_url and proxies",
                is_lasting=True,
            )

    def finish(self) -> bytearray:
        """The whole body. Raises `TransportError` when its compressed form broke off."""
        if self._member is not None and not self._member.eof:
            raise TransportError("the compressed body broke off")
        return self.so_far
