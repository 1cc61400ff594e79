"""The contestants, each of which reads a whole list of jobs in a process of its own.

    python -m tooling.bench._contestants NAME URL

reads prefixes of lists from stdin, one per line, and prints for each the CPU seconds that reading
the list took. Connections stay open between lists, as in a service.
"""

from __future__ import annotations

import asyncio
import gc
import gzip
import http.client
import logging
import sys
import time
import urllib.parse
from collections.abc import AsyncIterable, Callable, Iterable
from typing import Any

from tooling.bench._pages import PATH, REVISION

Reader = Callable[[str], int]
"""Reads the list at a base URL and returns its number of jobs."""

KEY = "pk_0123456789abcdef0123456789abcdef01"
_HEADERS = {
    "accept": "application/vnd.api+json",
    "accept-encoding": "gzip",
    "authorization": f"Klaviyo-API-Key {KEY}",
    "revision": REVISION,
}


def counted(jobs: Iterable[Any]) -> int:
    """Read the attributes that most programs use, and count the jobs."""
    number = 0
    for job in jobs:
        if job.id and job.attributes.status and job.attributes.total_count:
            number += 1
    return number


async def counted_async(jobs: AsyncIterable[Any]) -> int:
    """`counted` for async iterators."""
    number = 0
    async for job in jobs:
        if job.id and job.attributes.status and job.attributes.total_count:
            number += 1
    return number


def ours(http_client: Any = None) -> Reader:
    """`Client`, with a limiter that counts and never waits."""
    from klaviyo_variant_jobs import Client, RateLimiter

    limiter = RateLimiter(999_999, 999_999)
    clients: dict[str, Client[Any]] = {}

    def read(url: str) -> int:
        if url not in clients:
            clients[url] = Client(
                KEY,
                revision=REVISION,
                base_url=url,
                rate_limiter=limiter,
                http_client=http_client,
            )
        return counted(clients[url].iter_jobs())

    return read


def ours_httpx2() -> Reader:
    """`Client` with a client of httpx2."""
    import httpx2

    return ours(httpx2.Client())


def ours_async(http_client: Any = None) -> Reader:
    """`AsyncClient`, with the same limiter."""
    from klaviyo_variant_jobs import AsyncClient, RateLimiter

    runner = asyncio.Runner()
    limiter = RateLimiter(999_999, 999_999)
    clients: dict[str, AsyncClient[Any]] = {}

    def read(url: str) -> int:
        if url not in clients:
            clients[url] = AsyncClient(
                KEY,
                revision=REVISION,
                base_url=url,
                rate_limiter=limiter,
                http_client=http_client,
            )
        return runner.run(counted_async(clients[url].iter_jobs()))

    return read


def ours_async_httpx2() -> Reader:
    """`AsyncClient` with a client of httpx2."""
    import httpx2

    return ours_async(httpx2.AsyncClient())


def ours_async_aiohttp() -> Reader:
    """`AsyncClient` over aiohttp."""
    import httpx
    import httpx_aiohttp

    return ours_async(httpx.AsyncClient(transport=httpx_aiohttp.AiohttpTransport()))


def sdk() -> Reader:
    """The official SDK, used as in its README; it has no iterator."""
    from klaviyo_api import KlaviyoAPI

    clients: dict[str, Any] = {}

    def read(url: str) -> int:
        if url not in clients:
            clients[url] = KlaviyoAPI(KEY, test_host=url)
        klaviyo = clients[url]
        return _sdk_jobs(
            lambda link: klaviyo.Catalogs.get_bulk_create_variants_jobs(page_cursor=link)
        )

    return read


def sdk_kept() -> Reader:
    """The official SDK with its method kept: each `klaviyo.Catalogs` makes a new one."""
    from klaviyo_api import KlaviyoAPI

    methods: dict[str, Callable[..., Any]] = {}

    def read(url: str) -> int:
        if url not in methods:
            methods[url] = KlaviyoAPI(KEY, test_host=url).Catalogs.get_bulk_create_variants_jobs
        method = methods[url]
        return _sdk_jobs(lambda link: method(page_cursor=link))

    return read


def _sdk_jobs(page_at: Callable[[str | None], Any]) -> int:
    jobs = 0
    link = None
    while True:
        page = page_at(link)
        jobs += counted(page.data)
        link = page.links.next
        if link is None:
            return jobs


def dicts() -> Reader:
    """httpx and `response.json()`, without any client library."""
    import httpx

    client = httpx.Client(headers=_HEADERS)

    def read(url: str) -> int:
        jobs = 0
        link = url + PATH
        while link:
            response = client.get(link)
            response.raise_for_status()
            page = response.json()
            for job in page["data"]:
                attributes = job["attributes"]
                if job["id"] and attributes["status"] and attributes["total_count"]:
                    jobs += 1
            link = page["links"]["next"]
        return jobs

    return read


def bare() -> Reader:
    """httpx's transport and our models without our logic: the lower bound for `ours`."""
    import httpx

    decoder, requested = _bare_parts()
    transport = httpx.HTTPTransport()

    def read(url: str) -> int:
        jobs = 0
        link: str | None = url + PATH
        while link:
            response = transport.handle_request(requested(link))
            page = decoder.decode(b"".join(response.iter_raw()))
            response.close()
            jobs += counted(page.data)
            link = page.links.next
        return jobs

    return read


def bare_async() -> Reader:
    """`bare` under asyncio."""
    import httpx

    decoder, requested = _bare_parts()
    runner = asyncio.Runner()
    transport = httpx.AsyncHTTPTransport()

    async def listed(url: str) -> int:
        jobs = 0
        link: str | None = url + PATH
        while link:
            response = await transport.handle_async_request(requested(link))
            page = decoder.decode(b"".join([chunk async for chunk in response.aiter_raw()]))
            await response.aclose()
            jobs += counted(page.data)
            link = page.links.next
        return jobs

    return lambda url: runner.run(listed(url))


def _bare_parts() -> tuple[Any, Callable[[str], Any]]:
    import httpx
    import msgspec

    from klaviyo_variant_jobs_api.registry import REVISIONS

    (revision,) = (known for known in REVISIONS if known.date == REVISION)
    timeout = httpx.Timeout(30).as_dict()

    def requested(link: str) -> httpx.Request:
        return httpx.Request("GET", link, headers=_HEADERS, extensions={"timeout": timeout})

    return msgspec.json.Decoder(revision.load().page_model), requested


def structs() -> Reader:
    """http.client and msgspec Structs for every member: about the fastest typed Python."""
    import msgspec

    from tooling.bench._structs import Page

    decoder = msgspec.json.Decoder(Page)
    connections: dict[str, http.client.HTTPConnection] = {}

    def read(url: str) -> int:
        host = urllib.parse.urlsplit(url).netloc
        if host not in connections:
            connections[host] = http.client.HTTPConnection(host)
        connection = connections[host]
        jobs = 0
        link: str | None = url + PATH
        while link:
            connection.request("GET", link.removeprefix(f"http://{host}"), headers=_HEADERS)
            response = connection.getresponse()
            body = response.read()
            if response.getheader("content-encoding") == "gzip":
                body = gzip.decompress(body)
            page = decoder.decode(body)
            jobs += counted(page.data)
            link = page.links.next
        return jobs

    return read


CONTESTANTS: dict[str, Callable[[], Reader]] = {
    "ours": ours,
    "ours_httpx2": ours_httpx2,
    "ours_async": ours_async,
    "ours_async_httpx2": ours_async_httpx2,
    "ours_async_aiohttp": ours_async_aiohttp,
    "sdk": sdk,
    "sdk_kept": sdk_kept,
    "dicts": dicts,
    "bare": bare,
    "bare_async": bare_async,
    "structs": structs,
}


def _answer_lines(read: Reader, server: str) -> None:
    # Once a process has freed a large block, as any service has, glibc no longer gives the end of
    # the heap back after each page. Before that, chance decides on up to 80 page faults (0.3 ms).
    bytes(1 << 20)
    for line in sys.stdin:
        gc.collect()  # Garbage of the list before must not count.
        started = time.process_time()
        jobs = read(server + line.strip())
        print(time.process_time() - started, jobs, flush=True)


if __name__ == "__main__":
    # Measure the log records of pages that do not fit, but not the terminal.
    logging.getLogger("klaviyo_variant_jobs").addHandler(logging.NullHandler())
    _answer_lines(CONTESTANTS[sys.argv[1]](), sys.argv[2])
