"""The sandbox as an httpx transport: no sockets, and all waits on the sandbox's clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

import httpx

from klaviyo_variant_jobs.clock import Clock
from klaviyo_variant_jobs.sandbox.faults import Delivery
from klaviyo_variant_jobs.sandbox.messages import Request, Response
from klaviyo_variant_jobs.sandbox.virtual_time import VirtualClock


def transport_of(handle: Callable[[Request], Response], clock: Clock) -> httpx.MockTransport:
    """A transport for sync and async clients whose responses come from `handle`."""

    def answer(request: httpx.Request) -> httpx.Response:
        path, _, query = request.url.raw_path.decode("ascii").partition("?")
        response = handle(
            Request(
                method=request.method,
                origin=f"{request.url.scheme}://{request.url.netloc.decode('ascii')}",
                path=path,
                query=query,
                headers=dict(request.headers),
            )
        )
        headers = list(response.headers)
        match response.delivery:
            case Delivery.WHOLE:
                return httpx.Response(response.status, headers=headers, content=response.body)
            case Delivery.DROP:
                raise httpx.RemoteProtocolError(
                    "the sandbox closed the connection unanswered", request=request
                )
            case Delivery.RESET:
                raise httpx.ReadError("the sandbox reset the connection", request=request)
        headers.append(("content-length", str(len(response.body))))
        return httpx.Response(response.status, headers=headers, stream=_Body(response, clock))

    return _Transport(answer, clock)


class _Transport(httpx.MockTransport):
    def __init__(self, answer: Callable[[httpx.Request], httpx.Response], clock: Clock) -> None:
        super().__init__(answer)
        self._clock = clock

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if isinstance(self._clock, VirtualClock):
            self._clock.check_loop()
        return await super().handle_async_request(request)


class _Body(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that is dripped or truncated."""

    def __init__(self, response: Response, clock: Clock) -> None:
        self._response = response
        self._clock = clock

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._response.pieces():
            self._clock.sleep(self._response.drip_seconds)
            yield piece
        self._end()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._response.pieces():
            await asyncio.sleep(self._response.drip_seconds)
            yield piece
        self._end()

    def _end(self) -> None:
        if self._response.delivery is Delivery.TRUNCATE:
            raise httpx.RemoteProtocolError("the sandbox closed the connection inside the body")
