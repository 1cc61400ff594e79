"""An API in a few lines for tests of the overlay: pages of jobs, and whatever a test scripts.

The sandbox is true to the API and paces, authenticates and refuses like it; this one does only
what it is told, so that a test sees every request and decides every byte of an answer.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import attrs
import httpx

from klaviyo_variant_jobs import NEWEST, Clock

ORIGIN = "https://a.klaviyo.com"
PATH = NEWEST.path
KEY = "pk_0123456789abcdef0123456789abcdef"


def job(number: int, status: str = "complete", **attributes: Any) -> dict[str, Any]:
    """A job of the newest revision as JSON."""
    return {
        "type": "catalog-variant-bulk-create-job",
        "id": f"J{number:03}",
        "attributes": {"status": status, "total_count": number, **attributes},
    }


def jobs(count: int, status: str = "complete", *, first: int = 1) -> list[dict[str, Any]]:
    return [job(number, status) for number in range(first, first + count)]


def next_link(cursor: str, *, origin: str = ORIGIN, path: str = PATH) -> str:
    return f"{origin}{path}?page%5Bcursor%5D={quote(cursor, safe='')}"


def page_body(data: Sequence[Any], next_: object = None) -> bytes:
    return json.dumps({"data": list(data), "links": {"next": next_}}).encode()


def page(data: Sequence[Any] = (), next_: object = None, **headers: str) -> httpx.Response:
    """A 200; `headers` with underscores for hyphens."""
    return reply(200, page_body(data, next_), **headers)


def reply(status: int, body: bytes = b"", **headers: str) -> httpx.Response:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, content=body, headers=names)


def error(status: int, code: str = "error", **headers: str) -> httpx.Response:
    """An error document, its only entry with an identifier, a code and a detail."""
    entry = {"id": "req-1", "code": code, "title": "Title.", "detail": "What went wrong."}
    return reply(status, json.dumps({"errors": [entry]}).encode(), **headers)


@attrs.frozen
class Slow:
    """An answer whose headers take `seconds`, cut off by the read timeout as a socket's is."""

    seconds: float
    answer: httpx.Response


@attrs.frozen
class Drip:
    """A 200 whose raw body comes in `chunks`, one after each `every_s`; then it ends."""

    chunks: Sequence[bytes]
    every_s: float = 0.0
    status: int = 200
    headers: dict[str, str] = attrs.field(factory=dict)
    breaks: Exception | None = None


Scripted = (
    httpx.Response | Exception | Slow | Drip | Callable[[httpx.Request], httpx.Response | Exception]
)


class FakeAPI(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """A transport for both clients: plays `script` first, then serves the pages of `jobs`."""

    def __init__(self, jobs: Sequence[dict[str, Any]] = (), *, page_size: int = 3) -> None:
        self.jobs = list(jobs)
        self.page_size = page_size
        self.script: deque[Scripted] = deque()
        self.requests: list[httpx.Request] = []
        self.sent_at: list[float] = []
        self.clock = Clock()
        self.release: asyncio.Event | None = None

    @property
    def queries(self) -> list[dict[str, str]]:
        """The parameters of every request so far, decoded."""
        return [
            {name: values[-1] for name, values in parse_qs(urlsplit(str(r.url)).query).items()}
            for r in self.requests
        ]

    def pages(self, request: httpx.Request) -> httpx.Response:
        """What an honest list endpoint answers."""
        query = parse_qs(request.url.query.decode())
        listed = self.jobs
        if "filter" in query:
            wanted = query["filter"][0].removeprefix('equals(status,"').removesuffix('")')
            listed = [entry for entry in listed if entry["attributes"]["status"] == wanted]
        start = int(query["page[cursor]"][0].removeprefix("at:")) if "page[cursor]" in query else 0
        end = start + self.page_size
        link = None
        if end < len(listed):
            repeated = {name: values[0] for name, values in query.items()}
            base = str(request.url).partition("?")[0]
            link = f"{base}?{urlencode({**repeated, 'page[cursor]': f'at:{end}'})}"
        return page(listed[start:end], link)

    def _next(self, request: httpx.Request) -> httpx.Response | Slow | Drip:
        self.requests.append(request)
        self.sent_at.append(self.clock.monotonic())
        scripted: Any = self.script.popleft() if self.script else self.pages
        answer = scripted(request) if callable(scripted) else scripted
        if isinstance(answer, Exception):
            raise answer
        played: httpx.Response | Slow | Drip = answer
        return played

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self._next(request)
        if isinstance(answer, Slow):
            self._pass(answer.seconds, request)
            return answer.answer
        if isinstance(answer, Drip):
            stream = _SyncDrip(answer, lambda seconds: self._pass(seconds, request))
            return httpx.Response(answer.status, headers=answer.headers, stream=stream)
        return answer

    def _pass(self, seconds: float, request: httpx.Request) -> None:
        patience: float = request.extensions["timeout"]["read"]
        self.clock.sleep(min(seconds, patience))
        if seconds > patience:
            raise httpx.ReadTimeout("The read operation timed out", request=request)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = self._next(request)
        if self.release is not None:
            await self.release.wait()
        if isinstance(answer, Slow):
            await asyncio.sleep(answer.seconds)
            return answer.answer
        if isinstance(answer, Drip):
            return httpx.Response(
                answer.status, headers=answer.headers, stream=_AsyncDrip(answer, request)
            )
        return answer


class _SyncDrip(httpx.SyncByteStream):
    def __init__(self, drip: Drip, wait: Callable[[float], None]) -> None:
        self._drip = drip
        self._wait = wait

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._drip.chunks:
            self._wait(self._drip.every_s)
            yield chunk
        if self._drip.breaks is not None:
            raise self._drip.breaks


class _AsyncDrip(httpx.AsyncByteStream):
    def __init__(self, drip: Drip, request: httpx.Request) -> None:
        self._drip = drip

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._drip.chunks:
            await asyncio.sleep(self._drip.every_s)
            yield chunk
        if self._drip.breaks is not None:
            raise self._drip.breaks
