"""Serves the pages over HTTP from another process, so that its CPU time is not counted."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator

from tooling.bench._pages import Listing, page_number


@contextlib.contextmanager
def page_server() -> Iterator[str]:
    """Serve inside the block; yields the base URL, to be followed by a `Listing.prefix`."""
    command = [sys.executable, "-m", __name__]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.stdin.close()  # Ends the server; so does the end of this process.


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        host, port = transport.get_extra_info("sockname")
        self._origin = f"http://{host}:{port}"

    def data_received(self, data: bytes) -> None:
        *requests, self._received = (self._received + data).split(b"\r\n\r\n")
        for request in requests:
            target = request.split(b" ", 2)[1].decode()
            listing, nth = _asked(target)
            answer = _answer(listing, self._origin, nth)
            if listing.delay_ms:
                loop = asyncio.get_running_loop()
                loop.call_later(listing.delay_ms / 1000, self._transport.write, answer)
            else:
                self._transport.write(answer)


@functools.cache
def _asked(target: str) -> tuple[Listing, int]:
    path, _, query = target.partition("?")
    found = urllib.parse.parse_qs(query).get("page[cursor]")
    return Listing.at(path), page_number(found[0]) if found else 0


# Cached, so that rendering takes no time; bounded for lists of a thousand pages.
@functools.lru_cache(maxsize=256)
def _answer(listing: Listing, origin: str, nth: int) -> bytes:
    return listing.answer(origin, nth)


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Connection, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    print(f"http://{host}:{port}", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(_serve())
