"""The sandbox over HTTP/1.1 on the loopback interface."""

from __future__ import annotations

import socket
import socketserver
import struct
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Any

from klaviyo_variant_jobs.clock import Clock
from klaviyo_variant_jobs.sandbox import control
from klaviyo_variant_jobs.sandbox.control import Control
from klaviyo_variant_jobs.sandbox.faults import Delivery
from klaviyo_variant_jobs.sandbox.messages import Request, Response

LOOPBACK = "127.0.0.1"


class Server:
    """Serves inside a `with` block, with one thread per connection; all have ended after it.

    Args:
        handle: answers requests; called from many threads.
        clock: used for the waits of `Delivery.DRIP`.
        port: 0 for a free one.
        control: answers requests to `/sandbox/`; None to treat them like all others.
    """

    def __init__(
        self,
        handle: Callable[[Request], Response],
        clock: Clock,
        *,
        port: int = 0,
        control: Control | None = None,
    ) -> None:
        self._handle = handle
        self._clock = clock
        self._port = port
        self._control = control
        self._listener: _Listener | None = None
        self._thread: threading.Thread | None = None

    @property
    def base_url(self) -> str:
        """Scheme, host and port, for a client's `base_url`.

        Raises:
            RuntimeError: outside the `with` block.
        """
        if self._listener is None:
            raise RuntimeError("the sandbox is not serving: use `with sandbox.serve() as server:`")
        return f"http://{LOOPBACK}:{self._listener.server_address[1]}"

    def __enter__(self) -> Server:
        self._listener = _Listener(self._port, self._handle, self._clock, self._control)
        self._thread = threading.Thread(
            target=self._listener.serve_forever,
            # Leaving the block waits up to this long for the accepting thread.
            kwargs={"poll_interval": 0.02},
            name="sandbox",
            daemon=True,
        )
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._listener is None or self._thread is None:
            return
        self._listener.shutdown()
        self._thread.join()
        self._listener.hang_up()
        self._listener.server_close()
        self._listener = None
        self._thread = None


class _Listener(socketserver.ThreadingTCPServer):
    # Not HTTPServer: its server_bind looks its own host name up, which may take long.
    allow_reuse_address = True
    request_queue_size = 256
    # server_close joins the threads; hang_up wakes them first.
    daemon_threads = False
    block_on_close = True

    def __init__(
        self,
        port: int,
        handle: Callable[[Request], Response],
        clock: Clock,
        control: Control | None,
    ) -> None:
        self.handle_api = handle
        self.clock = clock
        self.control = control
        self.closing = threading.Event()
        self._connections: set[socket.socket] = set()
        self._connections_lock = threading.Lock()
        super().__init__((LOOPBACK, port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._connections_lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._connections_lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing: a client may close its connection at any time."""

    def hang_up(self) -> None:
        """Wake every thread that reads from a connection or waits between pieces of a body."""
        self.closing.set()
        with self._connections_lock:
            for connection in self._connections:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue  # The client closed it first.


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Listener

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        if self.server.control and self.path.startswith(control.PREFIX):
            self._deliver(self._told(self.server.control))
            return
        if "content-length" in self.headers or "transfer-encoding" in self.headers:
            self.close_connection = True  # The body is not read, so no request can follow it.
        path, _, query = self.path.partition("?")
        request = Request(
            method=self.command,
            origin=f"http://{self.headers.get('host', LOOPBACK)}",
            path=path,
            query=query,
            headers={name.lower(): value for name, value in self.headers.items()},
        )
        self._deliver(self.server.handle_api(request))

    def _told(self, control_: Control) -> Response:
        length = self.headers.get("content-length", "0")
        if self.command == "POST" and (
            self.headers.get_content_type() != "application/json"  # HTML forms cannot send it.
            or not length.isdecimal()
            or int(length) > control.LONGEST
        ):
            self.close_connection = True
            return control.refused()
        return control_.handle(self.command, self.path, self.rfile.read(int(length)))

    def _deliver(self, response: Response) -> None:
        if response.delivery is not Delivery.WHOLE:
            self.close_connection = True
        if response.delivery is Delivery.DROP:
            return
        if response.delivery is Delivery.RESET:
            # Closing with unsent time zero makes the kernel send a reset instead of an end.
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()
            return
        head = self._head(response)
        if response.delivery is Delivery.WHOLE:
            self.wfile.write(head + (b"" if self.command == "HEAD" else response.body))
            return
        self.wfile.write(head)
        dripping = response.delivery is Delivery.DRIP
        for piece in response.pieces():
            if dripping and self.server.clock.wait(self.server.closing, response.drip_seconds):
                return
            self.wfile.write(piece)

    def _head(self, response: Response) -> bytes:
        reason = self.responses.get(response.status, ("",))[0]
        lines = [f"HTTP/1.1 {response.status} {reason}"]
        lines += [f"{name}: {value}" for name, value in response.headers]
        if response.status not in {204, 304}:
            lines.append(f"content-length: {len(response.body)}")
        if self.close_connection:
            lines.append("connection: close")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: the sandbox keeps its own log."""
