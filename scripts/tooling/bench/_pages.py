"""Pages for the benches: one hundred jobs each, sized like recorded ones."""

from __future__ import annotations

import datetime as dt
import gzip
import random
from pathlib import Path
from typing import Any, Literal

import attrs
import msgspec

JOBS_PER_PAGE = 100
PATH = "/api/catalog-variant-bulk-create-jobs"
# The newest. Read from spec/, since our packages may not be installed where this is loaded.
REVISION = max((Path(__file__).parents[3] / "spec").glob("*.yaml")).stem

_NEWEST_JOB_AT = dt.datetime(2026, 11, 2, 9, tzinfo=dt.UTC)
_VARIANTS_PER_JOB = {"small": 3, "large": 100, "odd": 3}


@attrs.frozen
class Listing:
    """A list of jobs that the page server generates from its URL."""

    kind: Literal["small", "large", "odd"] = "small"
    """Bodies of 105 KB or 949 KB; `odd` is `small` with one job that does not fit the schema."""
    encoding: Literal["plain", "gzip"] = "plain"
    pages: int = 20
    delay_ms: int = 0
    """Milliseconds that the server waits before each response."""

    @property
    def prefix(self) -> str:
        """The part of the URL path before that of the operation."""
        return f"/{self.kind}/{self.encoding}/{self.pages}/{self.delay_ms}"

    @classmethod
    def at(cls, path: str) -> Listing:
        """The listing of a path that begins with its prefix."""
        _, kind, encoding, pages, delay_ms, _ = path.split("/", 5)
        listing: Listing = msgspec.convert(
            {"kind": kind, "encoding": encoding, "pages": pages, "delay_ms": delay_ms},
            cls,
            strict=False,
        )
        return listing

    def answer(self, origin: str, nth: int) -> bytes:
        """The response for page `nth`, counted from 0: head and body."""
        url = f"{origin}{self.prefix}{PATH}"
        following = f"{url}?page%5Bcursor%5D={cursor(nth + 1)}" if nth + 1 < self.pages else None
        links = {"self": url, "prev": None, "next": following}
        chance = random.Random(nth)
        jobs = [_job(self.kind, number, chance) for number in range(JOBS_PER_PAGE)]
        body = msgspec.json.encode({"data": jobs, "links": links})
        encoded = self.encoding == "gzip"
        if encoded:
            body = gzip.compress(body, 6)
        return _head(len(body), gzipped=encoded) + body


def cursor(nth: int) -> str:
    """The cursor of page `nth`, as long as a recorded one."""
    return f"bmV4dDo6aWQ6OjAxSkFSUEpQN1gyMjVDNUpQUkZBV0taV1{nth:04}"


def page_number(cursor: str) -> int:
    """The number of the page of a cursor."""
    return int(cursor[-4:])


def _head(length: int, *, gzipped: bool) -> bytes:
    # Limits so high that no client waits, in headers as long as recorded ones.
    lines = [
        "HTTP/1.1 200 OK",
        "content-type: application/vnd.api+json",
        f"content-length: {length}",
        *(["content-encoding: gzip"] if gzipped else []),
        "date: Mon, 02 Nov 2026 09:00:00 GMT",
        "server: nginx",
        "vary: Accept-Encoding",
        "allow: GET, POST, HEAD, OPTIONS",
        "ratelimit-limit: 999999, 999999;w=1, 999999;w=60",
        "ratelimit-remaining: 999998",
        "ratelimit-reset: 0",
        "x-klaviyo-req-id: 5f1e2d3c-4b5a-4678-9abc-def012345678",
        f"x-klaviyo-api-revision: {REVISION}",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def _job(kind: str, number: int, chance: random.Random) -> dict[str, Any]:
    variants = _VARIANTS_PER_JOB[kind]
    identifier = "01" + "".join(chance.choices("0123456789ABCDEFGHJKMNPQRSTVWXYZ", k=24))
    created_at = _NEWEST_JOB_AT - dt.timedelta(
        seconds=7 * number, microseconds=chance.randrange(10**6)
    )
    url = f"https://a.klaviyo.com{PATH}/{identifier}/"
    return {
        "type": "catalog-variant-bulk-create-job",
        "id": identifier,
        "attributes": {
            "status": "complete",
            "created_at": created_at.isoformat(timespec="microseconds"),
            "total_count": variants,
            "completed_count": variants,
            # A value of the wrong type, so that the page takes the tolerant path.
            "failed_count": "none" if kind == "odd" and number == 50 else 0,
            "completed_at": (created_at + dt.timedelta(seconds=40)).isoformat(),
            "errors": [] if number % 3 else [_error(identifier)],
            "expires_at": (created_at + dt.timedelta(days=7)).isoformat(),
        },
        "relationships": {
            "variants": {
                "data": [
                    {
                        "type": "catalog-variant",
                        "id": f"$custom:::$default:::{identifier[:10]}-T-SHIRT-{n:03}-XLARGE-1",
                    }
                    for n in range(variants)
                ],
                "links": {
                    "self": f"{url}relationships/variants/",
                    "related": f"{url}variants/",
                },
            }
        },
        "links": {"self": url},
    }


def _error(identifier: str) -> dict[str, Any]:
    return {
        "id": identifier.lower(),
        "code": "duplicate",
        "title": "Variant exists already",
        "detail": "A variant with the external id that was given exists already in this catalog.",
        "source": {"pointer": "/data/attributes/variants/data/2"},
    }
