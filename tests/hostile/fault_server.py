"""An HTTP server on raw sockets where every byte is ours.

It answers a listing honestly unless its script says otherwise: each request that arrives takes the
next fault from the script, and a fault turns the honest answer into whatever bytes it likes.
"""

from __future__ import annotations

import gzip
import json
import select
import socket
import struct
import threading
import urllib.parse
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from enum import Enum, auto
from types import TracebackType
from typing import Any, Self

import attrs

from klaviyo_variant_jobs import NEWEST

PATH = NEWEST.path
JSON_API = "application/vnd.api+json"


class End(Enum):
    """What becomes of the connection after the last piece."""

    KEEP = auto()
    """It waits for the next request."""
    CLOSE = auto()
    RESET = auto()
    SILENCE = auto()
    """It stays open and says nothing more."""


@attrs.frozen
class Reply:
    """Bytes to send, and what to do then."""

    pieces: tuple[bytes, ...] = ()
    end: End = End.KEEP
    pause_s: float = 0.0
    """Real seconds between the pieces."""


@attrs.frozen
class Request:
    """One request as it came."""

    raw: bytes

    @property
    def target(self) -> str:
        """Path and query, still encoded."""
        return self.raw.split(b" ", 2)[1].decode("ascii")

    @property
    def query(self) -> dict[str, list[str]]:
        """The decoded query."""
        return urllib.parse.parse_qs(
            urllib.parse.urlsplit(self.target).query,
            keep_blank_values=True,
            errors="surrogateescape",
        )

    @property
    def cursor(self) -> str | None:
        """The page asked for."""
        return self.query.get("page[cursor]", [None])[0]

    @property
    def headers(self) -> dict[str, str]:
        """The headers, names in lower case."""
        lines = self.raw.decode("latin-1").split("\r\n")[1:]
        pairs = (line.partition(":") for line in lines if line)
        return {name.lower(): value.strip() for name, _, value in pairs}


Fault = Callable[["Honest"], Reply]
"""Turns the honest answer into something else."""


@attrs.frozen
class Honest:
    """What the server would say if nothing had gone wrong."""

    request: Request
    document: Mapping[str, Any]

    @property
    def body(self) -> bytes:
        """The page as JSON."""
        return json.dumps(self.document).encode()

    @property
    def reply(self) -> Reply:
        """The page as a response; the error document for a cursor that leads nowhere."""
        return reply(400 if "errors" in self.document else 200, self.body)

    def but(self, **members: Any) -> bytes:
        """The page with other members at its top."""
        return json.dumps({**self.document, **members}).encode()


def reply(
    status: int,
    body: bytes | str = b"",
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    *,
    content_type: str | None = JSON_API,
    end: End = End.KEEP,
) -> Reply:
    """A well-formed response; a header given takes the place of the one made here."""
    data = body.encode() if isinstance(body, str) else body
    given = list(headers.items() if isinstance(headers, Mapping) else headers)
    names = {name.lower() for name, _ in given}
    if content_type is not None and "content-type" not in names:
        given.append(("Content-Type", content_type))
    if "content-length" not in names and "transfer-encoding" not in names and status != 204:
        given.append(("Content-Length", str(len(data))))
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in given)]
    return Reply((("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + data,), end)


def always(
    status: int,
    body: bytes | str = b"",
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    *,
    content_type: str | None = JSON_API,
) -> Fault:
    """The same response, whatever was asked."""
    made = reply(status, body, headers, content_type=content_type)
    return lambda honest: made


def honest(answer: Honest) -> Reply:
    """No fault at all."""
    return answer.reply


def unframed(answer: Honest, body: bytes, *, end: End = End.CLOSE) -> Reply:
    """A body that only the end of the connection ends."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {JSON_API}\r\nConnection: close\r\n\r\n"
    return Reply((head.encode(), body), end)


def chunked(body: bytes, *, size: int = 64, last: bool = True) -> tuple[bytes, ...]:
    """A response in chunks, one piece each; without `last` the end of the body is never told."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {JSON_API}\r\nTransfer-Encoding: chunked\r\n\r\n"
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    pieces = [b"%x\r\n%s\r\n" % (len(part), part) for part in parts]
    return (head.encode(), *pieces, *([b"0\r\n\r\n"] if last else []))


def gzipped(body: bytes) -> Reply:
    """A compressed response."""
    return reply(200, gzip.compress(body), {"Content-Encoding": "gzip"})


def job(identifier: str, **attributes: Any) -> dict[str, Any]:
    """A job as the API serves it."""
    return {
        "type": "catalog-variant-bulk-create-job",
        "id": identifier,
        "attributes": {
            "status": "complete",
            "created_at": "2026-09-04T13:41:16.380858+00:00",
            "total_count": 3,
            "completed_count": 3,
            "failed_count": 0,
            "completed_at": "2026-09-04T13:42:16.380858+00:00",
            "expires_at": "2026-09-11T13:41:16.380858+00:00",
            "errors": [],
        }
        | attributes,
        "relationships": {"variants": {"data": []}},
        "links": {"self": f"https://a.klaviyo.com{PATH}/{identifier}/"},
    }


class FaultServer:
    """Serves pages of jobs on the loopback interface, and the scripted faults instead.

    `listing` has the job identifiers page by page; `cursors` names the pages after the first.
    """

    def __init__(
        self, listing: Iterable[Iterable[str]] = (), *, cursors: Iterable[str] = ()
    ) -> None:
        self.script: deque[Fault] = deque()
        self.pages: list[list[Any]] = []
        self.cursors: list[str] = []
        self.serve(listing)
        self.cursors = list(cursors) or self.cursors
        self.accepted = 0  # Connections.
        self.dropped = 0  # How many of them, the first ones, nobody answers on any more.
        self.requests: list[Request] = []
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._waking, self._waker = socket.socketpair()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    @property
    def url(self) -> str:
        """The base URL to give to a client."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def ids(self) -> list[str]:
        """The identifiers of all jobs, in order."""
        return [entry["id"] for page in self.pages for entry in page]

    def link(self, cursor: str) -> str:
        """An honest next link."""
        quoted = urllib.parse.quote(cursor, safe="", errors="surrogateescape")
        return f"{self.url}{PATH}?page%5Bcursor%5D={quoted}"

    def say(self, *faults: Fault) -> None:
        """Add to the script."""
        self.script.extend(faults)

    def serve(self, listing: Iterable[Iterable[str]]) -> None:
        """Serve other jobs from now on, without faults."""
        self.pages = [[job(name) for name in page] for page in listing]
        self.cursors = [f"page-{n}" for n in range(1, len(self.pages))]
        self.script.clear()

    def drop_connections(self) -> None:
        """Answer no more on those made so far, as when a firewall has forgotten them."""
        self.dropped = self.accepted

    def __enter__(self) -> Self:
        self._spawn(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self._waker.close()
        for thread in self._threads:
            thread.join()
        self._waking.close()
        self._listener.close()

    def _spawn(self, work: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=work, args=args, name="fault server")
        self._threads.append(thread)
        thread.start()

    def _readable(self, connection: socket.socket) -> bool:
        """Wait until there is something to read; False when the server stops before."""
        ready = select.select([connection, self._waking], [], [])[0]
        return self._waking not in ready

    def _accept(self) -> None:
        while self._readable(self._listener):
            connection, _ = self._listener.accept()
            self.accepted += 1
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._spawn(self._converse, connection, self.accepted)

    def _converse(self, connection: socket.socket, number: int) -> None:
        with connection:
            try:
                if self._resets_unread(connection):
                    return
                while request := self._read(connection):
                    if number <= self.dropped:
                        self.requests.append(request)
                    elif not self._answer(connection, request):
                        return
            except OSError:
                return  # The client hung up first.

    def _resets_unread(self, connection: socket.socket) -> bool:
        """Whether the connection is reset before its request has been looked at."""
        with self._lock:
            if not self.script or self.script[0] is not reset_unread:
                return False
            self.script.popleft()
        _reset(connection)
        return True

    def _read(self, connection: socket.socket) -> Request | None:
        data = b""
        while b"\r\n\r\n" not in data:
            if not self._readable(connection):
                return None
            more = connection.recv(65536)
            if not more:
                return None
            data += more
        return Request(data)

    def _answer(self, connection: socket.socket, request: Request) -> bool:
        with self._lock:
            self.requests.append(request)
            fault = self.script.popleft() if self.script else honest
        made = fault(Honest(request, self.document(request.cursor)))
        for position, piece in enumerate(made.pieces):
            if position and self._stopping.wait(made.pause_s):
                return False
            connection.sendall(piece)
        if made.end is End.SILENCE:
            self._readable(connection)
        elif made.end is End.RESET:
            _reset(connection)
        return made.end is End.KEEP

    def document(self, cursor: str | None) -> dict[str, Any]:
        """The page at a cursor, as a healthy server gives it."""
        if cursor is not None and cursor not in self.cursors:
            return {"errors": [{"code": "invalid", "detail": "Invalid cursor provided."}]}
        number = 0 if cursor is None else self.cursors.index(cursor) + 1
        more = number + 1 < len(self.pages)
        return {
            "data": self.pages[number] if self.pages else [],
            "links": {
                "self": self.url + PATH,
                "prev": None,
                "next": self.link(self.cursors[number]) if more else None,
            },
        }


def reset_unread(answer: Honest) -> Reply:
    """Reset the connection before the request has been read."""
    return Reply((), End.RESET)


def _reset(connection: socket.socket) -> None:
    # Lingering for no time makes the close a reset.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
