"""Serves an account to processes in real time: fixed windows behind a socket."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import socket
import threading
import time
from collections.abc import Iterator

import attrs

from klaviyo_variant_jobs.sandbox.windows import Quota, Window


@attrs.define(slots=False)
class Account:
    """One account, and the requests it has counted."""

    burst: int
    steady: int
    most_latency_s: float
    port: int = 0
    served: int = 0
    refused: int = 0
    refused_at: list[float] = attrs.field(factory=list)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer each line with a status and the headers, or the seconds to wait."""
        with contextlib.suppress(ConnectionError):
            while await reader.readline():
                latency_s = random.uniform(self.most_latency_s / 10, self.most_latency_s)
                before_s = random.uniform(0.0, latency_s)  # Until it is counted.
                await asyncio.sleep(before_s)
                said = self._counted()
                await asyncio.sleep(latency_s - before_s)
                writer.write(f"{said}\n".encode())
        writer.close()

    def begin(self) -> None:
        """Start counting; the windows begin at a random moment."""
        windows = (Window(self.burst, 1), Window(self.steady, 60))
        self._quota = Quota(windows, offset_seconds=time.monotonic() - 0.3)

    def _counted(self) -> str:
        now = time.monotonic()
        wait_s = self._quota.admit(now)
        if wait_s:
            self.refused += 1
            self.refused_at.append(now)
            return f"429|{math.ceil(wait_s)}"
        self.served += 1
        headers = dict(self._quota.headers(now, "burst"))
        return "|".join(["200", *headers.values()])


@contextlib.contextmanager
def served(accounts: list[Account]) -> Iterator[None]:
    """Serve accounts inside the block, each on a port of its own, from one thread."""
    loop = asyncio.new_event_loop()

    async def listen() -> None:
        for account in accounts:
            account.begin()
            server = await asyncio.start_server(account.answer, "127.0.0.1", 0)
            account.port = server.sockets[0].getsockname()[1]

    loop.run_until_complete(listen())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def connect(port: int) -> socket.socket:
    """A connection for one request at a time."""
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection
